"""The table of known formats, and the one door to all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Final, cast

from qnoded.errors import UsageError
from qnoded.formats.detection import HEAD_BYTES, detect
from qnoded.formats.reading import Reader, Request
from qnoded.formats.recording import Recording
from qnoded.formats.source import Source


@dataclass(frozen=True, slots=True)
class Format:
    """A known format."""

    description: str
    """One line for --help."""
    module: str
    """Module of this package that reads it; imported when needed."""
    reader: str
    """Callable of that module, ``(source, request) -> Reader``."""

    def open(self, source: Source, request: Request) -> Reader:
        """Open a recording of this format."""
        reader = cast(
            "Callable[[Source, Request], Reader]",
            getattr(import_module(f"qnoded.formats.{self.module}"), self.reader),
        )
        return reader(source, request)


FORMATS: Final = {
    "npz": Format("numpy archive: arrays tag_ps (ps) and channel; qnoded's own", "npz", "NpzReader"),
    "parquet": Format("Parquet: columns tag_ps (ps) and channel; qnoded's own", "parquet", "ParquetReader"),
    "text": Format("CSV, TSV or blank-separated rows, .gz too; any tick, any columns", "text", "TextReader"),
    "s15-a0": Format("S-Fifteen hex text, two words per event, low first", "fifteen", "EventReader"),
    "s15-a1": Format("S-Fifteen binary, low word first", "fifteen", "EventReader"),
    "s15-a1x": Format("S-Fifteen binary, high word first (legacy)", "fifteen", "EventReader"),
    "s15-a2": Format("S-Fifteen hex text, 16 digits per event", "fifteen", "EventReader"),
    "s15-125ps": Format("S-Fifteen binary of older units, 125 ps ticks", "fifteen", "EventReader"),
    "ptu": Format("PicoQuant unified TTTR, T2 and T3", "picoquant", "PtuReader"),
    "qutag": Format("quTAG binary time tags", "qutag", "QutagReader"),
    "bh-spc": Format("Becker & Hickl FIFO file (SPC-130 family)", "becker_hickl", "SpcReader"),
    "swabian-ttbin": Format("Swabian .ttbin, through its SDK", "swabian", "TtbinReader"),
    "swabian-raw": Format("Swabian raw dump of 16-byte records", "swabian", "RawReader"),
}
"""Name, as for ``--format``, -> format."""


def open_recording(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    tick_ps: Fraction | None = None,
    columns: str | None = None,
) -> Recording:
    """Open recorded time tags of any known format.

    Parameters
    ----------
    path
        The file.
    format
        Name of its format, a key of ``FORMATS``; without it the content decides.
    tick_ps
        Length of the file's time unit in ps, for formats that do not know it themselves.
    columns
        For text: what each column is, such as ``"channel,time"`` or ``"time_s,-,channel"``.

    Returns
    -------
    Recording
        A context manager; its header has been read and checked.

    Raises
    ------
    UsageError
        If format, tick or columns make no sense.
    UnreadableRecording, UnknownFormat, TruncatedRecording, GarbledRecording
        If the file cannot be read, recognised or believed.
    DependencyMissing
        If its format needs a library that is not installed.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        problem = f"format {format!r} is unknown; use one of {', '.join(FORMATS)}"
        raise UsageError(problem)
    if tick_ps is not None and tick_ps <= 0:
        problem = f"a tick of {tick_ps} ps is not positive"
        raise UsageError(problem)
    name = format
    source = Source(path)
    try:
        head = bytes(source.read(HEAD_BYTES))
        detected = detect(path, head) if name is None or not head else name
    finally:
        source.close()
    if columns is not None and detected != "text":
        problem = f"columns are for text; {path} is {detected}"
        raise UsageError(problem)
    request = Request(detected, tick_ps, columns)

    def reader() -> Reader:
        source = Source(path)
        try:
            return FORMATS[detected].open(source, request)
        except BaseException:
            source.close()
            raise

    return Recording(path, reader)
