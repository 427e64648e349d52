"""Every driver beside its emulator: how to make both, for the tests that all drivers pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from qnoded_drivers.elliptec_ell14.emulator import EmulatedEll14
from qnoded_drivers.itla_msa.emulator import EmulatedItla
from qnoded_drivers.oz_epc400.emulator import EmulatedEpc400
from qnoded_drivers.s15_tdc1.emulator import EmulatedTdc1
from qnoded_drivers.thorlabs_k10cr1.emulator import EmulatedK10cr1
from qnoded_drivers.thorlabs_mpc320.emulator import EmulatedMpc320
from qnoded_drivers.thorlabs_pm100d.emulator import EmulatedPm100d
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro

from qnoded.instruments.registry import find
from qnoded.testing.contract import Bench
from qnoded.testing.emulation import Device, Emulation, on_tcp
from qnoded.testing.relay import Relay, relay


@dataclass(frozen=True)
class Case:
    driver: str
    devices: Callable[[], Sequence[Device]]
    settings: Callable[[list[str]], dict[str, Any]]
    """From the addresses of the devices."""
    pace: float = 1.0
    damage: bool = True
    """Whether its link can change a byte: USB cannot, it only loses some."""

    @property
    def driver_class(self) -> Any:
        return find(self.driver)


def one_address(**others: Any) -> Callable[[list[str]], dict[str, Any]]:
    return lambda addresses: {"address": addresses[0], **others}


def three_mounts(addresses: list[str]) -> dict[str, Any]:
    plates = ("quarter-wave plate", "half-wave plate", "quarter-wave plate")
    return {
        "mounts": [
            {"address": address, "element": plate, "zero_deg": 10.0 * number}
            for number, (address, plate) in enumerate(zip(addresses, plates, strict=True))
        ]
    }


CASES = {
    case.driver: case
    for case in (
        Case("thorlabs-mpc320", lambda: [EmulatedMpc320()], one_address()),
        Case(
            "thorlabs-k10cr1",
            lambda: [EmulatedK10cr1("55000001"), EmulatedK10cr1("55000002"), EmulatedK10cr1("55000003")],
            three_mounts,
            pace=60.0,
        ),
        Case(
            "elliptec-ell14",
            lambda: [EmulatedEll14("0B")],
            one_address(mounts=[{"address": "0"}, {"address": "B", "zero_deg": 100.0}]),
        ),
        Case("itla-msa", lambda: [EmulatedItla()], one_address(frequency_ghz=193_414.489)),
        Case("oz-epc400", lambda: [EmulatedEpc400()], one_address(volts_per_turn=3.0)),
        Case("s15-tdc1", lambda: [EmulatedTdc1(rates_hz=(800.0, 600.0, 500.0, 400.0))], one_address(), damage=False),
        Case("thorlabs-pm100d", lambda: [EmulatedPm100d()], one_address(wavelength_nm=1550.0), damage=False),
        Case(
            "toptica-dlc-pro",
            lambda: [EmulatedDlcPro()],
            one_address(wavelength_nm=780.0, calibration=[[60.0, -3.0], [120.0, 7.0], [180.0, 10.0]]),
        ),
    )
}


@dataclass(frozen=True)
class Stand:
    settings: Any
    emulations: list[Emulation]
    cables: list[Relay]

    async def cut(self) -> None:
        for cable in self.cables:
            await cable.cut()

    async def restore(self) -> None:
        for cable in self.cables:
            await cable.restore()


@asynccontextmanager
async def standing(case: Case) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        emulations = [Emulation(device, case.pace) for device in case.devices()]
        ports = [await stack.enter_async_context(on_tcp(emulation)) for emulation in emulations]
        cables = [await stack.enter_async_context(relay("127.0.0.1", port)) for port in ports]
        settings = case.settings([f"tcp://127.0.0.1:{cable.port}" for cable in cables])
        yield Stand(case.driver_class.Settings.model_validate(settings), emulations, cables)


@asynccontextmanager
async def bench(case: Case) -> AsyncIterator[Bench]:
    async with standing(case) as stand:
        yield Bench(stand.settings, stand.cut, stand.restore)
