"""The beginning of a recording, bounded, to be looked at before the whole is walked through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from math import ceil
from typing import Final

import numpy as np

from qnoded.analysis.options import ClockOptions
from qnoded.kernels.tagging import CHANNELS, count_channels
from qnoded.records import I64, TagBlock
from qnoded.units import PS_PER_S

SURVEY_TAGS: Final = 2**24
"""Tags of a recording that the survey may hold in memory, 150 MB: 30 s at 0.5 Mcps, enough for 0.1 % pairs."""
SURVEY_PS: Final = 60 * PS_PER_S
"""Time that it may span; a clock search from more than a minute gains nothing."""
SPARE_PS: Final = PS_PER_S
"""Kept before the moment at which the other recording can have begun: fibres, delays, an offset known roughly."""


class Prologue:
    """The blocks of a recording with its beginning kept, so that it can be read again from the front."""

    def __init__(self, blocks: Iterable[TagBlock]) -> None:
        self._rest: Iterator[TagBlock] = iter(blocks)
        self._kept: list[TagBlock] = []
        self._handed_on = False
        self.skipped_counts: I64 = np.zeros(CHANNELS, np.int64)
        """int64[256], tags of each input that were skipped."""
        while not any(map(len, self._kept)) and self._read_on():
            pass
        self.first_ps = next((int(block.tag_ps[0]) for block in self._kept if len(block)), None)
        """The recording's first tag, None without tags."""

    def skip_to(self, before_ps: int) -> None:
        """Leave out all tags before a moment; of a recording that ends before it the last block is kept."""
        while self._kept and (not len(self._kept[0]) or self._kept[0].tag_ps[-1] < before_ps):
            if len(self._kept) == 1 and not self._read_on():
                return
            count_channels(self._kept.pop(0).channel, self.skipped_counts)
        if self._kept:
            block = self._kept[0]
            first = int(np.searchsorted(block.tag_ps, before_ps))
            count_channels(block.channel[:first], self.skipped_counts)
            self._kept[0] = TagBlock(block.channel[first:], block.tag_ps[first:], block.gaps)

    def beginning(self) -> Iterable[TagBlock]:
        """Return the blocks of the beginning, to be gone through any number of times; read as far as somebody goes."""
        return _Beginning(self)

    def kept(self, number: int) -> TagBlock | None:
        """Return one block of the beginning, reading on for it; None where the beginning is over."""
        while number >= len(self._kept):
            if self._handed_on or self._is_long_enough() or not self._read_on():
                return None
        return self._kept[number]

    def _is_long_enough(self) -> bool:
        full = [block for block in self._kept if len(block)]
        span_ps = int(full[-1].tag_ps[-1] - full[0].tag_ps[0]) if full else 0
        return sum(map(len, full)) >= SURVEY_TAGS or span_ps >= SURVEY_PS

    def _read_on(self) -> bool:
        """Keep one more block; return False at the end of the recording."""
        block = next(self._rest, None)
        if block is not None:
            self._kept.append(block)
        return block is not None

    def all_blocks(self) -> Iterator[TagBlock]:
        """Hand out the whole recording, once; the beginning is let go along the way."""
        self._handed_on = True
        kept, self._kept = self._kept, []
        kept.reverse()
        return chain((kept.pop() for _ in range(len(kept))), self._rest)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Goes through the beginning anew with each iteration."""

    prologue: Prologue

    def __iter__(self) -> Iterator[TagBlock]:
        for number in count():
            block = self.prologue.kept(number)
            if block is None:
                return
            yield block


def begin_together(alice: Prologue, bob: Prologue, options: ClockOptions) -> None:
    """Skip what the earlier of two recordings holds before the other can have begun, as far as the clock is known."""
    if alice.first_ps is None or bob.first_ps is None:
        return
    # How much later bob's recording begins, in alice's clock, and how uncertain that is.
    later_ps = bob.first_ps - options.offset_ps - alice.first_ps
    drift_ps = ceil((abs(options.frequency_error) + options.frequency_range) * abs(later_ps))
    unsure_ps = drift_ps + (0 if options.known else options.offset_range_ps) + SPARE_PS
    if later_ps > unsure_ps:
        alice.skip_to(alice.first_ps + later_ps - unsure_ps)
    elif later_ps < -unsure_ps:
        bob.skip_to(bob.first_ps - later_ps - unsure_ps)
