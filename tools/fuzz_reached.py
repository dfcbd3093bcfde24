#!/usr/bin/env python3
"""Says which branches of the checks were reached, of all that look at foreign bytes.

    tools/fuzz_reached.py PROFILE PROGRAM...

The profile is llvm-profdata's, the programs are those that were counted. Exits with 1 if a branch was not reached that
is not named below.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# What looks at bytes that another process wrote, by its file; "*": all of it.
CHECKS = {
    "rules.c": "*",
    "spec.c": "spec_take put_into_words",
    "channel.c": "receive_frame read_refusal hello_is_known check_hello on_hello on_welcome on_frame shake_hands "
    "hear_peer channel_take_blob",
    "blob.c": "blobs_part inbox_take",
    "region.c": "region_fits region_adopt",
    "rows.c": "rows_valid",
    "rules.h": "lies_in",
    "ring.c": "ring_head_is_sound ring_slots_are_sound ring_check ring_adopt ring_copy ring_read",
    "gallery.c": "gallery_answer gallery_drain gallery_hear gallery_drain_all gallery_look",
    "observer.c": "observer_accept observer_show observer_look",
    "lane.h": "*",
    "agent.c": "agent_make_room agent_accept agent_begin_episode agent_take_frame agent_pull_frame agent_take",
    "env.c": "env_refuse_actions env_take_rows env_take env_take_latest",
}

# What no bytes of a peer's reach: the function, how the condition begins, what it would have to be, and why it is not.
EXCUSED = [
    ("put_into_words", "spec->fields == NULL", True, "no memory"),
    ("spec_take", "out->entries == NULL", True, "no memory"),
    ("spec_take", "out->pool == NULL", True, "no memory"),
    ("agent_make_room", "agent->seed != NULL", False, "no memory"),
    ("agent_make_room", "agent->asked != NULL", False, "no memory"),
    ("agent_accept", "ferry__turns_open(", True, "no memory"),
    ("agent_accept", "ferry__inbox_open(", True, "no memory"),
    ("observer_accept", "ferry__turns_open(", True, "no memory"),
    ("ring_adopt", "out->copy != NULL", False, "no memory"),
    ("ring_adopt", "ferry__platform_memory_map(", True, "the system does not map what it has checked"),
    ("inbox_take", "err < 0", True, "the system does not map what it has checked"),
    ("agent_accept", "ferry__platform_memory_protect(", True, "the system refuses"),
    ("receive_frame", "got < 0", True, "the system does not receive"),
    ("shake_hands", "!channel->unsaid", False, "the system does not send"),
    ("shake_hands", "got == 0", True, "the system does not send"),
    ("on_hello", "channel->peer_pid == 0", True, "a system that does not say who is there"),
    ("region_fits", "bytes > FERRY__MOST_MAPPED", True, "a process of 32 bits"),
    ("ring_read", "ferry__load_relaxed(&slot->seq) != seq", True, "a slot that is written while it is copied"),
    ("rows_valid", "count == 0", True, "a list of this side's program; of others the number is checked before"),
    ("rows_valid", "count > num_rows", True, "a list of this side's program; of others the number is checked before"),
    ("agent_begin_episode", "agent->owed", True, "a program that sends while an answer is owed to it"),
    ("env_take", "!env->takes_calls", True, "an environment that takes no calls"),
]


def text_of(source: list[str], region: list[int]) -> str:
    """The condition, in one line."""
    first, start, last, end = region[:4]
    lines = source[first - 1 : last]
    lines[-1] = lines[-1][: end - 1]
    lines[0] = lines[0][start - 1 :]
    return " ".join(line.strip() for line in lines)


def main() -> int:
    """Prints a line for each file, and one for each branch that was not reached."""
    profile, *programs = sys.argv[1:]
    objects = [programs[0], *(word for program in programs[1:] for word in ("-object", program))]
    command = ["llvm-cov", "export", "-format=text", f"-instr-profile={profile}", *objects]
    exported = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    counts: dict[tuple[str, str, tuple[int, ...]], list[int]] = {}
    for function in exported["data"][0]["functions"]:
        name = function["name"].split(":")[-1].removeprefix("ferry__")
        for branch in function["branches"]:
            path = function["filenames"][branch[6]]
            checks = CHECKS.get(Path(path).name, "")
            if checks == "*" or name in checks.split():
                both = counts.setdefault((path, name, tuple(branch[:4])), [0, 0])
                both[0] += branch[4]
                both[1] += branch[5]
    failed = 0
    excused: list[str] = []
    for path in sorted({path for path, _, _ in counts}):
        source = Path(path).read_text().splitlines()
        mine = {key: both for key, both in counts.items() if key[0] == path}
        reached = sum(count > 0 for both in mine.values() for count in both)
        print(f"    {Path(path).name:12} {reached:4} of {2 * len(mine):4}")
        for (_, name, region), both in sorted(mine.items(), key=lambda item: item[0][2]):
            condition = text_of(source, list(region))
            for count, outcome in zip(both, (True, False), strict=True):
                if count:
                    continue
                where = f"{Path(path).name}:{region[0]} {name}: {condition} is never {str(outcome).lower()}"
                known = [x for x in EXCUSED if (name, outcome) == (x[0], x[2]) and condition.startswith(x[1])]
                if known:
                    excused.append(f"{where}: {known[0][3]}")
                else:
                    print(f"        {where}")
                    failed += 1
    print("not reached, and why:", *excused, sep="\n    ")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
