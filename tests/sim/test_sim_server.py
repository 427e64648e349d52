"""The world as a server, in virtual time over a Unix socket: true time follows it exactly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnoded.errors import InstrumentUnavailable, RemoteProtocolError, UsageError
from qnoded.instruments.permit import EmissionPermit
from qnoded.records import Gap, TagBlock
from qnoded.sim.changes import load_world
from qnoded.sim.conductor import Conductor
from qnoded.sim.devices.laser import SimLaser
from qnoded.sim.devices.polarization import SimPolarization
from qnoded.sim.devices.tagger import SimTagger
from qnoded.sim.feed import pack, unpack
from qnoded.sim.knobs import UNTOUCHED
from qnoded.sim.pacing import Lockstep, Pace, Paced
from qnoded.sim.script import read_event
from qnoded.sim.server import WorldServer
from qnoded.sim.watching import happenings, inject, truth, watching
from qnoded.sim.wire import encode, read_address, read_frame
from qnoded.testing import virtual_time

CHANGES = ["source.pair_rate_hz=2e4", "bob.clock.offset_ps=0"]


class Stand:
    """A server that listens, and drivers connected to it."""

    def __init__(self, server: WorldServer, address: str) -> None:
        self.server, self.address = server, address

    async def driver(self, kind: Any, node: str) -> Any:
        made = kind(kind.Settings(address=self.address, node=node))
        await made.connect()
        await made.configure()
        return made

    async def light(self, power_dbm: float = 0.0, lease_s: float = 10.0) -> SimLaser:
        laser = await self.driver(SimLaser, "alice")
        await laser.emit(power_dbm, permit(lease_s))
        return laser


def permit(lease_s: float) -> EmissionPermit:
    return EmissionPermit(1, asyncio.get_running_loop().time() + lease_s, 10.0, "test")


@contextlib.asynccontextmanager
async def standing(*events: dict[str, Any], pace: Pace | None = None, seed: int = 1) -> AsyncIterator[Stand]:
    script = [read_event(event, "test", "event") for event in events]
    server = WorldServer(load_world(None, CHANGES), seed, script, pace or Paced())
    with TemporaryDirectory() as folder:
        async with server.listening(f"unix://{folder}/w") as address:
            yield Stand(server, address)


async def taken(tagger: SimTagger, blocks: int) -> list[TagBlock]:
    found = []
    async with contextlib.aclosing(tagger.stream()) as stream:
        async for block in stream:
            found.append(block)
            if len(found) == blocks:
                break
    return found


def tags_of(blocks: list[TagBlock]) -> np.ndarray:
    return np.concatenate([block.tag_ps for block in blocks])


async def lockstep_tags(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    async with standing(pace=Lockstep(2), seed=seed) as stand:
        laser = await stand.light()
        taggers = [await stand.driver(SimTagger, node) for node in ("alice", "bob")]
        alice, bob = await asyncio.gather(*(taken(tagger, 6) for tagger in taggers))
        told = await truth(stand.address)
        for one in (laser, *taggers):
            await one.close()
    return tags_of(alice), tags_of(bob), told


def test_lockstep_gives_the_photons_that_the_world_gives_without_a_server() -> None:
    alice, bob, told = virtual_time.run(lockstep_tags(5))
    again, _, _ = virtual_time.run(lockstep_tags(5))
    np.testing.assert_array_equal(alice, again)
    # The light is switched on at true time 0, from the slot that begins then.
    conductor = Conductor(load_world(None, CHANGES), 5)
    conductor.command(0, lambda _: UNTOUCHED)
    expected_a, expected_b = conductor.advance(300_000_000_000).blocks
    np.testing.assert_array_equal(alice, expected_a.tag_ps)
    np.testing.assert_array_equal(bob, expected_b.tag_ps)
    assert told["time"] == {"mode": "lockstep"}
    assert told["duration_s"] == 0.3
    assert alice.size > 500


def test_lockstep_waits_for_all_taggers_and_for_nobody_who_left() -> None:
    async def run() -> None:
        async with standing(pace=Lockstep(2)) as stand:
            alice, bob = [await stand.driver(SimTagger, node) for node in ("alice", "bob")]
            first = asyncio.create_task(taken(alice, 3))
            await asyncio.sleep(10.0)
            assert stand.server.conductor.world.now_ps == 0
            assert len(await taken(bob, 3)) == 3
            assert len(await first) == 3
            assert stand.server.conductor.world.now_ps == 150_000_000_000
            assert len(await taken(bob, 2)) == 2
            assert stand.server.conductor.world.now_ps == 250_000_000_000
            await alice.close()
            await bob.close()

    virtual_time.run(run())


def test_lockstep_goes_on_while_a_cable_is_pulled() -> None:
    async def run() -> None:
        event = {"what": "unplug", "at_s": 0.2, "for_s": 1.0, "side": "bob", "device": "tagger"}
        async with standing(event, pace=Lockstep(1)) as stand:
            tagger = await stand.driver(SimTagger, "bob")
            with pytest.raises(InstrumentUnavailable):
                await taken(tagger, 100)
            while True:
                with contextlib.suppress(InstrumentUnavailable):
                    await tagger.connect()
                    break
                await asyncio.sleep(0.1)
            assert tags_of(await taken(tagger, 1))[0] >= 1.2e12
            await tagger.close()

    virtual_time.run(run())


def test_blocks_follow_each_other_and_hold_fifty_milliseconds() -> None:
    async def run() -> None:
        async with standing() as stand:
            laser = await stand.light()
            tagger = await stand.driver(SimTagger, "alice")
            blocks = await taken(tagger, 10)
            tags = tags_of(blocks)
            assert (np.diff(tags) >= 0).all()
            assert all(0 < np.ptp(block.tag_ps) <= 50_000_000_000 for block in blocks)
            assert asyncio.get_running_loop().time() == pytest.approx(0.5, abs=0.051)
            assert all(block.gaps == () for block in blocks)
            await laser.close()
            await tagger.close()

    virtual_time.run(run())


def lit_s(told: dict[str, Any], side: str = "alice") -> list[tuple[float, float | None]]:
    return [(entry["start_s"], entry["stop_s"]) for entry in told["lasers"] if entry["side"] == side]


def test_light_lasts_as_long_as_its_lease_and_not_longer() -> None:
    async def run() -> None:
        async with standing() as stand:
            laser = await stand.light(lease_s=1.0)
            await asyncio.sleep(0.7)
            await laser.renew(permit(1.0))
            await asyncio.sleep(2.0)
            assert not (await laser.read()).emitting
            await laser.renew(permit(1.0))
            assert not (await laser.read()).emitting
            told = await truth(stand.address)
            assert lit_s(told) == [(pytest.approx(0.0, abs=0.031), pytest.approx(1.7, abs=0.031))]
            await laser.close()

    virtual_time.run(run())


@pytest.mark.parametrize("side", ["alice", "bob"])
def test_light_dies_with_the_connection_that_switched_it_on(side: str) -> None:
    async def run() -> None:
        async with standing() as stand:
            laser = await stand.driver(SimLaser, side)
            await laser.emit(3.0, permit(10.0))
            await asyncio.sleep(0.5)
            # As the kernel does for a process that is killed: no farewell.
            laser._cable._streams[1].transport.abort()
            await asyncio.sleep(0.5)
            told = await truth(stand.address)
            assert lit_s(told, side) == [(pytest.approx(0.0, abs=0.031), pytest.approx(0.5, abs=0.031))]
            assert told["lasers"][0]["power_mw"] == pytest.approx(1.995, abs=1e-3)
            assert told["present"]["pairs_hz"] == 0.0

    virtual_time.run(run())


def test_second_owner_of_a_laser_finds_it_dark_and_the_first_one_is_out() -> None:
    async def run() -> None:
        async with standing() as stand:
            first = await stand.light()
            second = await stand.driver(SimLaser, "alice")
            assert not (await second.read()).emitting
            with pytest.raises(InstrumentUnavailable):
                await first.read()
            await second.close()

    virtual_time.run(run())


def test_tags_that_nobody_fetches_for_a_second_are_lost_and_told() -> None:
    async def run() -> None:
        async with standing() as stand:
            laser = await stand.light()
            tagger = await stand.driver(SimTagger, "bob")
            async with contextlib.aclosing(tagger.stream()) as stream:
                early = [await anext(stream) for _ in range(4)]
                await asyncio.sleep(3.0)
                await laser.renew(permit(10.0))
                late = [await anext(stream) for _ in range(30)]
            (gap,) = [gap for block in late for gap in block.gaps]
            assert gap in late[0].gaps
            assert gap.reason == "overflow"
            # Of 3 s all but the last second.
            assert gap.stop_ps - gap.start_ps == pytest.approx(2e12, abs=0.11e12)
            assert int(early[-1].tag_ps[-1]) <= gap.start_ps
            assert gap.stop_ps <= int(late[0].tag_ps[0])
            # 3,500 clicks/s.
            assert gap.lost_tags == pytest.approx(7000, abs=800)
            assert (await tagger.read()).overflows == 1
            await laser.close()
            await tagger.close()

    virtual_time.run(run())


def test_unplugged_tagger_is_gone_until_its_cable_is_back() -> None:
    async def run() -> None:
        event = {"what": "unplug", "at_s": 0.5, "for_s": 2.0, "side": "bob", "device": "tagger"}
        async with standing(event) as stand:
            tagger = await stand.driver(SimTagger, "bob")
            axis = tagger.stream_id
            with pytest.raises(InstrumentUnavailable, match="connection is lost"):
                await taken(tagger, 100)
            assert asyncio.get_running_loop().time() == pytest.approx(0.55, abs=0.06)
            with pytest.raises(InstrumentUnavailable):
                await tagger.connect()
            with pytest.raises(InstrumentUnavailable, match="connection is lost: the world has gone; is the world"):
                await tagger.read()
            await asyncio.sleep(2.1)
            await tagger.connect()
            assert tagger.stream_id == axis
            assert tags_of(await taken(tagger, 2))[0] > 2.5e12
            await tagger.close()

    virtual_time.run(run())


def test_unplugged_laser_of_a_node_is_dark_and_stays_so() -> None:
    async def run() -> None:
        event = {"what": "unplug", "at_s": 0.5, "for_s": 1.0, "side": "alice", "device": "laser"}
        async with standing(event) as stand:
            laser = await stand.light()
            await asyncio.sleep(2.0)
            told = await truth(stand.address)
            await laser.close()
            assert lit_s(told) == [(pytest.approx(0.0, abs=0.031), pytest.approx(0.55, abs=0.07))]

    virtual_time.run(run())


def test_power_cycle_gives_another_time_axis_that_begins_at_zero() -> None:
    async def run() -> None:
        event = {"what": "tagger_power_cycle", "at_s": 5.0, "for_s": 1.0, "side": "bob"}
        async with standing(event) as stand:
            laser = await stand.light()
            tagger = await stand.driver(SimTagger, "bob")
            axis = tagger.stream_id
            with pytest.raises(InstrumentUnavailable):
                await taken(tagger, 1000)
            await asyncio.sleep(1.2)
            await laser.renew(permit(10.0))
            await tagger.connect()
            assert tagger.stream_id != axis
            assert 1e12 < tags_of(await taken(tagger, 2))[0] < 2e12
            await laser.close()
            await tagger.close()

    virtual_time.run(run())


def test_controller_is_read_where_it_is_and_told_in_the_truth() -> None:
    async def run() -> None:
        async with standing() as stand:
            controller = await stand.driver(SimPolarization, "bob")
            await asyncio.sleep(0.1)
            await controller.move((90.0, 45.0, 270.0))
            await asyncio.sleep(0.025)
            half_way = await controller.read()
            assert half_way.moving
            assert [one.read_back for one in half_way.settings_deg] == pytest.approx([45.0, 22.5, 135.0])
            await asyncio.sleep(0.1)
            assert not (await controller.read()).moving
            told = await truth(stand.address)
            (move,) = told["positions"]
            assert (move["side"], move["retardance_deg"]) == ("bob", [90.0, 45.0, 270.0])
            assert (move["start_s"], move["rests_s"]) == (pytest.approx(0.1), pytest.approx(0.15))
            await controller.close()

    virtual_time.run(run())


def test_events_are_announced_and_can_be_added() -> None:
    async def run() -> None:
        event = {"what": "network_loss", "at_s": 0.5, "for_s": 0.5, "label": "cable"}
        async with standing(event) as stand:
            told = happenings(stand.address)
            async with contextlib.aclosing(told):
                began, ended = await anext(told), await anext(told)
                assert (began["event"], began["label"], began["state"]) == ("network_loss", "cable", "began")
                assert ended["state"] == "ended"
                assert ended["true_s"] - began["true_s"] == pytest.approx(0.5, abs=0.06)
                now_s = await inject(stand.address, {"what": "fibre_cut", "side": "bob"})
                assert now_s == pytest.approx(1.0, abs=0.11)
                assert (await anext(told))["event"] == "fibre_cut"
            with pytest.raises(RemoteProtocolError, match="did you mean fibre_cut"):
                await inject(stand.address, {"what": "fibre_cutt"})

    virtual_time.run(run())


GREETINGS = [
    ({"world": 1, "node": "eve", "device": "tagger"}, "no instrument 'tagger' at a node 'eve'"),
    ({"world": 1, "node": "alice", "device": "truth"}, "no instrument 'truth' at a node 'alice'"),
    ({"world": 1, "node": ["alice"], "device": {}}, "no instrument"),
    ({"world": 2, "node": "alice", "device": "tagger"}, "speaks version 1, not 2"),
    ({}, "speaks version 1, not None"),
]


@pytest.mark.parametrize(("greeting", "problem"), GREETINGS)
def test_strangers_are_told_why_they_are_refused(greeting: dict[str, Any], problem: str) -> None:
    async def run() -> None:
        async with standing() as stand:
            reader, writer = await read_address(stand.address).connect()
            writer.write(encode(greeting))
            answer, _ = await read_frame(reader)
            assert problem in answer["error"]
            assert await reader.read() == b""
            writer.close()

    virtual_time.run(run())


def test_silent_stranger_is_hung_up_on() -> None:
    async def run() -> None:
        async with standing() as stand:
            reader, writer = await read_address(stand.address).connect()
            assert await reader.read() == b""
            assert asyncio.get_running_loop().time() == pytest.approx(5.0, abs=0.1)
            writer.close()

    virtual_time.run(run())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["do", "power_dbm", "lease_s", "settings_deg", "attenuation_db", "channel", "bias", "source", "output", "x"]
DOS = ["read", "safe", "emit", "renew", "crystal", "move", "attenuate", "route", "enable", "disable"]
questions = st.dictionaries(st.sampled_from(KEYS), values | st.sampled_from(DOS), max_size=5)
NESTED = 5_000  # far deeper than any reader of JSON follows
garbage = st.one_of(
    st.binary(max_size=64),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=64)).map(
        lambda parts: struct.pack("<II", parts[0], parts[1]) + parts[2]
    ),
    questions.map(lambda question: json.dumps(question).encode()).map(
        lambda text: struct.pack("<II", len(text), 0) + text
    ),
    st.just(struct.pack("<II", NESTED, 0) + b"[" * NESTED),
)
DEVICES = ["tagger", "tags", "laser", "polarization", "power-meter", "attenuator", "switch", "detector-supply"]


@settings(max_examples=150)
@given(device=st.sampled_from([None, *DEVICES, "truth", "events", "script"]), frames=st.lists(garbage, max_size=4))
def test_garbage_harms_nobody_but_its_sender(device: str | None, frames: list[bytes]) -> None:
    async def run() -> None:
        async with standing() as stand:
            meter = await stand.driver(SimPolarization, "alice")
            reader, writer = await read_address(stand.address).connect()
            if device is not None:
                node = "bob" if device in DEVICES else "world"
                writer.write(encode({"world": 1, "node": node, "device": device}))
            for frame in frames:
                writer.write(frame)
            writer.write_eof()
            # Answers and refusals may come; the connection always ends, by a reset if more was sent than was read.
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(20.0):
                    await reader.read()
            writer.close()
            assert not (await meter.read()).moving
            json.dumps(await truth(stand.address), allow_nan=False)
            await meter.close()

    virtual_time.run(run())


def test_pace_that_cannot_be_kept_slows_true_time_and_is_told() -> None:
    async def run() -> None:
        pace = Paced(2.0)
        pace.begin()
        loop = asyncio.get_running_loop()
        await pace.reach(2_000_000_000_000)
        assert loop.time() == pytest.approx(1.0)
        await asyncio.sleep(0.4)
        await pace.reach(2_100_000_000_000)
        assert pace.slowed_s == 0.0
        await asyncio.sleep(2.0)
        await pace.reach(2_200_000_000_000)
        assert pace.slowed_s == pytest.approx(3.4 - 1.1)
        assert pace.true_ps(loop.time()) == pytest.approx(2_200_000_000_000, abs=1e3)
        assert pace.describe() == {"mode": "paced", "pace": 2.0, "slowed_s": pytest.approx(2.3)}

    virtual_time.run(run())


def test_world_that_ends_takes_its_connections_along() -> None:
    async def run() -> None:
        async with standing() as stand:
            laser = await stand.light()
            tagger = await stand.driver(SimTagger, "bob")
            pulling = asyncio.create_task(taken(tagger, 1000))
            await asyncio.sleep(0.2)
        for waiting in (pulling, laser.read()):
            with pytest.raises(InstrumentUnavailable):
                await waiting
        await laser.close()
        await tagger.close()

    virtual_time.run(run())


def test_broken_world_ends_with_its_error_and_hangs_up() -> None:
    async def run() -> None:
        failed = asyncio.Event()
        server = WorldServer(load_world(None, CHANGES), 1)

        def breaks(_: int) -> None:
            problem = "a mistake"
            raise RuntimeError(problem)

        server.conductor.advance = breaks  # type: ignore[method-assign, assignment]
        with TemporaryDirectory() as folder:
            listening = server.listening(f"unix://{folder}/w", failed.set)
            async with listening as address, watching(address, "events") as one:
                await failed.wait()
                with pytest.raises(EOFError):
                    await one.hear()

    with pytest.raises(RuntimeError, match="a mistake"):
        virtual_time.run(run())


def test_address_that_cannot_be_listened_on_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        server = WorldServer(load_world(None, CHANGES), 1)
        with pytest.raises(UsageError, match="choose another --listen"):
            async with server.listening(f"unix://{tmp_path}/none/w"):
                pass

    asyncio.run(run())


def test_tcp_port_zero_becomes_a_real_one() -> None:
    async def run() -> None:
        async with WorldServer(load_world(None, CHANGES), 1).listening("tcp://127.0.0.1:0") as address:
            assert read_address(address).port > 0
            assert (await truth(address))["simulated"]

    asyncio.run(run())


def test_tags_come_through_a_frame_as_they_were() -> None:
    block = TagBlock(
        np.array([3, 0, 1], np.uint8),
        np.array([-5, 2**60, 2**60 + 1]),
        (Gap(1, 2, None, "overflow"), Gap(3, 9, 4, "x")),
    )
    header, body = pack(block)
    found = unpack(json.loads(json.dumps(header)), body)
    np.testing.assert_array_equal(found.tag_ps, block.tag_ps)
    np.testing.assert_array_equal(found.channel, block.channel)
    assert found.gaps == block.gaps
    for wrong in ({}, {"tags": 2, "gaps": []}, {"tags": -1}, {"tags": 3}, {"tags": 3, "gaps": [1]}, {"tags": True}):
        with pytest.raises(ValueError, match=r"hold|told"):
            unpack(wrong, body)
