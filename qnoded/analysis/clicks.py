"""From a recording to the clicks of one or two sides, pulled by time and bounded in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from qnoded.records import I64, U8, DetectionEpoch, Gap, TagBlock
from qnoded.stages.tagging import Tagging

_ALL: Final = 2**62


class Tape:
    """One recording, read once for all sides that it holds; ``streams`` are its sides in order."""

    def __init__(self, blocks: Iterable[TagBlock], taggings: Sequence[Tagging]) -> None:
        self._blocks: Iterator[TagBlock] = iter(blocks)
        self.streams = tuple(ClickStream(self, tagging) for tagging in taggings)

    def advance(self) -> bool:
        """Read one more block into all streams; return False at the end of the recording."""
        block = next(self._blocks, None)
        for stream in self.streams:
            stream.feed(block)
        return block is not None

    def next_ps(self) -> int | None:
        """Return the time of the first click of any side that has not been forgotten, or None at the end."""
        while not any(stream.has_clicks for stream in self.streams) and self.advance():
            pass
        return min((stream.quiet_until_ps for stream in self.streams if stream.has_clicks), default=None)


class ClickStream:
    """The clicks of one side in time order; asks its tape for more as they are needed."""

    def __init__(self, tape: Tape, tagging: Tagging) -> None:
        self.tape = tape
        self._tagging = tagging
        self._chunks: deque[tuple[U8, I64]] = deque()
        self._gaps: list[Gap] = []
        self._latest_ps = max(detector.delay_ps for detector in tagging.receiver.detectors)
        self._settled_ps = -_ALL
        self.finished = False
        """True once the recording has been read to its end."""
        self.last_ps: int | None = None
        """The last click that has been read, forgotten or not."""

    @property
    def tagging(self) -> Tagging:
        """The stage that labels this stream, with its counts."""
        return self._tagging

    def feed(self, block: TagBlock | None) -> None:
        """Take one block, or None for the end; called by the tape."""
        if block is None:
            clicks, self.finished = self._tagging.finish(), True
        else:
            clicks = self._tagging.push(block)
            self._gaps.extend(block.gaps)
            if len(block):
                # A later tag of the slowest detector is corrected to no earlier than this.
                self._settled_ps = int(block.tag_ps[-1]) - self._latest_ps
        if clicks[1].size:
            self._chunks.append(clicks)
            self.last_ps = int(clicks[1][-1])

    def next_ps(self) -> int | None:
        """Return the time of the first click that has not been forgotten, or None at the end."""
        while not self._chunks and not self.finished:
            self.tape.advance()
        return int(self._chunks[0][1][0]) if self._chunks else None

    @property
    def has_clicks(self) -> bool:
        """Whether clicks have been read that have not been forgotten."""
        return bool(self._chunks)

    @property
    def quiet_until_ps(self) -> int:
        """A moment before which no click is left, as far as the recording has been read."""
        if self._chunks:
            return int(self._chunks[0][1][0])
        return _ALL if self.finished else self._settled_ps

    def between(self, start_ps: int, stop_ps: int) -> DetectionEpoch:
        """Return the clicks with ``start_ps <= tag_ps < stop_ps``, reading on as far as needed; forgets none."""
        while not self.finished and self._settled_ps < stop_ps:
            self.tape.advance()
        detectors, times = [np.empty(0, np.uint8)], [np.empty(0, np.int64)]
        for detector, tag_ps in self._chunks:
            first, last = np.searchsorted(tag_ps, [start_ps, stop_ps])
            if first < last:
                detectors.append(detector[first:last])
                times.append(tag_ps[first:last])
        gaps = tuple(gap for gap in self._gaps if gap.start_ps < stop_ps and gap.stop_ps > start_ps)
        # A single piece is handed on as it is: most epochs need no copy.
        if len(times) == 2:
            return DetectionEpoch(detectors[1], times[1], start_ps, stop_ps, gaps)
        return DetectionEpoch(np.concatenate(detectors), np.concatenate(times), start_ps, stop_ps, gaps)

    def everything(self) -> DetectionEpoch:
        """Return all clicks; only for a recording that is known to be short."""
        return self.first(_ALL)

    def first(self, clicks: int) -> DetectionEpoch:
        """Return the first clicks, so many where the recording has them; forgets none."""
        while not self.finished and sum(tag_ps.size for _, tag_ps in self._chunks) < clicks:
            self.tape.advance()
        detector = np.concatenate([np.empty(0, np.uint8), *(one for one, _ in self._chunks)])[:clicks]
        tag_ps = np.concatenate([np.empty(0, np.int64), *(one for _, one in self._chunks)])[:clicks]
        if not tag_ps.size:
            return DetectionEpoch(detector, tag_ps, 0, 0)
        return DetectionEpoch(detector, tag_ps, int(tag_ps[0]), int(tag_ps[-1]) + 1)

    def exhaust(self) -> None:
        """Read on to the end and forget all: only the counts of the tagging remain."""
        self._chunks.clear()
        while not self.finished:
            self.tape.advance()
            self._chunks.clear()

    def forget(self, before_ps: int) -> None:
        """Drop all clicks before a moment; they will not be asked for again."""
        while self._chunks and self._chunks[0][1][-1] < before_ps:
            self._chunks.popleft()
        if self._chunks:
            detector, tag_ps = self._chunks[0]
            first = int(np.searchsorted(tag_ps, before_ps))
            if first:
                self._chunks[0] = detector[first:], tag_ps[first:]
        self._gaps = [gap for gap in self._gaps if gap.stop_ps > before_ps]

    def skip_to(self, before_ps: int) -> None:
        """Read on to a moment and forget all clicks before it on the way, however many they are."""
        self.forget(before_ps)
        while not self.finished and self._settled_ps < before_ps:
            self.tape.advance()
            self.forget(before_ps)
