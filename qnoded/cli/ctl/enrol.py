"""Declare a link's key for authentication lost, so that a signed exchange of both nodes makes a new one.

For a ledger that is halted, used up or not that of the peer any more. Find out why before: what the link has stored
and not handed out is erased at both ends when the new ledger begins, which takes this command at each end that still
has one. A link that is STOPPED begins anew with the next start of its node.
"""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import acting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl enrol``."""
    acting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it."""
    return acting.act(args, "enrol", "its ledger is lost; a signed exchange begins when the peer has none either")
