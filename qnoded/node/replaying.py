"""A recorded story walked through again, to see whether today's lifecycle goes from state to state as it did then.

Events that the recorded software left out because they meant nothing to it then are not in a story, so a lifecycle that
has learnt to react to more than it did is not found out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qnoded.errors import LocalProtocolError
from qnoded.exchange.lifecycle import Event, Lifecycle, State
from qnoded.node.story_file import RecordedStory


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a story, and what today's code makes of it."""

    number: int
    """Place among the entries, from 1."""
    event: str
    before: str
    """State before it."""
    recorded: str
    """State after it, as it was."""
    today: str | None
    """State after it today; None: today the event cannot come then."""

    @property
    def differs(self) -> bool:
        """Whether today's code acts otherwise."""
        return self.today != self.recorded


def replay(story: RecordedStory) -> Iterator[Step]:
    """Yield the events of a story up to the first that differs: what comes after it would have been another story."""
    before, lifecycle = story.before, Lifecycle(State[story.before])
    for number, entry in enumerate(story.entries, 1):
        if entry["what"] != "event":
            continue
        step = Step(number, entry["event"], before, entry["state"], _today(lifecycle, entry["event"]))
        yield step
        if step.differs:
            return
        before = step.recorded


def _today(lifecycle: Lifecycle, event: str) -> str | None:
    if event not in Event.__members__:
        return None
    try:
        return lifecycle.happened(Event[event]).name
    except LocalProtocolError:
        return None
