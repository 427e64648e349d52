"""Light only under a permit that a healthy node renews; after any trouble it is dark until somebody decides anew."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scripted_drivers import Bench, ScriptedLaser, fresh_bench

from qnoded.errors import EmissionRefused, InstrumentFault, InstrumentUnavailable, UsageError
from qnoded.node.device import POLL_S
from qnoded.node.devices import Devices
from qnoded.node.permits import (
    ANSWER_S,
    DECISION_S,
    HEALED_S,
    LEASE_S,
    RENEW_S,
    SOFT_START_S,
    LightChanged,
    PermitOffice,
)
from qnoded.testing import virtual_time

LASER = {"driver": "scripted-laser", "address": "L"}
LONG_S = 60.0
"""Many leases; every back-off is over."""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with fresh_bench(monkeypatch) as fresh:
        fresh.plugged = {"L"}
        yield fresh


class Remembered:
    """What the next run of the node would know."""

    def __init__(self) -> None:
        self.doubt: str | None = None
        self.emitting = False
        self.flushed: list[bool] = []
        """Whether it was said to emit, at each flush."""

    def keep(self, doubt: str | None) -> None:
        self.doubt = doubt

    def emits(self, emits: bool) -> None:
        self.emitting = emits

    async def flush(self) -> None:
        self.flushed.append(self.emitting)


class Node:
    """A laser, an office and one condition that a test may break."""

    def __init__(self) -> None:
        self.told: list[LightChanged] = []
        self.healthy = True
        self.memory = Remembered()
        self.devices = Devices(
            {"laser": LASER}, "node.toml", simulation=True, chance=random.Random(1), tell=lambda _: None
        )
        self.office = PermitOffice(
            self.devices,
            power_dbm=3.0,
            max_power_dbm=6.0,
            health={"healthy": lambda: self.healthy},
            tell=self.told.append,
            memory=self.memory,
        )

    @property
    def laser(self) -> ScriptedLaser:
        found = self.devices.get("laser")
        assert isinstance(found, ScriptedLaser)
        return found

    async def lit(self) -> ScriptedLaser:
        await self.devices.wait_ready("laser")
        self.office.resume("the operator wants light")
        await asyncio.sleep(2 * RENEW_S)
        assert self.laser.emitting
        return self.laser

    @property
    def last_words(self) -> str:
        assert not self.told[-1].emitting
        return self.told[-1].text


@asynccontextmanager
async def running() -> AsyncIterator[Node]:
    node = Node()
    tasks = [asyncio.create_task(node.devices.run()), asyncio.create_task(node.office.run())]
    try:
        yield node
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() or task.exception() is None, task.exception()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    virtual_time.run(scenario())


def test_no_light_without_a_decision(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            await asyncio.sleep(LONG_S)
            assert "L emit" not in bench.calls
            assert node.told == []

    run(scenario)


def test_light_stays_for_as_long_as_the_node_is_well_and_ends_with_it(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            laser = await node.lit()
            await asyncio.sleep(LONG_S)
            assert laser.emitting
            assert bench.calls.count("L emit") == 1
            assert LONG_S / RENEW_S - 3 < bench.calls.count("L renew") < LONG_S / RENEW_S + 5
            numbers = [permit.number for permit in laser.permits]
            assert numbers == sorted(set(numbers))
            assert all(permit.max_power_dbm == 6.0 for permit in laser.permits)
            assert node.office.emitting
        assert not laser.emitting
        assert node.last_words == "dark: the node stops"

    run(scenario)


@pytest.mark.parametrize("trouble", ["laser gone", "revoked", "interlock", "laser faults", "gone while unwell"])
def test_a_doubt_about_the_laser_lasts_until_a_person_decides_also_over_a_restart(bench: Bench, trouble: str) -> None:
    async def scenario() -> None:
        async with running() as node:
            old = await node.lit()
            match trouble:
                case "gone while unwell":
                    node.healthy = False
                    await asyncio.sleep(2 * RENEW_S)
                    bench.plugged = set()
                case "laser gone":
                    bench.plugged = set()
                case "revoked":
                    node.office.revoke("the operator leaves")
                case "interlock":
                    old.interlock_open = True
                case "laser faults":
                    bench.errors["renew"] = [InstrumentFault("over temperature, 61 C")]
            await asyncio.sleep(LEASE_S + SOFT_START_S + 2 * POLL_S)
            assert not old.emitting
            assert not node.office.emitting
            assert node.memory.doubt in node.last_words
            node.healthy, bench.plugged, old.interlock_open = True, {"L"}, False
            await asyncio.sleep(LONG_S)
            assert not node.laser.emitting
            assert bench.calls.count("L emit") == 1
            assert node.memory.doubt is not None
            node.office.resume("the operator has looked")
            assert node.memory.doubt is None
            await asyncio.sleep(2 * RENEW_S)
            assert node.laser.emitting

    run(scenario)


def test_light_that_went_because_the_node_was_unwell_comes_back_with_its_health(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            laser = await node.lit()
            node.healthy = False
            await asyncio.sleep(2 * RENEW_S)
            assert not laser.emitting
            assert "not healthy; light comes back" in node.last_words
            await asyncio.sleep(LONG_S)
            assert bench.calls.count("L emit") == 1
            node.healthy = True
            await asyncio.sleep(HEALED_S - RENEW_S)
            node.healthy = False
            await asyncio.sleep(HEALED_S)
            assert not laser.emitting
            node.healthy = True
            await asyncio.sleep(HEALED_S + 2 * RENEW_S)
            assert laser.emitting
            assert node.memory.doubt is None

    run(scenario)


def test_a_node_that_stays_unwell_needs_a_person(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            await node.lit()
            node.healthy = False
            await asyncio.sleep(DECISION_S + 2.0)
            assert node.last_words == "dark: not healthy for 120 s; switch it on once it is well"
            node.healthy = True
            await asyncio.sleep(LONG_S)
            assert not node.laser.emitting

    run(scenario)


def test_an_event_loop_held_up_for_longer_than_a_permit_is_no_doubt_about_the_laser(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            laser = await node.lit()
            await asyncio.sleep(SOFT_START_S + POLL_S + RENEW_S / 2)
            loop = asyncio.get_running_loop()
            loop._alarm.now_s += LEASE_S + 1.0  # type: ignore[attr-defined]  # as if something had blocked the loop
            await asyncio.sleep(RENEW_S)
            assert "dark: the node was held up for longer than a permit lasts, 2 s" in node.last_words
            await asyncio.sleep(HEALED_S + RENEW_S)
            assert laser.emitting
            assert node.memory.doubt is None

    run(scenario)


def test_a_node_that_stops_leaves_no_doubt_whatever_its_laser_says_then(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            await node.lit()
            bench.hangs = {"renew"}
            await asyncio.sleep(RENEW_S)
            node.office.stop("the node stops")
            await asyncio.sleep(2 * ANSWER_S)
            assert "no answer" in node.last_words
            assert node.memory.doubt is None

    run(scenario)


@pytest.mark.parametrize("end", ["stop", "cancel", "revoke", "unwell"])
def test_light_whose_end_nobody_saw_is_a_doubt_whatever_ended_it(bench: Bench, end: str) -> None:
    async def scenario() -> None:
        async with running() as node:
            await node.lit()
            bench.plugged = set()
            match end:
                case "stop":
                    node.office.stop("the node stops")
                case "revoke":
                    node.office.revoke("the operator leaves")
                case "unwell":
                    node.healthy = False
            if end != "cancel":
                await asyncio.sleep(2 * RENEW_S)
                assert "not seen dark: L: nothing answers" in node.last_words
        assert "not seen dark: L: nothing answers" in str(node.memory.doubt)
        assert node.memory.emitting

    run(scenario)


def test_a_laser_that_says_that_it_emits_when_it_should_be_dark_is_a_doubt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with running() as node:
            laser = await node.lit()
            monkeypatch.setattr(laser, "make_safe", laser.read)
            node.office.stop("the node stops")
            await asyncio.sleep(RENEW_S)
            assert "says that it emits" in str(node.memory.doubt)

    run(scenario)


def test_light_is_remembered_before_it_is_there_until_it_was_seen_to_be_gone(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            bench.errors["emit"] = [EmissionRefused("permit of 5 s where 1 s is the longest")]
            await node.devices.wait_ready("laser")
            node.office.resume("try")
            await asyncio.sleep(RENEW_S)
            assert not node.memory.emitting
            await node.lit()
            assert node.memory.flushed == [True, True]
            assert node.memory.emitting
            node.office.stop("the node stops")
            await asyncio.sleep(RENEW_S)
            assert not node.memory.emitting
            assert node.memory.doubt is None

    run(scenario)


def test_a_disk_that_hangs_delays_light_for_a_second(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with running() as node:
            monkeypatch.setattr(node.memory, "flush", asyncio.Event().wait)
            await node.devices.wait_ready("laser")
            node.office.resume("try")
            await asyncio.sleep(ANSWER_S - 0.1)
            assert not node.laser.emitting
            await asyncio.sleep(0.2)
            assert node.laser.emitting

    run(scenario)


def test_revoking_is_dark_at_once_and_a_new_decision_right_after_it_counts(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            laser = await node.lit()
            node.office.revoke("fibre open")
            await asyncio.sleep(0.001)
            assert not laser.emitting
            assert "fibre open" in node.last_words
            node.office.resume("fibre closed")
            await asyncio.sleep(0.001)
            assert laser.emitting
            node.office.revoke("again")
            node.office.resume("and back in the same breath")
            await asyncio.sleep(RENEW_S)
            assert [one.emitting for one in node.told] == [True, False, True, False, True]

    run(scenario)


def test_a_decision_waits_for_its_conditions_but_not_for_ever(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            bench.plugged = set()
            await node.devices.settled()
            node.office.resume("start of the node")
            assert node.office.waiting_for == "the laser is not ready"
            bench.plugged = {"L"}
            await asyncio.sleep(LONG_S / 2)
            assert node.laser.emitting
            assert node.office.waiting_for is None
            node.office.revoke("enough")
            node.healthy = False
            await asyncio.sleep(1.0)
            node.office.resume("too early")
            assert node.office.waiting_for == "not healthy"
            await asyncio.sleep(DECISION_S + 1.0)
            assert "not healthy for 120 s after too early; switch" in node.last_words
            node.healthy = True
            await asyncio.sleep(LONG_S)
            assert not node.laser.emitting

    run(scenario)


def test_a_laser_that_refuses_or_does_not_answer_ends_the_decision(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            await node.devices.wait_ready("laser")
            bench.errors["emit"] = [EmissionRefused("permit of 5 s where 1 s is the longest")]
            node.office.resume("try")
            await asyncio.sleep(RENEW_S)
            assert "where 1 s is the longest" in node.last_words
            bench.hangs = {"renew"}
            node.office.resume("try again")
            await asyncio.sleep(RENEW_S + ANSWER_S + 0.5)
            assert "laser: renew: no answer within 1 s" in node.last_words
            assert bench.made[0].emitting is False

    run(scenario)


def test_a_laser_that_cannot_be_told_to_be_dark_is_told_about_and_lapses(bench: Bench) -> None:
    async def scenario() -> None:
        async with running() as node:
            laser = await node.lit()
            bench.errors["make_safe"] = [InstrumentUnavailable("cable pulled")]
            node.office.revoke("enough")
            await asyncio.sleep(0.01)
            assert "cable pulled; the last permit lapses within 2 s" in node.told[-2].text
            await asyncio.sleep(LEASE_S)
            assert not laser.emitting

    run(scenario)


def test_permits_lapse_by_themselves_when_the_office_dies(bench: Bench) -> None:
    async def scenario() -> None:
        node = Node()
        devices = asyncio.create_task(node.devices.run())
        office = asyncio.create_task(node.office.run())
        laser = await node.lit()
        bench.errors["make_safe"] = [InstrumentUnavailable("nobody is there to make it safe")]
        office.cancel()
        await asyncio.wait({office})
        assert laser.emitting
        await asyncio.sleep(LEASE_S)
        assert not laser.emitting
        devices.cancel()
        await asyncio.wait({devices})

    run(scenario)


def test_a_power_above_the_limit_is_refused_before_anything_starts(bench: Bench) -> None:
    node = Node()
    for power_dbm in (6.1, float("nan")):
        with pytest.raises(UsageError, match=r"above the limit of 6\.0 dBm"):
            PermitOffice(
                node.devices, power_dbm=power_dbm, max_power_dbm=6.0, health={}, tell=print, memory=node.memory
            )
