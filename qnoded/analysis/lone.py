"""A recording of which nothing is known: what its inputs counted, and which of them saw the same light."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import ceil
from typing import Final

import numpy as np

from qnoded.kernels.peaks import count_close_pairs
from qnoded.records import I64, Detector, Receiver, TagBlock
from qnoded.stages.artefacts import Artefact, click_artefacts
from qnoded.stages.calibration import find_peak
from qnoded.stages.differences import close_pairs
from qnoded.units import PS_PER_NS

MOST_INPUTS: Final = 16
"""Inputs whose correlations are looked at, the busiest first: 120 pairs."""
PEAK_TAGS: Final = 2**18
"""Tags of the beginning in which peaks are sought: at 10 Mcps and +-1 us, 20 differences a tag."""
SEARCH_RANGE_PS: Final = 1_000_000
"""Peaks are sought within +-1 us: cables and delay lines, not fibres."""
MOST_DIFFERENCES: Final = 2**23
"""Time differences that are looked at in all, shared by the pairs of inputs: 20 a tag and more, but not without bound
where the times of a recording stand still."""
DEFAULT_WINDOW_PS: Final = 2_000
"""Full width within which pairs are counted unless told otherwise, or two ticks where those are more."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """Time differences between two inputs of one recording."""

    first: int
    second: int
    peak_ps: float | None
    """Where ``second`` comes after ``first``, ps; None where no peak stands out."""
    peak_sigma_ps: float | None
    """Standard deviation of the peak."""
    window_ps: int
    """Full width within which pairs are counted."""
    pairs_after: int
    """All pairs with 0 < second - first <= window / 2."""
    pairs_before: int
    """All pairs with -window / 2 <= second - first < 0."""
    pairs_together: int
    """All pairs at the same time."""

    @property
    def sentence(self) -> str | None:
        """Which input comes first and by how much, for the operator; None where no peak stands out."""
        if self.peak_ps is None:
            return None
        order = "after" if self.peak_ps >= 0.0 else "before"
        return (
            f"Input {self.second} comes {abs(self.peak_ps) / PS_PER_NS:.3f} ns {order} input {self.first} "
            f"(peak {self.peak_sigma_ps:.0f} ps wide, rms)"
        )


@dataclass(frozen=True, slots=True)
class LoneFindings:
    """What a recording tells without a channel map."""

    correlations: tuple[Correlation, ...]
    artefacts: tuple[Artefact, ...]
    sample_tags: int
    """Tags that correlations and artefacts were sought in."""


def lone_findings(
    blocks: list[TagBlock], channel_counts: I64, window_ps: int | None, tick_ps: Fraction
) -> LoneFindings:
    """Look at the beginning of a recording without knowing what its inputs are.

    Parameters
    ----------
    blocks : the beginning
    channel_counts : int64[256], tags of each input in the whole recording
    window_ps : full width within which pairs are counted
    tick_ps : the recording's tick
    """
    busiest = np.argsort(-channel_counts, kind="stable")[:MOST_INPUTS]
    inputs = sorted(int(channel) for channel in busiest if channel_counts[channel])
    channel = np.concatenate([block.channel for block in blocks]) if blocks else np.empty(0, np.uint8)
    tag_ps = np.concatenate([block.tag_ps for block in blocks]) if blocks else np.empty(0, np.int64)
    receiver = Receiver("alice", tuple(Detector(f"input {one}", one, "none", 0) for one in inputs))
    index = np.zeros(256, np.uint8)
    index[inputs] = np.arange(len(inputs), dtype=np.uint8)
    known = np.isin(channel[:PEAK_TAGS], inputs)
    artefacts = click_artefacts(receiver, index[channel[:PEAK_TAGS][known]], tag_ps[:PEAK_TAGS][known])
    times = {one: np.ascontiguousarray(tag_ps[channel == one]) for one in inputs}
    window_ps = window_ps or max(DEFAULT_WINDOW_PS, ceil(2 * tick_ps))
    horizon_ps = int(tag_ps[min(PEAK_TAGS, tag_ps.size) - 1]) if tag_ps.size else 0
    pairs = tuple(combinations(inputs, 2))
    most = MOST_DIFFERENCES // max(len(pairs), 1)
    return LoneFindings(
        correlations=tuple(
            _correlation(first, second, times[first], times[second], window_ps, horizon_ps, tick_ps, most)
            for first, second in pairs
        ),
        artefacts=artefacts,
        sample_tags=int(tag_ps.size),
    )


def _correlation(
    first: int,
    second: int,
    a: I64,
    b: I64,
    window_ps: int,
    horizon_ps: int,
    tick_ps: Fraction,
    most_differences: int,
) -> Correlation:
    half_ps = window_ps // 2
    near_a = a[: np.searchsorted(a, horizon_ps, "right")]
    near_b = b[: np.searchsorted(b, horizon_ps, "right")]
    unlabelled = np.zeros(max(near_a.size, near_b.size), np.uint8)
    near = close_pairs(
        unlabelled[: near_a.size], near_a, unlabelled[: near_b.size], near_b, SEARCH_RANGE_PS, most_differences
    )
    peak = find_peak(np.sort(near.delay_ps), SEARCH_RANGE_PS, tick_ps)
    return Correlation(
        first=first,
        second=second,
        peak_ps=None if peak.reason else peak.delay_ps,
        peak_sigma_ps=None if peak.reason else peak.width_ps,
        window_ps=window_ps,
        pairs_after=count_close_pairs(a, b, 1, half_ps + 1),
        pairs_before=count_close_pairs(a, b, -half_ps, 0),
        pairs_together=count_close_pairs(a, b, 0, 1),
    )
