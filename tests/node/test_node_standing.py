"""What is told to people of a link's states: what is news, and what lasts only once in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from qnoded.exchange.lifecycle import Event, State
from qnoded.node.standing import AGAIN_S, Standing
from qnoded.node.story import Story
from qnoded.testing import virtual_time

DIFFER = "the ends share no key to authenticate with"
CYCLE_S = 30.0


def told(folder: Path, scenario: Callable[[Standing], Coroutine[None, None, None]]) -> list[str]:
    said: list[str] = []

    async def run() -> None:
        standing = Standing(
            Story(folder, asyncio.get_running_loop().time, None), lambda level, text: said.append(f"{level} {text}")
        )
        standing.enter(Event.HEARD, "")
        await scenario(standing)

    virtual_time.run(run())
    return said[1:]


async def in_vain(standing: Standing, reason: str, for_s: float) -> None:
    for number in range(int(for_s / CYCLE_S)):
        standing.enter(Event.SETTLED, f"session {number}")
        standing.enter(Event.SESSION_ENDED, reason, "error")
        assert (standing.state, standing.reason) == (State.GREETING, reason)
        await asyncio.sleep(CYCLE_S)


def test_sessions_that_end_for_one_reason_are_told_once_and_again_each_hour(tmp_path: Path) -> None:
    async def a_night(standing: Standing) -> None:
        await in_vain(standing, DIFFER, 2.5 * AGAIN_S)

    first, *again = told(tmp_path, a_night)
    assert first == "info ACQUIRING: session 0"
    assert again == [f"error GREETING: {DIFFER}"] * 3


def test_a_peer_that_leaves_each_session_for_one_reason_is_told_once_an_hour(tmp_path: Path) -> None:
    """As one does whose disk is full: it greets again every few seconds."""

    async def full(standing: Standing) -> None:
        for number in range(100):
            standing.enter(Event.SETTLED, f"session {number}")
            standing.enter(Event.PEER_LOST, "the peer said goodbye: its disk is full")
            assert standing.state is State.ABSENT
            await asyncio.sleep(10.0)
            standing.enter(Event.HEARD, "")
        standing.enter(Event.SETTLED, "session 100")
        standing.enter(Event.LOCKED, "")

    assert told(tmp_path, full) == [
        "info ACQUIRING: session 0",
        "info ABSENT: the peer said goodbye: its disk is full",
        f"info SIFTING: {State.SIFTING.value}",
    ]


def test_another_reason_is_told_and_so_is_all_that_comes_after_a_lock(tmp_path: Path) -> None:
    async def mended(standing: Standing) -> None:
        await in_vain(standing, DIFFER, 2 * CYCLE_S)
        await in_vain(standing, "a frame was lost", 2 * CYCLE_S)
        standing.enter(Event.SETTLED, "session 8")
        standing.enter(Event.LOCKED, "")
        standing.enter(Event.SESSION_ENDED, "a frame was lost")
        standing.enter(Event.SETTLED, "session 9")

    assert told(tmp_path, mended) == [
        "info ACQUIRING: session 0",
        f"error GREETING: {DIFFER}",
        "error GREETING: a frame was lost",
        f"info SIFTING: {State.SIFTING.value}",
        "info GREETING: a frame was lost",
        "info ACQUIRING: session 9",
    ]


def test_what_explains_a_state_that_stays_is_told_once(tmp_path: Path) -> None:
    async def taken(standing: Standing) -> None:
        for _ in range(3):
            standing.explain("the address is in use")

    assert told(tmp_path, taken) == ["warning GREETING: the address is in use"]
