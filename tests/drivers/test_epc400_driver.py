"""An EPC-400 is set in the order of its channels, holds what it has, and says what it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from qnoded_drivers.oz_epc400.codec import Mode
from qnoded_drivers.oz_epc400.driver import Epc400, Epc400Settings
from qnoded_drivers.oz_epc400.emulator import EmulatedEpc400

from qnoded.errors import InstrumentFault
from qnoded.testing.emulation import Emulation, on_pty

TARGET_DEG = (120.0, -240.0, 12.0, 360.0)
TARGET_MV = [1000, -2000, 100, 3000]


@asynccontextmanager
async def unit(port: Path, *, echo: bool = False) -> AsyncIterator[tuple[Epc400, Emulation, Any]]:
    emulation = Emulation(EmulatedEpc400(echo=echo))
    async with on_pty(emulation, port) as link:
        driver = Epc400(Epc400Settings(address=str(link), volts_per_turn=3.0))
        try:
            assert str(await driver.connect()) == "OZ Optics EPC-400, serial not told"
            await driver.configure()
            yield driver, emulation, emulation.device
        finally:
            await driver.close()


@pytest.mark.parametrize("echo", [False, True])
def test_a_move_sets_every_voltage_whether_orders_are_echoed_or_not(tmp_path: Path, echo: bool) -> None:
    async def run() -> None:
        async with unit(tmp_path / "port", echo=echo) as (driver, _, device):
            assert device.mode is Mode.HOLDS
            await driver.move(TARGET_DEG)
            assert device.voltages_mv == TARGET_MV
            reading = await driver.read()
            assert not reading.moving
            assert [one.read_back for one in reading.settings_deg] == pytest.approx(TARGET_DEG)
            assert [one.requested for one in reading.settings_deg] == list(TARGET_DEG)

    asyncio.run(run())


def test_a_setting_is_read_back_in_steps_of_a_millivolt(tmp_path: Path) -> None:
    async def run() -> None:
        async with unit(tmp_path / "port") as (driver, _, _device):
            await driver.move((0.1, 0.0, 0.0, 0.0))
            first = (await driver.read()).settings_deg[0]
            assert (first.requested, first.accepted, first.read_back) == (0.1, pytest.approx(0.12), pytest.approx(0.12))

    asyncio.run(run())


def test_squeezers_that_are_not_in_use_rest_at_zero(tmp_path: Path) -> None:
    async def run() -> None:
        emulation = Emulation(EmulatedEpc400())
        emulation.device.voltages_mv[3] = 700
        async with on_pty(emulation, tmp_path / "port") as link:
            driver = Epc400(Epc400Settings(address=str(link), volts_per_turn=3.0, squeezers=3))
            try:
                await driver.connect()
                await driver.configure()
                await driver.move(TARGET_DEG[:3])
                assert emulation.device.voltages_mv == [*TARGET_MV[:3], 0]
                assert len(driver.capability.elements) == 3
                shown = [one.read_back for one in (await driver.read()).settings_deg]
                assert shown == pytest.approx(TARGET_DEG[:3])
            finally:
                await driver.close()

    asyncio.run(run())


def test_what_was_set_stays_when_it_is_made_safe(tmp_path: Path) -> None:
    async def run() -> None:
        async with unit(tmp_path / "port") as (driver, _, device):
            await driver.move(TARGET_DEG)
            device.mode = Mode.SCRAMBLES
            assert (await driver.read()).moving
            await driver.make_safe()
            assert (device.mode, device.voltages_mv) == (Mode.HOLDS, TARGET_MV)

    asyncio.run(run())


def test_after_a_power_cycle_it_shows_what_is_and_a_move_puts_it_right(tmp_path: Path) -> None:
    async def run() -> None:
        async with unit(tmp_path / "port") as (driver, emulation, device):
            await driver.move(TARGET_DEG)
            emulation.power_cycle()
            reading = await driver.read()
            assert reading.moving
            assert [one.read_back for one in reading.settings_deg] == [0.0] * 4
            await driver.move(TARGET_DEG)
            assert (device.mode, device.voltages_mv) == (Mode.HOLDS, TARGET_MV)

    asyncio.run(run())


def test_a_refusal_is_a_fault(tmp_path: Path) -> None:
    async def run() -> None:
        async with unit(tmp_path / "port") as (driver, _, device):
            device.busy = True
            with pytest.raises(InstrumentFault, match="the unit answers with an error"):
                await driver.move(TARGET_DEG)
            assert device.voltages_mv == [0] * 4

    asyncio.run(run())
