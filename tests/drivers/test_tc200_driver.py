"""An oven gets limits before heat, a toggle is sent once, and what is too hot loses its heat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from qnoded_drivers.thorlabs_tc200.driver import Tc200, Tc200Settings
from qnoded_drivers.thorlabs_tc200.emulator import EmulatedTc200

from qnoded.errors import InstrumentFault, InstrumentUnavailable
from qnoded.testing.emulation import Emulation, Fault, FaultKind, on_pty

AT_ONCE_S = 1e-7


class ListenedTo(EmulatedTc200):
    """Keeps what it was told, questions left out."""

    orders: list[str]

    def _answer(self, command: str, now_s: float) -> str:
        if not command.endswith("?"):
            self.orders.append(command)
        return super()._answer(command, now_s)


@asynccontextmanager
async def oven(port: Path, lag_s: float = 60.0) -> AsyncIterator[tuple[Tc200, Emulation, Any]]:
    device = ListenedTo(lag_s=lag_s)
    device.orders = []
    emulation = Emulation(device)
    async with on_pty(emulation, port) as link:
        driver = Tc200(Tc200Settings(address=str(link), temperature_c=41.5, limit_c=60.0, limit_w=12.0))
        try:
            assert str(await driver.connect()) == "Thorlabs TC200, serial not told, firmware 2.0"
            yield driver, emulation, device
        finally:
            await driver.close()


def test_limits_come_before_heat(tmp_path: Path) -> None:
    async def run() -> None:
        async with oven(tmp_path / "port") as (driver, _, device):
            await driver.configure()
            assert device.orders == ["tmax=60.0", "pmax=12.0", "tset=41.5", "ens"]
            reading = await driver.read()
            assert (reading.heating, reading.settled) == (True, False)
            await driver.configure()
            assert device.orders[4:] == ["tmax=60.0", "pmax=12.0"]

    asyncio.run(run())


def test_it_has_settled_once_it_is_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with oven(tmp_path / "port", AT_ONCE_S) as (driver, _, _device):
            await driver.configure()
            reading = await driver.read()
            assert (reading.heating, reading.settled) == (True, True)
            assert reading.temperature_c.read_back == pytest.approx(41.5)
            await driver.heat(None)
            reading = await driver.read()
            assert (reading.heating, reading.settled) == (False, False)
            assert reading.temperature_c.read_back == pytest.approx(22.0)

    asyncio.run(run())


def test_a_toggle_whose_answer_is_lost_is_not_sent_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with oven(tmp_path / "port") as (driver, emulation, device):
            await driver.configure()
            device.orders.clear()
            # Four answers tell name and status twice, the next one is that of the toggle.
            emulation.script(Fault(FaultKind.LOST, 4))
            with pytest.raises(InstrumentUnavailable, match="no answer in time"):
                await driver.heat(None)
            assert device.orders == ["ens"]
            assert not device.enabled
            await driver.heat(None)
            assert device.orders == ["ens"]

    asyncio.run(run())


def test_it_stays_warm_when_the_driver_goes(tmp_path: Path) -> None:
    async def run() -> None:
        async with oven(tmp_path / "port") as (driver, _, device):
            await driver.configure()
            await driver.make_safe()
        assert device.enabled

    asyncio.run(run())


def hotter(device: EmulatedTc200, now_s: float) -> None:
    device.values |= {"tmax": 205.0, "tset": 80.0}
    device.oven.regulate(80.0, now_s)


def higher(device: EmulatedTc200, now_s: float) -> None:
    del now_s
    device.values |= {"tmax": 205.0, "tset": 61.0}


@pytest.mark.parametrize(("turn", "message"), [
    (hotter, r"it has 80\.0 C, its limit is 60\.0 C; its heater has been switched off"),
    (higher, r"it (heats to|has) 61\.0 C|its limit is 60\.0 C"),
])  # fmt: skip
def test_an_oven_above_its_limit_is_switched_off(
    tmp_path: Path, turn: Callable[[EmulatedTc200, float], None], message: str
) -> None:
    async def run() -> None:
        async with oven(tmp_path / "port", AT_ONCE_S) as (driver, emulation, device):
            await driver.configure()
            turn(device, emulation.now_s)
            await asyncio.sleep(0.01)
            with pytest.raises(InstrumentFault, match=message):
                await driver.read()
            assert not device.enabled

    asyncio.run(run())


def test_a_broken_sensor_is_a_fault_and_nothing_is_heated(tmp_path: Path) -> None:
    async def run() -> None:
        async with oven(tmp_path / "port") as (driver, _, device):
            await driver.configure()
            device.sensor_broken = True
            with pytest.raises(InstrumentFault, match="the sensor is missing or broken"):
                await driver.read()
            with pytest.raises(InstrumentFault, match="the sensor is missing or broken"):
                await driver.heat(30.0)
            assert not device.enabled

    asyncio.run(run())


def test_an_oven_that_runs_through_cycles_is_made_safe_by_taking_its_heat(tmp_path: Path) -> None:
    async def run() -> None:
        async with oven(tmp_path / "port") as (driver, _, device):
            await driver.configure()
            device.cycles = True
            with pytest.raises(InstrumentFault, match=r"status 0x17; set it to normal mode"):
                await driver.read()
            await driver.make_safe()
            assert not device.enabled

    asyncio.run(run())


def test_a_temperature_above_the_limit_is_no_setting() -> None:
    with pytest.raises(ValidationError, match="temperature_c 70 is above limit_c 60"):
        Tc200Settings(address="/dev/tc200", temperature_c=70.0, limit_c=60.0, limit_w=12.0)
