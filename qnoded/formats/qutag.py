"""quTAG time tag files: a 40-byte header, then 10-byte records of int64 ps and uint16 channel.

The inputs are merged by the instrument with some disorder. Channel 104 is its millisecond tick.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import TruncatedRecording
from qnoded.formats.reading import BinaryRecords, RecordReader, Request
from qnoded.formats.source import Source
from qnoded.records import I64, U8, ReadingReport, RecordingInfo

HEADER_BYTES: Final = 40
RECORD: Final = np.dtype([("tag_ps", "<i8"), ("channel", "<u2")])
TICK_PS: Final = Fraction(1)
LARGEST_CHANNEL: Final = 255


class QutagReader(RecordReader):
    """Records of a quTAG file."""

    def __init__(self, source: Source, request: Request) -> None:
        if source.size_bytes < HEADER_BYTES:
            problem = f"the file ends inside the header ({source.size_bytes} of {HEADER_BYTES} bytes)"
            raise TruncatedRecording(source.path, source.size_bytes, problem, "copy the recording again")
        notes = request.ignored_tick(TICK_PS)
        self.info = RecordingInfo(str(source.path), "qutag", TICK_PS, notes=notes)
        super().__init__(source, BinaryRecords(source, RECORD, HEADER_BYTES))

    def decode(self, words: NDArray[Any], tag_ps: I64, channel: U8, _: ReadingReport) -> tuple[int, int]:
        """Copy records as far as the arrays reach."""
        words = words[: tag_ps.size]
        made = words.size
        times, inputs = words["tag_ps"], words["channel"]
        if int(inputs.max()) > LARGEST_CHANNEL:
            record = int(np.argmax(inputs > LARGEST_CHANNEL))
            self.garbled(record, f"channel {inputs[record]} is beyond {LARGEST_CHANNEL}")
        tag_ps[:made], channel[:made] = times, inputs
        if int(tag_ps[:made].min()) < 0:
            self.garbled(int(np.argmax(times < 0)), "the time is negative")
        return made, made

    def tags_per_record(self, words: NDArray[Any]) -> NDArray[np.int64]:
        """Return 1 for each record."""
        return np.ones(words.size, np.int64)
