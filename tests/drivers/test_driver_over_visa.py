"""A driver whose instrument is reached through VISA keeps the contract there as well, threads and all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec

import pytest
from qnoded_drivers.thorlabs_pm100d.driver import Pm100d, Pm100dSettings
from qnoded_drivers.thorlabs_pm100d.emulator import EmulatedPm100d

from qnoded.errors import InstrumentError, InstrumentUnavailable
from qnoded.instruments.reading import PowerReading
from qnoded.testing import contract
from qnoded.testing.emulation import Emulation, Fault, FaultKind, on_tcp
from qnoded.testing.relay import relay

WAVELENGTH_NM = 1550.0


def visa(port: int) -> Pm100dSettings:
    return Pm100dSettings(address=f"TCPIP0::127.0.0.1::{port}::SOCKET", wavelength_nm=WAVELENGTH_NM)


@asynccontextmanager
async def bench() -> AsyncIterator[contract.Bench]:
    async with on_tcp(Emulation(EmulatedPm100d())) as port, relay("127.0.0.1", port) as cable:
        yield contract.Bench(visa(cable.port), cable.cut, cable.restore)


@pytest.mark.parametrize("check", contract.checks(Pm100d), ids=contract.name)
def test_contract(check: contract.Check) -> None:
    contract.verify(check, Pm100d, bench)


@pytest.mark.parametrize(
    "kind", [FaultKind.LOST, FaultKind.LATE, FaultKind.DOUBLED, FaultKind.PREVIOUS, FaultKind.HUNG]
)
def test_no_answer_is_taken_for_that_to_another_question(kind: str) -> None:
    async def scenario() -> None:
        emulation = Emulation(EmulatedPm100d(power_w=1e-3))
        async with on_tcp(emulation) as port:
            meter = Pm100d(visa(port))
            for message in range(3):
                await meter.connect()
                await meter.configure()
                emulation.script(Fault(FaultKind(kind), message))
                for _ in range(3):
                    with suppress(InstrumentError):
                        assert await meter.read() == PowerReading(pytest.approx(0.0), pytest.approx(WAVELENGTH_NM))
                emulation.script()
                if emulation.hung:
                    emulation.power_cycle()
            await meter.close()

    asyncio.run(scenario())


@pytest.mark.skipif(find_spec("usb") is not None, reason="pyusb is installed")
def test_without_the_library_for_usb_it_is_unavailable_and_says_how_to_come_by_it() -> None:
    meter = Pm100d(Pm100dSettings(address="USB0::0x1313::0x8078::P0012345::INSTR", wavelength_nm=WAVELENGTH_NM))
    with pytest.raises(InstrumentUnavailable, match=r'pip install "qnoded\[usb\]"'):
        asyncio.run(meter.connect())


def test_a_resource_that_is_not_there_is_unavailable() -> None:
    async def scenario() -> None:
        meter = Pm100d(visa(1))
        with pytest.raises(InstrumentUnavailable, match=r"cannot be opened|Connection refused"):
            await meter.connect()
        await meter.close()

    asyncio.run(scenario())
