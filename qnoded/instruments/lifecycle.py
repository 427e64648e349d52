"""How an instrument comes and goes, as one table; the supervision in the node does what the states say.

The rules:

- An instrument is configured, or commanded, only after ``IDENTIFYING`` has found it to be the expected one.
- ``READY`` and ``DEGRADED`` are the only states in which others may use it; both are dark until somebody commands.
- ``ABSENT`` and ``FAULTED`` are tried again by themselves, with growing pauses; ``QUARANTINED`` only after a person
  has looked at it: trying again could command a stranger's instrument, or fight a driver that still holds the port.
- ``SAFING`` is reachable from everywhere but ``CLOSED``; it leads back to ``ABSENT``, so that whatever comes after it
  starts with the identity again, and never to a state in which light was on.
- ``CLOSED`` is the end.

An illegal event is a mistake of qnoded: it raises and changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from qnoded.errors import LocalProtocolError


class State(Enum):
    """Where an instrument stands."""

    ABSENT = "absent"
    """Not there, or its vendor's library is not; tried again."""
    CONNECTING = "connecting"
    IDENTIFYING = "identifying"
    """It has answered; is it the one that the config names?"""
    CONFIGURING = "configuring"
    READY = "ready"
    DEGRADED = "degraded"
    """In use, but did not answer the last question in time or in its own language."""
    FAULTED = "faulted"
    """It says of itself that it cannot; made safe, tried again."""
    QUARANTINED = "quarantined"
    """Not touched again until a person swaps it or says that it is well."""
    SAFING = "safing"
    """Being brought to its safe state, and its driver closed."""
    CLOSED = "closed"


class Event(Enum):
    """What happened to it."""

    ATTEMPT = "the pause is over"
    CONNECTED = "an identity was read"
    RECOGNISED = "the identity is as expected"
    STRANGER = "the identity is another one"
    CONFIGURED = "settings are written and read back"
    ANSWERED = "it was read"
    MISSED = "a reading failed"
    LOST = "the connection is gone"
    FAULT = "it reports a fault"
    STUCK = "its driver does not let go"
    SAFE = "it shall be safe"
    MADE_SAFE = "safe and closed, as far as it lets us"
    CLOSE = "the node stops"


ABSENT, CONNECTING, IDENTIFYING, CONFIGURING, READY, DEGRADED, FAULTED, QUARANTINED, SAFING, CLOSED = State

_CONNECTED_ENDS: Final = {
    Event.LOST: ABSENT,
    Event.FAULT: FAULTED,
    Event.STUCK: QUARANTINED,
    Event.SAFE: SAFING,
}
"""Ways out of every state in which a driver is at work."""

TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    ABSENT: {Event.ATTEMPT: CONNECTING, Event.STUCK: QUARANTINED, Event.SAFE: SAFING, Event.CLOSE: CLOSED},
    CONNECTING: {Event.CONNECTED: IDENTIFYING} | _CONNECTED_ENDS,
    IDENTIFYING: {Event.RECOGNISED: CONFIGURING, Event.STRANGER: QUARANTINED} | _CONNECTED_ENDS,
    CONFIGURING: {Event.CONFIGURED: READY} | _CONNECTED_ENDS,
    READY: {Event.ANSWERED: READY, Event.MISSED: DEGRADED} | _CONNECTED_ENDS,
    DEGRADED: {Event.ANSWERED: READY, Event.MISSED: DEGRADED} | _CONNECTED_ENDS,
    FAULTED: {Event.ATTEMPT: CONNECTING, Event.STUCK: QUARANTINED, Event.SAFE: SAFING, Event.CLOSE: CLOSED},
    QUARANTINED: {Event.SAFE: SAFING, Event.CLOSE: CLOSED},
    SAFING: {Event.MADE_SAFE: ABSENT, Event.STUCK: QUARANTINED},
    CLOSED: {},
}
"""State -> event -> next state; what is not here is illegal."""


def after(state: State, event: Event) -> State:
    """Return the state that follows.

    Raises
    ------
    LocalProtocolError
        If the event cannot happen in that state.
    """
    following = TRANSITIONS[state].get(event)
    if following is None:
        possible = ", ".join(legal.name for legal in TRANSITIONS[state]) or "none"
        problem = f"{event.name} cannot happen to an instrument that is {state.name}; possible: {possible}"
        raise LocalProtocolError(problem)
    return following


def diagram() -> str:
    """Return the table as a Mermaid state diagram: what the documentation shows, events of one arrow together."""
    lines = ["stateDiagram-v2", f"    [*] --> {ABSENT.name}"]
    for state, row in TRANSITIONS.items():
        for target in dict.fromkeys(row.values()):
            events = ", ".join(event.name for event, following in row.items() if following is target)
            lines.append(f"    {state.name} --> {target.name}: {events}")
    return "\n".join([*lines, f"    {CLOSED.name} --> [*]"])
