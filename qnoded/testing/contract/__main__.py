"""Test an installed driver against its instrument or emulator.

  python -m qnoded.testing.contract sim-laser --settings laser.toml

The settings file holds the driver's own keys, those that stand beside "driver" in [instruments.ROLE]. The test
connects, moves, switches, emits at the lowest power and ends with the instrument safe.
Exit codes: 0 all rules kept, 1 a rule is broken, 2 wrong use, 3 nobody answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Final

from qnoded.errors import QnodedError, UsageError
from qnoded.instruments.registry import Binding, validate
from qnoded.node.driver_call import bounded
from qnoded.testing import contract
from qnoded.toml_file import read_table

MARKS: Final = {"kept": "ok", "skipped": "--", "broken": "BROKEN"}


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and print what came of each; an error of use is one message, never a trace."""
    parser = argparse.ArgumentParser(
        prog="python -m qnoded.testing.contract",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("driver", metavar="DRIVER", help="name of the driver, as qnoded drivers lists it")
    parser.add_argument("--settings", metavar="FILE", type=Path, help="TOML file of the driver's settings")
    parser.add_argument("--only", metavar="WORD", default="", help="check only rules whose names contain this")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    try:
        return _tested(parser.parse_args(arguments))
    except QnodedError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return error.exit_code


def _tested(args: argparse.Namespace) -> int:
    table = read_table(args.settings, "write the driver's own keys into it") if args.settings else {}
    binding = validate("tested", {**table, "driver": args.driver}, str(args.settings or "--settings"))
    wanted = [check for check in contract.checks(binding.driver_class) if args.only in contract.name(check)]
    if not wanted:
        problem = f"no rule for a {binding.kind} is named like {args.only!r}; leave --only out to see all"
        raise UsageError(problem)
    asyncio.run(_reached(binding))
    outcomes = []
    for check in wanted:
        outcomes.append(_outcome(check, binding))
        if not args.json:
            _say(_line(outcomes[-1]))
    broken = sum(outcome["outcome"] == "broken" for outcome in outcomes)
    if args.json:
        _say(json.dumps({"driver": args.driver, "kind": binding.kind, "broken": broken, "rules": outcomes}, indent=2))
    else:
        _say(f"{args.driver}: {broken} of {len(outcomes)} rules broken")
    return 1 if broken else 0


async def _reached(binding: Binding) -> None:
    """Raise InstrumentUnavailable where nobody answers: that tells nothing of the driver."""
    instrument = binding.instrument()
    try:
        await bounded(instrument.connect(), "connect")
    finally:
        await bounded(instrument.close(), "close")


def _outcome(check: contract.Check, binding: Binding) -> dict[str, str]:
    outcome, why = "kept", ""
    try:
        contract.verify(check, binding.driver_class, contract.standing(binding.settings))
    except contract.Broken as error:
        outcome, why = "broken", str(error)
    except contract.NotApplicable as error:
        outcome, why = "skipped", str(error)
    return {"name": contract.name(check), "rule": str(check.__doc__), "outcome": outcome, "why": why}


def _line(outcome: dict[str, str]) -> str:
    line = f"{MARKS[outcome['outcome']]:6}  {outcome['name']}"
    if outcome["outcome"] == "broken":
        return f"{line}\n        rule: {outcome['rule']}\n        found: {outcome['why']}"
    return f"{line} ({outcome['why']})" if outcome["why"] else line


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
