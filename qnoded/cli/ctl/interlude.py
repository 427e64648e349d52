"""Measure CHSH once, as soon as possible.

The controller turns, and all outcomes of some epochs are revealed; none of them becomes key.
"""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import acting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl interlude``."""
    acting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it."""
    return acting.act(args, "interlude", "interlude asked for; qnodectl links shows S in some seconds")
