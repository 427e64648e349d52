"""How a link stands: its lifecycle state, why, and since when; what is news is told to people and to the story."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from qnoded.exchange.lifecycle import TABLE, Event, Lifecycle, State
from qnoded.node.status import Level
from qnoded.node.story import Story

AGAIN_S: Final = 3600.0
"""Between two words about sessions that all end for one reason before there is a lock."""


class Standing:
    """One link's.

    Parameters
    ----------
    story
        Takes every event.
    tell
        Takes what is news for people: level and text.
    """

    def __init__(self, story: Story, tell: Callable[[Level, str], None]) -> None:
        self.reason = ""
        """Why it is in its state; empty where the state says all."""
        self.since_s = asyncio.get_running_loop().time()
        """When it came there, ``loop_s``."""
        self._lifecycle, self._story, self._tell = Lifecycle(), story, tell
        self._in_vain: tuple[str, float] | None = None
        """Why the last session ended before there was a lock, and when that was told, ``loop_s``."""

    @property
    def state(self) -> State:
        """Where the link stands."""
        return self._lifecycle.state

    def enter(self, event: Event, reason: str, level: Level = "info") -> None:
        """Take an event where it means something; elsewhere the state says more already."""
        if (self.state, event) in TABLE:
            self.happened(event, reason, level)

    def explain(self, reason: str) -> None:
        """Give the reason for a state that stays."""
        if reason != self.reason:
            self.reason = reason
            self._tell("warning", f"{self.state.name}: {reason}")

    def happened(self, event: Event, reason: str, level: Level = "info") -> None:
        """Take an event that must mean something here; errors are those of ``Lifecycle``."""
        before = self.state
        state = self._lifecycle.happened(event)
        self._story.tell("event", event=event.name, state=state.name, reason=reason)
        changed, news = state is not before, reason != self.reason
        if changed:
            self.since_s = asyncio.get_running_loop().time()
        if changed or reason:
            self.reason = reason
        if (changed or (news and reason)) and not self._repeats(before, event, reason):
            self._tell(level, f"{state.name}: {reason or state.value}")

    def _repeats(self, before: State, event: Event, reason: str) -> bool:
        """Tell whether it is one more session that ends as the last one did, and was told not long ago."""
        if self.state not in (State.ABSENT, State.GREETING, State.ACQUIRING):
            self._in_vain = None
        if event in (Event.HEARD, Event.SETTLED):
            return self._in_vain is not None
        if event not in (Event.SESSION_ENDED, Event.PEER_LOST) or before is not State.ACQUIRING:
            return False
        now_s = asyncio.get_running_loop().time()
        if self._in_vain is not None and self._in_vain[0] == reason and now_s < self._in_vain[1] + AGAIN_S:
            return True
        self._in_vain = reason, now_s
        return False
