"""The watchdog is fed by work that moves, not by a timer; the loop's lag is what a task would feel."""

from __future__ import annotations

import asyncio
import time

import pytest

from qnoded.node import watchdog
from qnoded.node.notify import Notifier
from qnoded.node.tasks import background
from qnoded.node.watchdog import LoopLag, Watchdog
from qnoded.testing import virtual_time


class Manager(Notifier):
    """Counts how often the watchdog was fed, every 10 s at least."""

    def __init__(self) -> None:
        super().__init__({"WATCHDOG_USEC": "30000000"})
        self.fed = 0

    def alive(self) -> None:
        self.fed += 1


def test_a_node_without_work_is_alive() -> None:
    async def idle() -> int:
        manager = Manager()
        watchdog = Watchdog(manager)
        watchdog.watch("acquisition")
        async with background(watchdog.run()):
            await asyncio.sleep(95)
        return manager.fed

    assert virtual_time.run(idle()) == 10


def test_work_that_is_begun_and_not_finished_starves_the_watchdog_until_it_moves() -> None:
    async def stuck() -> tuple[int, int]:
        manager = Manager()
        watchdog = Watchdog(manager)
        work, other = watchdog.watch("acquisition"), watchdog.watch("link bob")
        async with background(watchdog.run()):
            work.begin()
            await asyncio.sleep(0.5)
            manager.fed = 0
            for _ in range(100):
                other.begin()
                other.finish()
                await asyncio.sleep(1)
            starved = manager.fed
            work.finish()
            await asyncio.sleep(15)
        return starved, manager.fed

    starved, fed = virtual_time.run(stuck())
    assert starved == 0
    assert fed >= 1


def test_nobody_watches_and_the_watchdog_ends() -> None:
    virtual_time.run(Watchdog(Notifier({})).run())


def test_lag_is_what_held_the_loop_up() -> None:
    async def hold() -> LoopLag:
        lag = LoopLag()
        async with background(lag.run()):
            await asyncio.sleep(0.06)
            time.sleep(0.3)  # noqa: ASYNC251 - what must not happen is what is measured
            await asyncio.sleep(0.1)
        return lag

    lag = asyncio.run(hold())
    assert lag.recent_s > 0.2
    assert lag.worst_s == lag.recent_s
    lag.forget()
    assert lag.recent_s == 0.0


def test_a_node_that_stood_still_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "HELD_UP_S", 0.2)
    told: list[float] = []

    async def hold() -> None:
        async with background(LoopLag(told.append).run()):
            await asyncio.sleep(0.06)
            time.sleep(0.4)  # noqa: ASYNC251 - what must not happen is what is measured
            await asyncio.sleep(0.2)

    asyncio.run(hold())
    assert max(told) > 0.3


def test_the_first_error_leaves_a_background_as_itself() -> None:
    async def fails() -> None:
        problem = "out of order"
        raise KeyError(problem)

    async def wait_for_it() -> None:
        async with background(asyncio.sleep(100), fails()):
            await asyncio.sleep(100)

    with pytest.raises(KeyError, match="out of order"):
        virtual_time.run(wait_for_it())


def test_a_cancellation_is_not_forgotten_while_a_background_ends_by_an_error() -> None:
    async def slow_end() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)

    async def fail_slowly() -> None:
        async with background(slow_end()):
            await asyncio.sleep(0.1)
            problem = "out of order"
            raise KeyError(problem)

    async def cancel_meanwhile() -> bool:
        task = asyncio.create_task(fail_slowly())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert virtual_time.run(cancel_meanwhile())
