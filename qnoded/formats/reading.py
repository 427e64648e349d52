"""What a reader of one format owes: fill arrays with tags, and say where in the file the n-th came from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import GarbledRecording, TruncatedRecording
from qnoded.formats.source import Source
from qnoded.kernels.ticks import ticks_to_ps
from qnoded.records import I64, U8, Gap, ReadingReport, RecordingInfo

MOST_TAGS_PER_RECORD: Final = 4
"""An S-Fifteen event may name four detectors at once; every other format gives one tag per record."""
RECORDS_PER_READ: Final = 2**17
"""Records decoded at a time: about a megabyte, so that the decoded block is still in the cache."""
MOST_GAPS: Final = 2**18
"""Losses that are kept, 35 MB of them. A recording with more lost tags all the time and measures nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller knows of a recording; a reader uses what its format does not say itself."""

    format: str
    tick_ps: Fraction | None = None
    columns: str | None = None

    def ignored_tick(self, own_ps: Fraction) -> tuple[str, ...]:
        """Return a note where a tick was given for a format that knows its own."""
        if self.tick_ps is None or self.tick_ps == own_ps:
            return ()
        return (f"the tick of {self.tick_ps} ps was not used: {self.format} has its own, {own_ps} ps",)


class Reader(Protocol):
    """One pass over one file."""

    info: RecordingInfo

    @property
    def size_bytes(self) -> int:
        """Size of the file, bytes."""

    @property
    def position_bytes(self) -> int:
        """How far it has been read, bytes."""

    def fill(self, tag_ps: I64, channel: U8, report: ReadingReport) -> int:
        """Write the next tags into both arrays, in the file's order; return how many, 0 only at the end.

        Counts ``report.records`` and ``report.rollovers`` and appends to ``report.gaps``. The arrays hold at least
        ``MOST_TAGS_PER_RECORD`` tags.
        """

    def locate(self, index: int) -> tuple[int | None, str]:
        """Return byte offset and a phrase such as ``"row 17"`` for a tag of the last ``fill``."""

    def close(self) -> None:
        """Let go of the file."""


def note_gap(report: ReadingReport, gap: Gap, path: str) -> None:
    """Append a gap to the report; a recording that consists of gaps is an error."""
    if len(report.gaps) >= MOST_GAPS:
        problem = f"more than {MOST_GAPS:,} losses of tags"
        raise GarbledRecording(path, None, problem, "record again at a lower count rate")
    report.gaps.append(gap)


class RowReader(ABC):
    """Rows of a table, one tag each, counted from the front; a format gives ``next_rows``."""

    info: RecordingInfo

    def __init__(self, source: Source) -> None:
        self._source, self._path = source, source.path
        self._gaps: tuple[Gap, ...] = ()
        """Losses that the file names at its front."""
        self._rows = 0
        """Rows in all, where the file tells."""
        self._row = self._first = 0
        """Rows read so far, and before the last ``fill``."""

    @property
    def size_bytes(self) -> int:
        """Size of the file, bytes."""
        return self._source.size_bytes

    @property
    def position_bytes(self) -> int:
        """How far it has been read, bytes, taken from the share of the rows."""
        return self.size_bytes * self._row // max(self._rows, 1)

    def fill(self, tag_ps: I64, channel: U8, report: ReadingReport) -> int:
        """Read the next rows into both arrays; see ``Reader.fill``."""
        if not self._row:
            report.gaps.extend(self._gaps)
        made = self.next_rows(tag_ps, channel, report)
        self._first, self._row = self._row, self._row + made
        report.records += made
        return made

    def locate(self, index: int) -> tuple[int | None, str]:
        """Return the row of a tag of the last ``fill``."""
        return None, f"row {self._first + index + 1:,}"

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    @abstractmethod
    def next_rows(self, tag_ps: I64, channel: U8, report: ReadingReport) -> int:
        """Write the tags of the next rows into both arrays; return how many, 0 only at the end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records in a row, and where they stand."""

    words: NDArray[Any]
    place: Callable[[int], int]
    """Byte at which the n-th of them begins."""


class Records(Protocol):
    """Where records come from, front to back."""

    def load(self) -> Chunk | None:
        """Return the next records, None at the end."""


class BinaryRecords:
    """Records of fixed size from ``start`` on; ``count`` of them where a header announces it, else all."""

    def __init__(self, source: Source, record: np.dtype[Any], start: int = 0, count: int | None = None) -> None:
        self._source, self._record = source, record
        held, torn = divmod(max(0, source.size_bytes - start), record.itemsize)
        self._left = held if count is None else count
        if count is None and torn:
            problem = f"the file ends inside a record ({torn} of {record.itemsize} bytes)"
            raise TruncatedRecording(source.path, source.size_bytes - torn, problem, "copy the recording again")
        if self._left > held:
            problem = f"{self._left:,} records are announced, the file holds {held:,}"
            raise TruncatedRecording(source.path, source.size_bytes, problem, "copy the recording again")
        source.seek(start)

    def load(self) -> Chunk | None:
        """Return the next records, None at the end."""
        count, size = min(self._left, RECORDS_PER_READ), self._record.itemsize
        if not count:
            return None
        start = self._source.offset
        data = self._source.read(count * size)
        if len(data) < count * size:
            problem = f"the file became shorter while it was read ({self._left:,} records are missing)"
            raise TruncatedRecording(self._source.path, self._source.offset, problem, "read it when complete")
        self._left -= count
        return Chunk(np.frombuffer(data, self._record), lambda n: start + n * size)


class RecordReader(ABC):
    """Records decoded some at a time; a format gives ``decode``."""

    info: RecordingInfo

    def __init__(self, source: Source, records: Records) -> None:
        self._source, self._records = source, records
        self._chunk: Chunk | None = None
        self._used = 0
        # Of the current fill: chunk, first record in it, first tag that it gave.
        self._parts: list[tuple[Chunk, int, int]] = []

    @property
    def size_bytes(self) -> int:
        """Size of the file, bytes."""
        return self._source.size_bytes

    @property
    def position_bytes(self) -> int:
        """How far it has been read, bytes."""
        return self._source.position_bytes

    def fill(self, tag_ps: I64, channel: U8, report: ReadingReport) -> int:
        """Decode the next records into both arrays; see ``Reader.fill``."""
        filled = 0
        self._parts.clear()
        while tag_ps.size - filled >= MOST_TAGS_PER_RECORD:
            if self._chunk is None or self._used == self._chunk.words.size:
                self._chunk, self._used = self._records.load(), 0
                if self._chunk is None:
                    break
            self._parts.append((self._chunk, self._used, filled))
            used, made = self.decode(self._chunk.words[self._used :], tag_ps[filled:], channel[filled:], report)
            report.records += used
            self._used += used
            filled += made
        return filled

    def locate(self, index: int) -> tuple[int | None, str]:
        """Return the byte offset of the record that gave a tag of the last ``fill``."""
        chunk, start, first = next(part for part in reversed(self._parts) if part[2] <= index)
        return chunk.place(start + self._record_of(chunk.words[start:], index - first)), ""

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    @abstractmethod
    def decode(self, words: NDArray[Any], tag_ps: I64, channel: U8, report: ReadingReport) -> tuple[int, int]:
        """Decode leading records as far as the arrays reach; return records used and tags made."""

    @abstractmethod
    def tags_per_record(self, words: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many tags each record gives, int64; only used to find an error's place."""

    def scale(self, words: NDArray[Any], ticks: I64, tick_ps: Fraction) -> None:
        """Turn the ticks that ``words`` gave into picoseconds in place."""
        late = ticks_to_ps(ticks, tick_ps.numerator, tick_ps.denominator, ticks)
        if late >= 0:
            problem = "the time is later than an int64 of picoseconds can hold (106 days)"
            self.garbled(self._record_of(words, late), problem)

    def garbled(self, record: int, problem: str) -> NoReturn:
        """Raise an error at one of the records that are being decoded."""
        chunk, start, _ = self._parts[-1]
        remedy = f"the file is damaged or is not {self.info.format}; copy it again or try another --format"
        raise GarbledRecording(self._source.path, chunk.place(start + record), problem, remedy)

    def _record_of(self, words: NDArray[Any], tag: int) -> int:
        """Return the record that gave a tag."""
        return int(np.searchsorted(np.cumsum(self.tags_per_record(words)), tag, side="right"))
