"""S-Fifteen TDC2 ("timestamp7") event files: binary in either word order, hex text, and the older 125 ps layout.

An event is 64 bits: the counter on top, bit 4 for a dummy that only carries the time over a quiet stretch, and one
bit per detector input below (several may be set). Newer units count 1/256 ns in 54 bits, older ones 1/8 ns in 49;
the counter rolls over after 19 h 32 min 48.7 s in both (2**46 ns).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NoReturn

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.errors import GarbledRecording, TruncatedRecording
from qnoded.formats.reading import BinaryRecords, Chunk, RecordReader, Request
from qnoded.formats.source import Source
from qnoded.kernels.compiling import I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.kernels.ticks import unwrap
from qnoded.records import I64, U8, ReadingReport, RecordingInfo

U64 = NDArray[np.uint64]
U64_IN: Final = types.Array(types.uint64, 1, "C", readonly=True)
U64_OUT: Final = types.Array(types.uint64, 1, "C")

DUMMY_BIT: Final = np.uint64(16)
PATTERN_BITS: Final = np.uint64(15)
DETECTORS: Final = 4
FEWEST_PER_ROLLOVER: Final = 1000
"""A roll-over takes 19.5 hours, and dummies come several times a second: fewer events between two are no recording."""
BYTES_PER_READ: Final = 2**20
"""Hex text read at a time."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which the 64 bits of an event are written down."""

    time_shift: int
    """Bits below the counter."""
    tick_ps: Fraction
    high_word_first: bool = False
    hex_digits: int = 0
    """Digits per hex number; 0 for binary. 8 means two numbers per event, low word first."""


TICK_PS: Final = Fraction(1000, 256)
OLD_TICK_PS: Final = Fraction(125)

LAYOUTS: Final = {
    "s15-a0": Layout(10, TICK_PS, hex_digits=8),
    "s15-a1": Layout(10, TICK_PS),
    "s15-a1x": Layout(10, TICK_PS, high_word_first=True),
    "s15-a2": Layout(10, TICK_PS, hex_digits=16),
    "s15-125ps": Layout(15, OLD_TICK_PS, high_word_first=True),
}


@kernel(types.int64, U64_IN, types.int64, types.int64, I64_OUT, U8_OUT, I64_OUT)
def split_events(event: U64, turn: int, shift: int, counter: I64, channel: U8, count: I64) -> int:
    """Write one counter reading and channel per set detector bit.

    Parameters
    ----------
    event : uint64[n]
    turn : int64, 32 where the two words of an event are exchanged, else 0
    shift : int64, bits below the counter
    counter : int64[m], filled
    channel : uint8[m], filled, 1 to 4
    count : int64[2], set: tags written, dummies seen

    Returns
    -------
    int
        Events used; fewer than n where the next might not fit into m tags.
    """
    made, dummies = np.uint64(0), 0
    room = counter.size - DETECTORS
    up, down, below = np.uint64(turn), np.uint64(-turn & 63), np.uint64(shift)
    for n in range(np.uint64(event.size)):
        if np.int64(made) > room:
            count[0], count[1] = np.int64(made), dummies
            return n
        value = (event[n] << up) | (event[n] >> down)
        if value & DUMMY_BIT:
            dummies += 1
            continue
        time = np.int64(value >> below)
        for bit in range(np.uint64(DETECTORS)):
            # Always store, advance only where the bit is set: no branch to mispredict.
            if made < np.uint64(counter.size):
                counter[made] = time
                channel[made] = np.uint8(bit + np.uint64(1))
            made += (value >> bit) & np.uint64(1)
    count[0], count[1] = np.int64(made), dummies
    return event.size


@kernel(types.int64, U8_IN, types.int64, U64_OUT, I64_OUT)
def read_hex(text: U8, digits: int, number: U64, place: I64) -> int:
    """Read hex numbers of a fixed number of digits, separated by white space.

    Parameters
    ----------
    text : uint8[n], ASCII; each number in it is complete
    digits : int64, 1 to 16
    number : uint64[m], filled
    place : int64[m], filled with the byte at which each number begins

    Returns
    -------
    int
        Numbers read, or ``-1 - k`` for a number at byte k that is none or has another length.
    """
    made, n = 0, 0
    while n < text.size and made < number.size:
        c = text[n]
        if c == 32 or (c >= 9 and c <= 13):
            n += 1
            continue
        start, value = n, np.uint64(0)
        while n < text.size and not (text[n] == 32 or (text[n] >= 9 and text[n] <= 13)):
            c = text[n]
            if c >= 48 and c <= 57:
                digit = c - 48
            elif (c | 32) >= 97 and (c | 32) <= 102:
                digit = (c | 32) - 87
            else:
                return -1 - start
            value = (value << np.uint64(4)) | np.uint64(digit)
            n += 1
        if n - start != digits:
            return -1 - start
        number[made], place[made] = value, start
        made += 1
    return made


class HexRecords:
    """Events as hex numbers in text: one of 16 digits, or two of 8 with the low word first."""

    def __init__(self, source: Source, digits: int) -> None:
        self._source, self._digits = source, digits
        self._per_event = 16 // digits
        self._text = bytearray()
        source.seek(0)

    def load(self) -> Chunk | None:
        """Return the next events, None at the end."""
        while True:
            start = self._source.offset - len(self._text)
            more = self._source.read(BYTES_PER_READ)
            self._text += more
            # A number may go on in the next read: leave what follows the last white space.
            whole = len(self._text)
            if more:
                whole = max(self._text.rfind(mark) for mark in b"\n\r \t") + 1
            if not whole and len(more) > self._digits:
                self._garbled(start)
            number, place, bad = self._numbers(whole)
            if bad is not None:
                self._garbled(start + bad)
            events = number.size // self._per_event
            if not more and number.size % self._per_event:
                problem = "the text ends between the two words of an event"
                raise TruncatedRecording(self._source.path, self._source.offset, problem, "copy the recording again")
            if events or not more:
                break
        if not events:
            return None
        taken = events * self._per_event
        del self._text[: int(place[taken]) if taken < number.size else whole]
        first = start + place[: taken : self._per_event]
        words = number[:taken]
        if self._per_event == 2:
            words = words[0::2] | (words[1::2] << np.uint64(32))
        return Chunk(words, lambda n: int(first[n]))

    def _numbers(self, whole: int) -> tuple[U64, I64, int | None]:
        """Read the numbers of the first ``whole`` bytes; third is the byte of one that is none."""
        text = np.frombuffer(bytes(self._text[:whole]), np.uint8)
        most = text.size // self._digits + 1
        number, place = np.empty(most, np.uint64), np.empty(most, np.int64)
        made = int(read_hex(text, self._digits, number, place))
        if made < 0:
            return number, place, -1 - made
        return number[:made], place[:made], None

    def _garbled(self, offset: int) -> NoReturn:
        problem = f"no hex number of {self._digits} digits"
        remedy = "the file is damaged or of another format; copy it again or name --format"
        kind = TruncatedRecording if self._at_end(offset) else GarbledRecording
        raise kind(self._source.path, offset, problem, remedy)

    def _at_end(self, offset: int) -> bool:
        """Tell whether the number at ``offset`` is cut short by the end of the file."""
        return self._source.size_bytes - offset < self._digits


class EventReader(RecordReader):
    """S-Fifteen events of any layout."""

    def __init__(self, source: Source, request: Request) -> None:
        self._layout = layout = LAYOUTS[request.format]
        notes = request.ignored_tick(layout.tick_ps)
        self.info = RecordingInfo(str(source.path), request.format, layout.tick_ps, notes=notes)
        digits = layout.hex_digits
        super().__init__(source, HexRecords(source, digits) if digits else BinaryRecords(source, np.dtype("<u8")))
        self._turn = 32 if layout.high_word_first else 0
        self._state = np.array([0, 0], np.int64)
        self._count = np.zeros(2, np.int64)
        self._events = 0

    def decode(self, words: NDArray[Any], tag_ps: I64, channel: U8, report: ReadingReport) -> tuple[int, int]:
        """Decode events as far as the arrays reach."""
        shift = self._layout.time_shift
        used = int(split_events(words, self._turn, shift, tag_ps, channel, self._count))
        made, dummies = int(self._count[0]), int(self._count[1])
        turns, ticks = int(self._state[0]), tag_ps[:made]
        late = int(unwrap(ticks, 2 ** (64 - shift), self._state, ticks))
        if late >= 0:
            self.garbled(self._record_of(words, late), "the counter rolls over again and again")
        self._events += used
        if int(self._state[0]) > 1 + self._events // FEWEST_PER_ROLLOVER:
            problem = f"the counter rolls over {int(self._state[0])} times in {self._events:,} events"
            self.garbled(0, f"{problem}, as it does when words are read in the wrong order")
        self.scale(words, ticks, self._layout.tick_ps)
        report.rollovers += dummies + int(self._state[0]) - turns
        return used, made

    def tags_per_record(self, words: NDArray[Any]) -> NDArray[np.int64]:
        """Return the number of detector bits of each event."""
        value = words.astype(np.uint64)
        if self._turn:
            value = value >> np.uint64(32)
        bits = np.bitwise_count(value & PATTERN_BITS).astype(np.int64)
        return np.where(value & DUMMY_BIT, 0, bits).astype(np.int64)
