"""The life of a link as one table: in which state which event may come, and what the state is then.

The diagram in ``docs/wire.md`` is drawn from the table by ``diagram``; a test holds the two together.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from qnoded.errors import LocalProtocolError


class State(Enum):
    """Where a link stands; the value is for people."""

    ABSENT = "no peer is heard"
    GREETING = "a peer is heard, the session is not agreed on"
    MISMATCH = "the two ends are configured differently"
    REFUSED = "one end's key is not the one that the other has pinned"
    ACQUIRING = "the clocks are searched for"
    SIFTING = "epochs are sifted"
    INTERLUDE = "all outcomes are revealed, for a measurement of CHSH"
    RELOCKING = "the lock is lost and searched for again"
    PAUSED = "the operator has paused the link"
    STOPPED = "the link has ended"


class Event(Enum):
    """What may happen to a link; the value is for people."""

    HEARD = "a greeting came"
    DIFFERED = "the terms differ"
    UNKNOWN_KEY = "the key was refused"
    SETTLED = "the session is agreed on"
    LOCKED = "an epoch was tracked or sifted"
    SERVICE_BEGAN = "the interlude begins"
    SERVICE_ENDED = "the interlude is over"
    LOCK_LOST = "the lock is lost"
    SESSION_ENDED = "a message was lost or garbled, or the peer began anew"
    PEER_LOST = "nothing was heard for too long, or the peer said goodbye"
    PAUSE = "pause"
    RESUME = "resume"
    ENROL = "the operator lets it begin anew"
    STOP = "stop"


_SESSION: Final = (State.ACQUIRING, State.SIFTING, State.INTERLUDE, State.RELOCKING)
"""States within a settled session."""
_TALKING: Final = (State.GREETING, State.MISMATCH, *_SESSION)
_ALIVE: Final = (State.ABSENT, State.REFUSED, *_TALKING)

TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.ABSENT, Event.HEARD): State.GREETING,
    (State.ABSENT, Event.UNKNOWN_KEY): State.REFUSED,
    (State.REFUSED, Event.UNKNOWN_KEY): State.REFUSED,
    (State.REFUSED, Event.HEARD): State.GREETING,
    (State.GREETING, Event.HEARD): State.GREETING,
    (State.GREETING, Event.DIFFERED): State.MISMATCH,
    (State.GREETING, Event.SETTLED): State.ACQUIRING,
    (State.MISMATCH, Event.DIFFERED): State.MISMATCH,
    (State.MISMATCH, Event.HEARD): State.GREETING,
    (State.ACQUIRING, Event.LOCKED): State.SIFTING,
    (State.SIFTING, Event.LOCKED): State.SIFTING,
    (State.SIFTING, Event.LOCK_LOST): State.RELOCKING,
    (State.SIFTING, Event.SERVICE_BEGAN): State.INTERLUDE,
    (State.INTERLUDE, Event.LOCKED): State.INTERLUDE,
    (State.INTERLUDE, Event.SERVICE_ENDED): State.SIFTING,
    (State.INTERLUDE, Event.LOCK_LOST): State.RELOCKING,
    (State.RELOCKING, Event.LOCKED): State.SIFTING,
    **{(state, Event.SERVICE_BEGAN): state for state in (State.ACQUIRING, State.RELOCKING)},
    **{(state, Event.SERVICE_ENDED): state for state in (State.ACQUIRING, State.SIFTING, State.RELOCKING)},
    (State.GREETING, Event.SESSION_ENDED): State.GREETING,
    (State.PAUSED, Event.RESUME): State.ABSENT,
    (State.PAUSED, Event.STOP): State.STOPPED,
    (State.STOPPED, Event.ENROL): State.ABSENT,
    **{(state, Event.SESSION_ENDED): State.GREETING for state in _SESSION},
    **{(state, Event.PEER_LOST): State.ABSENT for state in _TALKING},
    **{(state, Event.PAUSE): State.PAUSED for state in _ALIVE},
    **{(state, Event.STOP): State.STOPPED for state in _ALIVE},
}
"""(state, event) -> next state; what is not here is illegal."""


class Lifecycle:
    """The state of one link, moved by events only; ``state`` is where it begins."""

    def __init__(self, state: State = State.ABSENT) -> None:
        self._state = state

    @property
    def state(self) -> State:
        """Where the link stands."""
        return self._state

    def happened(self, event: Event) -> State:
        """Move on and return the new state.

        Raises
        ------
        LocalProtocolError
            If the event cannot come in this state, which then stays.
        """
        if (self._state, event) not in TABLE:
            problem = f"{event.name} cannot happen to a link that is {self._state.name} ({self._state.value})"
            raise LocalProtocolError(problem)
        self._state = TABLE[self._state, event]
        return self._state


def diagram() -> str:
    """Return the table as a Mermaid state diagram, one arrow for all events between the same two states."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), after in TABLE.items():
        arrows.setdefault((state, after), []).append(event.name)
    lines = [f"    {state.name} --> {after.name}: {', '.join(events)}" for (state, after), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> ABSENT", *lines, "    STOPPED --> [*]"])
