"""The time controller's commands and answers, and its slices of time tags.

Sources: ID Quantique's Python examples for the Time Controller. Commands are lines of text, one message each, and each
is answered by one message. Tags come from a service of the maker's (DataLinkTargetService), an array of little-endian
uint64 per input and slice: picoseconds since the slice began. A slice without tags gives no message; an empty message
ends the stream.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numba import types

from qnoded.errors import InstrumentFault, InstrumentGarbled
from qnoded.kernels.compiling import I64_OUT, U8_IN, kernel
from qnoded.kernels.merging import merge
from qnoded.records import I64, U8, Gap, TagBlock
from qnoded.units import PS_PER_MS

INPUTS: Final = (1, 2, 3, 4)
RESOLUTION_PS: Final = Fraction(1)
"""Of its time base."""
BYTES_PER_TAG: Final = 8
SLICE_PS: Final = 200 * PS_PER_MS
"""Length of a slice; the maker recommends no shorter one."""
DEAD_PS: Final = 40_000
"""Between two slices, at least; so long the instrument is blind."""
PERIOD_PS: Final = SLICE_PS + DEAD_PS
MOST_AHEAD: Final = 25
"""Slices that one input may be ahead of another: five seconds."""
SET: Final = re.compile(r"value set to (?P<value>.*)", re.IGNORECASE)
HIRES_ERRORS: Final = {1: "needs calibration", 1001: "rate too high", 1002: "rate too high", 1003: "bad threshold"}
"""What the first driver to read them says; the maker's text is not public."""
PLAYING: Final = "PLAYING"


@kernel(types.boolean, U8_IN, types.int64, types.int64, I64_OUT)
def placed(raw: U8, first_ps: int, longest_ps: int, tag_ps: I64) -> bool:
    """Read the tags of one input and slice; return whether they ascend and lie within the slice.

    Parameters
    ----------
    raw : uint8[8 n], little-endian uint64
    first_ps : int64, when the slice began, ps
    longest_ps : int64, length of a slice, ps
    tag_ps : int64[n], ps, filled
    """
    last_ps, wrong = np.int64(0), np.uint64(0)
    for place in range(tag_ps.size):
        at = np.uint64(place)
        low, high = np.uint64(0), np.uint64(0)
        for byte in range(4):
            shift = np.uint64(8 * byte)
            low |= np.uint64(raw[np.uint64(8) * at + np.uint64(byte)]) << shift
            high |= np.uint64(raw[np.uint64(8) * at + np.uint64(4 + byte)]) << shift
        now_ps = np.int64(low | high << np.uint64(32))
        wrong |= np.uint64((now_ps < last_ps) | (now_ps > longest_ps))
        tag_ps[at] = first_ps + now_ps
        last_ps = now_ps
    return bool(wrong == 0)


class Slices:
    """Puts the slices of all inputs together, and names what was lost."""

    def __init__(self, inputs: Sequence[int]) -> None:
        self._waiting: dict[int, deque[bytes]] = {number: deque() for number in inputs}
        self._taken = dict.fromkeys(inputs, 0)
        """Slices of each input that have come, empty ones included."""
        self._lacked: dict[int, int] = {}
        self._given = 0
        """Slices that have been handed on."""
        self._troubles: dict[int, str] = {}
        """Slice -> what is wrong with it."""

    def take(self, number: int, message: bytes) -> None:
        """Take the message of one input's next slice.

        Raises
        ------
        InstrumentGarbled
            If it is no array of tags, or other inputs have fallen far behind.
        """
        if len(message) % BYTES_PER_TAG:
            problem = f"input {number}: {len(message)} bytes are no array of 64-bit times"
            raise InstrumentGarbled(problem)
        self._waiting[number].append(message)
        self._taken[number] += 1
        if len(self._waiting[number]) > MOST_AHEAD:
            behind = ", ".join(str(one) for one, waiting in self._waiting.items() if not waiting)
            problem = f"input {behind} is more than {MOST_AHEAD} slices behind input {number}; connect again"
            raise InstrumentGarbled(problem)

    def overdue(self) -> tuple[int, ...]:
        """Return the inputs that lack a slice which others have told, and lacked the same one when asked before."""
        ahead = any(self._waiting.values())
        lacking = {number: taken for number, taken in self._taken.items() if ahead and not self._waiting[number]}
        overdue = tuple(number for number, taken in lacking.items() if self._lacked.get(number) == taken)
        self._lacked = lacking
        return overdue

    def registered(self, number: int, count: int) -> None:
        """Note how many slices of an input the service has registered: those that gave no message are empty."""
        while self._taken[number] < count and not self._waiting[number]:
            self.take(number, b"")

    def trouble(self, reason: str) -> None:
        """Note that tags were lost a moment ago: in the slice that was told last, or in the one that runs."""
        newest = max(self._taken.values())
        for slice_number in range(max(self._given, newest - 1), newest + 1):
            self._troubles[slice_number] = reason

    def next(self) -> TagBlock | None:
        """Return the next slice, once all inputs have told it.

        Raises
        ------
        InstrumentGarbled
            If its times do not ascend or lie outside of it.
        """
        if not all(self._waiting.values()):
            return None
        first_ps = self._given * PERIOD_PS
        together = TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64))
        for number, waiting in self._waiting.items():
            raw = np.frombuffer(waiting.popleft(), np.uint8)
            times_ps = np.empty(raw.size // BYTES_PER_TAG, np.int64)
            if not placed(raw, first_ps, SLICE_PS, times_ps):
                problem = f"input {number}, slice {self._given}: times run back, or lie outside of its {SLICE_PS} ps"
                raise InstrumentGarbled(problem)
            together = _both(together, TagBlock(np.full(times_ps.size, number, np.uint8), times_ps))
        gaps: tuple[Gap, ...] = ()
        if self._given in self._troubles:
            gaps = (Gap(first_ps, first_ps + PERIOD_PS, None, self._troubles.pop(self._given)),)
        self._given += 1
        return TagBlock(together.channel, together.tag_ps, gaps)


def _both(one: TagBlock, other: TagBlock) -> TagBlock:
    tags = len(one) + len(other)
    tag_ps, channel = np.empty(tags, np.int64), np.empty(tags, np.uint8)
    merge(one.tag_ps, one.channel, other.tag_ps, other.channel, True, tag_ps, channel)
    return TagBlock(channel, tag_ps)


def number_of(text: str) -> int:
    """Return an integer, with or without the unit of the time base.

    Raises
    ------
    InstrumentGarbled
        If it is none.
    """
    plain = text.strip().removesuffix("TB").strip()
    if not re.fullmatch(r"-?\d{1,18}", plain):
        problem = f"{text[:80]!r} was answered where a whole number belongs"
        raise InstrumentGarbled(problem)
    return int(plain)


def lines_of(answer: str, count: int) -> list[str]:
    """Return the lines of an answer to so many questions.

    Raises
    ------
    InstrumentGarbled
        If there are more or fewer.
    """
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    if len(lines) != count:
        problem = f"{answer[:80]!r} was answered to {count} questions"
        raise InstrumentGarbled(problem)
    return lines


def accepted(command: str, answer: str) -> str:
    """Return the value that a command has set.

    Raises
    ------
    InstrumentFault
        If the answer says something else.
    """
    match = SET.fullmatch(answer.strip())
    if match is None:
        problem = f"{command} was answered with {answer[:80]!r}; is its firmware older than these names?"
        raise InstrumentFault(problem)
    return match["value"].strip()


def told_by_service(command: str, answer: str) -> Any:
    """Return what the service answers.

    Raises
    ------
    InstrumentFault
        If it says that it cannot.
    InstrumentGarbled
        If it is no JSON.
    """
    try:
        told = json.loads(answer) if answer.strip() else None
    except ValueError:
        problem = f"the service answered {command!r} with {answer[:80]!r}, which is no JSON"
        raise InstrumentGarbled(problem) from None
    if isinstance(told, dict) and told.get("error"):
        error = told["error"]
        why = error.get("description") if isinstance(error, dict) else error
        problem = f"the service answered {command!r} with an error: {str(why)[:120]}"
        raise InstrumentFault(problem)
    return told
