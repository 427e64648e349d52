"""How each kind of driver is put to work, and what its emulator says about what the driver read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol

import pytest
from auxiliary_truth import Dd100Truth, LcrTruth, PolatisTruth, Tc200Truth, WebsqTruth
from diode_truth import CLD101X, DLC_PRO_CALIBRATION, KOHERON_CTL, S15_SPDC, current_at
from epc400_truth import Epc400Truth
from id900_truth import Id900Truth
from itla_truth import ItlaTruth
from qnoded_drivers.s15_tdc1.codec import TICK_PS, WRAP

from qnoded.instruments.permit import EmissionPermit
from qnoded.testing.emulation import Emulation

LOOK_S = 0.05
MOST_LOOKS = 500


class Truth(Protocol):
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        """Command something, another thing each turn."""

    async def settle(self, driver: Any) -> None:
        """Wait until what was commanded is done."""

    def serial(self, emulations: Sequence[Emulation]) -> str:
        """Return what must be the serial number in the identity."""

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        """Fail if the reading is not what is true."""

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        """Fail if the instrument was left in danger by a driver that has been closed."""


class AptTruth:
    TOLERANCE_DEG = 1.0

    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        capability = driver.capability
        angle_deg = capability.min_deg + (20.0 if turn % 2 else 50.0)
        await driver.move((angle_deg,) * len(capability.elements))

    async def settle(self, driver: Any) -> None:
        for _ in range(MOST_LOOKS):
            if not (await driver.read()).moving:
                return
            await asyncio.sleep(LOOK_S)
        pytest.fail("it does not come to rest")

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return "+".join(emulation.device.serial for emulation in emulations)

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        zeros = [axis.zero_deg for unit in instrument._units for axis in unit.axes]
        axes = [(one, axis) for one in emulations for axis in one.device.axes]
        for setting, (emulation, axis), zero_deg in zip(reading.settings_deg, axes, zeros, strict=True):
            if reading.moving:
                # It has gone on since it was asked.
                continue
            assert axis.under_way is None
            if setting.read_back is None:
                assert not axis.homed
            else:
                true_deg = axis.motor.position(emulation.now_s) / emulation.device.counts_per_deg - zero_deg
                assert setting.read_back == pytest.approx(true_deg, abs=self.TOLERANCE_DEG)

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        # No position harms anybody.
        pass


class Ell14Truth(AptTruth):
    def serial(self, emulations: Sequence[Emulation]) -> str:
        bus = emulations[0].device
        return "+".join(bus.serial_of(mount) for mount in bus.mounts.values())

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        if reading.moving:
            return
        now_s = emulations[0].now_s
        for setting, mount, module in zip(
            reading.settings_deg, emulations[0].device.mounts.values(), instrument._modules, strict=True
        ):
            assert not mount.under_way
            if setting.read_back is not None:
                from_zero = mount.motor.position(now_s) - mount.zero
                true_deg = from_zero / mount.pulses_per_turn * 360.0 - module.mount.zero_deg
                off_deg = (setting.read_back - true_deg + 180.0) % 360.0 - 180.0
                assert off_deg == pytest.approx(0.0, abs=self.TOLERANCE_DEG)


class DlcProTruth:
    LEASE_S = 20.0

    def __init__(self) -> None:
        self._numbers = count(1)

    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        now_s = asyncio.get_running_loop().time()
        await driver.emit((-3.0, 7.0)[turn % 2], EmissionPermit(next(self._numbers), now_s + self.LEASE_S, 8.0, "test"))

    async def settle(self, driver: Any) -> None:
        await asyncio.sleep(LOOK_S)

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return emulations[0].device.serial

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        (emulation,) = emulations
        warming = emulation.device.parameters["laser1:dl:cc:enabled"] and not reading.emitting
        assert reading.emitting == emulation.device.emits(emulation.now_s) or warming
        assert reading.interlock_closed is not emulation.device.interlock_open
        assert reading.temperature_c == pytest.approx(22.0, abs=0.1)
        if reading.emitting:
            current_ma = emulation.device.parameters["laser1:dl:cc:current-set"]
            if reading.power_dbm.read_back is not None:
                assert current_at(reading.power_dbm.read_back, DLC_PRO_CALIBRATION) == pytest.approx(current_ma)
        # Light only while the driver holds a permit for it.
        assert instrument._dead_man.holds or not reading.emitting

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert not emulations[0].device.emits(emulations[0].now_s)


class Tdc1Truth:
    BLOCKS = 6

    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        stream = driver.stream()
        heard: set[tuple[int, int]] = set()
        try:
            for _ in range(self.BLOCKS):
                block = await anext(stream)
                heard.update(zip(block.channel.tolist(), (block.tag_ps // TICK_PS % WRAP).tolist(), strict=True))
        finally:
            sent = {
                (bit + 1, tick % WRAP)
                for events in emulations[0].device.sent
                for tick, pattern in events.T.tolist()
                for bit in range(4)
                if pattern >> bit & 1
            }
            await stream.aclose()
            assert heard <= sent, f"{len(heard - sent)} of {len(heard)} tags are no event"

    async def settle(self, driver: Any) -> None:
        await asyncio.sleep(0)

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return emulations[0].device.serial

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        assert not reading.running
        assert reading.overflows == emulations[0].device.overflown
        assert emulations[0].device._until is None

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert emulations[0].device._until is None


class Pm100dTruth:
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        emulations[0].device.power_w = (1e-6, 3e-4)[turn % 2]
        await driver.read()

    async def settle(self, driver: Any) -> None:
        await driver.read()

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return emulations[0].device.serial

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        assert reading.wavelength_nm == pytest.approx(1550.0)
        assert 10 ** (reading.power_dbm / 10) * 1e-3 == pytest.approx(emulations[0].device.power_w)

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        # It only measures.
        pass


TRUTHS: dict[str, Truth] = {
    "thorlabs-mpc320": AptTruth(),
    "thorlabs-k10cr1": AptTruth(),
    "elliptec-ell14": Ell14Truth(),
    "idq-id900": Id900Truth(),
    "itla-msa": ItlaTruth(),
    "oz-dd100": Dd100Truth(),
    "oz-epc400": Epc400Truth(),
    "polatis-switch": PolatisTruth(),
    "s15-lcr": LcrTruth(),
    "single-quantum-websq": WebsqTruth(),
    "thorlabs-tc200": Tc200Truth(),
    "toptica-dlc-pro": DlcProTruth(),
    "s15-tdc1": Tdc1Truth(),
    "thorlabs-pm100d": Pm100dTruth(),
    "koheron-ctl": KOHERON_CTL,
    "s15-spdc": S15_SPDC,
    "thorlabs-cld101x": CLD101X,
}
