"""Light of a DLC pro: never without a permit, never more than asked, and dark when a person is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from pydantic import ValidationError
from qnoded_drivers.toptica_dlc_pro.driver import DlcPro, DlcProSettings
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro

from qnoded.errors import EmissionRefused, InstrumentFault, InstrumentUnavailable
from qnoded.instruments.permit import EmissionPermit
from qnoded.testing.emulation import Emulation, Fault, FaultKind, on_tcp

CALIBRATION = ((60.0, 0.0), (120.0, 10.0))
PERMITS = count(1)


def permit(lease_s: float = 5.0) -> EmissionPermit:
    return EmissionPermit(next(PERMITS), asyncio.get_running_loop().time() + lease_s, 20.0, "test")


@asynccontextmanager
async def laser(**quirks: Any) -> AsyncIterator[tuple[DlcPro, EmulatedDlcPro, Emulation]]:
    device = EmulatedDlcPro(**quirks)
    emulation = Emulation(device)
    async with on_tcp(emulation) as port:
        driver = DlcPro(DlcProSettings(address=f"tcp://127.0.0.1:{port}", wavelength_nm=780.0, calibration=CALIBRATION))
        await driver.connect()
        await driver.configure()
        try:
            yield driver, device, emulation
        finally:
            await driver.close()
            assert not device.emits(emulation.now_s)


@pytest.mark.parametrize("echo", [False, True])
def test_the_current_follows_the_calibration_in_milliwatts(echo: bool) -> None:
    async def scenario() -> None:
        async with laser(echo=echo) as (driver, device, _):
            # 5.5 mW are half way between 1 mW and 10 mW.
            await driver.emit(7.4036, permit())
            assert device.parameters["laser1:dl:cc:current-set"] == pytest.approx(90.0, abs=0.01)
            await asyncio.sleep(0.1)
            reading = await driver.read()
            assert reading.emitting
            assert reading.power_dbm.read_back == pytest.approx(7.4036, abs=0.001)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("interlock-open", True, "interlock-open is True; close the interlock"),
        ("frontkey-locked", True, "turn the key at its front"),
        ("laser1:dl:tc:enabled", False, "switch its temperature control on"),
        ("laser1:dl:cc:current-clip", 80.0, "a current of 120.00 mA was set, it takes 80.00 mA"),
    ],
)
def test_it_stays_dark_when_a_person_is_needed(name: str, value: object, says: str) -> None:
    async def scenario() -> None:
        async with laser() as (driver, device, emulation):
            device.parameters[name] = value
            with pytest.raises(InstrumentFault, match=says):
                await driver.emit(10.0, permit())
            assert not device.parameters["laser1:dl:cc:enabled"]
            await asyncio.sleep(0.1)
            assert not device.emits(emulation.now_s)

    asyncio.run(scenario())


def test_a_limit_below_the_calibration_is_told_before_any_light() -> None:
    async def scenario() -> None:
        async with laser() as (driver, device, _):
            device.parameters["laser1:dl:cc:current-clip"] = 100.0
            with pytest.raises(InstrumentFault, match="limited to 100 mA, calibrated are up to 120 mA"):
                await driver.configure()

    asyncio.run(scenario())


def test_a_stop_overtakes_an_order_that_waits() -> None:
    async def scenario() -> None:
        async with laser() as (driver, device, emulation):
            readings = [asyncio.create_task(driver.read()) for _ in range(3)]
            await asyncio.sleep(0)
            order = asyncio.create_task(driver.emit(3.0, permit()))
            await asyncio.sleep(0)
            await driver.make_safe()
            with pytest.raises((EmissionRefused, InstrumentUnavailable)):
                await order
            await asyncio.gather(*readings, return_exceptions=True)
            await asyncio.sleep(0.1)
            assert not device.emits(emulation.now_s)

    asyncio.run(scenario())


@pytest.mark.parametrize("message", range(12))
def test_an_order_whose_answer_is_lost_leaves_it_dark(message: int) -> None:
    async def scenario() -> None:
        async with laser() as (driver, device, emulation):
            emulation.script(Fault(FaultKind.LOST, message))
            try:
                await driver.emit(3.0, permit())
            except InstrumentUnavailable:
                await asyncio.sleep(0.1)
                assert not device.emits(emulation.now_s)
            else:
                assert emulation.pending

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "calibration", [((60.0, 0.0),), ((60.0, 0.0), (50.0, 1.0)), ((60.0, 1.0), (70.0, 1.0)), ((0.0, 0.0), (1.0, 1.0))]
)
def test_a_calibration_must_rise(calibration: object) -> None:
    with pytest.raises(ValidationError):
        DlcProSettings(address="tcp://127.0.0.1:1998", wavelength_nm=780.0, calibration=calibration)
