"""An ITLA is dark when it has to be, whatever happens to the answers, and never emits another colour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from qnoded_drivers.itla_msa import codec
from qnoded_drivers.itla_msa.codec import FATAL, SENA, Alarm, Register
from qnoded_drivers.itla_msa.driver import Itla, ItlaSettings
from qnoded_drivers.itla_msa.emulator import EmulatedItla

from qnoded.errors import EmissionRefused, InstrumentError, InstrumentFault, InstrumentUnavailable
from qnoded.instruments.permit import EmissionPermit
from qnoded.testing.contract.subject import comes
from qnoded.testing.emulation import Emulation, Fault, FaultKind, can_befall, on_pty, on_tcp

POWER_DBM = 11.0
"""Another one than that of a laser that has just been switched on."""
WHO = "Pure Photonics PPCL200, serial CRTMJ00123"
LEASE_S = 60.0
SHORT_LEASE_S = 0.3
DARK_WITHIN_S = 3.0
"""After a permit's end, with a fault on the way: the driver's own limits are 2 s."""
POSSIBLE = [kind for kind in FaultKind if can_befall(kind, EmulatedItla())]
OUT_OF_REACH = {FaultKind.VANISHED, FaultKind.OTHER_SERIAL, FaultKind.HUNG}
"""After these nothing that is written arrives any more."""


def permit(lease_s: float = LEASE_S, number: int = 1) -> EmissionPermit:
    return EmissionPermit(number, asyncio.get_running_loop().time() + lease_s, 12.0, "test")


@asynccontextmanager
async def laser(edition: str = "1.3", frequency_ghz: float = 193_414.5) -> AsyncIterator[tuple[Itla, Emulation, Any]]:
    emulation = Emulation(EmulatedItla(edition=edition))
    async with on_tcp(emulation) as port:
        driver = Itla(ItlaSettings(address=f"tcp://127.0.0.1:{port}", frequency_ghz=frequency_ghz))
        try:
            await driver.connect()
            await driver.configure()
            yield driver, emulation, emulation.device
        finally:
            await driver.close()


async def goes_dark(device: Any) -> None:
    async def dark() -> bool:
        return not device.emits

    await comes(dark, DARK_WITHIN_S, "it still emits")


def test_made_safe_it_is_dark_whatever_happens_to_the_answers() -> None:
    async def run(kind: FaultKind, message: int) -> None:
        async with laser() as (driver, emulation, device):
            await driver.emit(POWER_DBM, permit())
            assert device.emits
            emulation.script(Fault(kind, message))
            await driver.make_safe()
            assert not device.emits, f"{kind} of message {message}"

    async def side_by_side() -> None:
        await asyncio.gather(*(run(kind, message) for kind in POSSIBLE for message in range(4)))

    asyncio.run(side_by_side())


@pytest.mark.parametrize("kind", [kind for kind in POSSIBLE if kind not in OUT_OF_REACH])
def test_it_is_dark_after_its_permit_whatever_happens_to_the_answers(kind: FaultKind) -> None:
    async def run(message: int) -> None:
        async with laser() as (driver, emulation, device):
            emulation.script(Fault(kind, message))
            with suppress(InstrumentError):
                await driver.emit(POWER_DBM, permit(SHORT_LEASE_S))
            await goes_dark(device)

    async def side_by_side() -> None:
        # The answers of emit are 16, then come those of going dark.
        await asyncio.gather(*(run(message) for message in range(20)))

    asyncio.run(side_by_side())


def test_it_is_switched_off_also_when_it_is_busy() -> None:
    async def run() -> None:
        async with laser() as (driver, _, device):
            await driver.emit(POWER_DBM, permit())
            device.busy = True
            await driver.make_safe()
            assert not device.emits

    asyncio.run(run())


def test_it_is_switched_off_also_when_it_only_hears() -> None:
    async def run() -> None:
        async with laser() as (driver, emulation, device):
            await driver.emit(POWER_DBM, permit())
            emulation.script(*(Fault(FaultKind.LOST, message) for message in range(10)))
            with pytest.raises(InstrumentUnavailable):
                await driver.read()
            await driver.make_safe()
            assert not device.emits

    asyncio.run(run())


@pytest.mark.parametrize("kind", [FaultKind.DOUBLED, FaultKind.PREVIOUS, FaultKind.STRAY])
def test_it_never_says_that_it_is_another_one(kind: FaultKind) -> None:
    async def run(message: int) -> None:
        emulation = Emulation(EmulatedItla())
        async with on_tcp(emulation) as port:
            driver = Itla(ItlaSettings(address=f"tcp://127.0.0.1:{port}", frequency_ghz=193_414.5))
            emulation.script(Fault(kind, message))
            with suppress(InstrumentError):
                assert str(await driver.connect()) == WHO
            await driver.close()

    async def side_by_side() -> None:
        # One look at the texts takes 22 answers.
        await asyncio.gather(*(run(message) for message in range(46)))

    asyncio.run(side_by_side())


def test_a_stop_overtakes_light_that_was_asked_for_before() -> None:
    async def run() -> None:
        async with laser() as (driver, _, device):
            asked = asyncio.create_task(driver.emit(POWER_DBM, permit()))
            await asyncio.sleep(0)
            await driver.make_safe()
            with pytest.raises(InstrumentError):
                await asked
            assert not device.emits

            reading = asyncio.create_task(driver.read())
            await asyncio.sleep(0)
            asked = asyncio.create_task(driver.emit(POWER_DBM, permit(number=2)))
            await asyncio.sleep(0)
            await driver.make_safe()
            with pytest.raises(EmissionRefused, match="made safe after it had been told"):
                await asked
            assert not device.emits
            await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(run())


def test_light_of_another_colour_is_not_taken_over() -> None:
    async def run() -> None:
        async with laser() as (driver, _, device):
            device.written |= {Register.OUTPUT: SENA, Register.FIRST_THZ: 195}
            await driver.emit(POWER_DBM, permit())
            assert device.emits
            assert device.written[Register.FIRST_THZ] == 193

    asyncio.run(run())


def test_light_without_a_permit_is_switched_off_by_the_next_reading() -> None:
    async def run() -> None:
        async with laser() as (driver, _, device):
            device.written[Register.OUTPUT] = SENA
            assert not (await driver.read()).emitting
            assert not device.emits

    asyncio.run(run())


@pytest.mark.parametrize(("edition", "frequency_ghz", "registers"), [
    ("1.3", 193_414.489, [193, 4144, 89]),
    ("1.2", 193_414.5, [193, 4145]),
])  # fmt: skip
def test_it_emits_the_colour_that_was_asked_for_also_after_a_power_cycle(
    edition: str, frequency_ghz: float, registers: list[int]
) -> None:
    async def run() -> None:
        async with laser(edition, frequency_ghz) as (driver, emulation, device):
            for number in (1, 2):
                await driver.emit(POWER_DBM, permit(number=number))
                places = (Register.FIRST_THZ, Register.FIRST_STEPS, Register.FIRST_MHZ)
                assert [device.written[place] for place in places if place in device.written] == registers
                assert device.emits
                emulation.power_cycle()
                assert not (await driver.read()).emitting

    asyncio.run(run())


@pytest.mark.parametrize(("edition", "frequency_ghz", "message"), [
    ("1.2", 193_414.489, "steps of 0.1 GHz; round frequency_ghz"),
    ("1.3", 190_000.0, r"frequency_ghz 190000.0 cannot be set; this laser has 191500.0 to 196250.0 GHz"),
])  # fmt: skip
def test_a_frequency_that_it_cannot_have_is_told(edition: str, frequency_ghz: float, message: str) -> None:
    async def run() -> None:
        with pytest.raises(InstrumentFault, match=message):
            async with laser(edition, frequency_ghz):
                pass

    asyncio.run(run())


def test_it_says_that_it_emits_while_it_lights_up_and_shows_its_power_after_that() -> None:
    async def run() -> None:
        async with laser() as (driver, _, _device):
            await driver.emit(POWER_DBM, permit())
            first = await driver.read()
            assert first.emitting
            assert (first.power_dbm.accepted, first.power_dbm.read_back) == (POWER_DBM, None)

            async def shown() -> bool:
                return (await driver.read()).power_dbm.read_back == pytest.approx(POWER_DBM + 0.02)

            await comes(shown, DARK_WITHIN_S, "it shows no power")

    asyncio.run(run())


def test_told_again_it_goes_on_lighting_up_but_takes_no_other_power_meanwhile() -> None:
    async def run() -> None:
        async with laser() as (driver, _, device):
            await driver.emit(POWER_DBM, permit())
            await driver.emit(POWER_DBM, permit(number=2))
            assert device.emits
            with pytest.raises(InstrumentFault, match="refuses register POWER_SET: still pending"):
                await driver.emit(POWER_DBM + 1.0, permit(number=3))
            assert not device.emits

    asyncio.run(run())


def test_the_emulator_says_its_last_answer_again_and_does_nothing_for_it() -> None:
    device = EmulatedItla()
    device.switch_on(0.0)
    (power,) = device.hear(codec.read(Register.POWER_SET), 0.0)
    # ResEna is to be written with SENA, but "again" is set: 0x09 instead of 0x01, and the parity for it.
    assert device.hear(bytes.fromhex("09 32 00 08"), 0.0) == [power]
    assert not device.emits


def test_a_fatal_alarm_of_a_laser_that_emits_is_a_fault() -> None:
    async def run() -> None:
        async with laser() as (driver, _, device):
            device.constants[Register.STATUS_FATAL] = FATAL | Alarm.TEMPERATURE
            await driver.read()
            await driver.emit(POWER_DBM, permit())

            async def faulty() -> bool:
                try:
                    await driver.read()
                except InstrumentFault as error:
                    return "out of its limits in TEMPERATURE" in str(error)
                return False

            await comes(faulty, DARK_WITHIN_S, "it tells no fault")

    asyncio.run(run())


def test_it_works_at_a_serial_port(tmp_path: Path) -> None:
    async def run() -> None:
        emulation = Emulation(EmulatedItla())
        async with on_pty(emulation, tmp_path / "port") as link:
            driver = Itla(ItlaSettings(address=str(link), frequency_ghz=193_414.5, baud=115200))
            identity = await driver.connect()
            assert str(identity) == WHO
            await driver.configure()
            await driver.emit(POWER_DBM, permit())
            assert emulation.device.emits
            await driver.close()
            await goes_dark(emulation.device)

    asyncio.run(run())
