"""Recorded time tags in other people's formats: read, never trust; and qnoded's own, written in bounded memory.

``opening`` is the door and the table of formats, ``detection`` recognises content, ``recording`` restores the order of
time and cuts blocks; each other module reads one maker's format. ``writing`` writes npz, Parquet and text.
"""

from __future__ import annotations

from qnoded.formats.opening import FORMATS, Format, open_recording
from qnoded.formats.recording import REPAIR_WINDOW_PS, Recording
from qnoded.formats.writing import RecordingWriter, write_recording

__all__ = [
    "FORMATS",
    "REPAIR_WINDOW_PS",
    "Format",
    "Recording",
    "RecordingWriter",
    "open_recording",
    "write_recording",
]
