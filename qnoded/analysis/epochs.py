"""What is measured in one epoch: coincidences, accidentals, sifted bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.analysis.alignment import AlignedEpoch
from qnoded.kernels.tagging import CHANNELS, count_channels
from qnoded.mapping import Mapper
from qnoded.records import I64, ClockModel, DetectionEpoch, Receiver, SiftedEpoch
from qnoded.stages.coincidence import count_and_match, displaced_pairs
from qnoded.stages.differences import TimeDifferences, time_differences
from qnoded.stages.sifting import sift
from qnoded.stages.synchronization.tracking import TrackingReport
from qnoded.stages.tagging import MultiClick, MultiClicks, choice_key, list_multi_clicks

DIFFERENCE_PAIRS: Final = 4000
"""Pairs of an epoch whose time differences are listed for the window recommendation and the plots."""
DIFFERENCE_WINDOWS: Final = 3
"""They are listed up to so many windows to each side, so that the accidental floor beside the peak is seen."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch gave."""

    start_ps: int
    """Alice's clock."""
    stop_ps: int
    live_ps: int
    """Its length less gaps."""
    pairs: I64
    """int64[n, m], all pairs of clicks within the window."""
    displaced: I64
    """int64[n, m], all pairs in the displaced windows, summed."""
    alice_clicks: I64
    """int64[n], clicks per detector after dead times."""
    bob_clicks: I64
    sifted: tuple[SiftedEpoch, SiftedEpoch]
    multi_clicks: tuple[MultiClicks, MultiClicks]
    clock: ClockModel
    """Bob's clock as a line from the start."""
    tracking: TrackingReport | None
    """None where nothing was tracked."""
    stepped: bool
    """True where bob's clock jumped before or in this epoch."""
    differences: TimeDifferences
    """Of a sample of its pairs, in a range that shows the floor beside the peak."""


def measure(
    aligned: AlignedEpoch,
    receivers: tuple[Receiver, Receiver],
    window_ps: int,
    multi_click: MultiClick,
    seed: int,
    displacements_ps: tuple[int, ...],
    over: Mapper,
    *,
    difference_pairs: int = DIFFERENCE_PAIRS,
) -> EpochResult:
    """Count and sift the coincidences of one epoch.

    All pairs are counted for the estimate, in the window and in the displaced ones: their accidentals follow from the
    rates alone. Bits come from one-to-one coincidences, after clicks at once have been resolved on each side.
    """
    alice, bob = aligned.alice, aligned.bob
    shape = len(receivers[0]), len(receivers[1])
    left_out_alice, many_alice = list_multi_clicks(alice, window_ps, multi_click, choice_key(seed))
    left_out_bob, many_bob = list_multi_clicks(bob, window_ps, multi_click, choice_key(seed + 1))
    left_out = left_out_alice, left_out_bob
    pairs, matched = count_and_match(alice, bob, window_ps, shape, left_out=left_out, over=over)
    return EpochResult(
        start_ps=alice.start_ps,
        stop_ps=alice.stop_ps,
        live_ps=aligned.live_ps,
        pairs=pairs,
        displaced=displaced_pairs(alice, bob, window_ps, shape, displacements_ps, over=over),
        alice_clicks=_counts(alice, shape[0]),
        bob_clicks=_counts(bob, shape[1]),
        sifted=sift(matched, alice, bob, *receivers),
        multi_clicks=(many_alice, many_bob),
        clock=aligned.clock,
        tracking=aligned.tracking,
        stepped=aligned.stepped,
        differences=time_differences(alice, bob, DIFFERENCE_WINDOWS * window_ps, difference_pairs),
    )


def _counts(epoch: DetectionEpoch, detectors: int) -> I64:
    counts = np.zeros(CHANNELS, np.int64)
    count_channels(epoch.detector, counts)
    return counts[:detectors]
