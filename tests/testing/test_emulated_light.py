"""Emulated instruments in a simulated world: what they do to its light, and what they see of it."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qnoded_drivers.elliptec_ell14.driver import Ell14
from qnoded_drivers.elliptec_ell14.emulator import EmulatedEll14
from qnoded_drivers.oz_epc400.emulator import EmulatedEpc400
from qnoded_drivers.s15_tdc1.driver import Tdc1
from qnoded_drivers.s15_tdc1.emulator import EmulatedTdc1
from qnoded_drivers.thorlabs_mpc320.driver import Mpc320
from qnoded_drivers.thorlabs_mpc320.emulator import EmulatedMpc320
from qnoded_drivers.thorlabs_pm100d.driver import Pm100d
from qnoded_drivers.thorlabs_pm100d.emulator import EmulatedPm100d
from qnoded_drivers.toptica_dlc_pro.driver import DlcPro
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro

from qnoded.errors import InstrumentUnavailable, UsageError
from qnoded.instruments.permit import EmissionPermit
from qnoded.records import TagBlock
from qnoded.sim.changes import load_world
from qnoded.sim.devices.cable import CableSettings
from qnoded.sim.devices.tagger import SimTagger
from qnoded.sim.events import TaggerPowerCycle, Unplug
from qnoded.sim.knobs import controller_rotation
from qnoded.sim.server import WorldServer
from qnoded.testing.emulation import Device, Emulation, Retarder, on_tcp
from qnoded.testing.emulation.place import placed
from qnoded.testing.emulation.retarding import equivalent_retardances_deg, turned_by

ALL_CHANGES = ["source.pair_rate_hz=2e4", "alice.tagger.bin_ps=2000", "bob.tagger.bin_ps=2000"]
CALIBRATION = [[41.0, -10.0], [60.0, 3.0103]]
"""Of the emulated laser as it is made: 0.1 mW for each mA above 40 mA."""
LOOK_S = 0.05
LONGEST_S = 20.0


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[tuple[WorldServer, str]]:
    server = WorldServer(load_world(None, ALL_CHANGES), 1)
    async with server.listening(f"unix://{folder}/w") as address:
        yield server, address


@asynccontextmanager
async def connected(
    driver: type[Any], device: Device, address: str, node: str, **settings: Any
) -> AsyncIterator[tuple[Any, Emulation]]:
    """Give a driver that is connected to its instrument in the world, and the emulation."""
    emulation = Emulation(device)
    place = CableSettings.model_validate({"address": address, "node": node})
    async with placed(emulation, place), on_tcp(emulation) as port:
        one = driver(driver.Settings.model_validate({"address": f"tcp://127.0.0.1:{port}", **settings}))
        await one.connect()
        await one.configure()
        yield one, emulation
        await one.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST_S):
        while not true():  # noqa: ASYNC110 - what others do in their own time has no event here
            await asyncio.sleep(LOOK_S)


async def at_rest(controller: Any) -> None:
    async with asyncio.timeout(LONGEST_S):
        while (await controller.read()).moving:  # noqa: ASYNC110 - instruments are asked
            await asyncio.sleep(LOOK_S)


async def all_of(blocks: AsyncIterator[TagBlock]) -> list[TagBlock]:
    async with asyncio.timeout(LONGEST_S):
        return [block async for block in blocks]


def arm_turned(server: WorldServer, side: int) -> Any:
    return controller_rotation(server.conductor.world.knobs.arm(side).move.target_deg)


@pytest.mark.parametrize("angles", list(itertools.product((0.0, 22.5, 45.0, 71.0), repeat=2)))
@pytest.mark.parametrize("retardances", [(180.0, 180.0), (90.0, 180.0), (90.0, 90.0), (88.0, 271.0)])
def test_three_fixed_retarders_do_what_any_chain_of_plates_does(
    angles: tuple[float, float], retardances: tuple[float, float]
) -> None:
    turned = turned_by([Retarder(*one) for one in zip(angles, retardances, strict=True)])
    retardances_deg = equivalent_retardances_deg(turned)
    assert all(0.0 <= one <= 360.0 for one in retardances_deg)
    np.testing.assert_allclose(controller_rotation(retardances_deg), turned, atol=1e-12)


def test_a_half_wave_plate_turns_linear_polarization_by_twice_its_angle() -> None:
    h, d = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(turned_by([Retarder(22.5, 180.0)]) @ h, d, atol=1e-12)
    # A quarter-wave plate at 45 degrees makes it circular.
    np.testing.assert_allclose(np.abs(turned_by([Retarder(45.0, 90.0)]) @ h), [0.0, 0.0, 1.0], atol=1e-12)


@pytest.mark.parametrize(
    ("driver", "device", "settings", "position"),
    [
        (Mpc320, EmulatedMpc320, {}, (22.5, 11.25, 0.0)),
        (Ell14, lambda: EmulatedEll14("01"), {"mounts": [{"address": "0"}, {"address": "1"}]}, (11.25, 0.0)),
    ],
    ids=["paddles", "half-wave plates"],
)
def test_a_move_of_emulated_plates_turns_the_world_for_a_bell_test(
    tmp_path: Path, driver: type[Any], device: Callable[[], Device], settings: dict[str, Any], position: Sequence[float]
) -> None:
    async def scenario() -> None:
        async with (
            world(tmp_path) as (server, address),
            connected(driver, device(), address, "bob", **settings) as (
                controller,
                _,
            ),
        ):
            for target, wanted_deg in ((position, (90.0, 45.0, 270.0)), ([0.0] * len(position), (0.0, 0.0, 0.0))):
                await controller.move(tuple(target))
                await at_rest(controller)
                # Rounded to the steps of the motors: a tenth of a degree of a plate, four of it on the sphere.
                wanted = controller_rotation(wanted_deg)
                await until(lambda wanted=wanted: bool(np.allclose(arm_turned(server, 1), wanted, atol=0.02)))  # type: ignore[misc]

    asyncio.run(scenario())


def test_an_emulated_laser_pumps_the_source_and_a_dead_one_leaves_it_dark(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (server, address):
            laser = {"wavelength_nm": 775.0, "calibration": CALIBRATION}
            loop = asyncio.get_running_loop()
            async with connected(DlcPro, EmulatedDlcPro(), address, "alice", **laser) as (driver, _):
                assert server.conductor.world.knobs.pump_mw == 0.0
                await driver.emit(0.0, EmissionPermit(1, loop.time() + 4.0, 3.0, "test"))
                await until(lambda: server.conductor.world.knobs.pump_mw > 0.0)
                assert server.conductor.world.knobs.pump_mw == pytest.approx(1.0, rel=1e-3)
                async with connected(Pm100d, EmulatedPm100d(), address, "alice", wavelength_nm=1310.0) as (meter, _):
                    await asyncio.sleep(LOOK_S)
                    assert (await meter.read()).power_dbm == pytest.approx(0.0, abs=0.01)
                await driver.make_safe()
                await until(lambda: server.conductor.world.knobs.pump_mw == 0.0)
                await driver.emit(3.0, EmissionPermit(1, loop.time() + 4.0, 3.0, "test"))
                await until(lambda: server.conductor.world.knobs.pump_mw > 1.9)
            # Its emulation has ended.
            await until(lambda: server.conductor.world.knobs.pump_mw == 0.0)

    asyncio.run(scenario())


def test_a_killed_emulator_leaves_the_world_dark(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (server, address):
            words = ["emulate", "toptica-dlc-pro", "--tcp", "127.0.0.1:0", "--world", address, "--node", "alice"]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "qnoded", *words, stdout=asyncio.subprocess.PIPE
            )
            try:
                assert process.stdout is not None
                place = (await process.stdout.readline()).decode().split()[1]
                settings = {"address": place, "wavelength_nm": 775.0, "calibration": CALIBRATION}
                laser = DlcPro(DlcPro.Settings.model_validate(settings))
                await laser.connect()
                await laser.configure()
                await laser.emit(0.0, EmissionPermit(1, asyncio.get_running_loop().time() + 4.0, 3.0, "test"))
                await until(lambda: server.conductor.world.knobs.pump_mw > 0.0)
            finally:
                process.kill()
                await process.communicate()
            await until(lambda: server.conductor.world.knobs.pump_mw == 0.0)
            await laser.close()

    asyncio.run(scenario())


def test_an_emulated_tagger_streams_the_photons_of_the_world(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (_, address):
            ideal = SimTagger(SimTagger.Settings.model_validate({"address": address, "node": "bob"}))
            await ideal.connect()
            async with connected(Tdc1, EmulatedTdc1(), address, "bob") as (tagger, _):
                blocks, seen = tagger.stream(), []
                async with asyncio.timeout(LONGEST_S):
                    while sum(map(len, seen)) < 400:
                        seen.append(await anext(blocks))
                await blocks.aclose()
            await ideal.close()
        tag_ps = np.concatenate([block.tag_ps for block in seen])
        channel = np.concatenate([block.channel for block in seen])
        assert not any(block.gaps for block in seen)
        assert np.all(tag_ps % 2000 == 0)
        # Dark counts alone: 100 a second and detector, of which 268 ms of the counter are no more than a hundred.
        assert set(channel.tolist()) == {1, 2, 3, 4}
        rate_hz = tag_ps.size / ((tag_ps[-1] - tag_ps[0]) / 1e12)
        assert rate_hz == pytest.approx(400.0, abs=5 * 20.0)

    asyncio.run(scenario())


def test_a_quiet_stretch_is_carried_by_dummies() -> None:
    device = EmulatedTdc1()
    device.switch_on(0.0)
    none = TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64))
    one = TagBlock(np.array([2], np.uint8), np.array([300_000_000_000], np.int64))
    device.detect(none, 0)
    assert device.tick(0.0) == []
    device.hear(b"TIMESTAMP;COUNTS?;", 0.0)
    words: list[int] = []
    for block, until_ms in ((none, 50), (none, 100), (none, 145), (none, 190), (none, 295), (one, 300)):
        device.detect(block, until_ms * 10**9)
        words += [int(word) for said in device.tick(0.0) for word in np.frombuffer(said, "<u4")]
    ticks, patterns = [word >> 5 for word in words], [word & 31 for word in words]
    assert ticks == [145 * 500_000, 295 * 500_000 % 2**27, 300 * 500_000 % 2**27]
    assert patterns == [16, 16, 4]


def test_a_cable_that_the_world_pulls_is_pulled(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            world(tmp_path) as (server, address),
            connected(Mpc320, EmulatedMpc320(), address, "bob") as (
                paddles,
                emulation,
            ),
        ):
            cable = Unplug(what="unplug", at_s=0.0, side="bob", device="polarization")
            server.unplug(cable)
            await until(lambda: emulation.away)
            with pytest.raises(InstrumentUnavailable):
                await paddles.read()
            with pytest.raises(InstrumentUnavailable):
                await paddles.connect()
            server.plug(cable)
            await until(lambda: not emulation.away)
            await paddles.connect()
            await paddles.configure()

    asyncio.run(scenario())


def test_a_power_cycle_in_the_world_is_one_of_the_emulated_tagger(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            world(tmp_path) as (server, address),
            connected(Tdc1, EmulatedTdc1(), address, "bob") as (
                tagger,
                emulation,
            ),
        ):
            blocks = tagger.stream()
            async with asyncio.timeout(LONGEST_S):
                await anext(blocks)
            cycle = TaggerPowerCycle(what="tagger_power_cycle", at_s=0.0, for_s=1.0, side="bob")
            server.unplug(cycle)
            with pytest.raises(InstrumentUnavailable):
                await all_of(blocks)
            assert emulation.away
            server.plug(cycle)
            await until(lambda: not emulation.away)
            # It has forgotten that it streamed.
            await tagger.connect()
            assert not (await tagger.read()).running
            await tagger.configure()
            blocks = tagger.stream()
            async with asyncio.timeout(LONGEST_S):
                # An empty block is a sign of life.
                while not len(await anext(blocks)):
                    pass
            await blocks.aclose()

    asyncio.run(scenario())


def test_what_has_nothing_to_do_with_light_has_no_place() -> None:
    class Dark(Device):
        serial = "1"

        def switch_on(self, now_s: float) -> None:
            pass

        def hear(self, data: bytes, now_s: float) -> list[bytes]:
            return []

    async def scenario() -> None:
        async with placed(Emulation(Dark()), CableSettings(address="unix:///nowhere", node="bob")):
            pass

    with pytest.raises(UsageError, match="a Dark has nothing to do with light; leave out --world"):
        asyncio.run(scenario())


def test_a_scrambler_scrambles_until_it_is_told_to_hold() -> None:
    device = EmulatedEpc400(volts_per_turn=2.0)
    device.switch_on(0.0)
    assert device.retarders(0.1) != device.retarders(0.2)
    device.hear(b"MDC\r\nV2,1000\r\n", 0.3)
    assert device.retarders(0.4) == device.retarders(0.5)
    assert device.retarders(0.4)[1] == Retarder(45.0, 180.0)
