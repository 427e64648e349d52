"""Let a paused link go on; light is a matter of its own, see qnodectl light."""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import acting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl resume``."""
    acting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it."""
    return acting.act(args, "resume", "goes on")
