"""What an artefact is: one detector, one kind, its numbers and one sentence for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qnoded.records import Receiver

ArtefactKind = Literal["double-firing", "long-dead-time", "afterpulsing", "dead", "dim", "hot"]


@dataclass(frozen=True, slots=True)
class Artefact:
    """A fault of one detector that the numbers show beyond chance."""

    side: str
    """``"alice"`` or ``"bob"``."""
    detector: str
    """Name of the detector."""
    channel: int
    """The instrument's input number."""
    kind: ArtefactKind
    numbers: Mapping[str, float]
    """What was measured; the unit is the end of each name."""
    sentence: str
    """What it is and what to do, for the operator."""


def artefact(
    receiver: Receiver, detector: int, kind: ArtefactKind, numbers: Mapping[str, float], sentence: str
) -> Artefact:
    """Return the finding for one detector of a receiver, its sentence opened with the detector's name."""
    found = receiver.detectors[detector]
    named = f"{receiver.side} {found.name} (channel {found.channel}) {sentence}"
    return Artefact(receiver.side, found.name, found.channel, kind, dict(numbers), named)
