"""Put another driver, or the same with other settings, in a role while the node runs.

The new table is checked first; then the old instrument is made safe and closed, and the new one connected. It lasts
until the daemon ends: change the node's file as well.

  qnodectl device swap tagger --driver sim-tagger --set address=tcp://127.0.0.1:7400 --set node=alice
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from qnoded.cli.ctl import client
from qnoded.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl device``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    swap = actions.add_parser("swap", help="bind a role to a driver", description=__doc__)
    swap.formatter_class = argparse.RawDescriptionHelpFormatter
    swap.add_argument("role", metavar="ROLE", help="such as tagger, laser or polarization")
    swap.add_argument("--driver", metavar="NAME", required=True, help="as qnoded drivers lists it")
    swap.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the driver, written as in TOML; words need no quotes; may be repeated",
    )
    client.add_arguments(swap)


def run(args: argparse.Namespace) -> int:
    """Ask the daemon for the swap."""
    import json

    table = {"driver": args.driver} | table_of(args.set)
    document = client.daemon_of(args).post("/v1/device/swap", {"role": args.role, "table": table}, client.SWAP_S)
    print(json.dumps(document) if args.json else f"{args.role}: {args.driver} takes over; see qnodectl devices")
    return 0


def table_of(changes: Sequence[str]) -> dict[str, Any]:
    """Return the table that ``key=value`` words describe; a dotted key is a table within.

    Raises
    ------
    UsageError
        If a word has no key, or two of them contradict each other.
    """
    table: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            problem = f"--set {change!r} is no key=value; write for example --set address=tcp://127.0.0.1:7400"
            raise UsageError(problem)
        at = table
        for part in parts[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                problem = f"--set {change!r} needs a table where another --set put a value; leave one of them out"
                raise UsageError(problem)
        at[parts[-1]] = _value(text.strip())
    return table


def _value(text: str) -> Any:
    """Read a value as TOML; what is none is a word."""
    import tomllib

    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    # Dates and times have no JSON; no driver has asked for one.
    return value if isinstance(value, (bool, int, float, str, list, dict)) else text
