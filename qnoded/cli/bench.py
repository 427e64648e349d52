"""Measure the speed of the hot path and of the clock search on this machine, beside plain twins in the same run.

The suite healing measures no speed but how soon a link of two daemons makes bits again after a fault; it takes minutes.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from qnoded.bench import LASTING, SUITES

if TYPE_CHECKING:
    from qnoded.bench.measuring import Row

REPETITIONS: Final = 7
SHORT_MINUTES: Final = 0.25
MOST_MINUTES: Final = 24.0 * 60.0
WIDTH: Final = 54


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--suite", choices=SUITES, action="append", help="measure only this suite; may be repeated")
    parser.add_argument(
        "--repeat", type=int, default=REPETITIONS, metavar="N", help="repetitions, at least 5 [%(default)s]"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small data: shows that everything runs, figures mean little"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=SHORT_MINUTES,
        metavar="N",
        help=f"how long the suite {LASTING} replays photons; 10 show whether memory stays flat [%(default)s]",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout and nothing else")


def run(args: argparse.Namespace) -> int:
    """Measure the suites and print each row as soon as it is known."""
    import json
    from importlib import import_module

    from qnoded.bench.machine import describe
    from qnoded.bench.measuring import FEWEST_REPETITIONS
    from qnoded.errors import UsageError

    if args.repeat < FEWEST_REPETITIONS:
        message = f"--repeat {args.repeat} is too few for a median; use at least {FEWEST_REPETITIONS}"
        raise UsageError(message)
    if not 0.0 < args.minutes <= MOST_MINUTES:
        message = f"--minutes {args.minutes:g} is none or more than a day; 10 are enough"
        raise UsageError(message)
    machine = describe()
    if not args.json:
        print(_headline(machine))
    suites: dict[str, list[Row]] = {}
    for name in args.suite or SUITES:
        suites[name] = []
        if not args.json:
            print(f"\n{name}\n{'':{WIDTH}}      own   target         twins in the same run (own is x times better)")
        lasting = {"minutes": args.minutes} if name == LASTING else {}
        for row in import_module(f"qnoded.bench.{name}").rows(quick=args.quick, repeat=args.repeat, **lasting):
            suites[name].append(row)
            if not args.json:
                print(_line(row), flush=True)
    if args.json:
        print(
            json.dumps(
                {
                    "machine": machine,
                    "quick": args.quick,
                    "repeat": args.repeat,
                    "suites": {name: [_table(row) for row in rows] for name, rows in suites.items()},
                }
            )
        )
    missed = any(row.met is False for rows in suites.values() for row in rows)
    return 1 if args.check and missed else 0


def _headline(machine: dict[str, str | int | list[str] | dict[str, str]]) -> str:
    flags, versions = machine["flags"], machine["versions"]
    assert isinstance(flags, list)
    assert isinstance(versions, dict)
    return (
        f"{machine['processor']} ({machine['architecture']}), {machine['cores']} cores, {' '.join(flags)}\n"
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + "\nMtag/s counts the tags of both sides; medians, contestants by turns"
    )


def _line(row: Row) -> str:
    target = "" if row.target is None else f"{'>=' if row.higher_is_better else '<='} {row.target:.4g}"
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    twins = ", ".join(f"{name} {figure:.4g} ({row.ratios[name]:.1f}x)" for name, figure in row.twins.items())
    note = f"  [{row.note}]" if row.note else ""
    return f"{row.what:{WIDTH}.{WIDTH}} {row.own:8.4g} {row.unit:6} {target:9} {verdict:6} {twins}{note}".rstrip()


def _table(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "unit": row.unit,
        "own": row.own,
        "twins": dict(row.twins),
        "ratios": row.ratios,
        "target": row.target,
        "met": row.met,
        "note": row.note,
    }
