"""Our own npz: members ``tag_ps`` (int64), ``channel`` (uint8) and ``metadata`` (JSON text), any of numpy's savez too.

Members are streamed, stored or deflated, so that the size of the file does not matter; nothing is ever unpickled and
no header is evaluated.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import FormatError, GarbledRecording, TruncatedRecording
from qnoded.formats.metadata import LARGEST_METADATA, Metadata, parse_metadata
from qnoded.formats.reading import Request, RowReader
from qnoded.formats.source import Source
from qnoded.records import I64, U8, ReadingReport

MAGIC: Final = b"PK"
NPY_MAGIC: Final = b"\x93NUMPY"
LARGEST_NPY_HEADER: Final = 10_000
"""numpy's own limit for headers that it did not write itself."""
LARGEST_DEFLATE_RATIO: Final = 1032
"""Deflate packs at most 258 bytes into two bits; a member that claims more is a bomb or damaged."""
LARGEST_CHANNEL: Final = 255
LOCAL_HEADER_BYTES: Final = 30
REMEDY: Final = "write it again with numpy.savez(path, tag_ps=int64 picoseconds, channel=uint8)"

_DESCR: Final = re.compile(r"'descr':\s*'([^']{1,20})'")
_SHAPE: Final = re.compile(r"'shape':\s*\(([\d, ]{0,80})\)")


class Column:
    """One array of the file, read from front to back."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, name: str) -> None:
        self._path, self._name = path, name
        member = archive.getinfo(name)
        self._member = member
        self._file: Source | None = None
        if member.file_size > LARGEST_DEFLATE_RATIO * member.compress_size + LARGEST_NPY_HEADER:
            self.garbled(f"claims {member.file_size:,} bytes out of {member.compress_size:,}")
        self._stream: IO[bytes] | None = None
        try:
            if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:
                # Read straight from the file: many times faster than through zipfile and its checksum.
                self._file = Source(path)
                self._file.seek(self._data_start(self._file))
            else:
                self._stream = archive.open(member)
            self.dtype, self.shape, header = self._read_header()
            self._left = math.prod(self.shape) * self.dtype.itemsize
            if header + self._left != member.file_size:
                problem = f"holds {member.file_size - header:,} bytes where {self._left:,} are announced"
                short = header + self._left > member.file_size
                self.garbled(problem, TruncatedRecording if short else GarbledRecording)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Values not read yet."""
        return self._left // self.dtype.itemsize

    def read_into(self, target: NDArray[Any]) -> None:
        """Fill a contiguous array of this column's dtype."""
        view = target.view(np.uint8).data
        if self._read(view) < len(view):
            self.garbled("ends before its last value", TruncatedRecording)
        self._left -= len(view)

    def text(self) -> str | None:
        """Return the one text that the array holds; None if it holds anything else."""
        if self.dtype.kind not in "US" or self.size != 1 or self._left > 4 * LARGEST_METADATA:
            return None
        data = self._bytes(self._left)
        if self.dtype.kind == "S":
            return data.rstrip(b"\0").decode("utf-8", "replace")
        order = "utf-32-be" if self.dtype.byteorder == ">" else "utf-32-le"
        return data.decode(order, "replace").rstrip("\0")

    def close(self) -> None:
        """Let go of the file."""
        for stream in (self._file, self._stream):
            if stream is not None:
                stream.close()

    def garbled(self, problem: str, kind: type[FormatError] = GarbledRecording) -> NoReturn:
        """Raise an error that names the member and where it begins."""
        raise kind(self._path, max(self._member.header_offset, 0), f"member {self._name} {problem}", REMEDY)

    def _read(self, view: memoryview) -> int:
        if self._file is not None:
            return self._file.read_into(view)
        assert self._stream is not None
        got = 0
        with unzipping(self._path, self._member.header_offset):
            while got < len(view):
                n = self._stream.readinto(view[got:])  # type: ignore[attr-defined]
                if not n:
                    break
                got += n
        return got

    def _bytes(self, count: int) -> bytes:
        data = bytearray(count)
        if self._read(memoryview(data)) < count:
            self.garbled("ends inside its header", TruncatedRecording)
        return bytes(data)

    def _data_start(self, file: Source) -> int:
        if self._member.header_offset < 0:
            self.garbled("begins before the file does: bytes in the middle are lost", TruncatedRecording)
        file.seek(self._member.header_offset)
        head = file.read(LOCAL_HEADER_BYTES)
        if len(head) < LOCAL_HEADER_BYTES or head[:4] != b"PK\x03\x04":
            self.garbled("has no local header")
        name, extra = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
        start = self._member.header_offset + LOCAL_HEADER_BYTES + name + extra
        if start + self._member.compress_size > file.size_bytes:
            self.garbled("reaches beyond the end of the file", TruncatedRecording)
        return start

    def _read_header(self) -> tuple[np.dtype[Any], tuple[int, ...], int]:
        """Read a .npy header without evaluating it; return dtype, shape and its length in bytes."""
        lead = self._bytes(8)
        if lead[:6] != NPY_MAGIC or lead[6] not in (1, 2, 3):
            self.garbled("is no numpy array")
        wide = 2 if lead[6] == 1 else 4
        length = int.from_bytes(self._bytes(wide), "little")
        if length > LARGEST_NPY_HEADER:
            self.garbled(f"has a header of {length:,} bytes")
        text = self._bytes(length).decode("latin-1")
        descr, shape = _DESCR.search(text), _SHAPE.search(text)
        if descr is None or shape is None:
            self.garbled("has a header that describes no plain array")
        if "O" in descr[1]:
            self.garbled("holds pickled objects, which are never loaded")
        try:
            dtype = np.dtype(descr[1])
            sizes = tuple(int(size) for size in shape[1].split(",") if size.strip())
        except (TypeError, ValueError):
            self.garbled(f"has the unknown dtype {descr[1]!r} or shape ({shape[1]})")
        if not dtype.itemsize:
            self.garbled(f"has the empty dtype {descr[1]!r}")
        return dtype, sizes, 8 + wide + length


class NpzReader(RowReader):
    """Tags of an npz file."""

    def __init__(self, source: Source, request: Request) -> None:
        super().__init__(source)
        self._columns: list[Column] = []
        with unzipping(self._path, None):
            self._archive = zipfile.ZipFile(source.path)
        try:
            self._open(request)
        except BaseException:
            self.close()
            raise

    def next_rows(self, tag_ps: I64, channel: U8, _report: ReadingReport) -> int:
        """Read the next tags; see ``RowReader.next_rows``."""
        made = min(tag_ps.size, self._rows - self._row)
        if made:
            self._read(self._tag_ps, tag_ps[:made], -(2**63), 2**63 - 1)
            self._read(self._channel, channel[:made], 0, LARGEST_CHANNEL)
        return made

    def close(self) -> None:
        """Let go of the file."""
        for column in self._columns:
            column.close()
        self._archive.close()
        super().close()

    def _open(self, request: Request) -> None:
        names = self._archive.namelist()
        missing = [name for name in ("tag_ps", "channel") if name + ".npy" not in names]
        if missing:
            held = ", ".join(name.removesuffix(".npy")[:40] for name in names[:8]) or "nothing"
            problem = f"no array {' and '.join(missing)}; it holds {held}"
            raise GarbledRecording(self._path, None, problem, REMEDY)
        self._tag_ps, self._channel = self._column("tag_ps"), self._column("channel")
        for column in self._columns:
            if column.dtype.kind not in "iu":
                column.garbled(f"is {column.dtype}, not integers")
            if len(column.shape) != 1:
                column.garbled(f"has {len(column.shape)} dimensions, not 1")
        self._rows = self._tag_ps.size
        if self._channel.size != self._rows:
            self._channel.garbled(f"has {self._channel.size:,} values for {self._rows:,} times")
        metadata, notes = Metadata({}), request.ignored_tick(Fraction(1))
        if "metadata.npy" in names:
            metadata, more = self._metadata()
            notes += more
        self._gaps = metadata.gaps
        self.info = metadata.info(self._path, "npz", notes)

    def _column(self, name: str) -> Column:
        with unzipping(self._path, None):
            column = Column(self._path, self._archive, name + ".npy")
        self._columns.append(column)
        return column

    def _metadata(self) -> tuple[Metadata, tuple[str, ...]]:
        """Read our own metadata; somebody else's array of that name is left alone and noted."""
        with unzipping(self._path, None):
            column = Column(self._path, self._archive, "metadata.npy")
        try:
            text = column.text()
            if text is None:
                return Metadata({}), ("an array called metadata is not qnoded's and was not used",)
            return parse_metadata(text, self._path), ()
        finally:
            column.close()

    def _read(self, column: Column, target: NDArray[Any], smallest: int, largest: int) -> None:
        """Read values into an array of another integer type where needed, and check that they fit."""
        if column.dtype == target.dtype:
            column.read_into(target)
            return
        values = np.empty(target.size, column.dtype)
        column.read_into(values)
        low, high = int(values.min()), int(values.max())
        if low < smallest or high > largest:
            row = int(np.argmax((values < smallest) if low < smallest else (values > largest)))
            problem = f"holds {values[row]} in row {self._row + row + 1:,}, outside {smallest} to {largest}"
            column.garbled(problem)
        target[:] = values


@contextmanager
def unzipping(path: Path, offset: int | None) -> Iterator[None]:
    """Turn what zipfile and zlib raise on broken archives into named errors."""
    try:
        yield
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, KeyError) as error:
        torn = isinstance(error, EOFError) or "not a zip file" in str(error)
        kind: type[FormatError] = TruncatedRecording if torn else GarbledRecording
        problem = "the zip archive has no end" if torn else f"the zip archive is broken ({str(error)[:100]})"
        raise kind(path, offset, problem, "copy the recording again") from None
    except (NotImplementedError, RuntimeError, ValueError, IndexError, OSError, OverflowError, MemoryError) as error:
        # zipfile lets these through for encrypted members, unknown methods and impossible offsets.
        problem = f"the zip archive cannot be read ({str(error)[:100]})"
        raise GarbledRecording(path, offset, problem, REMEDY) from None
