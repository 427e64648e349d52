"""The latest events of the node, numbered, so that a reader can ask for what it has not seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from qnoded.node.status import Event, Level

KEPT: Final = 1000
"""Events in memory; the journal keeps the rest."""
LONGEST_TEXT: Final = 500
"""Characters of an event: a peer's or an instrument's words must not fill the memory."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EventLog:
    """Keeps the latest events, the oldest are forgotten first."""

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._number = 0
        self._now = now

    def add(self, level: Level, source: str, text: str) -> Event:
        """Remember one event; control characters and what is too long are cut."""
        self._number += 1
        clean = "".join(letter if letter.isprintable() else " " for letter in text)[:LONGEST_TEXT]
        utc = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = Event(self._number, utc, level, source, clean)
        self._events.append(event)
        return event

    def since(self, number: int, most: int = KEPT) -> tuple[Event, ...]:
        """Return the events after a number, at most the ``most`` latest, oldest first."""
        return tuple(event for event in self._events if event.number > number)[-most:]
