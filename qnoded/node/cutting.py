"""Blocks of one tagger become epochs of its own clock: labelled, without delays, cut at whole multiples of 2**39 ps."""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.exchange.reports import Reason
from qnoded.records import I64, U8, DetectionEpoch, Gap, Receiver, TagBlock
from qnoded.stages.tagging import Tagging
from qnoded.units import EPOCH_PS

LONGEST_SILENCE_PS: Final = 128 * EPOCH_PS
"""Seventy seconds without a tag: what comes then begins a new conversation instead of following empty epochs."""


class Cutter:
    """Cuts one stream; any division into blocks gives the same epochs.

    The epoch in which the stream begins is never whole and counts as lost. An epoch is finished once tags of the next
    one have come that no detector's delay can put back into it.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.last_tag_ps: int | None = None
        """Newest tag of the stream, delays not removed; None before the first."""
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
        """Take the next block; return the epochs that are finished by it, in order."""
        if not len(block) and self.last_tag_ps is None:
            return []
        done: list[Detected | DetectionLost] = []
        if self.last_tag_ps is None:
            done.append(self._begin(int(block.tag_ps[0])))
        self._gaps += [
            Gap(gap.start_ps - self._latest_ps, gap.stop_ps - self._earliest_ps, gap.lost_tags, gap.reason)
            for gap in block.gaps
        ]
        detector, tag_ps = self._tagging.push(block)
        if tag_ps.size:
            self._clicks.append((detector, tag_ps))
        if len(block):
            self.last_tag_ps = int(block.tag_ps[-1])
            settled_ps = self.last_tag_ps - self._latest_ps
            if settled_ps >= self._start_ps + EPOCH_PS:
                done += self._cut(settled_ps // EPOCH_PS * EPOCH_PS)
        return done

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
