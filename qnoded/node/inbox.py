"""What waits for a link's script: the peer's messages and this node's epochs, in order of arrival, bounded.

Photons cannot be paused: when epochs pile up, whole ones are dropped, oldest first, and each leaves a note in its
place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.happenings import Detected, DetectionLost, Happening
from qnoded.exchange.messages import Message
from qnoded.exchange.reports import Reason

MOST_EPOCHS: Final = 32
"""Eighteen seconds: a cold search takes that long with the script waiting for it."""
MOST_ITEMS: Final = 4096
"""More than that of messages and notes is a peer that floods, or a script that has stopped."""


class Inbox:
    """One reader, any number of writers on the same loop."""

    def __init__(self, most_epochs: int = MOST_EPOCHS) -> None:
        self.dropped = 0
        """Epochs replaced by a note so far."""
        self.epochs = 0
        """Epochs that wait now."""
        self._most_epochs = most_epochs
        self._items: deque[Message | Happening] = deque()
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
        self.epochs -= isinstance(item, Detected)
        return item

    def leftovers(self) -> list[Detected | DetectionLost]:
        """Take out the epochs that still wait, since nobody will read them any more."""
        waiting = [item for item in self._items if isinstance(item, (Detected, DetectionLost))]
        self._items.clear()
        self.epochs = 0
        return waiting

    def _drop_oldest(self) -> None:
        for place, item in enumerate(self._items):
            if isinstance(item, Detected):
                epoch = item.epoch
                self._items[place] = DetectionLost(epoch.start_ps, epoch.stop_ps, Reason.OVERLOAD.value)
                self.epochs -= 1
                self.dropped += 1
                return
