"""Print udev rules for the instruments of a node that are plugged into this machine.

  qnoded udev --config /etc/qnoded/alice.toml > /etc/udev/rules.d/70-qnoded.rules
  udevadm control --reload && udevadm trigger

Each instrument on a serial port or USB gets the name /dev/qnoded/ROLE, which stays the same wherever it is plugged in,
and belongs to the group of the service. Exit code 3 if one was not there and its address does not tell which it is.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

_GROUP: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded udev``."""
    parser.add_argument("--config", metavar="FILE", type=Path, required=True, help="TOML file of the node")
    parser.add_argument("--group", default="qnoded", help="who may use the instruments (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the rules; return 0 if there is one for each port."""
    import sys

    from qnoded.diagnosis.udev import rules
    from qnoded.errors import InstrumentUnavailable, UsageError
    from qnoded.node_settings import load_node

    if not _GROUP.fullmatch(args.group):
        problem = f"--group {args.group!r} is no name of a group; write for example qnoded or dialout"
        raise UsageError(problem)
    text, unknown = rules(load_node(args.config), str(args.config), args.group)
    sys.stdout.write(text)
    if unknown:
        problem = f"no rule for {', '.join(unknown)}: not plugged in, and the address names a port, not an instrument"
        raise InstrumentUnavailable(problem)
    return 0
