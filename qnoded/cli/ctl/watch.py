"""Show the page of qnodectl status live, until Ctrl-C.

On a terminal it redraws in place; in a pipe, or where TERM is dumb, it prints a line each second. When the daemon does
not answer, the last numbers stay and a banner says how old they are.
"""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl watch``."""
    client.add_arguments(parser)
    parser.add_argument("--count", metavar="N", type=int, help="end after N snapshots")


def run(args: argparse.Namespace) -> int:
    """Follow the daemon's stream."""
    import contextlib
    import json

    from qnoded.cli.ctl.following import follow
    from qnoded.cli.ctl.screen import screen

    daemon = client.daemon_of(args)
    # Ctrl-C, or a reader that leaves, is how one stops watching, not an accident.
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        if args.json:
            for seen in follow(daemon, args.count):
                if not seen.problem:
                    print(json.dumps(seen.document), flush=True)
            return 0
        with screen() as show:
            for seen in follow(daemon, args.count):
                show(seen)
    return 0
