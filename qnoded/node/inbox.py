"""What waits for a link's script: the peer's messages and this node's epochs, in order of arrival, bounded.

Photons cannot be paused: when epochs pile up, whole ones are dropped, oldest first, and each leaves a note in its
place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import fields, is_dataclass
from typing import Final

import numpy as np

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.happenings import Detected, DetectionLost, Happening
from qnoded.exchange.messages import Message
from qnoded.exchange.reports import Reason

MOST_EPOCHS: Final = 32
"""Eighteen seconds: a cold search takes that long with the script waiting for it."""
MOST_ITEMS: Final = 4096
"""More than that of messages and notes is a peer that floods, or a script that has stopped."""
MOST_BYTES: Final = 256 * 2**20
"""Of the arrays in waiting messages: what a peer with ten million clicks a second reveals during a cold search."""


class Inbox:
    """One reader, any number of writers on the same loop."""

    def __init__(self, most_epochs: int = MOST_EPOCHS) -> None:
        self.dropped = 0
        """Epochs replaced by a note so far."""
        self.epochs = 0
        """Epochs that wait now."""
        self._most_epochs = most_epochs
        self._items: deque[Message | Happening] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Message | Happening) -> None:
        """Add an item; an epoch too many turns the oldest waiting one into a ``DetectionLost``.

        Raises
        ------
        RemoteProtocolError
            If the script is so far behind that the conversation cannot be saved.
        """
        if len(self._items) >= MOST_ITEMS:
            problem = f"{MOST_ITEMS} messages and notes wait unread; this end is too slow, or the peer floods it"
            raise RemoteProtocolError(problem)
        if self._bytes + _size(item) > MOST_BYTES:
            problem = f"{MOST_BYTES >> 20} MiB of messages wait unread; this end is too slow, or the peer floods it"
            raise RemoteProtocolError(problem)
        self._bytes += _size(item)
        self._items.append(item)
        if isinstance(item, Detected):
            self.epochs += 1
            if self.epochs > self._most_epochs:
                self._drop_oldest()
        self._arrived.set()

    async def get(self) -> Message | Happening:
        """Return the next item as soon as there is one."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        item = self._items.popleft()
        self._bytes -= _size(item)
        self.epochs -= isinstance(item, Detected)
        return item

    def leftovers(self) -> list[Detected | DetectionLost]:
        """Take out the epochs that still wait, since nobody will read them any more."""
        waiting = [item for item in self._items if isinstance(item, (Detected, DetectionLost))]
        self._items.clear()
        self.epochs = self._bytes = 0
        return waiting

    def _drop_oldest(self) -> None:
        for place, item in enumerate(self._items):
            if isinstance(item, Detected):
                epoch = item.epoch
                self._items[place] = DetectionLost(epoch.start_ps, epoch.stop_ps, Reason.OVERLOAD.value)
                self.epochs -= 1
                self.dropped += 1
                return


def _size(item: object) -> int:
    """Return how many bytes of arrays a message holds; an epoch of this node's own is bounded by its number."""
    if isinstance(item, np.ndarray):
        return int(item.nbytes)
    if isinstance(item, Detected) or not is_dataclass(item):
        return 0
    return sum(_size(getattr(item, one.name)) for one in fields(item))
