"""Retarders, attenuator and detector supply by their makers' bytes do to a simulated world what they do to light."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qnoded_drivers.oz_dd100.driver import Dd100
from qnoded_drivers.oz_dd100.emulator import EmulatedDd100
from qnoded_drivers.s15_lcr.driver import Lcr
from qnoded_drivers.s15_lcr.emulator import CURVE, EmulatedS15Lcr
from qnoded_drivers.single_quantum_websq.driver import Websq
from qnoded_drivers.single_quantum_websq.emulator import EmulatedWebsq

from qnoded.sim.changes import load_world
from qnoded.sim.devices.cable import CableSettings
from qnoded.sim.knobs import controller_rotation
from qnoded.sim.server import WorldServer
from qnoded.testing.emulation import Device, Emulation, on_tcp
from qnoded.testing.emulation.place import placed

BOB = 1
LOOK_S = 0.05
LONGEST_S = 20.0
PACE = 60.0
CELLS = [
    {"channel": channel, "axis_deg": axis_deg, "calibration": CURVE[1:-1]}
    for channel, axis_deg in enumerate((0.0, 45.0, 0.0, 45.0), start=1)
]


@asynccontextmanager
async def in_world(
    folder: Path, driver: type[Any], device: Device, settings: Mapping[str, Any], pace: float = 1.0
) -> AsyncIterator[tuple[Any, Callable[[], Any]]]:
    """Give the driver, and a look at what the world knows of bob's arm."""
    server = WorldServer(load_world(None, ["source.pair_rate_hz=1e3"]), 1)
    async with server.listening(f"unix://{folder}/w") as address:
        emulation = Emulation(device, pace)
        place = CableSettings(address=address, node="bob")
        async with placed(emulation, place), on_tcp(emulation) as port:
            one = driver(driver.Settings.model_validate({"address": f"tcp://127.0.0.1:{port}", **settings}))
            await one.connect()
            await one.configure()
            yield one, lambda: server.conductor.world.knobs.arm(BOB)
            await one.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST_S):
        while not true():  # noqa: ASYNC110 - what the world does in its own time has no event here
            await asyncio.sleep(LOOK_S)


def test_an_attenuator_is_safe_and_open_in_the_world(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedDd100(homed=True)
        async with in_world(tmp_path, Dd100, device, {}, PACE) as (attenuator, arm):
            await until(lambda: arm().attenuation_db == pytest.approx(55.0))
            await attenuator.attenuate(3.5)
            await until(lambda: arm().attenuation_db == pytest.approx(3.5))

    asyncio.run(run())


def test_a_supply_biases_the_detectors_of_the_world_but_not_one_that_latches(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedWebsq(switching_ua=(30.0, 15.0, 30.0, 30.0))
        async with in_world(tmp_path, Websq, device, {"max_bias_ua": 25.0}) as (supply, arm):
            await until(lambda: arm().biased == (0.0,) * 4)
            await supply.enable(1, 20.0)
            await supply.enable(2, 18.0)
            await supply.enable(4, 10.0)
            await until(lambda: arm().biased == pytest.approx((1.0, 0.0, 0.0, 0.5)))

    asyncio.run(run())


def test_retarders_turn_the_world_for_a_bell_test(tmp_path: Path) -> None:
    async def run() -> None:
        async with in_world(tmp_path, Lcr, EmulatedS15Lcr(), {"cells": CELLS}) as (retarders, arm):
            wanted = controller_rotation((90.0, 45.0, 270.0))
            await retarders.move((180.0, 90.0, 225.0, 90.0))
            await until(lambda: np.allclose(controller_rotation(arm().move.target_deg), wanted, atol=0.02))
            assert [one.read_back for one in (await retarders.read()).settings_deg] == pytest.approx(
                (180.0, 90.0, 225.0, 90.0), abs=0.2
            )

    asyncio.run(run())
