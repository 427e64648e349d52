"""``qnodectl``: what an operator asks of a running daemon. Talks to its control socket; standard library only.

Exit codes: 0 done and well, 1 the answer is no, 2 wrong use or config, 3 the daemon does not answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from qnoded.cli import parser_of, run_command

COMMANDS: Final = {
    "status": "one page: is the node well, and if not, what to do",
    "watch": "the same page, live",
    "links": "every link with its clock, rates, QBER and discarded epochs",
    "keys": "keys of every link; files that seal and begin a key store; a key for WireGuard",
    "devices": "every instrument with its state and reading",
    "events": "what happened lately",
    "pause": "stop a link until resume",
    "resume": "let a paused link go on",
    "light": "give light again after the laser went dark; or make it dark",
    "interlude": "measure CHSH once, as soon as possible",
    "enrol": "declare a link's key for authentication lost, so that a signed exchange makes a new one",
    "device": "put another driver in a role while the node runs",
    "keygen": "make the CURVE keys of one node",
    "pki": "certificates to try key delivery with; a node's identity",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; imports only what declares arguments."""
    return parser_of("qnodectl", "Ask and steer the qnoded daemon of this machine.", "qnoded.cli.ctl", COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of ``qnodectl``."""
    return run_command("qnodectl", build_parser, arguments)
