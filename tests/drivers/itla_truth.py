"""How an ITLA is put to work, and what its emulator says about what the driver read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from qnoded_drivers.itla_msa.codec import PER_DEGREE, Register

from qnoded.instruments.permit import EmissionPermit
from qnoded.testing.emulation import Emulation

FREQUENCY_REGISTERS = (193, 4144, 89)


class ItlaTruth:
    LEASE_S = 60.0
    POWERS_DBM = (8.0, 10.5)
    SETTLING_S = 0.6

    def __init__(self) -> None:
        self._numbers = count(1)

    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        expires_s = asyncio.get_running_loop().time() + self.LEASE_S
        await driver.emit(self.POWERS_DBM[turn % 2], EmissionPermit(next(self._numbers), expires_s, 12.0, "test"))

    async def settle(self, driver: Any) -> None:
        await asyncio.sleep(self.SETTLING_S)

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return emulations[0].device.serial

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        (emulation,) = emulations
        laser = emulation.device
        assert reading.emitting == laser.emits
        # Light only while the driver holds a permit for it, and only of the colour that was asked for.
        assert not reading.emitting or instrument._dead_man.holds
        assert not reading.emitting or tuple(laser.written[register] for register in (0x35, 0x36, 0x67)) == (
            FREQUENCY_REGISTERS
        )
        assert reading.power_dbm.accepted == pytest.approx(laser.set_dbm)
        assert reading.temperature_c == pytest.approx(laser.constant(Register.TEMPERATURE) / PER_DEGREE)
        if reading.power_dbm.read_back is not None:
            assert reading.power_dbm.read_back == pytest.approx(laser.power_dbm(emulation.now_s), abs=0.01)

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert not emulations[0].device.emits
