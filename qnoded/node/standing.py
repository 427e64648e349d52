"""How a link stands: its lifecycle state, why, and since when; what is news is told to people and to the story."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from qnoded.exchange.lifecycle import TABLE, Event, Lifecycle, State
from qnoded.node.status import Level
from qnoded.node.story import Story


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

    @property
    def state(self) -> State:
        """Where the link stands."""
        return self._lifecycle.state

    def enter(self, event: Event, reason: str) -> None:
        """Take an event where it means something; elsewhere the state says more already."""
        if (self.state, event) in TABLE:
            self.happened(event, reason)

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
        if changed or (news and reason):
            self._tell(level, f"{state.name}: {reason or state.value}")
