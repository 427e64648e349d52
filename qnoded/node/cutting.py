"""Blocks of one tagger become epochs of its own clock: labelled, without delays, cut at whole multiples of 2**39 ps."""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.errors import DriverBroken, InstrumentGarbled
from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.exchange.reports import Reason
from qnoded.records import I64, U8, DetectionEpoch, Gap, Receiver, TagBlock
from qnoded.stages.tagging import Tagging
from qnoded.units import EPOCH_PS

LONGEST_SILENCE_PS: Final = 128 * EPOCH_PS
"""Seventy seconds without a tag: what comes then begins a new conversation instead of following empty epochs."""
MOST_GAPS: Final = 1024
"""Gaps that wait for their epoch to end; more than that become one, so that losses without tags fill no memory."""


def checked(block: object) -> TagBlock:
    """Return what a driver's stream has given, if it is a block in order of time.

    Raises
    ------
    DriverBroken
        If it is something else.
    InstrumentGarbled
        If its time runs backwards, or goes on for longer than a block can.
    """
    if not isinstance(block, TagBlock) or not all(isinstance(gap, Gap) for gap in block.gaps):
        problem = f"the stream gave a {type(block).__name__} where a TagBlock with its Gaps belongs; tell its author"
        raise DriverBroken(problem)
    backwards = np.flatnonzero(block.tag_ps[1:] < block.tag_ps[:-1])
    if backwards.size:
        at = int(backwards[0])
        before_ps, after_ps = int(block.tag_ps[at]), int(block.tag_ps[at + 1])
        problem = f"the tags run back from {before_ps} to {after_ps} ps within a block"
        raise InstrumentGarbled(problem)
    for gap in block.gaps:
        if gap.stop_ps < gap.start_ps:
            problem = f"a gap runs back from {gap.start_ps} to {gap.stop_ps} ps"
            raise InstrumentGarbled(problem)
    span_ps = int(block.tag_ps[-1]) - int(block.tag_ps[0]) if len(block) else 0
    if span_ps > LONGEST_SILENCE_PS:
        problem = f"one block spans {span_ps} ps, up to {LONGEST_SILENCE_PS} ps are possible"
        raise InstrumentGarbled(problem)
    return block


class Cutter:
    """Cuts one stream; any division into blocks gives the same epochs.

    Parameters
    ----------
    origin_ps
        The tagger's reading at which the epochs' time axis has its 0; a whole number of epochs.

    The epoch in which the stream begins is never whole and counts as lost. An epoch is finished once tags of the next
    one have come that no detector's delay can put back into it.
    """

    def __init__(self, receiver: Receiver, origin_ps: int = 0) -> None:
        self.last_tag_ps: int | None = None
        """Newest tag of the stream, as the tagger reads it; None before the first."""
        self._origin_ps = origin_ps
        self._tagging = Tagging(receiver)
        delays = [detector.delay_ps for detector in receiver.detectors]
        self._earliest_ps, self._latest_ps = min(delays), max(delays)
        self._start_ps = 0
        self._clicks: list[tuple[U8, I64]] = []
        self._gaps: list[Gap] = []

    def continues(self, block: TagBlock) -> bool:
        """Return whether a block may follow: time neither runs backwards nor leaps."""
        if self.last_tag_ps is None or not len(block):
            return True
        return self.last_tag_ps <= int(block.tag_ps[0]) <= self.last_tag_ps + LONGEST_SILENCE_PS

    def push(self, block: TagBlock) -> list[Detected | DetectionLost]:
        """Take the next block, as the tagger reads it; return the epochs that are finished by it, in order."""
        if not len(block) and self.last_tag_ps is None:
            return []
        if self._origin_ps:
            block = self._moved(block)
        done: list[Detected | DetectionLost] = []
        if self.last_tag_ps is None:
            done.append(self._begin(int(block.tag_ps[0])))
        for gap in block.gaps:
            self._note(Gap(gap.start_ps - self._latest_ps, gap.stop_ps - self._earliest_ps, gap.lost_tags, gap.reason))
        detector, tag_ps = self._tagging.push(block)
        if tag_ps.size:
            self._clicks.append((detector, tag_ps))
        if len(block):
            last_ps = int(block.tag_ps[-1])
            self.last_tag_ps = last_ps + self._origin_ps
            settled_ps = last_ps - self._latest_ps
            if settled_ps >= self._start_ps + EPOCH_PS:
                done += self._cut(settled_ps // EPOCH_PS * EPOCH_PS)
        return done

    def _moved(self, block: TagBlock) -> TagBlock:
        """Return a block on the epochs' time axis."""
        origin_ps = self._origin_ps
        gaps = tuple(
            Gap(gap.start_ps - origin_ps, gap.stop_ps - origin_ps, gap.lost_tags, gap.reason) for gap in block.gaps
        )
        return TagBlock(block.channel, block.tag_ps - np.int64(origin_ps), gaps)

    def _note(self, gap: Gap) -> None:
        if len(self._gaps) >= MOST_GAPS:
            last = self._gaps.pop()
            gap = Gap(min(last.start_ps, gap.start_ps), max(last.stop_ps, gap.stop_ps), None, gap.reason)
        self._gaps.append(gap)

    def _begin(self, first_ps: int) -> DetectionLost:
        whole = (first_ps - self._earliest_ps) // EPOCH_PS * EPOCH_PS
        self._start_ps = whole + EPOCH_PS
        return DetectionLost(whole, self._start_ps, Reason.GAP.value)

    def _cut(self, until_ps: int) -> list[Detected | DetectionLost]:
        detector = np.concatenate([part for part, _ in self._clicks] or [np.empty(0, np.uint8)])
        tag_ps = np.concatenate([part for _, part in self._clicks] or [np.empty(0, np.int64)])
        borders_ps = np.arange(self._start_ps, until_ps + 1, EPOCH_PS, dtype=np.int64)
        cuts = np.searchsorted(tag_ps, borders_ps)
        done = [
            self._epoch(detector[first:last].copy(), tag_ps[first:last].copy(), int(start_ps))
            for first, last, start_ps in zip(cuts[:-1], cuts[1:], borders_ps[:-1], strict=True)
        ]
        self._start_ps = until_ps
        self._clicks = [(detector[cuts[-1] :].copy(), tag_ps[cuts[-1] :].copy())]
        self._gaps = [gap for gap in self._gaps if gap.stop_ps > until_ps]
        return done

    def _epoch(self, detector: U8, tag_ps: I64, start_ps: int) -> Detected | DetectionLost:
        stop_ps = start_ps + EPOCH_PS
        gaps = tuple(gap for gap in self._gaps if gap.start_ps < stop_ps and gap.stop_ps > start_ps)
        if any(gap.start_ps <= start_ps and gap.stop_ps >= stop_ps for gap in gaps):
            return DetectionLost(start_ps, stop_ps, Reason.GAP.value)
        return Detected(DetectionEpoch(detector, tag_ps, start_ps, stop_ps, gaps))
