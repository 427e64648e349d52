"""Give light, or make dark.

A laser that went dark because of a doubt about it stays dark, also when the daemon is started anew, until a person has
looked and says ``on``. After ``off`` it is dark until ``on``.
"""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl light``."""
    parser.add_argument("word", metavar="on|off", choices=("on", "off"))
    client.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it."""
    import json

    document = client.daemon_of(args).post(f"/v1/light/{args.word}")
    done = "is asked for; see qnodectl devices" if args.word == "on" else "is off until qnodectl light on"
    print(json.dumps(document) if args.json else f"light {done}")
    return 0
