"""What happens at this end and enters a script beside the peer's messages: past facts, made by the node."""

from __future__ import annotations

from dataclasses import dataclass

from qnoded.records import DetectionEpoch
from qnoded.stages.synchronization.clock_state import ClockState


class Happening:
    """Anything that this end's node tells a script."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Detected(Happening):
    """Acquisition has finished one epoch of this node's own clock."""

    epoch: DetectionEpoch
    """Delays removed, in order; ``start_ps`` is a multiple of the epoch's length, except where the stream began."""


@dataclass(frozen=True, slots=True)
class DetectionLost(Happening):
    """An epoch of this node's clock never became a record: dropped under overload, or the tagger was away."""

    start_ps: int
    stop_ps: int
    reason: str
    """One of the ``Reason`` values."""


@dataclass(frozen=True, slots=True)
class InterludeWanted(Happening):
    """The operator or the schedule asks for a CHSH interlude as soon as possible; alice only."""


@dataclass(frozen=True, slots=True)
class ControllerStands(Happening):
    """The polarization controller of this node has come to rest at a setting, or is about to leave it."""

    setting: str | None
    """``"key"`` or ``"chsh"``; None while it moves or nobody knows."""
    move: int
    """Counts its moves: a session is told anew where it stands, and that is news only if it has moved."""


@dataclass(frozen=True, slots=True)
class KnownClock:
    """A lock that was persisted, or the rough one that the hosts' clocks give."""

    state: ClockState | None
    """As last persisted; None: only the offset is known."""
    same_streams: bool
    """True if both taggers count on without a restart since then: the offset holds, grown by the clocks' noise."""
    offset_ps: int
    """Matcher's reading minus revealer's as the hosts' clocks give it, good to some ten milliseconds."""
