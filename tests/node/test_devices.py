"""Supervised instruments: there or not, hanging, lying, swapped; virtual time, so back-offs take none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from scripted_drivers import Bench, fresh_bench

from qnoded.errors import (
    ConfigError,
    DependencyMissing,
    InstrumentFault,
    InstrumentGarbled,
    InstrumentUnavailable,
    UsageError,
)
from qnoded.instruments.lifecycle import State
from qnoded.instruments.protocols import DEADLINE_S, SAFE_S
from qnoded.node import driver_call
from qnoded.node.device import DOUBT_S, FIRST_PAUSE_S, JITTER, LONGEST_PAUSE_S, MISSES, POLL_S, DeviceChanged
from qnoded.node.devices import Devices
from qnoded.testing import virtual_time

METER = {"driver": "scripted-meter", "address": "A"}
LASER = {"driver": "scripted-laser", "address": "L"}
SOON_S = FIRST_PAUSE_S * (1 + JITTER) + POLL_S


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with fresh_bench(monkeypatch) as fresh:
        yield fresh


class Node:
    """Devices that run, and what they told."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]], simulation: bool = True) -> None:
        self.told: list[DeviceChanged] = []
        self.devices = Devices(
            tables, "node.toml", simulation=simulation, chance=random.Random(1), tell=self.told.append
        )

    def state(self, role: str = "meter") -> State:
        return self.devices.snapshot(role).state


@asynccontextmanager
async def running(tables: Mapping[str, Mapping[str, Any]]) -> AsyncIterator[Node]:
    node = Node(tables)
    task = asyncio.create_task(node.devices.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None, task.exception()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    virtual_time.run(scenario())


def test_what_is_there_gets_ready_is_read_and_ends_safe_and_closed(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            meter = await node.devices.wait_ready("meter")
            assert meter is node.devices.get("meter") is bench.made[0]
            seen = node.devices.snapshot("meter")
            assert (seen.state, seen.kind, seen.problem, seen.retry_loop_s) == (State.READY, "power_meter", None, None)
            assert seen.reading is not None
            assert str(seen.identity) == "Bench Meter, serial serial of A"
            bench.calls.clear()
            await asyncio.sleep(10 * POLL_S + 0.1)
            assert bench.calls == ["A read"] * 10
        assert bench.calls[-2:] == ["A make_safe", "A close"]
        assert [one.state for one in node.told] == [
            State.CONNECTING,
            State.IDENTIFYING,
            State.CONFIGURING,
            State.READY,
            State.SAFING,
            State.ABSENT,
            State.CLOSED,
        ]

    run(scenario)


def test_what_is_missing_is_tried_with_growing_pauses_and_found_when_plugged_in(bench: Bench) -> None:
    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            await node.devices.settled()
            seen = node.devices.snapshot("meter")
            assert seen.state is State.ABSENT
            assert "plug it in" in str(seen.problem)
            assert seen.retry_loop_s is not None
            await asyncio.sleep(600.0)
            attempts = bench.calls.count("A connect")
            assert 600 / (LONGEST_PAUSE_S * (1 + JITTER)) < attempts < 10 + 600 / (LONGEST_PAUSE_S * (1 - JITTER))
            # Pauses that doubled without end would be more than a float holds within three hours.
            await asyncio.sleep(24 * 3600.0)
            bench.plugged = {"A"}
            async with asyncio.timeout(LONGEST_PAUSE_S * (1 + JITTER) + 0.01):
                await node.devices.wait_ready("meter")

    run(scenario)


def test_pauses_repeat_with_the_seed(bench: Bench) -> None:
    def attempts() -> list[float]:
        times = []

        async def scenario() -> None:
            async with running({"meter": METER}) as node:
                for _ in range(6):
                    retry_s = None
                    while retry_s is None:
                        await asyncio.sleep(0.01)
                        retry_s = node.devices.snapshot("meter").retry_loop_s
                    times.append(retry_s)
                    await asyncio.sleep(retry_s - asyncio.get_running_loop().time() + 0.001)

        run(scenario)
        return times

    first, again = attempts(), attempts()
    assert first == again
    pauses = [later - earlier for earlier, later in pairwise(first)]
    assert pauses == sorted(pauses)


def test_one_late_answer_degrades_and_the_next_heals(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            meter = await node.devices.wait_ready("meter")
            bench.errors["read"] = [InstrumentGarbled("half an answer")]
            await asyncio.sleep(POLL_S + DOUBT_S / 2)
            assert node.state() is State.DEGRADED
            assert node.devices.get("meter") is meter
            assert "half an answer" in str(node.devices.snapshot("meter").problem)
            await asyncio.sleep(DOUBT_S)
            assert node.state() is State.READY
            assert node.devices.snapshot("meter").problem is None

    run(scenario)


def test_an_unplugged_instrument_is_absent_after_three_misses_and_a_new_object_when_it_returns(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            appearances = node.devices.appearances("meter")
            first = await anext(appearances)
            bench.plugged = set()
            await asyncio.sleep(POLL_S + (MISSES - 1) * DOUBT_S + 0.01)
            assert node.state() is State.ABSENT
            assert node.devices.get("meter") is None
            assert bench.calls[-2:] == ["A make_safe", "A close"]
            bench.plugged = {"A"}
            second = await anext(appearances)
            assert second is not first
            assert second is node.devices.get("meter")

    run(scenario)


def test_a_fault_is_shown_made_safe_and_tried_again(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            await node.devices.wait_ready("meter")
            bench.errors["read"] = [InstrumentFault("over temperature, 61 C")]
            await asyncio.sleep(POLL_S + 0.01)
            assert node.state() is State.FAULTED
            assert bench.calls[-2:] == ["A make_safe", "A close"]
            await asyncio.sleep(SOON_S)
            assert node.state() is State.READY

    run(scenario)


def test_a_consumer_reports_what_it_met_and_reports_of_yesterday_are_ignored(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            old = await node.devices.wait_ready("meter")
            node.devices.report("meter", old, InstrumentUnavailable("the stream broke off"))
            node.devices.report("meter", old, InstrumentUnavailable("and once more"))
            await asyncio.sleep(0.01)
            assert node.state() is State.ABSENT
            new = await node.devices.wait_ready("meter")
            node.devices.report("meter", old, InstrumentUnavailable("late news of the old one"))
            await asyncio.sleep(POLL_S)
            assert node.devices.get("meter") is new

    run(scenario)


def test_a_stranger_is_quarantined_before_anything_is_written_until_a_person_decides(bench: Bench) -> None:
    bench.plugged = {"A", "B"}

    async def scenario() -> None:
        async with running({"meter": METER | {"serial": "serial of B"}}) as node:
            await node.devices.settled()
            seen = node.devices.snapshot("meter")
            assert seen.state is State.QUARANTINED
            assert "serial of A" in str(seen.problem)
            assert "expected is serial serial of B" in str(seen.problem)
            assert bench.calls == ["A connect", "A close"]
            await asyncio.sleep(600.0)
            assert bench.calls == ["A connect", "A close"]
            after = await node.devices.swap("meter", METER | {"serial": "serial of A"})
            assert after.state is State.READY

    run(scenario)


@pytest.mark.parametrize("method", ["connect", "configure", "read"])
def test_a_call_that_never_ends_is_cut_off_and_the_loop_goes_on(bench: Bench, method: str) -> None:
    bench.plugged = {"A"}
    bench.hangs = {method}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            await asyncio.sleep(DEADLINE_S + 0.01)
            seen = node.devices.snapshot("meter")
            assert seen.state is State.ABSENT
            assert f"meter: {method}: no answer within 5 s" in str(seen.problem)
            bench.hangs = set()
            await node.devices.wait_ready("meter")

    run(scenario)


def test_a_driver_that_does_not_close_is_quarantined_not_fought_with(bench: Bench) -> None:
    bench.hangs = {"close"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            await node.devices.settled()
            assert node.state() is State.QUARANTINED
            await asyncio.sleep(600.0)
            assert bench.calls.count("A connect") == 1

    run(scenario)


def test_a_call_that_ignores_its_cancellation_is_abandoned_and_its_driver_quarantined(bench: Bench) -> None:
    bench.plugged = {"A"}
    bench.deaf = {"read"}

    async def scenario() -> None:
        async with running({"meter": METER, "laser": LASER}) as node:
            await asyncio.sleep(DEADLINE_S + driver_call.GRACE_S + SAFE_S)
            assert node.state() is State.QUARANTINED
            assert driver_call.abandoned_calls() == 1
        bench.deaf = set()
        for call in tuple(driver_call._abandoned):
            call.cancel()
            await asyncio.wait({call})
        assert driver_call.abandoned_calls() == 0

    run(scenario)


@pytest.mark.parametrize("method", ["connect", "configure", "read", "make_safe", "close"])
def test_a_mistake_in_a_driver_is_told_with_its_place_and_hurts_nobody_else(bench: Bench, method: str) -> None:
    bench.plugged = {"A", "L"}
    bench.errors[method] = [KeyError("gain")]

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            await asyncio.sleep(POLL_S)
            if method not in ("make_safe", "close"):
                assert "KeyError: 'gain' (scripted_drivers.py:" in str([one.text for one in node.told])
                await asyncio.sleep(SOON_S)
            assert node.state() is State.READY
        assert node.state() is State.CLOSED

    run(scenario)


def test_a_node_starts_without_a_vendor_library_and_goes_on_asking(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"other": {"driver": "vendor-meter", "gain": 3}, "meter": METER}) as node:
            await node.devices.settled()
            seen = node.devices.snapshot("other")
            assert (seen.state, seen.kind) == (State.ABSENT, None)
            assert "driver vendor-meter needs qnoded_no_such_vendor, which is not installed" in str(seen.problem)
            assert seen.retry_loop_s is not None
            assert node.state() is State.READY

    run(scenario)


def test_a_wrong_table_stops_the_start(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"node.toml: instruments.meter.adress: .* did you mean address"):
        Node({"meter": {"driver": "scripted-meter", "adress": "A"}})
    with pytest.raises(
        ConfigError, match=r"instruments.meter.driver: scripted-meter is simulated, and this node is not"
    ):
        Node({"meter": METER}, simulation=False)
    Node({"meter": {"driver": "real-meter", "address": "A"}}, simulation=False)


def test_a_swap_makes_the_old_one_safe_and_hands_over_the_new(bench: Bench) -> None:
    bench.plugged = {"A", "B"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            appearances = node.devices.appearances("meter")
            old = await anext(appearances)
            bench.calls.clear()
            after = await node.devices.swap("meter", METER | {"address": "B"})
            assert after.state is State.READY
            assert bench.calls == ["A make_safe", "A close", "B connect", "B configure", "B read"]
            new = await anext(appearances)
            assert new is not old
            assert new is node.devices.get("meter")

    run(scenario)


def test_a_swap_to_what_does_not_answer_leaves_the_role_absent_and_trying(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            await node.devices.wait_ready("meter")
            after = await node.devices.swap("meter", METER | {"address": "B"})
            assert after.state is State.ABSENT
            assert "B: nothing answers" in str(after.problem)
            bench.plugged = {"B"}
            async with asyncio.timeout(SOON_S):
                await node.devices.wait_ready("meter")

    run(scenario)


def test_a_swap_that_is_refused_disturbs_nothing(bench: Bench) -> None:
    bench.plugged = {"A"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            old = await node.devices.wait_ready("meter")
            bench.calls.clear()
            with pytest.raises(ConfigError, match="did you mean scripted-meter"):
                await node.devices.swap("meter", {"driver": "scriptd-meter"})
            with pytest.raises(DependencyMissing):
                await node.devices.swap("meter", {"driver": "vendor-meter"})
            with pytest.raises(UsageError, match="no instrument 'metre'; it has meter"):
                await node.devices.swap("metre", METER)
            assert node.devices.get("meter") is old
            assert bench.calls == []

    run(scenario)


def test_a_swap_whose_caller_goes_away_is_not_left_half_done(bench: Bench) -> None:
    bench.plugged = {"A", "B"}

    async def scenario() -> None:
        async with running({"meter": METER}) as node:
            await node.devices.wait_ready("meter")
            bench.hangs = {"make_safe"}
            swap = asyncio.create_task(node.devices.swap("meter", METER | {"address": "B"}))
            await asyncio.sleep(SAFE_S / 2)
            swap.cancel()
            await asyncio.wait({swap})
            bench.hangs = set()
            await node.devices.wait_ready("meter")
            assert bench.calls[-1] == "B read"

    run(scenario)


def test_stopping_makes_all_safe_first_then_closes_in_reverse_within_five_seconds(bench: Bench) -> None:
    bench.plugged = {"A", "B", "L"}

    async def scenario() -> None:
        tables = {"first": METER, "second": METER | {"address": "B"}, "laser": LASER}
        in_order = ["A make_safe", "B make_safe", "L make_safe", "L close", "B close", "A close"]
        loop = asyncio.get_running_loop()
        async with running(tables) as node:
            for role in tables:
                await node.devices.wait_ready(role)
            bench.calls.clear()
        assert bench.calls == in_order
        async with running(tables) as node:
            for role in tables:
                await node.devices.wait_ready(role)
            bench.hangs = {"make_safe", "close"}
            bench.calls.clear()
            stop_s = loop.time()
        assert loop.time() - stop_s < DEADLINE_S
        assert [call for call in bench.calls if not call.endswith("read")] == in_order

    run(scenario)


@pytest.mark.parametrize("early_s", [0.0, 0.5, SAFE_S - 0.1, SAFE_S + 0.1, 2 * SAFE_S - 0.1])
def test_a_node_that_stops_while_it_swaps_connects_nothing_and_is_gone_in_time(bench: Bench, early_s: float) -> None:
    bench.plugged = {"A", "B"}

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with running({"meter": METER}) as node:
            await node.devices.wait_ready("meter")
            bench.hangs = {"make_safe", "close"}
            swap = asyncio.create_task(node.devices.swap("meter", METER | {"address": "B"}))
            await asyncio.sleep(early_s)
            stopped_s = loop.time()
        assert loop.time() - stopped_s <= 2 * (SAFE_S + driver_call.GRACE_S) + 0.1
        assert node.state() is State.CLOSED
        with pytest.raises(UsageError, match="the node stops: meter is not swapped"):
            await swap
        with pytest.raises(UsageError, match="the node stops"):
            await node.devices.swap("meter", METER)
        assert not any(call.startswith("B") for call in bench.calls)

    run(scenario)
