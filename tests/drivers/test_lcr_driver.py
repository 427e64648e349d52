"""Liquid-crystal retarders are set through what was measured of them, and know what was not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from auxiliary_truth import FOUR_CELLS, MEASURED
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from qnoded_drivers.s15_lcr.curve import Cell
from qnoded_drivers.s15_lcr.driver import Lcr, LcrSettings
from qnoded_drivers.s15_lcr.emulator import EmulatedS15Lcr

from qnoded.errors import UsageError
from qnoded.sim.knobs import controller_rotation
from qnoded.testing.emulation import Emulation, Retarder, on_pty
from qnoded.testing.emulation.retarding import turned_by

TARGET_DEG = (120.0, 240.0, 70.0, 180.0)
CELL = Cell(channel=1, axis_deg=0.0, calibration=MEASURED)
UNLIKE = {"channel": 4, "axis_deg": 45.0, "calibration": [[1.0, 250.0], [5.0, 40.0]]}


@asynccontextmanager
async def board(port: Path, cells: list[dict[str, Any]]) -> AsyncIterator[tuple[Lcr, Emulation, Any]]:
    emulation = Emulation(EmulatedS15Lcr())
    async with on_pty(emulation, port) as link:
        driver = Lcr(LcrSettings.model_validate({"address": str(link), "cells": cells}))
        try:
            assert str(await driver.connect()) == (
                "S-Fifteen LCD cell driver, serial not told, firmware LCDD-001 svn-12"
            )
            await driver.configure()
            yield driver, emulation, emulation.device
        finally:
            await driver.close()


@given(st.floats(*CELL.range_deg))
def test_an_amplitude_gives_the_retardance_that_it_was_found_for(retardance_deg: float) -> None:
    amplitude_v = CELL.amplitude_v(retardance_deg)
    assert MEASURED[0][0] <= amplitude_v <= MEASURED[-1][0]
    assert CELL.retardance_deg(amplitude_v, 1e-9) == pytest.approx(retardance_deg, abs=1e-6)


def test_the_curve_goes_through_each_measured_point_and_never_turns() -> None:
    for amplitude_v, retardance_deg in MEASURED:
        assert CELL.amplitude_v(retardance_deg) == pytest.approx(amplitude_v)
    amplitudes_v = [CELL.amplitude_v(one) for one in np.linspace(*CELL.range_deg, 500)]
    assert all(one > other for one, other in pairwise(amplitudes_v))


@pytest.mark.parametrize(("cells", "message"), [
    ([UNLIKE | {"calibration": [[1.0, 250.0], [2.0, 251.0]]}], "the amplitude .* must rise and the retardance .* fall"),
    ([UNLIKE | {"calibration": [[1.0, 250.0], [11.0, 40.0]]}], "between 0 and 10 V"),
    ([UNLIKE, UNLIKE], "two cells have the same channel"),
    ([UNLIKE, FOUR_CELLS[0] | {"calibration": [[1.0, 30.0], [2.0, 10.0]]}], "no retardance is within all"),
])  # fmt: skip
def test_a_calibration_that_cannot_be_is_told(cells: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LcrSettings.model_validate({"address": "/dev/lcr", "cells": cells})


def test_the_range_is_what_all_cells_can_and_what_lies_outside_is_named() -> None:
    async def run() -> None:
        driver = Lcr(LcrSettings.model_validate({"address": "/dev/lcr", "cells": [FOUR_CELLS[0], UNLIKE]}))
        assert (driver.capability.min_deg, driver.capability.max_deg) == (pytest.approx(MEASURED[-1][1]), 250.0)
        with pytest.raises(
            UsageError, match=r"retarder at 45 deg \(channel 4\) 251.0 cannot be set; use 67.7.* to 250"
        ):
            await driver.move((180.0, 251.0))

    asyncio.run(run())


def test_a_move_sets_every_amplitude_and_the_crystals_follow(tmp_path: Path) -> None:
    async def run() -> None:
        async with board(tmp_path / "port", FOUR_CELLS) as (driver, emulation, device):
            assert device.on
            assert [one.read_back for one in (await driver.read()).settings_deg] == [None] * 4
            await driver.move(TARGET_DEG)
            reading = await driver.read()
            assert reading.moving
            assert [one.read_back for one in reading.settings_deg] == pytest.approx(TARGET_DEG, abs=0.5)
            # By a minute later they rest where they were sent.
            present = [one.retardance_deg for one in device.retarders(emulation.now_s + 60.0)]
            assert present == pytest.approx(TARGET_DEG, abs=0.5)

    asyncio.run(run())


def test_after_a_power_cycle_nothing_is_known_until_it_moves(tmp_path: Path) -> None:
    async def run() -> None:
        async with board(tmp_path / "port", FOUR_CELLS) as (driver, emulation, device):
            await driver.move(TARGET_DEG)
            emulation.power_cycle()
            assert [one.read_back for one in (await driver.read()).settings_deg] == [None] * 4
            await driver.move(TARGET_DEG)
            assert device.on
            shown = [one.read_back for one in (await driver.read()).settings_deg]
            assert shown == pytest.approx(TARGET_DEG, abs=0.5)

    asyncio.run(run())


def test_voltages_stay_when_it_is_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with board(tmp_path / "port", FOUR_CELLS[:2]) as (driver, _, device):
            await driver.move((90.0, 200.0))
            before = list(device.amplitudes_v)
        assert device.on
        assert device.amplitudes_v == before
        assert before[2:] == [0.0, 0.0]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("settings_deg", "like_deg"), [((180.0,) * 4, (0.0,) * 3), ((180.0, 90.0, 225.0, 90.0), (90.0, 45.0, 270.0))]
)
def test_four_cells_turn_nothing_or_as_for_a_bell_test(
    settings_deg: tuple[float, ...], like_deg: tuple[float, ...]
) -> None:
    turned = turned_by([Retarder(*one) for one in zip((0.0, 45.0, 0.0, 45.0), settings_deg, strict=True)])
    np.testing.assert_allclose(turned, controller_rotation(like_deg), atol=1e-12)
