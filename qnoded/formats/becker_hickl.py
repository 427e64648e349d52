"""Becker & Hickl FIFO files (.spc) of the SPC-130/140/150/160/830 families: 32-bit words behind a header word.

A word holds 12 bits of macro time, 4 of routing, 12 of the inverted micro
time, and four flags: mark, gap (tags were lost before it), macro time overflow, invalid. Invalid with overflow is
nothing but a number of overflows. The header word gives the macro clock; the length of a micro time step is in no part
of the file, so that the micro time can only be used where ``tick_ps`` names it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.errors import GarbledRecording, TruncatedRecording
from qnoded.formats.reading import BinaryRecords, RecordReader, Request, note_gap
from qnoded.formats.source import Source
from qnoded.kernels.compiling import I64_OUT, U8_OUT, U32_IN, kernel
from qnoded.kernels.ticks import ticks_to_ps
from qnoded.records import I64, U8, U32, Gap, ReadingReport, RecordingInfo

HEADER_BYTES: Final = 4
CLOCK_UNIT_PS: Final = 100
"""The header counts the macro clock in 0.1 ns."""
CLOCK_MASK: Final = 0xFFFFFF
RAW_DATA_FLAG: Final = 0x80000000
"""Set in the header word of every file, where records have their invalid flag."""
OVERFLOW: Final = 2**12
FULL: Final = 2**62
"""Macro clocks at which decoding stops: no record can then overflow an int64."""


@kernel(types.int64, U32_IN, I64_OUT, I64_OUT, I64_OUT, U8_OUT, I64_OUT)
def decode_spc(word: U32, state: I64, macro: I64, micro: I64, channel: U8, gap: I64) -> int:
    """Decode the words of an SPC-130 family file.

    Parameters
    ----------
    word : uint32[n]
    state : int64[4]: macro clocks of the overflows so far, carried; overflow marks of this call, added to; photons
        written and gaps written, set
    macro, micro : int64[>= n], filled: macro clocks since the start, micro time 0 to 4095
    channel : uint8[>= n], filled with the routing bits
    gap : int64[>= n], filled with the indices of photons before which tags were lost

    Returns
    -------
    int
        Words decoded: n, or fewer where the time reaches ``FULL``.
    """
    base, made, gaps = state[0], np.uint64(0), np.uint64(0)
    for n in range(np.uint64(word.size)):
        w = np.uint64(word[n])
        flags = w >> np.uint64(28)
        invalid, overflow = flags >> np.uint64(3), (flags >> np.uint64(2)) & np.uint64(1)
        if overflow:
            if base >= FULL:
                state[0], state[2], state[3] = base, np.int64(made), np.int64(gaps)
                return n
            base += OVERFLOW * (np.int64(w & np.uint64(0xFFFFFFF)) if invalid else 1)
            state[1] += 1
        macro[made] = base + np.int64(w & np.uint64(0xFFF))
        micro[made] = np.int64(np.uint64(4095) - ((w >> np.uint64(16)) & np.uint64(0xFFF)))
        channel[made] = np.uint8((w >> np.uint64(12)) & np.uint64(15))
        # A mark is an external signal and no photon; its word is flagged invalid as well.
        photon = np.uint64(1) - invalid
        gap[gaps] = np.int64(made)
        gaps += photon & (flags >> np.uint64(1))
        made += photon
    state[0], state[2], state[3] = base, np.int64(made), np.int64(gaps)
    return word.size


class SpcReader(RecordReader):
    """Words of a .spc file."""

    def __init__(self, source: Source, request: Request) -> None:
        source.seek(0)
        head = bytes(source.read(HEADER_BYTES))
        if len(head) < HEADER_BYTES:
            problem = f"the file ends inside the header ({len(head)} of {HEADER_BYTES} bytes)"
            raise TruncatedRecording(source.path, len(head), problem, "copy the recording again")
        word = int.from_bytes(head, "little")
        clock = word & CLOCK_MASK
        if not word & RAW_DATA_FLAG or not clock:
            problem = f"header word {word:#010x} has no raw data flag or no macro clock"
            raise GarbledRecording(source.path, 0, problem, "the file is not an SPC FIFO file; try another --format")
        self._clock_ps = Fraction(clock * CLOCK_UNIT_PS)
        self._micro_ps = request.tick_ps
        used = "is used" if self._micro_ps else "is left out: name the length of its step with --tick-ps"
        notes = (f"macro clock {self._clock_ps} ps from the header; the micro time {used}",)
        self.info = RecordingInfo(str(source.path), "bh-spc", self._micro_ps or self._clock_ps, notes=notes)
        super().__init__(source, BinaryRecords(source, np.dtype("<u4"), HEADER_BYTES))
        self._state = np.zeros(4, np.int64)
        self._newest_ps = 0

    def decode(self, words: NDArray[Any], tag_ps: I64, channel: U8, report: ReadingReport) -> tuple[int, int]:
        """Decode words as far as the arrays reach."""
        words = words[: tag_ps.size]
        micro, gap = np.empty(words.size, np.int64), np.empty(words.size, np.int64)
        self._state[1] = 0
        used = int(decode_spc(words, self._state, tag_ps, micro, channel, gap))
        if used < words.size:
            self.garbled(used, "the overflows add up to more time than a counter can hold")
        made, gaps = int(self._state[2]), int(self._state[3])
        times = tag_ps[:made]
        self.scale(words, times, self._clock_ps)
        if self._micro_ps is not None:
            step = self._micro_ps
            late = ticks_to_ps(micro[:made], step.numerator, step.denominator, micro)
            times += micro[:made]
            if late >= 0 or (made and int(times.min()) < 0):
                self.garbled(0, "the time is later than an int64 of picoseconds can hold (106 days)")
        for index in gap[:gaps].tolist():
            before = int(times[index - 1]) if index else self._newest_ps
            lost = Gap(min(before, int(times[index])), int(times[index]), None, "FIFO overflow")
            note_gap(report, lost, self.info.path)
        if made:
            self._newest_ps = int(times[-1])
        report.rollovers += int(self._state[1])
        return words.size, made

    def tags_per_record(self, words: NDArray[Any]) -> NDArray[np.int64]:
        """Return 1 for photons, 0 for overflows and marks."""
        return np.asarray(words >> 31 == 0, np.int64)
