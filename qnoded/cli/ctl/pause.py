"""Stop a link until resume: the session ends, no epoch of it is sifted."""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import acting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl pause``."""
    acting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it."""
    return acting.act(args, "pause", "paused; go on with qnodectl resume")
