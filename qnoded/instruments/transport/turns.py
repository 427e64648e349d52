"""Who may speak to an instrument next: one at a time, stops before commands before polls."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from itertools import count


class Lane(IntEnum):
    """How urgent a turn is."""

    STOP = 0
    COMMAND = 1
    POLL = 2


class Turns:
    """A lock whose waiters are served by lane, then in order of arrival."""

    def __init__(self) -> None:
        self._taken = False
        self._numbers = count()
        self._waiting: list[tuple[Lane, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[None]:
        """Wait for a turn and hold it."""
        await self._take(lane)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, lane: Lane) -> None:
        if not self._taken:
            self._taken = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (lane, next(self._numbers), mine))
        try:
            await mine
        except asyncio.CancelledError:
            # Cancelled in the moment in which the turn had been given: it would be lost with this waiter.
            if not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            *_, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._taken = False
