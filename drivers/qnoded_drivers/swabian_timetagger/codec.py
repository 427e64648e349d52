"""Events as the Time Tagger gives them: tags, and between them what it says of tags that were lost.

Source: Time Tagger User Manual 2.17, tag format. A record is 16 bytes, little-endian: kind, a reserved byte, number of
missed events (16 bits), input (32 bits, negative for falling edges), time in ps (64 bits). The library hands the same
fields over as columns; one kernel takes both.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.errors import InstrumentGarbled
from qnoded.formats.swabian import FALLING, LARGEST_INPUT, MISSED, RECORD, TAG, Losses
from qnoded.kernels.compiling import I64_OUT, U8_OUT, kernel
from qnoded.records import I64, U8, Gap, ReadingReport, TagBlock

RESOLUTION_PS: Final = Fraction(1)
"""Of the times that it tells; the jitter is larger."""
BUFFER_FULL: Final = "the buffer of the library was full"
COLUMN: Final = "A"
"""Layout of a column: fields of records lie 16 bytes apart."""


@kernel(
    types.int64,
    types.Array(types.uint8, 1, COLUMN, readonly=True),
    types.Array(types.int32, 1, COLUMN, readonly=True),
    types.Array(types.int64, 1, COLUMN, readonly=True),
    U8_OUT,
    I64_OUT,
    I64_OUT,
)
def unpacked(kind: U8, inputs: NDArray[np.int32], time_ps: I64, channel: U8, tag_ps: I64, found: I64) -> int:
    """Write the tags among the events.

    Parameters
    ----------
    kind : uint8[n], columns of the same length, of any stride
    inputs : int32[n], negative for falling edges
    time_ps : int64[n], ps
    channel : uint8[>= n + 1], filled; falling edges as ``FALLING`` + number
    tag_ps : int64[>= n + 1], ps, filled
    found : int64[2], ``found[0]`` is the time of the tag before, ps, and becomes that of the last one; ``found[1]``
        becomes 1 if anything is wrong: a tag that stands back in time, an input or a kind that cannot be

    Returns
    -------
    int
        Tags written.
    """
    made, wrong = np.uint64(0), np.uint64(0)
    last_ps = found[0]
    for place in range(kind.size):
        at = np.uint64(place)
        now_ps, number = time_ps[at], inputs[at]
        # Written over by the next one unless it is a tag: cheaper than a branch.
        channel[made] = np.uint8(number if number >= 0 else FALLING - number)
        tag_ps[made] = now_ps
        tag = kind[at] == TAG
        made += np.uint64(tag)
        beyond = (number > LARGEST_INPUT) | (number < -LARGEST_INPUT)
        wrong |= np.uint64((tag & (beyond | (now_ps < last_ps))) | (kind[at] > MISSED))
        last_ps = now_ps if tag else last_ps
    found[0], found[1] = last_ps, wrong
    return int(made)


@dataclass(frozen=True, slots=True)
class Events:
    """Events of all kinds, as columns of one length."""

    kind: NDArray[np.uint8]
    missed: NDArray[np.uint16]
    inputs: NDArray[np.int32]
    time_ps: I64

    @classmethod
    def of_records(cls, data: bytes) -> Events:
        """Return the events of raw 16-byte records."""
        records: NDArray[Any] = np.frombuffer(data, RECORD)
        return cls(records["type"], records["missed"], records["channel"], records["tag_ps"])


class EventDecoder:
    """Turns the events of one instrument into tags and gaps, one buffer after the other."""

    def __init__(self) -> None:
        self._last_ps = -(2**63)
        self._losses = Losses("the stream of the Time Tagger")
        self._full = False
        """Whether the buffer before had no room for more."""

    def feed(self, events: Events, *, full: bool = False) -> TagBlock:
        """Return the tags of the next buffer.

        Parameters
        ----------
        events
            In order of time.
        full
            Whether the buffer was full, so that events after it are lost.

        Raises
        ------
        InstrumentGarbled
            If time runs backwards, or an input or a kind of event cannot be.
        """
        count = events.kind.size
        channel, tag_ps = np.empty(count + 1, np.uint8), np.empty(count + 1, np.int64)
        found = np.array([self._last_ps, 0], np.int64)
        made = unpacked(events.kind, events.inputs, events.time_ps, channel, tag_ps, found)
        if found[1]:
            problem = (
                f"among {count} events after {self._last_ps} ps one runs back in time, or has an unknown kind or an "
                f"input beyond +-{LARGEST_INPUT}; connect again"
            )
            raise InstrumentGarbled(problem)
        report = ReadingReport()
        if self._full and count:
            report.gaps.append(Gap(self._last_ps, int(events.time_ps[0]), None, BUFFER_FULL))
        self._losses.note(events.kind, events.missed, events.time_ps, report)
        self._last_ps = int(found[0])
        self._full = full or (self._full and not count)
        return TagBlock(channel[:made], tag_ps[:made], tuple(report.gaps))
