"""Swabian Time Tagger: raw 16-byte dumps, and .ttbin files through the maker's own reader.

Falling edges have negative channel numbers there: -n becomes 128 + n.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import DependencyMissing, GarbledRecording
from qnoded.formats.reading import BinaryRecords, RecordReader, Request, note_gap
from qnoded.formats.source import Source
from qnoded.records import I64, U8, Gap, ReadingReport, RecordingInfo

RECORD: Final = np.dtype([("type", "u1"), ("reserved", "u1"), ("missed", "<u2"), ("channel", "<i4"), ("tag_ps", "<i8")])
TICK_PS: Final = Fraction(1)
TAG, ERROR, OVERFLOW_BEGIN, OVERFLOW_END, MISSED = range(5)
LARGEST_INPUT: Final = 127
"""Rising edges keep their number up to here; 128 and more are falling edges."""
FALLING: Final = 128
TAGS_PER_CALL: Final = 2**17
"""Events asked of the SDK's reader at a time."""
SDK_MODULES: Final = ("Swabian.TimeTagger", "TimeTagger")
"""Where the SDK is importable from: newer wheels, older installers."""


class Losses:
    """What the special events say, gathered into gaps."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last_ps = 0
        self._begin_ps: int | None = None
        self._missed = 0

    def note(self, kind: NDArray[Any], missed: NDArray[Any], tag_ps: NDArray[Any], report: ReadingReport) -> None:
        """Take all events of a stretch; only the special ones cost anything."""
        for n in np.flatnonzero(kind != TAG).tolist():
            if n and kind[n - 1] == TAG:
                self._last_ps = int(tag_ps[n - 1])
            self._special(int(kind[n]), int(missed[n]), int(tag_ps[n]), report)
        if kind.size and kind[-1] == TAG:
            self._last_ps = int(tag_ps[-1])

    def finish(self, report: ReadingReport) -> None:
        """End a loss that the recording does not see the end of."""
        if self._begin_ps is not None:
            self._close(max(self._last_ps, self._begin_ps), "overflow without end", report)

    def _special(self, kind: int, missed: int, now_ps: int, report: ReadingReport) -> None:
        self._missed += missed if kind == MISSED else 0
        if kind == OVERFLOW_BEGIN:
            self._begin_ps = now_ps if self._begin_ps is None else self._begin_ps
        elif kind == OVERFLOW_END:
            self._close(now_ps, "overflow", report)
        elif kind == ERROR:
            self._close(now_ps, "time tagger error", report)
        elif self._begin_ps is None:
            self._close(now_ps, "missed tags", report)
        self._last_ps = max(self._last_ps, now_ps)

    def _close(self, now_ps: int, reason: str, report: ReadingReport) -> None:
        start = min(self._last_ps if self._begin_ps is None else self._begin_ps, now_ps)
        note_gap(report, Gap(start, now_ps, self._missed or None, reason), self._path)
        self._begin_ps, self._missed = None, 0


class RawReader(RecordReader):
    """16-byte records as ``TimeTagStream`` buffers and raw dumps hold them."""

    def __init__(self, source: Source, request: Request) -> None:
        notes = request.ignored_tick(TICK_PS)
        self.info = RecordingInfo(str(source.path), "swabian-raw", TICK_PS, notes=notes)
        super().__init__(source, BinaryRecords(source, RECORD))
        self._losses = Losses(str(source.path))

    def fill(self, tag_ps: I64, channel: U8, report: ReadingReport) -> int:
        """Decode the next records; a loss that is open at the end becomes a gap."""
        filled = super().fill(tag_ps, channel, report)
        if not filled:
            self._losses.finish(report)
        return filled

    def decode(self, words: NDArray[Any], tag_ps: I64, channel: U8, report: ReadingReport) -> tuple[int, int]:
        """Copy tags as far as the arrays reach, and turn the other records into gaps."""
        words = words[: tag_ps.size]
        kind = words["type"]
        if int(kind.max()) > MISSED:
            self.garbled(int(np.argmax(kind > MISSED)), f"record type {kind.max()} is unknown")
        if int(words["tag_ps"].min()) < 0:
            self.garbled(int(np.argmax(words["tag_ps"] < 0)), "the time is negative")
        tags = words
        if int(kind.max()) > TAG:
            self._losses.note(kind, words["missed"], words["tag_ps"], report)
            tags = words[kind == TAG]
        inputs = tags["channel"]
        if inputs.size and max(int(inputs.max()), -int(inputs.min())) > LARGEST_INPUT:
            wrong = (np.abs(words["channel"].astype(np.int64)) > LARGEST_INPUT) & (kind == TAG)
            record = int(np.argmax(wrong))
            self.garbled(record, f"channel {words['channel'][record]} is beyond +-{LARGEST_INPUT}")
        made = tags.size
        tag_ps[:made], channel[:made] = tags["tag_ps"], numbered(inputs)
        return words.size, made

    def tags_per_record(self, words: NDArray[Any]) -> NDArray[np.int64]:
        """Return 1 for tags, 0 for special records."""
        return np.asarray(words["type"] == TAG, np.int64)


class TtbinReader:
    """A .ttbin file through the SDK's ``FileReader``."""

    def __init__(self, source: Source, request: Request) -> None:
        self._source = source
        reader = _file_reader(source)
        notes = ("read by the Swabian SDK", *request.ignored_tick(TICK_PS))
        self.info = RecordingInfo(str(source.path), "swabian-ttbin", TICK_PS, notes=notes)
        self._rows = 0
        self._losses = Losses(str(source.path))
        try:
            self._reader = reader(str(source.path))
        except Exception as error:  # the SDK raises bare RuntimeErrors and more
            raise self._refused(error) from None

    @property
    def size_bytes(self) -> int:
        """Size of the file, bytes."""
        return self._source.size_bytes

    @property
    def position_bytes(self) -> int:
        """Unknown to the SDK: the end once all is read."""
        return self._source.offset

    def fill(self, tag_ps: I64, channel: U8, report: ReadingReport) -> int:
        """Copy the next events; see ``Reader.fill``."""
        while True:
            try:
                if not self._reader.hasData():
                    self._losses.finish(report)
                    self._source.offset = self._source.size_bytes
                    return 0
                data = self._reader.getData(min(TAGS_PER_CALL, tag_ps.size))
                kind = np.asarray(data.getEventTypes())
                missed = np.asarray(data.getMissedEvents())
                times = np.asarray(data.getTimestamps(), np.int64)
                inputs = np.asarray(data.getChannels(), np.int64)
            except Exception as error:  # as above
                raise self._refused(error) from None
            self._rows = report.records
            report.records += times.size
            if kind.any():
                self._losses.note(kind, missed, times, report)
                times, inputs = times[kind == TAG], inputs[kind == TAG]
            if inputs.size and int(np.abs(inputs).max()) > LARGEST_INPUT:
                problem = f"channel {inputs[np.abs(inputs).argmax()]} is beyond +-{LARGEST_INPUT}"
                raise GarbledRecording(self._source.path, None, problem, "leave that channel out when recording")
            made = times.size
            tag_ps[:made], channel[:made] = times, numbered(inputs)
            if made:
                return made

    def locate(self, index: int) -> tuple[int | None, str]:
        """Return the number of the event: the SDK tells no byte offset."""
        return None, f"event {self._rows + index + 1:,}"

    def close(self) -> None:
        """Let go of the file."""
        self._reader = None
        self._source.close()

    def _refused(self, error: Exception) -> GarbledRecording:
        problem = f"the Swabian SDK cannot read it ({str(error)[:120]})"
        return GarbledRecording(self._source.path, None, problem, "copy the recording again or update the SDK")


def numbered(inputs: NDArray[Any]) -> U8:
    """Return input numbers as uint8, falling edges as ``FALLING`` + number."""
    return np.where(inputs < 0, FALLING - inputs.astype(np.int64), inputs).astype(np.uint8)


def _file_reader(source: Source) -> Callable[[str], Any]:
    """Return the SDK's ``FileReader``, or say what to install."""
    for name in SDK_MODULES:
        try:
            reader: Callable[[str], Any] = import_module(name).FileReader
        except (ImportError, AttributeError):
            continue
        return reader
    what = f"reading the Swabian recording {source.path}"
    remedy = 'install it: pip install "qnoded[swabian]"'
    raise DependencyMissing(what, "swabian-timetagger", remedy)
