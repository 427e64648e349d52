"""Recordings written in bounded memory: to a temporary name first, so that nobody meets half a file."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Final, Self

import numpy as np

from qnoded.errors import DisorderedTags, UnreadableRecording, UsageError
from qnoded.formats.metadata import Metadata, parse_metadata
from qnoded.records import Gap, TagBlock

COPY_BYTES: Final = 2**22


class RecordingWriter:
    """A recording being written; a context manager.

    The file appears under its name only when the context ends without an exception.

    Parameters
    ----------
    path
        File to write; one of that name is replaced.
    format : {"npz", "parquet", "text"}, optional
        Without it the suffix decides: .parquet, .txt/.csv/.tsv (.gz), else npz.
    channels
        Channel map, side -> detector name -> channel.
    angles_deg
        Angles of linear analysers, side -> detector name -> degrees.
    simulated
        True if any simulated instrument took part.
    notes
        What a reader should know.
    tick_ps
        Tick of the instrument; the tags themselves are in ps.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002 - the word of the command line
        channels: Mapping[str, Mapping[str, int]] | None = None,
        angles_deg: Mapping[str, Mapping[str, float]] | None = None,
        simulated: bool = False,
        notes: Iterable[str] = (),
        tick_ps: Fraction = Fraction(1),
    ) -> None:
        self.path = Path(path)
        self.format = format or format_of_suffix(self.path)
        if self.format not in WRITERS:
            problem = f"recordings cannot be written as {self.format!r}; use {', '.join(WRITERS)}"
            raise UsageError(problem)
        metadata = Metadata(channels or {}, simulated, tuple(notes), tick_ps, (), angles_deg or {})
        # Through the reader's eyes: what it would refuse is not written.
        self._metadata = parse_metadata(metadata.to_json(), self.path)
        self._gaps: list[Gap] = []
        self._newest_ps = -(2**63)
        self.tags = 0
        self._temporary: Path | None = None
        self._sink: Sink | None = None

    def __enter__(self) -> Self:
        """Open the temporary file beside the final one."""
        try:
            # The process id keeps two processes apart; a file left by one that died is simply written over.
            self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
            file = self._temporary.open("wb")
        except (OSError, ValueError) as error:
            raise self._failed(error) from None
        packed = self.path.suffix == ".gz"
        self._sink = WRITERS[self.format](file, self._temporary, self._metadata, packed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sink is not None
        assert self._temporary is not None
        try:
            if kind is None:
                self._sink.finish(tuple(self._gaps))
            self._sink.close()
            if kind is None:
                self._temporary.replace(self.path)
        except OSError as failure:
            raise self._failed(failure) from None
        finally:
            self._sink.close()
            self._temporary.unlink(missing_ok=True)

    def write(self, block: TagBlock) -> None:
        """Append a block.

        Raises
        ------
        DisorderedTags
            If it begins before the end of the block before it.
        UnreadableRecording
            If the disk is full or the like.
        """
        assert self._sink is not None
        if len(block):
            if int(block.tag_ps[0]) < self._newest_ps:
                problem = f"block begins {self._newest_ps - int(block.tag_ps[0])} ps before the last one's end"
                raise DisorderedTags(self.path, None, problem, "write blocks in order of time")
            self._newest_ps = int(block.tag_ps[-1])
        self._gaps.extend(block.gaps)
        try:
            self._sink.write(block)
        except OSError as failure:
            raise self._failed(failure) from None
        self.tags += len(block)

    def _failed(self, failure: OSError | ValueError) -> UnreadableRecording:
        problem = f"cannot be written ({getattr(failure, 'strerror', None) or failure})"
        return UnreadableRecording(self.path, None, problem, "check folder, permissions and disk space")


def write_recording(
    path: str | Path,
    blocks: Iterable[TagBlock],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    channels: Mapping[str, Mapping[str, int]] | None = None,
    angles_deg: Mapping[str, Mapping[str, float]] | None = None,
    simulated: bool = False,
    notes: Iterable[str] = (),
    tick_ps: Fraction = Fraction(1),
) -> int:
    """Write blocks as a recording in bounded memory and return the number of tags; see ``RecordingWriter``."""
    with RecordingWriter(
        path,
        format=format,
        channels=channels,
        angles_deg=angles_deg,
        simulated=simulated,
        notes=notes,
        tick_ps=tick_ps,
    ) as writer:
        for block in blocks:
            writer.write(block)
    return writer.tags


def format_of_suffix(path: Path) -> str:
    """Return the format that a file name asks for: npz unless it says otherwise."""
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    last = suffixes[-1].lower() if suffixes else ""
    return {".parquet": "parquet", ".txt": "text", ".csv": "text", ".tsv": "text"}.get(last, "npz")


class Sink(ABC):
    """One format being written to an open file."""

    def __init__(self, file: IO[bytes], path: Path, metadata: Metadata, packed: bool) -> None:
        self._file, self._path, self._metadata, self._packed = file, path, metadata, packed
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Write what comes before the first tag."""

    @abstractmethod
    def write(self, block: TagBlock) -> None:
        """Append a block."""

    @abstractmethod
    def finish(self, gaps: tuple[Gap, ...]) -> None:
        """Write what comes after the last tag."""

    def close(self) -> None:
        """Close the file; twice is once."""
        self._file.close()

    def _closing_metadata(self, gaps: tuple[Gap, ...]) -> Metadata:
        return replace(self._metadata, gaps=gaps)


class NpzSink(Sink):
    """Stored npz. A zip member needs its length first, so the columns wait in unnamed files beside it."""

    SPOOLED: ClassVar[dict[str, np.dtype[Any]]] = {"tag_ps": np.dtype("<i8"), "channel": np.dtype("u1")}

    def _open(self) -> None:
        self._spools = tuple(
            tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115 - closed in close()
            for _ in self.SPOOLED
        )

    def write(self, block: TagBlock) -> None:
        """Append a block to the columns."""
        tags, channels = self._spools
        tags.write(block.tag_ps.view(np.uint8).data)
        channels.write(block.channel.data)

    def finish(self, gaps: tuple[Gap, ...]) -> None:
        """Copy the columns into the archive."""
        with zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED) as archive:
            for (name, dtype), spool in zip(self.SPOOLED.items(), self._spools, strict=True):
                rows = spool.tell() // dtype.itemsize
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {"descr": dtype.str, "fortran_order": False, "shape": (rows,)}
                    np.lib.format.write_array_header_1_0(member, header)
                    spool.seek(0)
                    shutil.copyfileobj(spool, member, COPY_BYTES)
            text = io.BytesIO()
            np.save(text, np.array(self._closing_metadata(gaps).to_json()), allow_pickle=False)
            archive.writestr("metadata.npy", text.getvalue())

    def close(self) -> None:
        """Close the file and forget the columns."""
        for spool in self._spools:
            spool.close()
        super().close()


class ParquetSink(Sink):
    """Parquet with one row group per stretch of tags."""

    ROWS_PER_GROUP: ClassVar = 2**20

    def _open(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([("tag_ps", pa.int64()), ("channel", pa.uint8())])
        self._batch: Any = pa.record_batch
        # Consecutive times differ little: written as differences they take half the room.
        self._writer: Any = pq.ParquetWriter(
            self._file,
            self._schema,
            compression="zstd",
            use_dictionary=["channel"],
            column_encoding={"tag_ps": "DELTA_BINARY_PACKED"},
        )
        self._waiting: list[TagBlock] = []
        self._rows = 0

    def write(self, block: TagBlock) -> None:
        """Append a block; small ones are gathered into row groups."""
        self._waiting.append(block)
        self._rows += len(block)
        if self._rows >= self.ROWS_PER_GROUP:
            self._flush()

    def finish(self, gaps: tuple[Gap, ...]) -> None:
        """Write the last row group and the metadata."""
        from qnoded.formats.parquet import METADATA_KEY

        self._flush()
        self._writer.add_key_value_metadata({METADATA_KEY: self._closing_metadata(gaps).to_json().encode()})
        self._writer.close()

    def close(self) -> None:
        """Close the file, complete or not."""
        if not self._file.closed and self._writer.is_open:
            self._writer.close()
        super().close()

    def _flush(self) -> None:
        if not self._rows:
            return
        tag_ps = np.concatenate([block.tag_ps for block in self._waiting])
        channel = np.concatenate([block.channel for block in self._waiting])
        self._writer.write_batch(self._batch([tag_ps, channel], schema=self._schema), row_group_size=self._rows)
        self._waiting, self._rows = [], 0


class TextSink(Sink):
    """Rows ``channel,time in ps`` behind a line of metadata; gaps are comment lines in their place."""

    def _open(self) -> None:
        from qnoded.formats.text import OWN_HEADER

        # mtime 0: the same tags give the same bytes.
        self._out: IO[bytes] = (
            gzip.GzipFile("", "wb", 6, self._file, mtime=0) if self._packed else self._file  # type: ignore[assignment]
        )
        self._out.write(OWN_HEADER + self._metadata.to_json().encode() + b"\n# channel,time_ps\n")

    def write(self, block: TagBlock) -> None:
        """Append a block."""
        import pyarrow as pa
        from pyarrow import csv

        from qnoded.formats.text import GAP_MARK

        for gap in block.gaps:
            lost = "-" if gap.lost_tags is None else str(gap.lost_tags)
            reason = " ".join(gap.reason.split()) or "gap"
            self._out.write(GAP_MARK + f"{gap.start_ps} {gap.stop_ps} {lost} {reason}\n".encode())
        if len(block):
            rows = pa.table({"channel": block.channel, "time_ps": block.tag_ps})
            csv.write_csv(rows, self._out, csv.WriteOptions(include_header=False))

    def finish(self, gaps: tuple[Gap, ...]) -> None:  # noqa: ARG002 - they stand among the rows already
        """Write the end of a gzip stream."""
        if self._packed:
            self._out.close()

    def close(self) -> None:
        """Close the file, complete or not."""
        self._out.close()
        super().close()


WRITERS: Final[dict[str, type[Sink]]] = {"npz": NpzSink, "parquet": ParquetSink, "text": TextSink}
