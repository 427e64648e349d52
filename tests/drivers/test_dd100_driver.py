"""An attenuator claims nothing before it has been home, and then is dark until it is told otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from qnoded_drivers.oz_dd100.driver import Dd100, Dd100Settings
from qnoded_drivers.oz_dd100.emulator import LOST_DB, EmulatedDd100

from qnoded.errors import InstrumentFault, InstrumentUnavailable
from qnoded.testing.emulation import Emulation, on_pty

PACE = 60.0
CRAWLING_STEPS_S = 20.0
SLOW_PACE = 14.0
"""So the way home takes 2.5 s: longer than ``configure`` waits."""


@asynccontextmanager
async def attenuator(port: Path, device: EmulatedDd100, pace: float = PACE) -> AsyncIterator[tuple[Dd100, Emulation]]:
    emulation = Emulation(device, pace)
    async with on_pty(emulation, port) as link:
        driver = Dd100(Dd100Settings(address=str(link)))
        try:
            assert str(await driver.connect()) == "OZ Optics DD100MC, serial 303699-01, firmware V6.2a"
            yield driver, emulation
        finally:
            await driver.close()


@pytest.mark.parametrize("older", [False, True])
def test_before_it_has_been_home_no_attenuation_is_claimed(tmp_path: Path, older: bool) -> None:
    async def run() -> None:
        device = EmulatedDd100(older=older)
        async with attenuator(tmp_path / "port", device) as (driver, emulation):
            assert device.attenuation_db(emulation.now_s) == LOST_DB
            for refused in (driver.read(), driver.attenuate(10.0)):
                with pytest.raises(InstrumentFault, match="it does not know where it is"):
                    await refused
            await driver.configure()
            assert device.homed
            assert (await driver.read()).attenuation_db.read_back == pytest.approx(55.0)
            await driver.attenuate(12.34)
            shown = (await driver.read()).attenuation_db
            assert (shown.requested, shown.read_back) == (12.34, pytest.approx(12.34, abs=0.01))

    asyncio.run(run())


def test_a_power_cycle_takes_back_what_was_claimed_and_connecting_sends_it_home(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedDd100(homed=True)
        async with attenuator(tmp_path / "port", device) as (driver, emulation):
            await driver.configure()
            await driver.attenuate(3.0)
            emulation.power_cycle()
            with pytest.raises(InstrumentFault, match="connect again, and it is sent home"):
                await driver.read()
            await driver.connect()
            await driver.configure()
            assert (await driver.read()).attenuation_db.read_back == pytest.approx(55.0)

    asyncio.run(run())


def test_a_way_home_that_takes_long_is_told_and_waited_for_by_connecting_again(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedDd100()
        async with attenuator(tmp_path / "port", device, SLOW_PACE) as (driver, _):
            with pytest.raises(InstrumentFault, match="begun to look for its home position; that takes up to 40 s"):
                await driver.configure()
            with pytest.raises(InstrumentUnavailable, match="connect first"):
                await driver.read()
            for _ in range(4):
                try:
                    await driver.connect()
                    await driver.configure()
                except InstrumentUnavailable:
                    continue
                break
            assert (await driver.read()).attenuation_db.read_back == pytest.approx(55.0)

    asyncio.run(run())


def test_on_a_long_way_nothing_is_claimed_and_a_stop_goes_out_all_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedDd100(homed=True, speed_steps_s=CRAWLING_STEPS_S)
        async with attenuator(tmp_path / "port", device) as (driver, _):
            await driver.attenuate(40.0)
            shown = (await driver.read()).attenuation_db
            assert (shown.requested, shown.read_back) == (40.0, None)
            assert "A55.00" not in device._queued
            await driver.make_safe()
            assert "A55.00" in device._queued
            # It hears nothing else, so it has to be connected anew.
            with pytest.raises(InstrumentUnavailable, match="the connection is lost"):
                await driver.read()

    asyncio.run(run())


def test_nothing_else_can_be_asked_of_it_on_its_way(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedDd100(homed=True, speed_steps_s=CRAWLING_STEPS_S)
        async with attenuator(tmp_path / "port", device) as (driver, _):
            await driver.configure()
            with pytest.raises(InstrumentFault, match=r"still on its way to 55\.0 dB; tell it again"):
                await driver.attenuate(20.0)
            await driver.make_safe()
            # It is on its way there already.
            assert "A55.00" not in device._queued

    asyncio.run(run())


def test_it_is_left_at_its_highest_loss(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedDd100(homed=True, highest_db=60.0)
        async with attenuator(tmp_path / "port", device) as (driver, emulation):
            await driver.configure()
            assert driver.capability.max_db == 60.0
            await driver.attenuate(0.0)
            assert device.attenuation_db(emulation.now_s) == pytest.approx(0.0)
        assert device.attenuation_db(emulation.now_s) == pytest.approx(60.0)

    asyncio.run(run())


def test_what_it_cannot_is_a_fault_in_its_own_words(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedDd100(homed=True)
        async with attenuator(tmp_path / "port", device) as (driver, _):
            await driver.configure()
            device.busy = True
            with pytest.raises(InstrumentFault, match="Error-6: the value is too large"):
                await driver.attenuate(10.0)

    asyncio.run(run())
