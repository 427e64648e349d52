"""How much of each kind a message may hold; the codec of the wire refuses what exceeds it before it is read.

A field says its own limit in its type, ``Annotated[str, Most(64)]``; what it does not say is limited by its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LARGEST_FRAME_BYTES: Final = 32 * 2**20
"""Of one frame: the revealed times of 15 million detections, six times what a tagger sends in an epoch."""
LONGEST_TEXT: Final = 64
"""Bytes of a text in UTF-8, unless the field says otherwise."""
LONGEST_BYTES: Final = 64
MOST_NUMBERS: Final = 2**16
"""Entries of a tuple of numbers."""
LATEST_EPOCH: Final = 2**63 // 2**39 - 1
"""No int64 of picoseconds reaches a later epoch."""
LATEST_PS: Final = 2**62
"""Moments and durations stay below, so that sums of two still fit int64: 53 days of picoseconds."""


@dataclass(frozen=True, slots=True)
class Most:
    """Longest text or bytes (bytes), longest array or tuple (entries)."""

    size: int


@dataclass(frozen=True, slots=True)
class Exactly:
    """The only length of bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Between:
    """Smallest and largest number that the field takes."""

    low: float
    high: float
