"""The TDC1's text commands, and its stream of 32-bit words without any framing.

Sources: S-Fifteen's wiki of the TDC1 and its public drivers. A word, little-endian: 27 bits of time in steps of 2 ns,
one bit for a dummy that only carries the time over a quiet stretch (every 140 ms at least), four bits of inputs.

One lost byte shifts all words after it. A shifted stream may look right for long, since its times run as well: 256
times too fast, or more. So each window of words is compared with what the same bytes would be in the other three
phases, and is believed once the next window fits as well.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

import numpy as np
from numba import types

from qnoded.errors import InstrumentGarbled
from qnoded.kernels.compiling import I64_OUT, U8_IN, U8_OUT, U32_IN, kernel
from qnoded.records import I64, U8, U32, Gap, TagBlock

TICK_PS: Final = 2000
INPUTS: Final = (1, 2, 3, 4)
WRAP: Final = 1 << 27
"""Ticks after which the counter begins anew: 268 ms."""
DUMMY: Final = 1 << 4
TIME_SHIFT: Final = 5
TICKS_PER_S: Final = 500_000_000
LONGEST_STEP: Final = 75_000_000
"""Ticks between two words at most: 150 ms."""
WINDOW: Final = 12
"""Words that are judged together."""
WINDOW_BYTES: Final = 4 * WINDOW
FASTER: Final = 8
"""In which proportion a step must be shorter than in another phase to count for its phase; shifted ones are 256 times
longer, or anything."""
MAJORITY: Final = WINDOW // 2
"""So many more steps must count for another phase to call a window out of step: one long pause proves nothing."""
ENOUGH: Final = 2
"""Windows in a row that show where words begin; the first may have begun with a broken one and is given up."""
SEARCH_BYTES: Final = 1 << 20
"""Bytes without any words that fit after which it is no stream of events."""
OVERFLOW: Final = 0x10
"""Bit of the status: words were lost inside the instrument."""
STATUS: Final = re.compile(r"[0-9A-Fa-f]{4}")
START: Final = b"INPKT;TIME 0;TIMESTAMP;COUNTS?;\r\n"
ABORT: Final = b"ABORT\r\n"


@kernel(types.int64, U8_IN, types.int64)
def word_at(raw: U8, place: int) -> int:
    """Return the word that begins at a byte."""
    at = np.uint64(place)
    low = np.uint32(raw[at]) | np.uint32(raw[at + np.uint64(1)]) << np.uint32(8)
    high = np.uint32(raw[at + np.uint64(2)]) | np.uint32(raw[at + np.uint64(3)]) << np.uint32(8)
    return int(low | high << np.uint32(16))


@kernel(types.boolean, U8_IN, types.int64, types.int64)
def beaten(raw: U8, base: int, phase: int) -> bool:
    """Return whether another phase makes more sense of a window.

    Parameters
    ----------
    raw : uint8[n]
    base : int64, byte at which the window begins
    phase : int64, 1 to 3, bytes by which the other phase begins later
    """
    for_it = against_it = 0
    own, other = word_at(raw, base), word_at(raw, base + phase)
    for number in range(1, WINDOW - 1):
        following_own, following_other = word_at(raw, base + 4 * number), word_at(raw, base + phase + 4 * number)
        own_step = ((following_own >> TIME_SHIFT) - (own >> TIME_SHIFT)) & (WRAP - 1)
        other_step = ((following_other >> TIME_SHIFT) - (other >> TIME_SHIFT)) & (WRAP - 1)
        if other_step > LONGEST_STEP or not following_other & 31:
            return False
        for_it += other_step * FASTER < own_step
        against_it += own_step * FASTER < other_step
        own, other = following_own, following_other
    return for_it >= against_it + MAJORITY


@kernel(types.int64, U8_IN, types.int64)
def windows_in_step(raw: U8, last_tick: int) -> int:
    """Return how many windows from the first byte on hold words that can follow each other.

    Parameters
    ----------
    raw : uint8[n]
    last_tick : int64, tick of the word before; unwrapped or not
    """
    last = last_tick
    for window in range(raw.size // WINDOW_BYTES):
        base = window * WINDOW_BYTES
        for number in range(WINDOW):
            word = word_at(raw, base + 4 * number)
            step = ((word >> TIME_SHIFT) - last) & (WRAP - 1)
            if step > LONGEST_STEP or not word & 31:
                return window
            last += step
        for phase in range(1, 4):
            if beaten(raw, base, phase):
                return window
    return int(raw.size // WINDOW_BYTES)


@kernel(types.int64, U8_IN, types.int64)
def where_in_step(raw: U8, last_tick: int) -> int:
    """Return the byte at which whole words begin; -1 if there is none.

    Parameters
    ----------
    raw : uint8[n]
    last_tick : int64, tick of the last word that is certain, after which it must be possible; negative if there is none
    """
    for place in range(raw.size - ENOUGH * WINDOW_BYTES + 1):
        windows = raw[place : place + ENOUGH * WINDOW_BYTES]
        if windows_in_step(windows, word_at(windows, 0) >> TIME_SHIFT) == ENOUGH:
            step = ((word_at(windows, WINDOW_BYTES) >> TIME_SHIFT) - last_tick) & (WRAP - 1)
            if last_tick < 0 or step <= LONGEST_STEP:
                return place + WINDOW_BYTES
    return -1


@kernel(types.int64, U32_IN, types.int64, U8_OUT, I64_OUT, I64_OUT)
def unpacked(words: U32, last_tick: int, channel: U8, tag_ps: I64, state: I64) -> int:
    """Write a tag for each input of each word.

    Parameters
    ----------
    words : uint32[n]
    last_tick : int64, unwrapped tick of the word before
    channel : uint8[>= 4 n + 1], filled, 1 to 4
    tag_ps : int64[>= 4 n + 1], ps, filled
    state : int64[1], set to the unwrapped tick of the last word

    Returns
    -------
    int
        Tags written.
    """
    made, last = np.uint64(0), last_tick
    for place in range(words.size):
        word = words[np.uint64(place)]
        last += (int(word >> np.uint32(TIME_SHIFT)) - last) & (WRAP - 1)
        if not word & np.uint32(DUMMY):
            for bit in range(4):
                # Written over by the next one unless the bit is set: cheaper than a branch.
                channel[made] = bit + 1
                tag_ps[made] = last * TICK_PS
                made += np.uint64((word >> np.uint32(bit)) & np.uint32(1))
    state[0] = last
    return int(made)


class EventDecoder:
    """Turns the bytes of one stream into tags; a loss of step becomes a ``Gap``."""

    def __init__(self) -> None:
        self._raw = b""
        self._last_tick: int | None = None
        """Of the last word that is certain, unwrapped; None before the first."""
        self._in_step = False
        self._searched = 0
        """Bytes that have been given up since the step was lost."""

    def feed(self, data: bytes) -> TagBlock:
        """Return the tags that are certain now.

        Raises
        ------
        InstrumentGarbled
            If nothing that fits comes any more.
        """
        self._raw += data
        blocks = []
        while self._in_step or self._finds_step():
            assert self._last_tick is not None
            raw = np.frombuffer(self._raw, np.uint8)
            fit = windows_in_step(raw, self._last_tick)
            if fit > 1:
                blocks.append(self._taken((fit - 1) * WINDOW))
            if fit == raw.size // WINDOW_BYTES:
                break
            # What stands here does not lead on: look from the next byte.
            self._raw, self._in_step, self._searched = self._raw[1:], False, 1
        return TagBlock(
            np.concatenate([np.empty(0, np.uint8), *(block.channel for block in blocks)]),
            np.concatenate([np.empty(0, np.int64), *(block.tag_ps for block in blocks)]),
            tuple(gap for block in blocks for gap in block.gaps),
        )

    def _taken(self, count: int) -> TagBlock:
        assert self._last_tick is not None
        words = np.frombuffer(self._raw, "<u4", count)
        channel, tag_ps = np.empty(4 * count + 1, np.uint8), np.empty(4 * count + 1, np.int64)
        state = np.empty(1, np.int64)
        made = unpacked(words, self._last_tick, channel, tag_ps, state)
        gaps: tuple[Gap, ...] = ()
        if self._searched:
            first_tick = self._last_tick + ((int(words[0]) >> TIME_SHIFT) - self._last_tick) % WRAP
            gaps = (Gap(self._last_tick * TICK_PS, first_tick * TICK_PS, None, "bytes lost"),)
            self._searched = 0
        self._last_tick = int(state[0])
        self._raw = self._raw[4 * count :]
        return TagBlock(channel[:made].copy(), tag_ps[:made].copy(), gaps)

    def _finds_step(self) -> bool:
        """Give bytes up until words begin; return whether they do."""
        raw = np.frombuffer(self._raw, np.uint8)
        place = where_in_step(raw, -1 if self._last_tick is None else self._last_tick)
        if place >= 0:
            if self._last_tick is None:
                self._last_tick, self._searched = word_at(raw, place) >> TIME_SHIFT, 0
            self._raw, self._in_step = self._raw[place:], True
            return True
        kept = min(raw.size, ENOUGH * WINDOW_BYTES - 1)
        self._searched += raw.size - kept
        self._raw = self._raw[raw.size - kept :]
        if self._searched > SEARCH_BYTES:
            problem = f"no events could be read from {self._searched} bytes of the stream; start it again"
            raise InstrumentGarbled(problem)
        return False


def status_of(line: str) -> int | None:
    """Return the bits of the status, if the line is one."""
    return int(line, 16) if STATUS.fullmatch(line) else None


def number_of(line: str) -> int | None:
    """Return a number, if the line is one; the TDC1 prints unsigned ones of 16 bits as signed."""
    return int(line) % 2**16 if re.fullmatch(r"-?\d{1,5}", line) and not STATUS.fullmatch(line) else None


RESOLUTION_PS: Final = Fraction(TICK_PS)
