"""The simulated instruments under the contract of drivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qnoded.sim.changes import load_world
from qnoded.sim.devices.attenuator import SimAttenuator
from qnoded.sim.devices.detector_supply import SimDetectorSupply
from qnoded.sim.devices.laser import SimLaser
from qnoded.sim.devices.polarization import SimPolarization
from qnoded.sim.devices.power_meter import SimPowerMeter
from qnoded.sim.devices.switch import SimSwitch
from qnoded.sim.devices.tagger import SimTagger
from qnoded.sim.events import Unplug
from qnoded.sim.server import WorldServer
from qnoded.testing import contract, virtual_time

DRIVERS = (SimTagger, SimLaser, SimPolarization, SimPowerMeter, SimAttenuator, SimSwitch, SimDetectorSupply)
# Dark counts alone are enough tags.
QUIET = ["source.pair_rate_hz=1e3", "bob.detectors.dark_hz=1000"]


def bench_of(driver: type[Any], folder: Path) -> Callable[[], AbstractAsyncContextManager[contract.Bench]]:
    address = f"unix://{folder}/w"

    @asynccontextmanager
    async def bench() -> AsyncIterator[contract.Bench]:
        server = WorldServer(load_world(None, QUIET), 1)
        cable = Unplug(what="unplug", at_s=0.0, side="bob", device=driver.device)

        async def cut() -> None:
            server.unplug(cable)

        async def restore() -> None:
            server.plug(cable)

        async with server.listening(address):
            yield contract.Bench(driver.Settings(address=address, node="bob"), cut, restore)

    return bench


CASES = [
    pytest.param(driver, check, id=f"{driver.__name__}-{contract.name(check)}")
    for driver in DRIVERS
    for check in contract.checks(driver)
]


@pytest.mark.parametrize(("driver", "check"), CASES)
def test_contract(driver: type[Any], check: contract.Check, tmp_path: Path) -> None:
    # What one end writes into a Unix socket, the other end of the same process can read at once: time may jump.
    contract.verify(check, driver, bench_of(driver, tmp_path), virtual_time.run)


def test_nobody_there_names_address_and_remedy() -> None:
    async def connect() -> None:
        await SimLaser(SimLaser.Settings(address="unix:///nowhere/world.sock", node="alice")).connect()

    with pytest.raises(Exception, match=r"laser of alice at unix:///nowhere/world.sock.*is the world running"):
        asyncio.run(connect())


@pytest.mark.parametrize("address", ["", "tcp://", "tcp://host", "tcp://host:70000", "http://host:80", "unix://w"])
def test_settings_refuse_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="is no address; write tcp://"):
        SimTagger.Settings(address=address, node="alice")


def test_a_tagger_counts_its_inputs_from_where_it_is_told(tmp_path: Path) -> None:
    async def story() -> tuple[tuple[int, ...], set[int]]:
        address = f"unix://{tmp_path}/w"
        async with WorldServer(load_world(None, QUIET), 1).listening(address):
            tagger = SimTagger(SimTagger.Settings(address=address, node="bob", first_input=1))
            await tagger.connect()
            await tagger.configure()
            seen: set[int] = set()
            async with aclosing(tagger.stream()) as stream:
                async for block in stream:
                    seen |= set(block.channel.tolist())
                    if len(seen) == 4:
                        break
            await tagger.close()
            return tagger.capability.channels, seen

    assert virtual_time.run(story()) == ((1, 2, 3, 4), {1, 2, 3, 4})
