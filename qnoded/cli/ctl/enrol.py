"""Declare a link's key for authentication lost, so that it begins anew: by a signed exchange, or a new first secret.

For a ledger that is halted, used up or not that of the peer any more. Find out why before: what the link has stored
and not handed out is erased at both ends when the new ledger begins, which takes this command at each end that still
has one. Until then none of it is handed out. A link that is STOPPED is there again.
"""

from __future__ import annotations

import argparse
from typing import Final

from qnoded.cli.ctl import acting

DONE: Final = (
    "its ledger is lost, and no key of it is handed out. Do the same at the peer; then the link begins anew by itself "
    "where identities are pinned, else with one new first_secret at both nodes and a restart of both"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl enrol``."""
    acting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it."""
    return acting.act(args, "enrol", DONE)
