"""The drivers of the simulated instruments keep the contract, over real sockets, with a cable that can be pulled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain

import pytest

from qnoded.instruments.registry import find
from qnoded.sim.server import WorldServer
from qnoded.sim.settings import WorldSettings
from qnoded.testing import contract
from qnoded.testing.relay import relay

DRIVERS = (
    "sim-tagger",
    "sim-laser",
    "sim-polarization",
    "sim-power-meter",
    "sim-attenuator",
    "sim-switch",
    "sim-detector-supply",
)
CASES = list(chain.from_iterable([(name, check) for check in contract.checks(find(name))] for name in DRIVERS))


@pytest.mark.parametrize(("driver", "check"), CASES, ids=[f"{name}-{contract.name(check)}" for name, check in CASES])
def test_contract(driver: str, check: contract.Check) -> None:
    driver_class = find(driver)

    @asynccontextmanager
    async def bench() -> AsyncIterator[contract.Bench]:
        world = WorldServer(WorldSettings(), seed=1)
        async with (
            world.listening("tcp://127.0.0.1:0") as address,
            relay("127.0.0.1", int(address.rpartition(":")[2])) as cable,
        ):
            settings = driver_class.Settings(address=f"tcp://127.0.0.1:{cable.port}", node="alice")
            yield contract.Bench(settings, cable.cut, cable.restore)

    contract.verify(check, driver_class, bench)
