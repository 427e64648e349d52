"""A recording being read: time order restored, blocks cut, gaps handed on, all of it counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from qnoded.errors import DisorderedTags, GarbledRecording, UsageError
from qnoded.formats.reading import Reader
from qnoded.kernels.ordering import count_steps_back, measure_disorder, put_in_order
from qnoded.records import I64, U8, Gap, ReadingReport, RecordingInfo, TagBlock
from qnoded.units import PS_PER_S

REPAIR_WINDOW_PS: Final = 10**9
"""Tags may stand back by 1 ms. Real instruments do: a quTAG merges its inputs with up to 86 ns of disorder, an
S-Fifteen TDC2 wrote events up to 97 us late around its roll-over marks; ten times that leaves room, and a clock
that was set back or two recordings in one file are far beyond it."""
MOST_TAGS_IN_WINDOW: Final = 2**24
"""Tags held back to restore order: 150 MB. So many in 1 ms would be 16 Gtag/s, which no instrument delivers."""
SMALLEST_FILL: Final = 2**12
LARGEST_FILL: Final = 2**22
"""Bounds of the tags decoded at a time, whatever block size is asked for: calls cost little, memory stays small."""
_BEFORE_ALL: Final = -(2**63)


class Recording:
    """An open recording; a context manager. Each call of ``blocks`` reads it once from the front."""

    def __init__(self, path: Path, reader: Callable[[], Reader]) -> None:
        self.path = path
        self._open = reader
        self._reader = reader()
        self._fresh = True
        self.info: RecordingInfo = self._reader.info
        self.report = ReadingReport()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Size of the file, bytes."""
        return self._reader.size_bytes

    @property
    def position_bytes(self) -> int:
        """How far it has been read, bytes; for a progress bar."""
        return self._reader.position_bytes

    def close(self) -> None:
        """Let go of the file; twice is once."""
        self._reader.close()

    def blocks(self, max_tags: int = 2**20) -> Iterator[TagBlock]:
        """Read the recording from the front in blocks of at most ``max_tags`` tags.

        Memory is bounded by the block and by the tags inside the repair window, however large the file is. The
        tags do not depend on ``max_tags``. ``report`` is filled along the way.

        Yields
        ------
        TagBlock
            Ascending in time within and across blocks; each gap comes with the first block that reaches it.

        Raises
        ------
        DisorderedTags
            If a tag stands back by more than ``REPAIR_WINDOW_PS``.
        GarbledRecording, TruncatedRecording, UnreadableRecording
            If the file breaks its format's promises.
        UsageError
            If ``max_tags`` is not positive.
        """
        if max_tags < 1:
            problem = f"blocks of {max_tags} tags cannot be read; ask for at least 1"
            raise UsageError(problem)
        if not self._fresh:
            self._reader.close()
            self._reader = self._open()
        self._fresh = False
        _clear(self.report)
        return self._read(max_tags)

    def _read(self, max_tags: int) -> Iterator[TagBlock]:
        capacity = min(max(max_tags, SMALLEST_FILL), LARGEST_FILL)
        held_ps, held = np.empty(0, np.int64), np.empty(0, np.uint8)
        state = np.array([_BEFORE_ALL, 0, 0], np.int64)
        gaps_given = 0
        while True:
            known = held_ps.size
            # The tags held back stand at the front of the next buffer: no block is copied to join two.
            size = max(capacity, 2 * known)
            tag_ps, channel = np.empty(size, np.int64), np.empty(size, np.uint8)
            tag_ps[:known], channel[:known] = held_ps, held
            filled = self._reader.fill(tag_ps[known:], channel[known:], self.report)
            tag_ps, channel = tag_ps[: known + filled], channel[: known + filled]
            self._order(tag_ps, channel, known, state)
            settled = tag_ps.size
            if filled:
                settled = int(np.searchsorted(tag_ps, _settled_before(int(state[0])), side="right"))
            held_ps, held = tag_ps[settled:].copy(), channel[settled:].copy()
            if held_ps.size > MOST_TAGS_IN_WINDOW:
                offset, _ = self._reader.locate(filled - 1)
                problem = f"more than {MOST_TAGS_IN_WINDOW:,} tags within 1 ms: the times stand still"
                raise GarbledRecording(self.path, offset, problem, "check tick and format of the recording")
            for first in range(0, settled, max_tags):
                block = slice(first, min(first + max_tags, settled))
                last = block.stop == settled and not filled
                gaps = self._gaps(gaps_given, None if last else int(tag_ps[block.stop - 1]))
                gaps_given += len(gaps)
                self.report.tags += block.stop - block.start
                yield TagBlock(channel[block], tag_ps[block], gaps)
            if not filled:
                break
        if gaps_given < len(self.report.gaps):
            yield TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64), self._gaps(gaps_given, None))

    def _order(self, tag_ps: I64, channel: U8, known: int, state: I64) -> None:
        """Bring ``tag_ps`` into order; it is ordered before ``known``. ``state`` is that of the kernel."""
        new = tag_ps[known:]
        if not new.size:
            return
        if new[0] >= state[0] and not count_steps_back(new):
            state[0] = new[-1]
            return
        beyond = measure_disorder(new, REPAIR_WINDOW_PS, state)
        if beyond >= 0:
            offset, row = self._reader.locate(beyond)
            back_s = (max(int(state[0]), int(new[: beyond + 1].max())) - int(new[beyond])) / PS_PER_S
            problem = f"{row + ': ' if row else ''}the time runs {back_s:.6g} s backwards, more than 1 ms"
            remedy = "split the recording there, or name the right --format, --tick-ps or --columns"
            raise DisorderedTags(self.path, offset, problem, remedy)
        put_in_order(tag_ps, channel, known)
        self.report.disordered, self.report.disorder_ps = int(state[1]), int(state[2])

    def _gaps(self, given: int, until_ps: int | None) -> tuple[Gap, ...]:
        """Return the gaps not yet given that begin by ``until_ps``."""
        waiting = self.report.gaps[given:]
        if until_ps is None:
            return tuple(waiting)
        due = 0
        while due < len(waiting) and waiting[due].start_ps <= until_ps:
            due += 1
        return tuple(waiting[:due])


def _settled_before(newest_ps: int) -> int:
    """Return the time up to which no later record of the file can still bring a tag."""
    return max(newest_ps - REPAIR_WINDOW_PS, _BEFORE_ALL)


def _clear(report: ReadingReport) -> None:
    """Set a report back to the start, in place: callers may hold it already."""
    report.records = report.tags = report.rollovers = report.disordered = report.disorder_ps = 0
    report.gaps.clear()
