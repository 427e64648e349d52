"""List the drivers that are installed, or test one of them against the rules of docs/drivers.md.

  qnoded drivers
  qnoded drivers --test acme-laser --settings laser.toml

The settings file holds the driver's own settings, without the role's table around them. The checks move, switch and
emit at the lowest power: against real instruments, mind what stands behind them. Exit code 1 if a rule is broken.

A driver's grade tells what it was tested against: bronze an emulator, silver recordings of the instrument, gold the
instrument itself. A library of the maker's that is missing is named with the command that installs it. With --json the
whole card is shown, also what is unproven, and what all instruments of the driver can do.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

HINT: Final = "what a node's instruments lack on this machine (ports, rights, udev rules): qnoded doctor --config FILE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded drivers``."""
    parser.add_argument("--test", metavar="DRIVER", help="run the contract suite on this driver")
    parser.add_argument("--settings", metavar="FILE", type=Path, help="TOML file of its settings; absent: its defaults")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace) -> int:
    """Print the drivers, or the outcome of every check of one."""
    from qnoded.errors import UsageError

    if args.test is not None:
        return _test(args.test, args.settings, as_json=args.json)
    if args.settings is not None:
        problem = "--settings belongs to --test; name the driver that they are for"
        raise UsageError(problem)
    return _list(as_json=args.json)


def _list(*, as_json: bool) -> int:
    import json
    from dataclasses import asdict

    from qnoded.instruments.cards import card_of, lacking
    from qnoded.instruments.registry import known_drivers

    drivers = known_drivers()
    cards = {driver.name: card_of(driver.name) for driver in drivers}
    lacks = {driver.name: [str(one) for one in lacking(driver.name)] for driver in drivers}
    if as_json:
        listed = [
            asdict(one) | {"capability": _capability(one.name), "card": cards[one.name], "lacks": lacks[one.name]}
            for one in drivers
        ]
        print(json.dumps({"drivers": listed}, indent=2))
        return 0
    width = max((len(driver.name) for driver in drivers), default=0)
    for driver in drivers:
        card = cards[driver.name] or {}
        traits = (driver.kind, "simulated" if driver.simulated else None, card.get("grade"), card.get("link"))
        described = ", ".join(str(trait) for trait in traits if trait)
        print(f"{driver.name:<{width}}  {driver.problem or described}  ({driver.package})")
        for missing in lacks[driver.name]:
            print(f"{'':<{width}}  {missing}")
    print(HINT if drivers else "no drivers are installed")
    return 0


def _capability(driver: str) -> dict[str, Any] | None:
    """Return what all instruments of a driver can do; None where only the instrument knows."""
    from dataclasses import asdict, is_dataclass

    from qnoded.errors import QnodedError
    from qnoded.instruments.registry import find

    try:
        capability = getattr(find(driver), "capability", None)
    except QnodedError:
        return None
    if not is_dataclass(capability) or isinstance(capability, type):
        return None
    return {
        name: value if isinstance(value, int | float | str) else str(value)
        for name, value in asdict(capability).items()
    }


def _test(driver: str, file: Path | None, *, as_json: bool) -> int:
    import json

    from qnoded.instruments.registry import validate
    from qnoded.testing import contract
    from qnoded.toml_file import read_table

    table = {} if file is None else read_table(file, "write the driver's settings, see docs/drivers.md")
    # The role is a name of its own: the driver's kind is the driver's business here.
    binding = validate("under-test", {"driver": driver} | table, str(file or driver))
    outcomes = []
    for check in contract.checks(binding.driver_class):
        name, said = contract.name(check), None
        try:
            contract.verify(check, binding.driver_class, contract.standing(binding.settings))
            outcome = "holds"
        except contract.NotApplicable as reason:
            outcome, said = "not tested", str(reason)
        except contract.Broken as breach:
            outcome, said = "BROKEN", str(breach)
        outcomes.append({"check": name, "outcome": outcome, "said": said})
        if not as_json:
            print(f"{outcome:<10}  {name.replace('_', ' ')}{f': {said}' if said else ''}", flush=True)
    broken = sum(one["outcome"] == "BROKEN" for one in outcomes)
    if as_json:
        print(json.dumps({"driver": driver, "broken": broken, "checks": outcomes}, indent=2))
    else:
        print(f"{driver}: {broken} of {len(outcomes)} rules broken")
    return 1 if broken else 0
