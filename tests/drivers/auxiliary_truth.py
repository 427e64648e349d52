"""How retarders, switch, detector supply, oven and attenuator are put to work, and what their emulators know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from qnoded_drivers.s15_lcr.curve import Cell
from qnoded_drivers.s15_lcr.emulator import CURVE

from qnoded.testing.emulation import Emulation

MEASURED = CURVE[1:-1]
"""From 0.9 to 5.5 V, as in the maker's own compensator."""
FOUR_CELLS = [
    {"channel": channel, "axis_deg": axis_deg, "calibration": MEASURED}
    for channel, axis_deg in enumerate((0.0, 45.0, 0.0, 45.0), start=1)
]


class Rests:
    """What is there as soon as the driver returns."""

    async def settle(self, driver: Any) -> None:
        pass

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return emulations[0].device.serial


class Nameless(Rests):
    def serial(self, emulations: Sequence[Emulation]) -> str:
        # A unit has none that it could tell.
        return "not told"


class LcrTruth(Nameless):
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        await driver.move(((120.0, 240.0, 70.0, 180.0), (90.0, 100.0, 260.0, 200.0))[turn % 2])

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        curve = Cell(channel=1, axis_deg=0.0, calibration=MEASURED)
        true_deg = [curve.retardance_deg(one, 0.01) for one in emulations[0].device.amplitudes_v]
        assert [setting.read_back for setting in reading.settings_deg] == [
            None if one is None else pytest.approx(one) for one in true_deg
        ]

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        # No retardance harms anybody.
        assert emulations[0].device.on


class PolatisTruth(Rests):
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        await driver.route(turn % 2, turn % 3)
        await driver.route(turn % 2, None if turn % 4 == 3 else (turn + 1) % 3)

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        leads = emulations[0].device.connections
        assert reading.routes == tuple(leads[port] - 3 if port in leads else None for port in (1, 2))

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert not emulations[0].device.connections


class WebsqTruth(Nameless):
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        await driver.enable(1 + turn % 4, 10.0 + turn)
        if turn % 3 == 0:
            await driver.disable(1 + turn % 4)

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        supply = emulations[0].device
        for shown, current_ua in zip(reading, supply.currents_ua, strict=True):
            assert shown.enabled == (supply.enabled and current_ua != 0.0)
            assert shown.bias.read_back == pytest.approx(current_ua if supply.enabled else 0.0)

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert not emulations[0].device.enabled


class Tc200Truth(Nameless):
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        await driver.heat((30.0, 55.0, None)[turn % 3])

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        (emulation,) = emulations
        assert reading.heating == emulation.device.enabled
        assert reading.temperature_c.accepted == pytest.approx(emulation.device.values["tset"])
        true_c = emulation.device.oven.now_c(emulation.now_s)
        assert reading.temperature_c.read_back == pytest.approx(true_c, abs=1.0)

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        # It may go on heating, but no further than its limit.
        assert emulations[0].device.values["tset"] <= emulations[0].device.values["tmax"] == 60.0


class Dd100Truth(Rests):
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        await driver.attenuate((3.0, 20.5)[turn % 2])

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        (emulation,) = emulations
        if reading.attenuation_db.read_back is None:
            # It moves, or hears nothing for another reason, and nothing is claimed.
            return
        # What it says before it has been home is no attenuation.
        assert emulation.device.homed
        true_db = emulation.device.attenuation_db(emulation.now_s)
        assert reading.attenuation_db.read_back == pytest.approx(true_db, abs=0.2)

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert emulations[0].device.attenuation_db(emulations[0].now_s) == pytest.approx(55.0, abs=0.2)
