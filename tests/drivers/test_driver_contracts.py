"""Every driver keeps the contract against its emulator, over TCP, with a cable that can be pulled."""

from __future__ import annotations

from functools import partial
from itertools import chain

import pytest
from driver_benches import CASES, bench, runner

from qnoded.testing import contract

CHECKS = list(
    chain.from_iterable([(name, check) for check in contract.checks(case.driver_class)] for name, case in CASES.items())
)


@pytest.mark.parametrize(("driver", "check"), CHECKS, ids=[f"{name}-{contract.name(check)}" for name, check in CHECKS])
def test_contract(driver: str, check: contract.Check) -> None:
    case = CASES[driver]
    contract.verify(check, case.driver_class, partial(bench, case), run=runner(driver))
