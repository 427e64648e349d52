"""Laser diodes on current sources: no light before all is well, none without a permit, none beyond the limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from driver_benches import CASES, Case, standing
from qnoded_drivers.koheron_ctl.emulator import EmulatedKoheronCtl
from qnoded_drivers.s15_spdc.driver import STEP_MA
from qnoded_drivers.s15_spdc.emulator import EmulatedS15Spdc
from qnoded_drivers.thorlabs_cld101x.driver import Cld101x
from qnoded_drivers.thorlabs_cld101x.emulator import EmulatedCld101x

from qnoded.errors import ConfigError, EmissionRefused, InstrumentError, InstrumentFault, InstrumentUnavailable
from qnoded.instruments.permit import EmissionPermit
from qnoded.testing import contract
from qnoded.testing.contract.subject import comes
from qnoded.testing.emulation import (
    Device,
    Emulation,
    Fault,
    FaultKind,
    can_befall,
    find_device,
    find_kind,
    on_tcp,
    with_personality,
)
from qnoded.testing.emulation.light import Shines
from qnoded.testing.relay import relay

DRIVERS = ("koheron-ctl", "s15-spdc", "thorlabs-cld101x")
POWER_DBM = 7.0
CURRENT_MA = 60.0
PERMITS = count(1)
SETTLES_S = 6.0
"""The slowest climbs to 60 mA, a milliampere at a time."""


def permit(lease_s: float = 5.0) -> EmissionPermit:
    return EmissionPermit(next(PERMITS), asyncio.get_running_loop().time() + lease_s, 20.0, "test")


@asynccontextmanager
async def unconfigured(driver: str, device: Device | None = None, **changed: Any) -> AsyncIterator[tuple[Any, Any]]:
    case: Case = CASES[driver]
    if device is not None:
        case = replace(case, devices=lambda: [device])
    async with standing(case) as stand:
        told = stand.settings.model_copy(update=changed)
        laser = case.driver_class(told)
        await laser.connect()
        try:
            yield laser, stand.emulations[0]
        finally:
            await laser.close()
            device = stand.emulations[0].device
            await until_dark(device, stand.emulations[0])


@asynccontextmanager
async def ready(driver: str, device: Device | None = None) -> AsyncIterator[tuple[Any, Any]]:
    async with unconfigured(driver, device) as (laser, emulation):
        await laser.configure()
        yield laser, emulation


async def until_dark(device: Any, emulation: Emulation) -> None:
    async def dark() -> bool:
        return not device.emits(emulation.now_s)

    await comes(dark, 0.3, "it still emits")


async def settled(laser: Any) -> None:
    async def shows() -> bool:
        await laser.renew(permit())
        return (await laser.read()).power_dbm.read_back is not None

    await comes(shows, SETTLES_S, "it gives no power")


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_emits_what_was_asked_for_once_it_has_settled(driver: str) -> None:
    async def scenario() -> None:
        async with ready(driver) as (laser, emulation):
            await laser.emit(POWER_DBM, permit())
            await settled(laser)
            reading = await laser.read()
            assert reading.emitting
            assert reading.power_dbm.read_back == pytest.approx(POWER_DBM, abs=0.1)
            assert reading.power_dbm.accepted == pytest.approx(POWER_DBM, abs=0.1)
            assert emulation.device.emits(emulation.now_s)
            assert emulation.device.light_dbm(emulation.now_s) is not None

    asyncio.run(scenario())


def cold(driver: str) -> Device:
    return {
        "koheron-ctl": EmulatedKoheronCtl(diode_c=31.0),
        "s15-spdc": EmulatedS15Spdc(crystal_c=24.0, diode_c=25.0, crystal_lag_s=0.3),
        "thorlabs-cld101x": EmulatedCld101x(diode_c=31.0),
    }[driver]


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_waits_for_its_temperature(driver: str) -> None:
    async def scenario() -> None:
        async with unconfigured(driver, cold(driver)) as (laser, emulation):
            with pytest.raises(InstrumentFault, match=r"is at \d\d\.\d\d C, wanted are .* wait until it has settled"):
                await laser.configure()
            with pytest.raises(InstrumentFault):
                await laser.emit(POWER_DBM, permit())
            assert not emulation.device.output_on(emulation.now_s)

            async def configured() -> bool:
                with suppress(InstrumentFault):
                    await laser.configure()
                    return True
                return False

            await comes(configured, 5.0, "it does not settle")
            await laser.emit(POWER_DBM, permit())
            assert (await laser.read()).emitting

    asyncio.run(scenario())


def open_interlock(device: Any) -> None:
    device.interlock_open = True


def turn_key(device: Any) -> None:
    device.key_off = True


def heat_case(device: Any) -> None:
    device.too_hot = True


LOCKS = [
    ("koheron-ctl", open_interlock, "stays off: .*open interlock"),
    ("thorlabs-cld101x", open_interlock, "its interlock is open; close it"),
    ("thorlabs-cld101x", turn_key, "its key is turned off"),
    ("thorlabs-cld101x", heat_case, "it is too hot"),
]


@pytest.mark.parametrize(("driver", "lock", "says"), LOCKS)
def test_it_stays_dark_until_a_person_comes(driver: str, lock: Any, says: str) -> None:
    async def scenario() -> None:
        async with ready(driver) as (laser, emulation):
            lock(emulation.device)
            with pytest.raises(InstrumentFault, match=says):
                await laser.emit(POWER_DBM, permit())
            assert not emulation.device.output_on(emulation.now_s)

    asyncio.run(scenario())


@pytest.mark.parametrize("driver", ["koheron-ctl", "thorlabs-cld101x"])
def test_an_interlock_that_closes_again_brings_no_light_back(driver: str) -> None:
    async def scenario() -> None:
        async with ready(driver) as (laser, emulation):
            await laser.emit(POWER_DBM, permit())
            emulation.device.interlock_open = True
            await until_dark(emulation.device, emulation)
            reading = await laser.read()
            assert not reading.emitting
            assert reading.interlock_closed is False
            emulation.device.interlock_open = False
            await laser.renew(permit())
            await asyncio.sleep(0.4)
            assert not (await laser.read()).emitting
            assert not emulation.device.emits(emulation.now_s)
            # A person has closed it, and decides anew.
            await laser.emit(POWER_DBM, permit())
            assert (await laser.read()).emitting

    asyncio.run(scenario())


def lower_limit(device: Any, limit_ma: float) -> None:
    match device:
        case EmulatedCld101x():
            device.limit_a = limit_ma / 1e3
        case EmulatedKoheronCtl():
            device.settings["ilmax"] = limit_ma
        case EmulatedS15Spdc():
            device.settings["LLIMIT"] = limit_ma


def limit_of(device: Any) -> float:
    match device:
        case EmulatedCld101x():
            return float(device.limit_a * 1e3)
        case EmulatedKoheronCtl():
            return float(device.settings["ilmax"])
    return float(device.settings["LLIMIT"])


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_limit_is_lowered_to_the_calibration_and_never_raised(driver: str) -> None:
    async def scenario() -> None:
        async with ready(driver) as (laser, emulation):
            assert limit_of(emulation.device) == pytest.approx(80.0)
            lower_limit(emulation.device, 50.0)
            with pytest.raises(InstrumentFault, match="limited to 50 mA, calibrated are up to 80 mA"):
                await laser.configure()
            assert limit_of(emulation.device) == pytest.approx(50.0)
            # Lowered behind the driver's back: told, whether the instrument refuses the current or cuts it off.
            with pytest.raises(InstrumentFault, match=r"takes 50\.|takes 0\.05 A|limited to 50 mA"):
                await laser.emit(POWER_DBM, permit())
            assert not emulation.device.output_on(emulation.now_s)

    asyncio.run(scenario())


def test_an_itc4001_refuses_a_current_above_its_limit() -> None:
    async def scenario() -> None:
        async with ready("thorlabs-cld101x", EmulatedCld101x(model="ITC4001")) as (laser, emulation):
            emulation.device.limit_a = 0.05
            with pytest.raises(InstrumentFault, match=r"SOUR:CURR 0\.06.*: error -222: Data out of range"):
                await laser.emit(POWER_DBM, permit())

    asyncio.run(scenario())


def light_up(device: Any, now_s: float) -> None:
    """As somebody did before the daemon came."""
    match device:
        case EmulatedCld101x():
            device.cools, device.current_a, device.lit_s = True, 0.06, now_s - 10.0
        case EmulatedKoheronCtl():
            device.settings["ilaser"], device.lit_s = CURRENT_MA, now_s - 10.0
        case EmulatedS15Spdc():
            device.hear(b"LCURRENT 60;POWER 3;ON;", now_s)
            device.largest_jump_ma = 0.0
    assert device.emits(now_s)


@pytest.mark.parametrize("driver", DRIVERS)
def test_light_without_a_permit_is_switched_off_by_who_sees_it(driver: str) -> None:
    async def scenario() -> None:
        async with unconfigured(driver) as (laser, emulation):
            light_up(emulation.device, emulation.now_s)
            assert not (await laser.read()).emitting
            assert not emulation.device.emits(emulation.now_s)

    asyncio.run(scenario())


def test_a_koheron_ctl_that_was_saved_while_it_emitted_is_dark_once_it_is_connected() -> None:
    async def scenario() -> None:
        device = EmulatedKoheronCtl()
        device.saved |= {"ilaser": CURRENT_MA, "lason": 1.0}
        async with ready("koheron-ctl", device) as (laser, emulation):
            assert not device.output_on(emulation.now_s)
            emulation.power_cycle()
            assert not (await laser.read()).emitting

    asyncio.run(scenario())


@pytest.mark.parametrize("driver", DRIVERS)
def test_bytes_alone_make_it_dark_also_after_half_a_command(driver: str) -> None:
    async def scenario() -> None:
        async with unconfigured(driver) as (laser, emulation):
            device = emulation.device
            (way,) = laser.raw_safe(laser._settings)
            for half in (b"", b"lason", b"OUTP1:ST", b"LCURR"):
                light_up(device, emulation.now_s)
                device.hear(half, emulation.now_s)
                heard = b""
                for _ in range(20):
                    heard += b"".join(device.hear(way.order, emulation.now_s))
                    if re.search(way.confirmed, heard, re.DOTALL):
                        break
                    # Nobody may believe it before it is true.
                    await asyncio.sleep(0.02)
                else:
                    pytest.fail(f"it does not confirm: {heard!r}")
                assert not device.emits(emulation.now_s)

    asyncio.run(scenario())


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_stop_overtakes_an_order_that_waits(driver: str) -> None:
    async def scenario() -> None:
        async with ready(driver) as (laser, emulation):
            readings = [asyncio.create_task(laser.read()) for _ in range(3)]
            await asyncio.sleep(0)
            order = asyncio.create_task(laser.emit(POWER_DBM, permit()))
            await asyncio.sleep(0)
            await laser.make_safe()
            with pytest.raises((EmissionRefused, InstrumentUnavailable)):
                await order
            await asyncio.gather(*readings, return_exceptions=True)
            await asyncio.sleep(0.1)
            assert not emulation.device.output_on(emulation.now_s)

    asyncio.run(scenario())


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_order_whose_answer_is_lost_leaves_it_dark(driver: str) -> None:
    async def run(message: int) -> None:
        async with ready(driver) as (laser, emulation):
            emulation.script(Fault(FaultKind.LOST, message))
            try:
                await laser.emit(POWER_DBM, permit())
            except InstrumentUnavailable:
                await until_dark(emulation.device, emulation)
                assert not emulation.device.output_on(emulation.now_s)

    async def side_by_side() -> None:
        await asyncio.gather(*(run(message) for message in range(0, 24, 2)))

    asyncio.run(side_by_side())


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_is_dark_after_its_permit_whatever_happens_to_the_answers(driver: str) -> None:
    out_of_reach = {FaultKind.VANISHED, FaultKind.OTHER_SERIAL, FaultKind.HUNG}

    async def run(kind: FaultKind) -> None:
        async with ready(driver) as (laser, emulation):
            await laser.emit(POWER_DBM, permit(0.3))
            emulation.script(Fault(kind, 1), Fault(kind, 4))
            with suppress(InstrumentError):
                await laser.read()
            await asyncio.sleep(0.3)

            async def dark() -> bool:
                return not emulation.device.emits(emulation.now_s)

            await comes(dark, 2.5, f"{kind}: it still emits")

    async def side_by_side() -> None:
        device = find_device(driver)
        possible = (kind for kind in FaultKind if kind not in out_of_reach and can_befall(kind, device))
        await asyncio.gather(*(run(kind) for kind in possible))

    asyncio.run(side_by_side())


def test_the_current_of_an_spdc_board_climbs_and_its_answers_go_on() -> None:
    async def scenario() -> None:
        async with ready("s15-spdc") as (laser, emulation):
            await laser.emit(-3.0, permit())
            reading = await laser.read()
            assert reading.emitting
            assert reading.power_dbm.read_back is None
            assert reading.power_dbm.accepted == pytest.approx(-3.0)
            await settled(laser)
            assert emulation.device.current_ma == pytest.approx(40.0, abs=0.2)
            # Told anew on its way, it goes there instead.
            await laser.emit(POWER_DBM, permit())
            await laser.emit(0.0, permit())
            await settled(laser)
            assert 40.5 < emulation.device.current_ma < 50.0
            assert emulation.device.largest_jump_ma <= STEP_MA + 0.1

    asyncio.run(scenario())


def test_a_climb_ends_with_the_light() -> None:
    async def scenario() -> None:
        async with ready("s15-spdc") as (laser, emulation):
            await laser.emit(POWER_DBM, permit())
            await asyncio.sleep(0.2)
            await laser.make_safe()
            await asyncio.sleep(0.2)
            assert emulation.device.current_ma == 0.0
            assert not emulation.device.output_on(emulation.now_s)
            assert not (await laser.read()).emitting

    asyncio.run(scenario())


def test_a_climb_that_fails_makes_dark_and_is_told_with_the_next_reading() -> None:
    async def scenario() -> None:
        async with ready("s15-spdc") as (laser, emulation):
            await laser.emit(POWER_DBM, permit())
            emulation.device.settings["LLIMIT"] = 5.0

            async def dark() -> bool:
                return not emulation.device.output_on(emulation.now_s)

            await comes(dark, 2.0, "it still emits")
            with pytest.raises(InstrumentFault, match=r"out of range|it takes"):
                await laser.read()
            assert not (await laser.read()).emitting

    asyncio.run(scenario())


def test_an_spdc_board_without_a_number_is_known_by_its_firmware() -> None:
    async def scenario() -> None:
        device = EmulatedS15Spdc(firmware="svn-05", nameless=True, crystal_c=50.0)
        async with unconfigured("s15-spdc", device) as (laser, _):
            identity = await laser.connect()
            assert (identity.serial, identity.firmware) == ("unnumbered", "svn-05")

    asyncio.run(scenario())


@asynccontextmanager
async def visa_bench() -> AsyncIterator[contract.Bench]:
    async with on_tcp(Emulation(EmulatedCld101x())) as port, relay("127.0.0.1", port) as cable:
        settings = Cld101x.Settings.model_validate(
            {
                "address": f"TCPIP0::127.0.0.1::{cable.port}::SOCKET",
                "wavelength_nm": 780.0,
                "calibration": [[40.0, -3.0], [80.0, 10.0]],
                "window_c": 1.0,
            }
        )
        yield contract.Bench(settings, cable.cut, cable.restore)


@pytest.mark.parametrize("check", contract.checks(Cld101x), ids=contract.name)
def test_a_cld101x_keeps_the_contract_over_visa(check: contract.Check) -> None:
    contract.verify(check, Cld101x, visa_bench)


@pytest.mark.parametrize("driver", DRIVERS)
def test_its_emulator_has_a_place_in_the_world_and_personalities(driver: str, tmp_path: Path) -> None:
    kind = find_kind(driver)
    (tmp_path / "unit.toml").write_text('serial = "SN42"\nthreshold_ma = 50.0\n')
    device = with_personality(kind, tmp_path / "unit.toml")
    assert isinstance(device, Shines)
    assert device.serial == "SN42"
    device.switch_on(0.0)
    assert device.light_dbm(0.0) is None
    (tmp_path / "unit.toml").write_text("threshold_ma = -1.0\n")
    with pytest.raises(ConfigError, match="threshold_ma"):
        with_personality(kind, tmp_path / "unit.toml")
