"""Tags as text: CSV, TSV or blanks, gzipped or not, any tick, columns named, found by a header line or guessed.

Numbers are read digit by digit into integers: ``0.123456789012`` s is 123456789012 ps and never a float.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final, NoReturn

import numpy as np

from qnoded.errors import GarbledRecording, TruncatedRecording, UnknownFormat, UsageError
from qnoded.formats.digits import CHANNEL, IGNORED, REASONS, TIME, read_rows
from qnoded.formats.metadata import Metadata, parse_metadata
from qnoded.formats.reading import Request, RowReader, note_gap
from qnoded.formats.source import GZIP_MAGIC, Source
from qnoded.kernels.ticks import ticks_to_ps
from qnoded.records import I64, U8, Gap, ReadingReport, RecordingInfo

OWN_HEADER: Final = b"#qnoded "
"""First line of text that qnoded wrote: metadata as JSON follows."""
GAP_MARK: Final = b"#gap "
"""A comment line of such text that stands for a gap: start and stop in ps, lost tags or -, reason."""
BYTES_PER_READ: Final = 2**20
LONGEST_LINE: Final = 2**16
HEADER_LINES: Final = 100
"""Lines before the first row that may be something else."""
SAMPLE_BYTES: Final = 2**16
"""What the columns are guessed from."""
SAMPLE_ROWS: Final = 1000
MOST_COLUMNS: Final = 64

UNIT_PS: Final = {"s": 12, "ms": 9, "us": 6, "ns": 3, "ps": 0}
"""Unit of a time column -> decimal digits that lie between it and the picosecond."""
TIME_NAME: Final = re.compile(
    r"(?:time|timestamp|time_?tag|tag|t)s?(?:[_ ]?[\[(]?(s|ms|us|ns|ps|ticks?)[\])]?)?", re.IGNORECASE
)
CHANNEL_NAME: Final = re.compile(r"(?:channel|chan|ch|detector|det|input)s?", re.IGNORECASE)

_SEPARATOR: Final = re.compile(rb"[ \t]*[,;|][ \t]*|[ \t]+")
_NUMBER: Final = re.compile(rb"[+-]?(?=[\d.])\d{0,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,2})?(?<![.])|[+-]?\d{1,30}\.")


@dataclass(frozen=True, slots=True)
class Columns:
    """What each column of the text is."""

    roles: tuple[int, ...]
    unit: str | None
    """Unit of the time column; None means ticks."""


OWN_COLUMNS: Final = Columns((CHANNEL, TIME), "ps")
"""What qnoded writes."""


def parse_columns(text: str) -> Columns:
    """Read ``"channel,time"``: one of each, ``-`` for a column to ignore, ``time_ns`` for a decimal with unit.

    Raises
    ------
    UsageError
        If a name is unknown or a channel or time is missing or there twice.
    """
    roles, unit = [], None
    for name in (part.strip() for part in text.split(",")):
        kind = TIME_NAME.fullmatch(name)
        if kind is not None:
            roles.append(TIME)
            unit = kind[1].lower() if kind[1] and not kind[1].lower().startswith("tick") else None
        elif CHANNEL_NAME.fullmatch(name):
            roles.append(CHANNEL)
        elif name == "-":
            roles.append(IGNORED)
        else:
            problem = f"column {name[:40]!r} is unknown; use channel, time, time_s|ms|us|ns|ps and - as in channel,time"
            raise UsageError(problem)
    if roles.count(TIME) != 1 or roles.count(CHANNEL) != 1 or len(roles) > MOST_COLUMNS:
        problem = f"columns {text[:80]!r} must name one time and one channel, at most {MOST_COLUMNS} columns in all"
        raise UsageError(problem)
    return Columns(tuple(roles), unit)


class TextReader(RowReader):
    """Rows of text."""

    def __init__(self, source: Source, request: Request) -> None:
        packed = bytes(source.read(len(GZIP_MAGIC))) == GZIP_MAGIC
        source.close()
        super().__init__(Source(source.path, unpack=packed))
        try:
            self._open(request)
        except BaseException:
            self.close()
            raise

    @property
    def position_bytes(self) -> int:
        """How far the file has been read as it lies on the disk, bytes."""
        return self._source.position_bytes

    def next_rows(self, tag_ps: I64, channel: U8, report: ReadingReport) -> int:
        """Read the next rows; see ``RowReader.next_rows``."""
        place = np.empty(tag_ps.size, np.int64)
        while True:
            text, start = self._lines()
            if not text.size:
                return 0
            made = int(read_rows(text, self._roles, self._decimals, tag_ps, channel, place, self._status))
            used, reason, at = (int(value) for value in self._status)
            if reason:
                self._garbled(start + at, self._row + made, REASONS[reason], text[at : at + 60].tobytes())
            if self._own:
                self._note_gaps(text[:used].tobytes(), start, report)
            self._used += used
            self._places = place[:made] + start
            if made:
                tick = self._tick_ps
                late = int(ticks_to_ps(tag_ps[:made], tick.numerator, tick.denominator, tag_ps[:made]))
                if late >= 0:
                    problem = "the time is later than an int64 of picoseconds can hold (106 days)"
                    self._garbled(int(self._places[late]), self._row + late, problem, b"")
                return made

    def locate(self, index: int) -> tuple[int | None, str]:
        """Return byte (of the unpacked text) and row of a tag of the last ``fill``."""
        return int(self._places[index]), super().locate(index)[1]

    def _open(self, request: Request) -> None:
        sample = bytes(self._source.read(SAMPLE_BYTES))
        whole = len(sample) < SAMPLE_BYTES
        if not sample.strip():
            problem = "the text holds no row"
            raise TruncatedRecording(self._path, len(sample), problem, "copy the recording again")
        if b"\0" in sample:
            problem = "holds zero bytes, so it is no text"
            raise GarbledRecording(self._path, sample.index(b"\0"), problem, "name the right --format")
        self._own = sample.startswith(OWN_HEADER)
        lines = sample.splitlines(keepends=True)
        if not whole and len(lines) > 1:
            lines.pop()
        if self._own:
            metadata, start = self._own_metadata(sample, whole)
            columns, notes = OWN_COLUMNS, tuple[str, ...]()
        else:
            metadata = Metadata({})
            start, columns, notes = self._layout(lines, request.columns)
        tick_ps, more = _tick(columns, request)
        self._tick_ps = Fraction(1) if columns.unit else tick_ps
        self._decimals = UNIT_PS[columns.unit] if columns.unit else -1
        self._roles = np.array(columns.roles, np.int64)
        self._status = np.zeros(3, np.int64)
        self._source.seek(start)
        self._text, self._used, self._ended = np.empty(0, np.uint8), 0, False
        self._tail, self._start = b"", start
        self._places = np.empty(0, np.int64)
        self.info = (
            metadata.info(self._path, "text")
            if self._own
            else RecordingInfo(str(self._path), "text", self._tick_ps, notes=notes + more)
        )

    def _own_metadata(self, sample: bytes, whole: bool) -> tuple[Metadata, int]:
        """Read the first line of text that qnoded wrote; second is the byte behind it."""
        end = sample.find(b"\n")
        if end < 0:
            kind = TruncatedRecording if whole else GarbledRecording
            raise kind(self._path, 0, "the metadata line has no end", "write the recording again")
        return parse_metadata(sample[len(OWN_HEADER) : end].decode("utf-8", "replace"), self._path), end + 1

    def _layout(self, lines: list[bytes], wanted: str | None) -> tuple[int, Columns, tuple[str, ...]]:
        """Find the first row, its byte, and what the columns are."""
        columns = parse_columns(wanted) if wanted is not None else None
        offset, named, skipped = 0, None, 0
        first = None
        for n, line in enumerate(lines):
            fields, comment = _fields(line), line.lstrip().startswith(b"#")
            if fields and not comment and _is_row(fields, columns):
                first = n
                break
            if fields:
                skipped += not comment
                named = _named_columns(line) or named
            if skipped > HEADER_LINES:
                break
            offset += len(line)
        if first is None:
            problem = "no row of numbers found" + (f" in the first {HEADER_LINES} lines" if skipped else "")
            remedy = "a row is a channel and a time; name other columns with --columns"
            raise UnknownFormat(self._path, offset, problem, remedy)
        notes: tuple[str, ...] = (f"{skipped} header lines skipped",) if skipped else ()
        if columns is not None:
            return offset, columns, notes
        rows = [
            _fields(line)
            for line in lines[first : first + SAMPLE_ROWS]
            if line.strip() and not line.lstrip().startswith(b"#")
        ]
        if named is not None and len(named.roles) == len(rows[0]):
            return offset, named, (*notes, "columns named by the header line")
        columns = self._guess(rows, offset)
        names = ",".join({TIME: "time", CHANNEL: "channel", IGNORED: "-"}[role] for role in columns.roles)
        return offset, columns, (*notes, f"columns guessed from the numbers: {names}")

    def _guess(self, rows: list[list[bytes]], offset: int) -> Columns:
        """Tell time and channel apart: the time is the column that grows, and the larger one where both do."""
        width = len(rows[0])
        numeric = [c for c in range(min(width, MOST_COLUMNS)) if _NUMBER.fullmatch(rows[0][c])]
        # Bad rows are left to the reading itself, which names them.
        rows = [row for row in rows if len(row) == width and all(_NUMBER.fullmatch(row[c]) for c in numeric)]
        found = {c: [Fraction(row[c].decode("ascii")) for row in rows] for c in numeric}
        growing = [c for c, v in found.items() if sum(b < a for a, b in pairwise(v)) * 10 <= len(v)]
        times = growing or list(found)
        time = max(times, key=lambda c: max(found[c]), default=None)
        small = [c for c, v in found.items() if c != time and all(x.denominator == 1 and 0 <= x <= 255 for x in v)]
        if time is None or not small:
            problem = (
                f"{width} column{'s' if width > 1 else ''}, none of which is a channel from 0 to 255 beside a time"
            )
            raise UnknownFormat(self._path, offset, problem, "name them, for example --columns channel,time")
        # A column that never changes is no channel where another one could be it.
        channel = min(small, key=lambda c: (len(set(found[c])) == 1, len(set(found[c]))))
        return Columns(tuple(TIME if c == time else CHANNEL if c == channel else IGNORED for c in range(width)), None)

    def _lines(self) -> tuple[U8, int]:
        """Return complete lines that have not been used, and the byte of the file at which they begin."""
        left = self._text[self._used :]
        while not self._ended and not left.size:
            tail = self._tail
            data = tail + bytes(self._source.read(BYTES_PER_READ))
            self._ended = len(data) - len(tail) < BYTES_PER_READ
            cut = len(data) if self._ended else data.rfind(b"\n") + 1
            if len(data) - cut > LONGEST_LINE:
                self._garbled(self._source.offset - len(data) + cut, 0, "a line of more than 65,536 bytes", b"")
            self._tail = data[cut:]
            self._start = self._source.offset - len(data)
            lines = data[:cut] + (b"\n" if self._ended and data and not data.endswith(b"\n") else b"")
            self._text = left = np.frombuffer(lines, np.uint8)
            self._used = 0
        return left, self._start + self._used

    def _note_gaps(self, text: bytes, start: int, report: ReadingReport) -> None:
        at = text.find(GAP_MARK)
        while at >= 0:
            line = text[at : text.find(b"\n", at)]
            try:
                first, last, lost, reason = line[len(GAP_MARK) :].decode("utf-8", "replace").split(maxsplit=3)
                gap = Gap(int(first), int(last), None if lost == "-" else int(lost), reason.strip())
            except ValueError:
                self._garbled(start + at, self._row, "a gap that cannot be read", line)
            if not -(2**63) <= gap.start_ps <= gap.stop_ps < 2**63:
                self._garbled(start + at, self._row, "a gap that ends before it begins", line)
            note_gap(report, gap, str(self._path))
            at = text.find(GAP_MARK, at + 1)

    def _garbled(self, offset: int, row: int, problem: str, shown: bytes) -> NoReturn:
        """Raise an error that names row and byte and shows what stands there."""
        line = shown.split(b"\n")[0].decode("latin-1").strip()
        found = f"{problem}: {line[:40]!r}" if line else problem
        remedy = "mend or remove the row, or name the right --columns, --tick-ps or --format"
        raise GarbledRecording(self._path, offset, f"row {row + 1:,}: {found}", remedy)


def _fields(line: bytes) -> list[bytes]:
    """Split a line as the kernel does."""
    stripped = line.strip()
    return _SEPARATOR.split(stripped) if stripped else []


def _is_row(fields: list[bytes], columns: Columns | None) -> bool:
    """Tell a row of numbers from a header line."""
    if columns is None:
        return sum(_NUMBER.fullmatch(field) is not None for field in fields) >= 2
    needed = [c for c, role in enumerate(columns.roles) if role != IGNORED]
    return len(fields) > max(needed) and all(_NUMBER.fullmatch(fields[c]) for c in needed)


def _named_columns(line: bytes) -> Columns | None:
    """Return the columns that a header line names, or None."""
    text = line.decode("latin-1").strip().lstrip("#").strip()
    names = [name.strip().strip('"') for name in re.split(r"[,;|\t]" if re.search(r"[,;|\t]", text) else r"\s+", text)]
    known = [name if TIME_NAME.fullmatch(name) or CHANNEL_NAME.fullmatch(name) else "-" for name in names]
    try:
        return parse_columns(",".join(known))
    except UsageError:
        return None


def _tick(columns: Columns, request: Request) -> tuple[Fraction, tuple[str, ...]]:
    """Return the length of a tick and what is to be said about it."""
    if columns.unit:
        return Fraction(1), request.ignored_tick(Fraction(1))
    if request.tick_ps is None:
        return Fraction(1), ("no tick given: times taken as 1 ps; say --tick-ps otherwise",)
    return request.tick_ps, ()
