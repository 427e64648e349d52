"""The command line: ``qnoded`` for the daemon and for offline work, ``qnodectl`` (``ctl``) for the operator.

Thin; heavy imports happen inside ``run``. Each command is a module with ``add_arguments(parser)`` and
``run(args) -> exit code``.
Exit codes: 0 done, 1 the measurement or check says no, 2 wrong use or config, 3 hardware or peer not available.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final

from qnoded.errors import QnodedError

COMMANDS: Final = {
    "analyze": "recorded time tags to clock, delays, coincidences, QBER, CHSH and sifted bits",
    "demo": "a simulated link measured from photons to sifted bits, on this machine",
    "simulate": "simulated photons of a source, two fibres and two receivers, written as recordings",
    "run": "the daemon of one node: instruments, links to peers, control socket",
    "world": "the simulated world as a server, for daemons with simulated instruments",
    "convert": "a recording of any known format to npz, Parquet or text",
    "distill": "two ends' sifted bits to identical secret keys",
    "keyrate": "key lengths and rates of published bounds, with their assumptions",
    "check": "settings files, every mistake named with its remedy",
    "schema": "JSON Schema of a settings file, for editors",
    "replay": "the recorded story of a link, walked through again with today's code",
    "emulate": "an emulated instrument that speaks its maker's bytes, on TCP or a serial port",
    "drivers": "installed drivers of instruments, and what keeps one from being used",
    "doctor": "this machine before a run: ok, warn or ACTION, and what to do",
    "udev": "rules that give instruments on serial ports and USB their names and owners",
    "hil": "a rig of instruments, emulated, recorded or real: its suite, its guard, its report",
    "bench": "measured speed of the hot path and of the clock search, beside plain twins",
}

EXIT_PIPE: Final = 141
"""128 + SIGPIPE, what a shell reports for a command whose reader left before it was done."""
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, what a shell reports for a command that Ctrl-C ended."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; imports only what declares arguments."""
    return parser_of(
        "qnoded", "The open daemon that runs a node of a QKD / entanglement network.", "qnoded.cli", COMMANDS
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of ``qnoded``."""
    return run_command("qnoded", build_parser, arguments)


def parser_of(program: str, purpose: str, package: str, names: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser of a program whose commands are the modules of a package."""
    parser = argparse.ArgumentParser(prog=program, description=purpose)
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, words in names.items():
        module = import_module(f"{package}.{name}")
        command = commands.add_parser(
            name,
            help=words,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def run_command(
    program: str, build: Callable[[], argparse.ArgumentParser], arguments: Sequence[str] | None = None
) -> int:
    """Run one command; print an error as its one message, never as a trace."""
    name = program
    code: int = EXIT_PIPE
    try:
        args = build().parse_args(arguments)
        name = f"{program} {args.command}"
        code = args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except QnodedError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (``| head``) has gone: nothing left to say, and nothing to flush at exit. The verdict
        # stands if it is known; if not, nobody may take this for a yes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code
    except OSError as error:
        place = error.filename2 or error.filename
        what = error.strerror or error
        print(f"{name}: {f'{place}: ' if place else ''}{what}; check disk space and permissions", file=sys.stderr)
        return QnodedError.exit_code
    return code


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version('qnoded')}")
        parser.exit()
