"""PicoQuant unified TTTR files (.ptu), T2 and T3, of all record types that ptufile knows.

``ptufile`` reads the header; the 32-bit words are decoded here because it decodes a whole file at once. A word is a
photon, a marker, or an overflow that carries the counter on. Channels are numbered as in the words, from 0; the sync
input of T2 gets a number of its own, since a HydraHarp may deliver sync and input 0 side by side.
"""

from __future__ import annotations

import io
import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NoReturn

import numpy as np
import ptufile
from numba import types
from numpy.typing import NDArray
from ptufile.ptufile import PtuRecordType

from qnoded.errors import GarbledRecording, TruncatedRecording
from qnoded.formats.reading import BinaryRecords, RecordReader, Request
from qnoded.formats.source import Source
from qnoded.kernels.compiling import I64_OUT, U8_OUT, U32_IN, kernel
from qnoded.kernels.ticks import LARGEST_DIRECT_DENOMINATOR, ticks_to_ps
from qnoded.records import I64, U8, U32, ReadingReport, RecordingInfo
from qnoded.units import PS_PER_S

MAGIC: Final = b"PQTTTR\0\0"
LARGEST_HEADER: Final = 2**22
"""4 MiB: the headers of real instruments have some thousand bytes, those with image settings a few hundred."""
TAG_BYTES: Final = 48
"""Length of a header field without its text."""
SYNC_CHANNEL: Final = 64
"""Channel given to the sync input in T2: one more than the largest input number of six bits."""
FULL: Final = 2**62
"""Ticks at which decoding stops: no record can then overflow an int64."""
LONGEST_SYNC_PERIOD_S: Final = 1.0
"""A slower pulsed source than 1 Hz is a damaged header."""

OVERFLOW_T2: Final = 2**25
OVERFLOW_T2_V1: Final = 33_552_000
"""HydraHarp V1 and PicoHarp 300 count to a decimal number (PicoQuant's file format notes)."""
OVERFLOW_T2_PICOHARP: Final = 210_698_240
OVERFLOW_T3: Final = 2**10
OVERFLOW_T3_PICOHARP: Final = 2**16


@dataclass(frozen=True, slots=True)
class WordLayout:
    """How the instrument packs 32 bits."""

    t3: bool
    overflow: int
    counted: bool = True
    """An overflow word says how many overflows it stands for (0 stands for one)."""
    picoharp: bool = False


_T2, _T3 = WordLayout(t3=False, overflow=OVERFLOW_T2), WordLayout(t3=True, overflow=OVERFLOW_T3)
LAYOUTS: Final = {
    PtuRecordType.PicoHarpT2: WordLayout(False, OVERFLOW_T2_PICOHARP, counted=False, picoharp=True),
    PtuRecordType.PicoHarpT3: WordLayout(True, OVERFLOW_T3_PICOHARP, counted=False, picoharp=True),
    PtuRecordType.HydraHarpT2: WordLayout(False, OVERFLOW_T2_V1, counted=False),
    PtuRecordType.HydraHarpT3: WordLayout(True, OVERFLOW_T3, counted=False),
    PtuRecordType.HydraHarp2T2: _T2,
    PtuRecordType.HydraHarp2T3: _T3,
    PtuRecordType.TimeHarp260NT2: _T2,
    PtuRecordType.TimeHarp260NT3: _T3,
    PtuRecordType.TimeHarp260PT2: _T2,
    PtuRecordType.TimeHarp260PT3: _T3,
    PtuRecordType.GenericT2: _T2,
    PtuRecordType.GenericT3: _T3,
}


@kernel(types.int64, U32_IN, types.int64, types.boolean, I64_OUT, I64_OUT, U8_OUT)
def decode_t2(word: U32, overflow: int, counted: bool, state: I64, ticks: I64, channel: U8) -> int:
    """Decode T2 words: bit 31 special, six bits of input, 25 bits of time.

    Parameters
    ----------
    word : uint32[n]
    overflow : int64, ticks per overflow
    counted : bool, whether an overflow word carries their number
    state : int64[3]: ticks of the overflows so far, carried; overflow words of this call, added to; tags written, set
    ticks : int64[>= n], filled
    channel : uint8[>= n], filled

    Returns
    -------
    int
        Words decoded: n, or fewer where the time reaches ``FULL``.
    """
    base, made = state[0], np.uint64(0)
    for n in range(np.uint64(word.size)):
        w = np.uint64(word[n])
        time, code, special = (
            np.int64(w & np.uint64(0x1FFFFFF)),
            (w >> np.uint64(25)) & np.uint64(63),
            w >> np.uint64(31),
        )
        if special and code == np.uint64(63):
            if base >= FULL:
                state[0], state[2] = base, np.int64(made)
                return n
            base += overflow * (time if counted and time else 1)
            state[1] += 1
            continue
        ticks[made] = base + time
        channel[made] = np.uint8(SYNC_CHANNEL) if special else np.uint8(code)
        made += np.uint64(special == np.uint64(0) or code == np.uint64(0))
    state[0], state[2] = base, np.int64(made)
    return word.size


@kernel(types.int64, U32_IN, types.int64, I64_OUT, I64_OUT, U8_OUT)
def decode_t2_picoharp(word: U32, overflow: int, state: I64, ticks: I64, channel: U8) -> int:
    """Decode T2 words of a PicoHarp 300: four bits of input, 28 of time, input 15 special; see ``decode_t2``."""
    base, made = state[0], np.uint64(0)
    for n in range(np.uint64(word.size)):
        w = np.uint64(word[n])
        time, code = np.int64(w & np.uint64(0xFFFFFFF)), w >> np.uint64(28)
        if code == np.uint64(15) and time & 15 == 0:
            if base >= FULL:
                state[0], state[2] = base, np.int64(made)
                return n
            base += overflow
            state[1] += 1
            continue
        ticks[made] = base + time
        channel[made] = np.uint8(code)
        made += np.uint64(code != np.uint64(15))
    state[0], state[2] = base, np.int64(made)
    return word.size


@kernel(types.int64, U32_IN, types.int64, types.boolean, I64_OUT, I64_OUT, I64_OUT, U8_OUT)
def decode_t3(word: U32, overflow: int, counted: bool, state: I64, syncs: I64, delay: I64, channel: U8) -> int:
    """Decode T3 words: bit 31 special, six bits of input, 15 of delay after the sync, ten of sync count.

    Parameters as in ``decode_t2``; ``syncs`` is the number of the sync, ``delay`` the ticks after it, both int64[>= n].
    """
    base, made = state[0], np.uint64(0)
    for n in range(np.uint64(word.size)):
        w = np.uint64(word[n])
        count, code, special = np.int64(w & np.uint64(0x3FF)), (w >> np.uint64(25)) & np.uint64(63), w >> np.uint64(31)
        if special and code == np.uint64(63):
            if base >= FULL:
                state[0], state[2] = base, np.int64(made)
                return n
            base += overflow * (count if counted and count else 1)
            state[1] += 1
            continue
        syncs[made] = base + count
        delay[made] = np.int64((w >> np.uint64(10)) & np.uint64(0x7FFF))
        channel[made] = np.uint8(code)
        made += np.uint64(special == np.uint64(0))
    state[0], state[2] = base, np.int64(made)
    return word.size


@kernel(types.int64, U32_IN, types.int64, I64_OUT, I64_OUT, I64_OUT, U8_OUT)
def decode_t3_picoharp(word: U32, overflow: int, state: I64, syncs: I64, delay: I64, channel: U8) -> int:
    """Decode T3 words of a PicoHarp 300: four bits of input from 1, 12 of delay, 16 of sync; see ``decode_t3``."""
    base, made = state[0], np.uint64(0)
    for n in range(np.uint64(word.size)):
        w = np.uint64(word[n])
        count, late, code = (
            np.int64(w & np.uint64(0xFFFF)),
            np.int64((w >> np.uint64(16)) & np.uint64(0xFFF)),
            w >> np.uint64(28),
        )
        if code == np.uint64(15) and late == 0:
            if base >= FULL:
                state[0], state[2] = base, np.int64(made)
                return n
            base += overflow
            state[1] += 1
            continue
        syncs[made] = base + count
        delay[made] = late
        # Routed inputs are 1 to 4; a word without one stands for none of them.
        channel[made] = np.uint8(code - np.uint64(1)) if code else np.uint8(4)
        made += np.uint64(code != np.uint64(15))
    state[0], state[2] = base, np.int64(made)
    return word.size


class PtuReader(RecordReader):
    """Words of a .ptu file."""

    def __init__(self, source: Source, request: Request) -> None:
        header = _read_header(source)
        self._layout = header.layout
        notes = request.ignored_tick(header.tick_ps) + header.notes
        self.info = RecordingInfo(str(source.path), "ptu", header.tick_ps, notes=notes)
        self._tick_ps, self._delay_tick_ps = header.tick_ps, header.delay_tick_ps
        super().__init__(source, BinaryRecords(source, np.dtype("<u4"), header.start, header.records))
        self._state = np.zeros(3, np.int64)

    def decode(self, words: NDArray[Any], tag_ps: I64, channel: U8, report: ReadingReport) -> tuple[int, int]:
        """Decode words as far as the arrays reach."""
        words = words[: tag_ps.size]
        layout, state = self._layout, self._state
        delay = np.empty(words.size if layout.t3 else 0, np.int64)
        state[1] = 0
        if layout.t3 and layout.picoharp:
            used = decode_t3_picoharp(words, layout.overflow, state, tag_ps, delay, channel)
        elif layout.t3:
            used = decode_t3(words, layout.overflow, layout.counted, state, tag_ps, delay, channel)
        elif layout.picoharp:
            used = decode_t2_picoharp(words, layout.overflow, state, tag_ps, channel)
        else:
            used = decode_t2(words, layout.overflow, layout.counted, state, tag_ps, channel)
        if used < words.size:
            self.garbled(int(used), "the overflows add up to more time than a counter can hold")
        made = int(state[2])
        self.scale(words, tag_ps[:made], self._tick_ps)
        if layout.t3:
            delay = delay[:made]
            ticks_to_ps(delay, self._delay_tick_ps.numerator, self._delay_tick_ps.denominator, delay)
            tag_ps[:made] += delay
            if made and int(tag_ps[:made].min()) < 0:
                self.garbled(0, "the time is later than an int64 of picoseconds can hold (106 days)")
        report.rollovers += int(state[1])
        return words.size, made

    def tags_per_record(self, words: NDArray[Any]) -> NDArray[np.int64]:
        """Return 1 for photons, 0 for overflows and markers."""
        if self._layout.picoharp:
            return np.asarray(words >> 28 != 15, np.int64)
        special, code = words >> 31, (words >> 25) & 63
        return np.asarray((special == 0) | ((code == 0) & (not self._layout.t3)), np.int64)


@dataclass(frozen=True, slots=True)
class _Header:
    layout: WordLayout
    start: int
    records: int | None
    tick_ps: Fraction
    delay_tick_ps: Fraction
    notes: tuple[str, ...]


def _read_header(source: Source) -> _Header:
    """Read the tagged header with ptufile, and believe nothing that it says before it is checked."""
    source.seek(0)
    head = bytes(source.read(LARGEST_HEADER))
    whole = b"Header_End" in head
    # The library reports oddities to its log; what matters is checked here and becomes an error or a note.
    logging.getLogger("ptufile").addHandler(logging.NullHandler())
    try:
        with ptufile.PqFile(io.BytesIO(head)) as file:
            tags, start = dict(file.tags), int(file._data_offset)  # noqa: SLF001 - PqFile has no public name for it
    except Exception as error:  # a broken header makes the library fail in many ways, all of them ours to name
        problem = f"the header cannot be read ({type(error).__name__})"
        if not whole:
            problem = "the header has no end"
            raise TruncatedRecording(source.path, len(head), problem, "copy the recording again") from None
        raise GarbledRecording(source.path, 0, problem, "copy the recording again") from None
    if not head[:start][-TAG_BYTES:].startswith(b"Header_End"):
        # The library stops quietly at a field of unknown type: what follows would be taken for photons.
        raise GarbledRecording(source.path, start, "the header breaks off here", "copy the recording again")

    def refuse(tag: str, wanted: str) -> NoReturn:
        offset = head.find(tag.encode())
        problem = f"header field {tag} is {str(tags.get(tag))[:40]!r}, not {wanted}"
        raise GarbledRecording(source.path, max(offset, 0), problem, "the header is damaged; copy the file again")

    kind = tags.get("TTResultFormat_TTTRRecType")
    known = {int(name): layout for name, layout in LAYOUTS.items()}
    if not isinstance(kind, int) or kind not in known:
        refuse("TTResultFormat_TTTRRecType", "a known record type")
    if tags.get("TTResultFormat_BitsPerRecord", 32) not in (0, 32):
        refuse("TTResultFormat_BitsPerRecord", "32")
    layout = known[kind]
    count = tags.get("TTResult_NumberOfRecords", 0)
    if not isinstance(count, int) or count < 0:
        refuse("TTResult_NumberOfRecords", "a number of records")
    notes: tuple[str, ...] = (str(PtuRecordType(kind).name) + ", " + ("T3" if layout.t3 else "T2"),)
    if not count:
        notes += ("the header announces no records: the recording was not closed; all that is there was read",)
    resolutions = []
    for tag in ("MeasDesc_GlobalResolution", "MeasDesc_Resolution") if layout.t3 else ("MeasDesc_GlobalResolution",):
        value = tags.get(tag)
        if not isinstance(value, float) or not math.isfinite(value) or not 1e-16 < value <= LONGEST_SYNC_PERIOD_S:
            refuse(tag, "a time between 0.1 fs and 1 s")
        # Shortest decimal that is this float64; then a ratio that ticks scale fast with, 2**-62 ps off at most.
        resolutions.append((Fraction(repr(value)) * PS_PER_S).limit_denominator(LARGEST_DIRECT_DENOMINATOR))
    return _Header(layout, start, count or None, resolutions[0], resolutions[-1], notes)
