"""Raw bytes alone make every emitting instrument dark, and only its own word counts for it."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError
from qnoded_drivers.thorlabs_cld101x.codec import DARK as CLD_DARK
from qnoded_drivers.thorlabs_cld101x.codec import SAFE_ORDER
from qnoded_drivers.thorlabs_cld101x.emulator import EmulatedCld101x
from qnoded_drivers.toptica_dlc_pro.codec import DARK
from rigs_made import LASERS, emitting, rig_of

from qnoded.errors import InstrumentError
from qnoded.hil.benches import Bench, settled, standing
from qnoded.hil.safing import Target, make_all_safe, make_safe, target_of
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.protocols import Laser
from qnoded.testing.emulation import Emulation, Fault, FaultKind, find_device, on_pty

PATIENCE_S = 3.0
MOST_READINGS = 4
"""The node gives up after three."""


async def lit(bench: Bench) -> Laser:
    """Light it up as the node would; return the driver's object, whose connection stays."""
    laser = bench.device.binding.instrument()
    assert isinstance(laser, Laser)
    assert bench.lit is not None
    await laser.connect()
    await laser.configure()
    power_dbm = bench.device.rig.power_dbm
    assert power_dbm is not None
    await laser.emit(power_dbm, EmissionPermit(1, asyncio.get_running_loop().time() + 60.0, power_dbm, "test"))
    assert await settled(bench.lit, True, 3.0)
    return laser


def test_every_emitting_emulator_is_in_the_tests_here() -> None:
    assert emitting() == set(LASERS)


@pytest.mark.parametrize("driver", sorted(emitting()))
def test_raw_bytes_make_it_dark_while_a_driver_holds_it(driver: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(rig_of(tmp_path, driver), driver, "emulated") as bench:
            laser = await lit(bench)
            safed = await asyncio.to_thread(make_all_safe, bench.device.targets(), PATIENCE_S)
            assert [one.confirmed for one in safed] == [True], safed
            assert bench.lit is not None
            assert not await bench.lit()
            await laser.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [FaultKind.LOST, FaultKind.CORRUPTED, FaultKind.LATE, FaultKind.SPLIT, FaultKind.BUSY])
@pytest.mark.parametrize("driver", sorted(emitting()))
def test_an_order_that_is_not_confirmed_is_sent_anew(driver: str, kind: FaultKind, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(rig_of(tmp_path, driver), driver, "emulated") as bench:
            laser = await lit(bench)
            for emulation in bench.emulations:
                emulation.script(*(Fault(kind, number) for number in range(3)))
            safed = await asyncio.to_thread(make_all_safe, bench.device.targets(), PATIENCE_S)
            assert all(one.confirmed for one in safed), safed
            assert bench.lit is not None
            assert not await bench.lit()
            await laser.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("driver", sorted(emitting()))
def test_a_driver_that_understands_nothing_makes_dark_before_it_hangs_up(driver: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(rig_of(tmp_path, driver), driver, "emulated") as bench:
            laser = await lit(bench)
            bench.garble()
            for _ in range(MOST_READINGS):
                with suppress(InstrumentError):
                    await laser.read()
            bench.heal()
            assert bench.lit is not None
            assert await settled(bench.lit, False, 0.5)
            await laser.close()

    asyncio.run(scenario())


def test_an_instrument_that_hangs_is_given_up_and_not_called_safe(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(rig_of(tmp_path, "itla-msa"), "itla-msa", "emulated") as bench:
            bench.emulations[0].hung = True
            safed = await asyncio.to_thread(make_all_safe, bench.device.targets(), 0.4)
            assert [one.confirmed for one in safed] == [False]
            assert "did not say that it is safe" in safed[0].said

    asyncio.run(scenario())


def test_who_is_not_there_is_told_and_holds_nobody_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(rig_of(tmp_path, "toptica-dlc-pro"), "toptica-dlc-pro", "emulated") as bench:
            absent = Target("absent", str(tmp_path / "no-such-port"), 9600, b"", b"x")
            unknown = Target("unknown", "tcp://127.0.0.1:1", 9600, b"", b"x")
            safed = await asyncio.to_thread(make_all_safe, [absent, unknown, *bench.device.targets()], 0.5)
            assert [one.confirmed for one in safed] == [False, False, True]
            assert "No such file" in safed[0].said
            assert "refused" in safed[1].said

    asyncio.run(scenario())


def test_a_serial_port_that_a_hung_process_has_locked(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = rig_of(tmp_path, "itla-msa")
        emulation = Emulation(find_device("itla-msa"))
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(on_pty(emulation, tmp_path / "port"))
            device = rig.devices["itla-msa"].at(dict(LASERS["itla-msa"]) | {"address": str(link)})
            laser = device.binding.instrument()
            assert isinstance(laser, Laser)
            # It holds the lock on the port; nobody reads its answers but the two of us.
            await laser.connect()
            # One look may lose its answer to the other reader: the order is sent again.
            safed = await asyncio.to_thread(make_safe, device.targets()[0], PATIENCE_S)
            await laser.close()
        assert safed.confirmed

    asyncio.run(scenario())


def test_behind_visa(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = rig_of(tmp_path, "thorlabs-cld101x")
        async with standing(rig, "thorlabs-cld101x", "emulated") as bench:
            laser = await lit(bench)
            port = bench.device.targets()[0].address.rpartition(":")[2]
            visa = bench.device.at(
                dict(rig.devices["thorlabs-cld101x"].rig.settings) | {"address": f"TCPIP0::127.0.0.1::{port}::SOCKET"}
            )
            safed = await asyncio.to_thread(make_safe, visa.targets()[0], PATIENCE_S)
            assert safed.confirmed, safed
            assert bench.lit is not None
            assert not await bench.lit()
            await laser.close()

    asyncio.run(scenario())


class OneAnswer:
    """An instrument behind VISA as IEEE 488.2 wants it: a new message throws away the answer that was not fetched."""

    read_termination, timeout = "", 0.0

    def __init__(self) -> None:
        self.device, self.answer = EmulatedCld101x(), b""
        self.device.switch_on(0.0)
        self.device.hear(b"OUTP2:STAT 1\nSOUR:CURR 0.05\nOUTP1:STAT 1\n", 0.0)

    def write_raw(self, message: bytes) -> None:
        self.answer = b"".join(self.device.hear(message, 0.0))

    def read_raw(self) -> bytes:
        if not self.answer:
            raise VisaIOError(StatusCode.error_timeout)
        answer, self.answer = self.answer, b""
        return answer

    def close(self) -> None:
        pass


def test_each_question_over_visa_is_asked_when_the_one_before_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = OneAnswer()
    manager = SimpleNamespace(open_resource=lambda *_, **__: instrument)
    monkeypatch.setattr("pyvisa.ResourceManager", lambda _: manager)
    target = Target("pump", "GPIB0::7::INSTR", 115200, SAFE_ORDER, CLD_DARK)
    safed = make_safe(target, 0.5)
    assert safed.confirmed, safed
    assert not instrument.device.output_on(0.0)


@pytest.mark.parametrize(
    ("answer", "dark"),
    [
        (b"\r\nWelcome to DeCoF Command Line\r\n\r\n> 0\r\n> #f\r\n> ", True),
        (b"> (param-set! 'laser1:dl:cc:enabled #f)\r\n0\r\n> (param-ref 'laser1:dl:cc:enabled)\r\n#f\r\n> ", True),
        (b"> #f\r\n> ", False),
        (b"> #f\r\n> 0\r\n> #t\r\n> ", False),
        (b"> Error: -11 not settable\r\n> #f\r\n> ", False),
        (b"> 0\r\n> #f", False),
    ],
)
def test_a_late_answer_to_another_question_is_no_confirmation(answer: bytes, dark: bool) -> None:
    assert (re.search(DARK, answer, re.DOTALL) is not None) is dark


def test_a_target_goes_through_json() -> None:
    target = Target("pump", "tcp://192.0.2.17:1998", 115200, b"\x00off\n", rb"\x10|ok")
    assert target_of(target.document()) == target
