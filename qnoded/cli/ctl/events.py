"""Show what happened lately, oldest first; times are UTC."""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl events``."""
    client.add_arguments(parser)
    parser.add_argument("--since", metavar="N", type=int, default=0, help="only events after number N")


def run(args: argparse.Namespace) -> int:
    """Print the events."""
    import json

    from qnoded.cli.ctl.page import event_lines
    from qnoded.cli.ctl.reading import events_from

    document = client.daemon_of(args).get(f"/v1/events?since={args.since}")
    events = events_from(document)
    print(json.dumps(document, indent=2) if args.json else "\n".join(event_lines(events) or ["no events"]))
    return 0
