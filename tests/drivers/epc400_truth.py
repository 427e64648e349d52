"""How an EPC-400 is put to work, and what its emulator says about what the driver read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from qnoded_drivers.oz_epc400.codec import Mode

from qnoded.testing.emulation import Emulation

VOLTS_PER_TURN = 3.0


class Epc400Truth:
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        await driver.move(((120.0, -240.0, 12.0, 360.0), (-30.0, 60.0, 90.0, -1.0))[turn % 2])

    async def settle(self, driver: Any) -> None:
        # A voltage is there at once.
        pass

    def serial(self, emulations: Sequence[Emulation]) -> str:
        # A unit has none that it could tell.
        return "not told"

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        unit = emulations[0].device
        assert reading.moving == (unit.mode is Mode.SCRAMBLES)
        shown_deg = [setting.read_back for setting in reading.settings_deg]
        assert shown_deg == pytest.approx([mv / 1000.0 / VOLTS_PER_TURN * 360.0 for mv in unit.voltages_mv])

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert emulations[0].device.mode is Mode.HOLDS
