#!/usr/bin/env python3
"""Says which branches of the checks were reached, of all that look at foreign bytes.

    tools/fuzz_reached.py PROFILE PROGRAM...

The profile is llvm-profdata's, the programs are those that were counted. Exits with 1 if a branch was not reached and is not named below.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# What looks at bytes that another process wrote, by its file.
CHECKS = {
    "rules.c": "*",
    "spec.c": "ferry__spec_take ferry__put_into_words",
    "channel.c": "ferry__receive_frame ferry__read_refusal ferry__hello_is_known ferry__check_hello ferry__on_hello ferry__on_welcome "
    "ferry__on_frame ferry__shake_hands ferry__hear_peer ferry__channel_take_blob ferry__idle_in_lane",
    "blob.c": "ferry__blobs_part ferry__inbox_take",
    "region.c": "ferry__region_adopt",
    "rows.c": "ferry__rows_valid",
    "ring.c": "ferry__lies_in ferry__ring_check ferry__ring_adopt ferry__ring_copy ferry__ring_read",
    "gallery.c": "ferry__gallery_answer ferry__gallery_drain ferry__gallery_hear ferry__gallery_drain_all ferry__gallery_look",
    "observer.c": "ferry__observer_accept ferry__observer_show ferry__observer_look",
    "lane.h": "*",
    "slot.h": "*",
    "agent.c": "ferry__agent_make_room ferry__agent_accept ferry__agent_begin_episode ferry__agent_take_frame ferry__agent_pull_frame "
    "ferry__agent_take",
    "env.c": "ferry__env_refuse_actions ferry__env_take_rows ferry__env_take ferry__env_take_latest",
}

# What no bytes of a peer's reach: the condition, and what it would have to be.
EXCUSED = {
    ("ferry__put_into_words", "spec->fields == NULL", True): "no memory",
    ("ferry__spec_take", "out->entries == NULL", True): "no memory",
    ("ferry__spec_take", "out->pool == NULL", True): "no memory",
    ("ferry__inbox_take", "err < 0", True): "the system does not map what it has checked",
    ("ferry__ring_adopt", "ferry__platform_memory_map(memory, bytes, FERRY__MAP_LIVE, &base, why) < 0", True): "the same",
    ("ferry__ring_adopt", "out->copy != NULL", False): "no memory",
    ("ferry__agent_make_room", "agent->seed != NULL", False): "no memory",
    ("ferry__agent_make_room", "agent->asked != NULL", False): "no memory",
    ("ferry__agent_accept", "ferry__turns_open(&agent->turns, &agent->spec, answers, base + header->agent_slot, why) < 0", True): "no memory",
    ("ferry__agent_accept", "ferry__inbox_open(&agent->inbox, header->blob_bytes, why) < 0", True): "no memory",
    ("ferry__agent_accept", "ferry__region_protect(agent->region, agent->spec.parts_begin, why) < 0", True): "the system refuses",
    ("ferry__observer_accept", "ferry__turns_open(&observer->turns, &reader->spec, answers, reader->copy + reader->head.agent_at, why) < 0",
     True): "no memory",
    ("ferry__on_hello", "channel->peer_pid == 0", True): "a system that does not say who is there",
    ("ferry__ring_read", "ferry__load_relaxed(&slot->seq) != seq", True): "the slot is written while it is copied: tests/c/test_ring.c",
    ("ferry__rows_valid", "count == 0", True): "a list of this side's program; of foreign ones the number is looked at before",
    ("ferry__rows_valid", "count > num_rows", True): "the same",
    ("ferry__env_take", "!env->takes_calls", True): "an environment of another sort: tests/c/test_turns.c",
    ("ferry__region_adopt", "bytes > FERRY__MOST_MAPPED", True): "a processor of 32 bits",
}  # fmt: skip


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
        name = function["name"].split(":")[-1]
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
                reason = EXCUSED.get((name, condition, outcome))
                if reason is None:
                    print(f"        {where}")
                    failed += 1
                else:
                    excused.append(f"{where}: {reason}")
    print("not reached, and why:", *excused, sep="\n    ")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
