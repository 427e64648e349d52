"""How lasers with a diode on a current source are put to work, and what their emulators say about what was read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest

from qnoded.instruments.permit import EmissionPermit
from qnoded.testing.emulation import Emulation

CALIBRATION = ((40.0, -3.0), (60.0, 7.0), (80.0, 10.0))
DLC_PRO_CALIBRATION = ((60.0, -3.0), (120.0, 7.0), (180.0, 10.0))


def current_at(power_dbm: float, calibration: Sequence[tuple[float, float]]) -> float:
    """Return the current, mA, that gives a power; between two of the calibration it is linear in mW."""
    currents_ma, powers_dbm = zip(*calibration, strict=True)
    return float(np.interp(10 ** (power_dbm / 10), [10 ** (one / 10) for one in powers_dbm], currents_ma))


class DiodeTruth:
    LEASE_S = 20.0
    POWERS_DBM = (-3.0, 7.0)
    CURRENT_STEP_MA = 0.2
    """Between a current that was set and the one that an instrument makes of it."""

    def __init__(self, current_ma: Callable[[Any], float], temperature_c: Callable[[Any, float], float]) -> None:
        self._current_ma, self._temperature_c = current_ma, temperature_c
        self._numbers = count(1)

    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        now_s = asyncio.get_running_loop().time()
        power_dbm = self.POWERS_DBM[turn % 2]
        await driver.emit(power_dbm, EmissionPermit(next(self._numbers), now_s + self.LEASE_S, 8.0, "test"))

    async def settle(self, driver: Any) -> None:
        await asyncio.sleep(0.4)

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return emulations[0].device.serial

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        (emulation,) = emulations
        device = emulation.device
        assert reading.emitting == device.output_on(emulation.now_s)
        # Light only while the driver holds a permit for it.
        assert instrument._dead_man.holds or not reading.emitting
        assert reading.interlock_closed is not getattr(device, "interlock_open", False)
        assert reading.temperature_c == pytest.approx(self._temperature_c(device, emulation.now_s), abs=0.1)
        if reading.power_dbm.read_back is not None:
            assert device.emits(emulation.now_s)
            current_ma = current_at(reading.power_dbm.read_back, CALIBRATION)
            assert self._current_ma(device) == pytest.approx(current_ma, abs=self.CURRENT_STEP_MA)

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert not emulations[0].device.emits(emulations[0].now_s)


CLD101X = DiodeTruth(lambda device: device.current_a * 1e3, lambda device, now_s: device.diode.now_c(now_s))
KOHERON_CTL = DiodeTruth(lambda device: device.settings["ilaser"], lambda device, now_s: device.diode_c(now_s))
S15_SPDC = DiodeTruth(lambda device: device.current_ma, lambda device, now_s: device.crystal.now_c(now_s))
