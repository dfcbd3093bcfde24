"""The command line: ``ferry``, or ``python -m ferry``."""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium

import ferry
from ferry import paths
from ferry.backend import make
from ferry.errors import FerryError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
        arguments: Those after the program's name; None: of this process.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    options.rest = rest
    if options.cflags or options.libs:
        if options.run or rest:
            parser.error("--cflags and --libs stand alone")
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ferry", description="The Gymnasium API across a process boundary, through shared memory."
    )
    parser.add_argument("--version", action="version", version=f"ferry {ferry.__version__}")
    parser.add_argument("--cflags", action="store_true", help="print what a C compiler needs to find libferry.h")
    parser.add_argument(
        "--libs", action="store_true", help="print what it needs to link libferry: cc pole.c $(ferry --cflags --libs)"
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
    serve.set_defaults(run=_serve)

    demo = commands.add_parser(
        "demo", help="let a small policy learn to balance a pole in another process", add_help=False
    )
    demo.set_defaults(run=_demo)
    return parser


def _serve(options: argparse.Namespace) -> None:
    address = options.address or re.sub(r"[^A-Za-z0-9._-]", "-", options.env_id)[:40]
    with ferry.ServerBackend(functools.partial(make, options.env_id, options.kwargs), address) as backend:
        if "FERRY_ADDRESS" not in os.environ:
            print(f"ferry: serving {options.env_id} as {address!r}; Ctrl-C ends it", file=sys.stderr, flush=True)
        backend.run()


def _demo(options: argparse.Namespace) -> int:
    from ferry import demo  # nothing else here needs it

    return demo.run(options.rest)


def _flags(options: argparse.Namespace) -> int:
    flags = []
    try:
        if options.cflags:
            flags.append(f"-I{paths.include()}")
        if options.libs:
            folder = paths.library()
            flags += [f"-L{folder}", "-lferry", f"-Wl,-rpath,{folder}", "-lm"]
    except FileNotFoundError as error:
        print(f"ferry: {error}", file=sys.stderr)
        return 1
    print(shlex.join(flags))
    return 0


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("an object is wanted: '{\"name\": value}'")
    return value


if __name__ == "__main__":
    sys.exit(main())
