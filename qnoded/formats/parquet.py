"""Our own Parquet: columns ``tag_ps`` (int64) and ``channel`` (uint8), JSON under the schema key ``qnoded``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qnoded.errors import GarbledRecording, TruncatedRecording
from qnoded.formats.metadata import LARGEST_METADATA, parse_metadata
from qnoded.formats.reading import Request, RowReader
from qnoded.formats.source import Source
from qnoded.records import I64, U8, ReadingReport, RecordingInfo

MAGIC: Final = b"PAR1"
METADATA_KEY: Final = b"qnoded"
ROWS_PER_BATCH: Final = 2**17
READ_BUFFER_BYTES: Final = 2**20
"""Column chunks are read through a buffer of this size instead of whole: row groups may be of any size."""
REMEDY: Final = "columns must be tag_ps (integers, ps) and channel (0 to 255), without nulls"
LARGEST_CHANNEL: Final = 255


class ParquetReader(RowReader):
    """Tags of a Parquet file."""

    def __init__(self, source: Source, request: Request) -> None:
        super().__init__(source)
        source.seek(max(0, source.size_bytes - len(MAGIC)))
        if bytes(source.read(len(MAGIC))) != MAGIC:
            problem = "the file does not end as Parquet does"
            raise TruncatedRecording(source.path, source.size_bytes, problem, "copy the recording again")
        with parsing(self._path):
            self._file = pq.ParquetFile(source.path, buffer_size=READ_BUFFER_BYTES, pre_buffer=False)
            self._rows = int(self._file.metadata.num_rows)
            schema, stored = self._file.schema_arrow, self._file.metadata.metadata or {}
        try:
            self.info = self._checked(schema, stored, request)
        except BaseException:
            self.close()
            raise
        self._batches: Iterator[Any] | None = None
        self._batch: Any = None
        self._used = 0

    def next_rows(self, tag_ps: I64, channel: U8, _report: ReadingReport) -> int:
        """Read the next tags; see ``RowReader.next_rows``."""
        if self._batches is None:
            with parsing(self._path):
                self._batches = self._file.iter_batches(
                    ROWS_PER_BATCH, columns=["tag_ps", "channel"], use_threads=False
                )
        filled = 0
        while filled < tag_ps.size:
            if self._batch is None or self._used == self._batch.num_rows:
                with parsing(self._path):
                    self._batch, self._used = next(self._batches, None), 0
                if self._batch is None:
                    break
            count = min(tag_ps.size - filled, self._batch.num_rows - self._used)
            part = slice(filled, filled + count)
            row = self._row + filled
            tag_ps[part] = self._values("tag_ps", count, row, -(2**63), 2**63 - 1)
            channel[part] = self._values("channel", count, row, 0, LARGEST_CHANNEL)
            self._used += count
            filled += count
        return filled

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()

    def _checked(self, schema: Any, stored: Mapping[bytes, bytes], request: Request) -> RecordingInfo:
        for name in ("tag_ps", "channel"):
            held = schema.names.count(name)
            if held != 1 or not pa.types.is_integer(schema.field(name).type):
                problem = f"no integer column {name}" if held < 2 else f"two columns {name}"
                raise GarbledRecording(self._path, None, f"{problem}; it holds {str(schema.names)[:80]}", REMEDY)
        text = stored.get(METADATA_KEY, b"{}")
        if len(text) > LARGEST_METADATA:
            raise GarbledRecording(self._path, None, f"metadata of {len(text):,} bytes", REMEDY)
        metadata = parse_metadata(text.decode("utf-8", "replace"), self._path)
        self._gaps = metadata.gaps
        return metadata.info(self._path, "parquet", request.ignored_tick(Fraction(1)))

    def _values(self, name: str, count: int, before: int, smallest: int, largest: int) -> Any:
        """Return the next integers of one column of the batch, checked; ``before`` rows have been read."""
        with parsing(self._path):
            column = self._batch.column(name).slice(self._used, count)
            nulls = column.null_count
            values = np.asarray(column) if not nulls else np.empty(0)
        if nulls:
            row = before + column.is_null().to_pylist().index(True) + 1
            raise GarbledRecording(self._path, None, f"row {row:,}: {name} is null", REMEDY)
        if values.dtype.itemsize == 8 or name == "channel":
            wrong = (values < smallest) | (values > largest) if values.dtype != np.int64 or name == "channel" else None
            if wrong is not None and wrong.any():
                n = int(np.argmax(wrong))
                problem = f"row {before + n + 1:,}: {name} is {values[n]}, outside {smallest} to {largest}"
                raise GarbledRecording(self._path, None, problem, REMEDY)
        return values


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn what Arrow raises on broken files into a named error."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        problem = f"the Parquet file is broken ({' '.join(str(error).split())[:120]})"
        raise GarbledRecording(path, None, problem, "copy the recording again") from None
