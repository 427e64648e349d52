"""What the stranger's own tests say: the driver keeps the contract against its emulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from stranger_lab.driver import StrangerVoa, StrangerVoaSettings
from stranger_lab.emulator import EmulatedVoa

from qnoded.testing import contract
from qnoded.testing.emulation import Emulation, on_tcp
from qnoded.testing.relay import relay


@asynccontextmanager
async def bench() -> AsyncIterator[contract.Bench]:
    async with on_tcp(Emulation(EmulatedVoa())) as port, relay("127.0.0.1", port) as cable:
        yield contract.Bench(StrangerVoaSettings(address=f"tcp://127.0.0.1:{cable.port}"), cable.cut, cable.restore)


@pytest.mark.parametrize("check", contract.checks(StrangerVoa), ids=contract.name)
def test_the_strangers_driver_keeps_the_contract(check: contract.Check) -> None:
    contract.verify(check, StrangerVoa, bench)
