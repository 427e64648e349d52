"""Bytes that have arrived from an instrument and wait to be fetched."""

from __future__ import annotations

import asyncio
from typing import Final

MOST_WAITING: Final = 1 << 22
"""Bytes kept for a driver that does not fetch them; beyond that the instrument has to wait, and may overflow."""


class Arrivals:
    """Bytes that have arrived and wait to be fetched."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._lost: str | None = None
        self._news = asyncio.Event()

    @property
    def too_many(self) -> bool:
        """Whether no more should be taken from the instrument for now."""
        return len(self._waiting) >= MOST_WAITING

    def put(self, data: bytes) -> None:
        """Add what has arrived."""
        self._waiting += data
        self._news.set()

    def end(self, why: str) -> None:
        """Say that nothing more will come."""
        self._lost = self._lost or why
        self._news.set()

    def check(self) -> None:
        """Raise ``ConnectionError`` if nothing more will come, even if there is something to take."""
        if self._lost is not None:
            raise ConnectionError(self._lost)

    def take(self) -> bytes:
        """Return what is there; ``ConnectionError`` if there is nothing and never will be."""
        data = bytes(self._waiting)
        self._waiting.clear()
        self._news.clear()
        if not data and self._lost is not None:
            raise ConnectionError(self._lost)
        return data

    async def wait(self) -> None:
        """Return once there is something to take, if only the end."""
        if not self._waiting and self._lost is None:
            await self._news.wait()
