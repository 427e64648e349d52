"""Every driver beside its emulator: how to make both, for the tests that all drivers pass.

Driver, cable and emulator live in one loop, so it may be one of virtual time: no deadline depends on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from auxiliary_truth import FOUR_CELLS
from diode_truth import CALIBRATION, DLC_PRO_CALIBRATION
from qnoded_drivers.elliptec_ell14.emulator import EmulatedEll14
from qnoded_drivers.idq_id900.emulator import EmulatedId900
from qnoded_drivers.idq_id900.serving import SERVICE_ABOVE
from qnoded_drivers.itla_msa.emulator import EmulatedItla
from qnoded_drivers.koheron_ctl.emulator import EmulatedKoheronCtl
from qnoded_drivers.oz_dd100.emulator import EmulatedDd100
from qnoded_drivers.oz_epc400.emulator import EmulatedEpc400
from qnoded_drivers.polatis_switch.emulator import EmulatedPolatis
from qnoded_drivers.s15_lcr.emulator import EmulatedS15Lcr
from qnoded_drivers.s15_spdc.emulator import EmulatedS15Spdc
from qnoded_drivers.s15_tdc1.emulator import EmulatedTdc1
from qnoded_drivers.single_quantum_websq.emulator import EmulatedWebsq
from qnoded_drivers.thorlabs_cld101x.emulator import EmulatedCld101x
from qnoded_drivers.thorlabs_k10cr1.emulator import EmulatedK10cr1
from qnoded_drivers.thorlabs_mpc320.emulator import EmulatedMpc320
from qnoded_drivers.thorlabs_pm100d.emulator import EmulatedPm100d
from qnoded_drivers.thorlabs_tc200.emulator import EmulatedTc200
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro

from qnoded.instruments.registry import find
from qnoded.testing import virtual_time
from qnoded.testing.contract import Bench
from qnoded.testing.emulation import Device, Emulation, FaultKind, on_tcp
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
    impossible: frozenset[FaultKind] = frozenset()
    """Other faults that cannot happen on its link."""
    more: Callable[[list[int]], dict[str, Any]] = lambda ports: {}
    """Further settings, from the devices' own ports."""

    @property
    def driver_class(self) -> Any:
        return find(self.driver)


WHOLE_MESSAGES = frozenset(
    {
        FaultKind.CORRUPTED,
        FaultKind.SHORTENED,
        FaultKind.STRAY,
        FaultKind.SPLIT,
        FaultKind.MERGED,
    }
)
"""Faults that ZeroMQ does not know: a message comes as it is, or not at all."""


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
        Case(
            "idq-id900",
            lambda: [EmulatedId900()],
            one_address(threshold_v={1: 0.5, 2: 0.5, 4: 0.5}),
            impossible=WHOLE_MESSAGES,
            more=lambda ports: {"service": f"tcp://127.0.0.1:{ports[0] + SERVICE_ABOVE}"},
        ),
        Case("itla-msa", lambda: [EmulatedItla()], one_address(frequency_ghz=193_414.489)),
        Case("oz-dd100", lambda: [EmulatedDd100(homed=True)], one_address(), pace=60.0),
        Case("oz-epc400", lambda: [EmulatedEpc400()], one_address(volts_per_turn=3.0)),
        Case("polatis-switch", lambda: [EmulatedPolatis(inputs=2, outputs=3)], one_address()),
        Case("s15-lcr", lambda: [EmulatedS15Lcr()], one_address(cells=FOUR_CELLS)),
        Case("single-quantum-websq", lambda: [EmulatedWebsq()], one_address(max_bias_ua=20.0)),
        Case("thorlabs-tc200", lambda: [EmulatedTc200()], one_address(temperature_c=41.5, limit_c=60.0, limit_w=12.0)),
        Case("s15-tdc1", lambda: [EmulatedTdc1(rates_hz=(800.0, 600.0, 500.0, 400.0))], one_address(), damage=False),
        Case(
            "koheron-ctl",
            lambda: [EmulatedKoheronCtl()],
            one_address(wavelength_nm=1550.0, calibration=CALIBRATION, beta_k=3600.0, window_c=1.0),
        ),
        Case(
            "s15-spdc",
            lambda: [EmulatedS15Spdc(crystal_c=50.0, diode_c=25.0, crystal_lag_s=600.0)],
            one_address(
                wavelength_nm=405.0,
                calibration=CALIBRATION,
                crystal_c=50.0,
                diode_c=25.0,
                crystal_window_c=2.0,
                diode_window_c=2.0,
            ),
        ),
        Case(
            "thorlabs-cld101x",
            lambda: [EmulatedCld101x()],
            one_address(wavelength_nm=780.0, calibration=CALIBRATION, window_c=1.0),
        ),
        Case("thorlabs-pm100d", lambda: [EmulatedPm100d()], one_address(wavelength_nm=1550.0), damage=False),
        Case(
            "toptica-dlc-pro",
            lambda: [EmulatedDlcPro()],
            one_address(wavelength_nm=780.0, calibration=DLC_PRO_CALIBRATION),
        ),
    )
}


WITHOUT_A_WIRE = {"replay-tagger", "swabian-timetagger"}
"""A file, a maker's library: their contracts are in test files of their own."""


IN_REAL_TIME = {"idq-id900"}
"""ZeroMQ carries its messages in threads of its own, of which virtual time knows nothing."""


def runner(driver: str) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return what runs a driver beside its emulator."""
    return asyncio.run if driver in IN_REAL_TIME else virtual_time.run


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
        settings = case.settings([f"tcp://127.0.0.1:{cable.port}" for cable in cables]) | case.more(ports)
        yield Stand(case.driver_class.Settings.model_validate(settings), emulations, cables)


@asynccontextmanager
async def bench(case: Case) -> AsyncIterator[Bench]:
    async with standing(case) as stand:
        yield Bench(stand.settings, stand.cut, stand.restore)
