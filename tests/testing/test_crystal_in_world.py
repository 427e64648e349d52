"""A board with pump and crystal, and an oven, by their makers' bytes change the rate of pairs in a simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from qnoded_drivers.s15_spdc.driver import S15Spdc
from qnoded_drivers.s15_spdc.emulator import EmulatedS15Spdc
from qnoded_drivers.thorlabs_tc200.driver import Tc200
from qnoded_drivers.thorlabs_tc200.emulator import EmulatedTc200

from qnoded.errors import InstrumentError
from qnoded.instruments.permit import EmissionPermit
from qnoded.sim.changes import load_world
from qnoded.sim.devices.cable import CableSettings
from qnoded.sim.devices.laser import SimLaser
from qnoded.sim.knobs import Knobs, brightness
from qnoded.sim.server import WorldServer
from qnoded.testing.emulation import Device, Emulation, on_tcp
from qnoded.testing.emulation.place import placed, role_of

OPTIMUM_C = 35.0
LOOK_S = 0.05
LONGEST_S = 20.0
LASER = {
    "wavelength_nm": 405.0,
    "calibration": [[40.0, 6.5321], [50.0, 8.751]],
    "crystal_c": OPTIMUM_C + 0.5,
    "diode_c": 25.0,
    "crystal_window_c": 5.0,
    "diode_window_c": 5.0,
}
"""Light of the emulated board as it is made: 0.3 mW for each mA above 25 mA."""
OVEN = {"temperature_c": OPTIMUM_C - 0.5, "limit_c": 60.0, "limit_w": 18.0}


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[tuple[WorldServer, str]]:
    server = WorldServer(load_world(None, ["source.pair_rate_hz=1e3", f"source.crystal_optimum_c={OPTIMUM_C}"]), 1)
    async with server.listening(f"unix://{folder}/w") as address:
        yield server, address


@asynccontextmanager
async def connected(
    driver: type[Any], device: Device, address: str, node: str, settings: Mapping[str, Any]
) -> AsyncIterator[Any]:
    emulation = Emulation(device)
    async with placed(emulation, CableSettings(address=address, node=node)), on_tcp(emulation) as port:
        one = driver(driver.Settings.model_validate({"address": f"tcp://127.0.0.1:{port}", **settings}))
        await one.connect()
        await one.configure()
        yield one
        await one.close()


async def until(server: WorldServer, true: Callable[[Knobs], bool]) -> None:
    async with asyncio.timeout(LONGEST_S):
        while not true(server.conductor.world.knobs):  # noqa: ASYNC110 - what the world does in its own time
            await asyncio.sleep(LOOK_S)


def test_a_board_pumps_the_source_and_heats_its_crystal(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedS15Spdc(crystal_c=OPTIMUM_C - 2.0, crystal_lag_s=0.3)
        async with world(tmp_path) as (server, address), connected(S15Spdc, device, address, "alice", LASER) as laser:
            source = server.conductor.world.settings.source
            await until(server, lambda knobs: knobs.crystal_k == pytest.approx(0.5, abs=0.02))
            permit = EmissionPermit(1, asyncio.get_running_loop().time() + 5.0, 8.0, "test")
            await laser.emit(6.5321, permit)
            await until(server, lambda knobs: knobs.pump_mw == pytest.approx(4.5, rel=0.02))
            # Half its width away a crystal makes half the pairs.
            assert source.crystal_fwhm_k == 1.0
            assert brightness(source, server.conductor.world.knobs.crystal_k) == pytest.approx(0.5, abs=0.03)

    asyncio.run(run())


def test_an_oven_heats_the_crystal_that_another_laser_pumps(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as (server, address):
            pump = SimLaser(SimLaser.Settings.model_validate({"address": address, "node": "alice"}))
            await pump.connect()
            await pump.configure()
            assert (await pump.read()).temperature_c == OPTIMUM_C
            async with connected(Tc200, EmulatedTc200(room_c=22.0, lag_s=0.3), address, "alice", OVEN):
                await until(server, lambda knobs: knobs.crystal_k == pytest.approx(-0.5, abs=0.02))
                assert (await pump.read()).temperature_c == pytest.approx(OPTIMUM_C - 0.5, abs=0.02)
            # An emulation that has gone leaves the crystal as warm as it was.
            assert server.conductor.world.knobs.crystal_k == pytest.approx(-0.5, abs=0.02)
            await pump.close()

    asyncio.run(run())


def test_a_board_at_bob_heats_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        device = EmulatedS15Spdc(crystal_c=OPTIMUM_C + 3.0)
        async with world(tmp_path) as (server, address), connected(S15Spdc, device, address, "bob", LASER) as laser:
            await laser.emit(6.5321, EmissionPermit(1, asyncio.get_running_loop().time() + 5.0, 8.0, "test"))
            await until(server, lambda knobs: knobs.alignment_mw > 4.0)
            assert server.conductor.world.knobs.crystal_k == 0.0

    asyncio.run(run())


def test_the_source_and_its_oven_stand_at_alice(tmp_path: Path) -> None:
    assert (role_of(EmulatedS15Spdc()), role_of(EmulatedTc200())) == ("laser", "oven")

    async def run() -> None:
        async with world(tmp_path) as (_, address):
            with pytest.raises(InstrumentError, match="no instrument 'oven' at a node 'bob'"):
                async with placed(Emulation(EmulatedTc200()), CableSettings(address=address, node="bob")):
                    pass

    asyncio.run(run())
