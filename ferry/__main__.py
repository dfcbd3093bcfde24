"""The command line: ``ferry``, or ``python -m ferry``."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium

import ferry
from ferry import paths
from ferry.backend import make, takes_render_mode
from ferry.errors import FerryError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
        arguments: Those after the program's name; None: of this process.
    """
    parser = _parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = []
    sys.path.insert(0, "")  # as `python -m` does: environments and wrappers of one's own lie where one is
    if words[:1] == ["check"] and "--" in words:  # what follows is the command's own
        mark = words.index("--")
        words, command = words[:mark], words[mark + 1 :]
    options, rest = parser.parse_known_args(words)
    options.rest = rest or command
    if options.cflags or options.libs or options.folders:
        if options.run or rest:
            parser.error("--cflags, --libs, --cmakedir and --pkgconfigdir stand alone")
        options.run = _flags
    elif not options.run:
        parser.error("the following arguments are required: COMMAND")
    if rest and options.run is not _demo:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(options.run(options) or 0)
    except (FerryError, gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        print(f"ferry: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ferry", description="The Gymnasium API across a process boundary, through shared memory."
    )
    parser.add_argument("--version", action="version", version=f"ferry {ferry.__version__}")
    parser.add_argument("--cflags", action="store_true", help="print what a C compiler needs to find libferry.h")
    parser.add_argument(
        "--libs", action="store_true", help="print what it needs to link libferry: cc pole.c $(ferry --cflags --libs)"
    )
    for name, content, use in (
        ("cmake", "ferryConfig.cmake", 'cmake -B build -Dferry_DIR="$(ferry --cmakedir)"'),
        ("pkgconfig", "ferry.pc", 'PKG_CONFIG_PATH="$(ferry --pkgconfigdir)" pkg-config --cflags --libs ferry'),
    ):
        parser.add_argument(
            f"--{name}dir",
            dest="folders",
            action="append_const",
            const=getattr(paths, name),
            help=f"print the folder of {content}: {use}",
        )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve a Gymnasium environment until Ctrl-C")
    serve.add_argument(
        "env_id", metavar="ENV_ID", help="an id of Gymnasium's registry, module:Name-v0, or module:callable"
    )
    serve.add_argument(
        "--address", metavar="NAME", help="where agents find it (default: the id); FERRY_ADDRESS takes precedence"
    )
    serve.add_argument(
        "--kwargs",
        metavar="JSON",
        type=_json_object,
        default={},
        help='arguments of the environment: \'{"map_name": "8x8"}\'',
    )
    serve.add_argument(
        "--wrap",
        metavar="WRAPPER[=JSON]",
        type=_wrapper,
        action="append",
        default=[],
        help="a class of gymnasium.wrappers, or module:callable, with its arguments; the first is the innermost: "
        "--wrap 'TimeLimit={\"max_episode_steps\": 100}' --wrap FlattenObservation",
    )
    serve.add_argument(
        "--num-envs", type=int, default=1, metavar="N", help="make so many, stepped together: for ferry.ClientVectorEnv"
    )
    serve.add_argument(
        "--realtime-hz",
        type=float,
        metavar="HZ",
        help="step so often a second, whoever acts or not: for ferry.RealtimeEnv",
    )
    serve.add_argument("--verbose", action="store_true", help="tell of agents that come and go")
    serve.set_defaults(run=_serve)

    listing = commands.add_parser("ls", help="list the names that are served, and by whom")
    listing.set_defaults(run=lambda options: _commands().ls(options.json))

    info = commands.add_parser("info", help="tell what is known of an environment: spaces, channel, counters, holder")
    info.add_argument("address", metavar="NAME", help="a name that ferry ls lists, or the path of a socket")
    info.set_defaults(run=lambda options: _commands().info(options.address, options.json))

    top = commands.add_parser(
        "top", help="show what the channels do: steps a second, who has the turn, where the time goes; q or Ctrl-C ends"
    )
    top.add_argument("--once", action="store_true", help="look for an interval, show that, and end")
    top.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two pictures (default: 1)")
    top.set_defaults(run=_top)

    watch = commands.add_parser(
        "watch", help="look on while an agent plays: numbers, returns, and what it sees where that is a picture"
    )
    watch.add_argument("address", metavar="NAME", help="a name that ferry ls lists, or the path of a socket")
    watch.add_argument("--key", metavar="PATH", help="which part of the observation to draw: camera/rgb")
    watch.add_argument("--hz", type=float, default=10.0, help="pictures a second, 30 at most (default: 10)")
    watch.add_argument("--once", action="store_true", help="show one snapshot, and end")
    watch.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="to wait until an agent plays (default: 10)"
    )
    watch.set_defaults(run=_watch)

    bench = commands.add_parser("bench", help="measure steps through Ferry, beside Gymnasium's in process (10 s)")
    bench.set_defaults(run=lambda options: _commands().bench(options.json))
    doctor = commands.add_parser("doctor", help="examine this machine: is it fit for Ferry, and what would mend it?")
    doctor.set_defaults(run=lambda options: _commands().doctor(options.json))
    check = commands.add_parser(
        "check",
        help="check that an environment conforms, with advice: ferry check NAME, or ferry check -- ./game --headless",
    )
    check.add_argument("address", metavar="NAME", nargs="?", help="where it serves already")
    check.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS", help="for each answer (default: 20)")
    check.set_defaults(run=_check)
    for command in (listing, info, top, bench, doctor, check):
        command.add_argument("--json", action="store_true", help="for programs")

    chaos = commands.add_parser(
        "chaos", help="stand between an environment and its agent, and be late, silent, gone or wrong on purpose"
    )
    chaos.add_argument("env_address", metavar="FROM", help="where the environment serves; serve:NAME: it connects")
    chaos.add_argument("address", metavar="TO", help="where agents find it; connect:NAME: the agent listens")
    chaos.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the same seed does the same to the same turns (default: 0)"
    )
    chaos.add_argument(
        "--share",
        metavar="FAULT=SHARE",
        type=_share,
        action="append",
        default=[],
        help="how many turns a fault befalls: drop=0.01, one of a hundred; may be given again for each of the faults "
        "delay, stall, drop, fail, nan, outside, reward",
    )
    chaos.add_argument(
        "--at",
        metavar="TURN=FAULT",
        type=_at,
        action="append",
        default=[],
        help="a fault in that turn, counted from 0: 300=stall; may be given again",
    )
    chaos.add_argument(
        "--delay-s", type=float, default=0.05, metavar="SECONDS", help="how long a delay is (default: 0.05)"
    )
    chaos.add_argument(
        "--stall-s", type=float, metavar="SECONDS", help="how long a stall is (default: until the agent leaves)"
    )
    chaos.add_argument("--verbose", action="store_true", help="tell of each fault, and of agents that come and go")
    chaos.set_defaults(run=_chaos)

    demo = commands.add_parser(
        "demo", help="let a small policy learn to balance a pole in another process", add_help=False
    )
    demo.set_defaults(run=_demo)
    return parser


def _serve(options: argparse.Namespace) -> None:
    address = options.address or re.sub(r"[^A-Za-z0-9._-]", "-", options.env_id)[:40]
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="ferry: %(message)s")

    def made(**drawing: Any) -> gymnasium.Env[Any, Any]:
        env = make(options.env_id, options.kwargs, **drawing)
        for wrapper, arguments in options.wrap:
            env = wrapper(env, **arguments)
        return env

    creator = made if takes_render_mode(options.env_id) else (lambda: made())
    with ferry.ServerBackend(creator, address, num_envs=options.num_envs, realtime_hz=options.realtime_hz) as backend:
        if "FERRY_ADDRESS" not in os.environ:
            print(f"ferry: serving {options.env_id} as {address!r}; Ctrl-C ends it", file=sys.stderr, flush=True)
        backend.run()


def _chaos(options: argparse.Namespace) -> None:
    from ferry.chaos import ChaosProxy, FaultName  # nothing else here needs it

    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="ferry: %(message)s")
    at: dict[int, list[FaultName]] = {}
    for turn, name in options.at:
        at.setdefault(turn, []).append(name)
    proxy = ChaosProxy(
        options.env_address,
        options.address,
        seed=options.seed,
        share=dict(options.share),
        at=at,
        delay_s=options.delay_s,
        stall_s=options.stall_s,
    )
    if "FERRY_ADDRESS" not in os.environ:
        between = f"{options.env_address!r} and {options.address!r}"
        print(f"ferry: chaos between {between}; Ctrl-C ends it", file=sys.stderr, flush=True)
        if not options.share and not options.at:
            print("ferry: no faults were chosen; --share and --at choose some", file=sys.stderr, flush=True)
    proxy.run()
    told = ", ".join(f"{count} {name}" for name, count in proxy.counts.items() if count)
    print(f"ferry: {proxy.turns} turns: {told or 'no faults'}", file=sys.stderr)


def _check(options: argparse.Namespace) -> int:
    if (options.address is None) == (not options.rest):
        raise ValueError("ferry check takes the name of a served environment, or, after --, a command that starts one")
    return int(_commands().check(options.address, options.rest, options.timeout, options.json))


def _top(options: argparse.Namespace) -> int:
    from ferry import top  # nothing else here needs it

    return top.top(options.interval, options.once, options.json)


def _watch(options: argparse.Namespace) -> int:
    from ferry import watch  # nothing else here needs it

    return watch.watch(options.address, options.key, options.hz, options.once, options.timeout)


def _commands() -> Any:
    if os.name != "posix":
        raise SystemExit(
            "ferry: this command looks at sockets and processes as Linux has them; on Windows there is `ferry serve`"
        )
    from ferry import commands  # nothing else here needs it

    return commands


def _demo(options: argparse.Namespace) -> int:
    from ferry import demo  # nothing else here needs it

    return demo.run(options.rest)


def _flags(options: argparse.Namespace) -> int:
    flags = []
    try:
        if options.cflags:
            flags.append(f"-I{paths.include()}")
        if options.libs:
            libraries = paths.library()
            flags += [f"-L{libraries}", "-lferry", f"-Wl,-rpath,{libraries}", "-lm"]
        for folder in options.folders or []:
            print(folder())
    except FileNotFoundError as error:
        print(f"ferry: {error}", file=sys.stderr)
        return 1
    if flags:
        print(shlex.join(flags))
    return 0


def _wrapper(text: str) -> tuple[Callable[..., gymnasium.Env[Any, Any]], dict[str, Any]]:
    name, equals, arguments = text.partition("=")
    module, colon, attribute = name.rpartition(":")
    try:
        found = getattr(importlib.import_module(module if colon else "gymnasium.wrappers"), attribute, None)
    except ImportError as error:
        raise argparse.ArgumentTypeError(f"{name!r}: {error}") from None
    if not callable(found):
        raise argparse.ArgumentTypeError(
            f"there is no wrapper {name!r}; see gymnasium.wrappers, or write module:callable"
        )
    return found, _json_object(arguments) if equals else {}


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FAULT=SHARE, such as drop=0.01") from None


def _at(text: str) -> tuple[int, str]:
    turn, equals, name = text.partition("=")
    try:
        return int(turn if equals else ""), name
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not TURN=FAULT, such as 300=drop") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}; write '{{\"name\": value}}'") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("an object is wanted: '{\"name\": value}'")
    return value


if __name__ == "__main__":
    sys.exit(main())
