"""The driver keeps the contract on this instrument."""

from __future__ import annotations

import pytest

from qnoded.hil.plugin import Hil
from qnoded.testing import contract


def test_contract(device: str, check: contract.Check, hil: Hil) -> None:
    """Every rule of ``qnoded.testing.contract``; moves, switches and emits at the lowest power."""
    if hil.backend == "replay":
        pytest.skip("a recording answers only what was asked")
    contract.verify(check, hil.driver(device), hil.contract_bench(device))
