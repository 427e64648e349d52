"""Clock tracking: each epoch's coincidences correct the clock that the next epoch's are found with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.tracking import INNOVATION, INNOVATION_VARIANCE, LAST, PAIRS, PHASE, SPAN, SQUARES
from qnoded.stages.significance import significance
from qnoded.stages.synchronization.clock_map import ClockMap
from qnoded.stages.synchronization.clock_state import ClockState, start
from qnoded.stages.synchronization.lock import WIDEST_PS, LockLoss, TrackingReport, judge
from qnoded.stages.synchronization.noise import weigh
from qnoded.stages.synchronization.servo import Followed, follow
from qnoded.units import EPOCH_PS, PS_PER_S

if TYPE_CHECKING:
    from qnoded.records import F64, I64

__all__ = ["ClockMap", "ClockState", "LockLoss", "Tracked", "TrackingReport", "bob_span", "start", "track"]

LONGEST_EPOCH_PS: Final = 10 * PS_PER_S
"""Longer stretches are no epochs: the window would have to hold what a quartz wanders in the meantime."""
PEAK_WINDOW: Final = 8.0
"""Half width of the listing in peak sigmas at least: what lies beyond 5 measures the accidentals."""
UNCERTAINTY_WINDOW: Final = 6.0
"""Half width of the listing in sigmas of the prediction at the end of the epoch at least."""
CORE: Final = 2.0
"""Half width in peak sigmas within which coincidences are counted against accidentals."""
CORE_SHARE: Final = math.erf(CORE / math.sqrt(2.0))
"""Share of the pairs that falls there."""
SIDE: Final = 5.0
"""Distance in peak sigmas beyond which a coincidence is accidental."""
LEARNING: Final = 0.2
"""Share of a new epoch in the remembered rates: some five epochs."""
WIDTH_PAIRS: Final = 500.0
"""Pairs of an epoch at which its own peak width counts as much as the remembered one: it is good to 3 %."""
PEAK_SIGMA_BOUNDS_PS: Final = (1.0, 10_000.0)
"""Widths of a coincidence peak that exist, ps."""
KNOTS_APART_S: Final = 3e-4
"""Knots of the map are at least this far apart: a slope needs a base, and no step may become a cliff."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """What one epoch gave: the state for the next, the map for this one, and the report."""

    state: ClockState
    """Causal state at the end of the epoch."""
    clock_map: ClockMap
    """Bob's tags of this epoch to link time, smoothed with what all of the epoch says."""
    report: TrackingReport


def bob_span(state: ClockState, start_ps: int, stop_ps: int, margin_ps: int = 0) -> tuple[int, int]:
    """Return the stretch of bob's clock that belongs to a stretch of alice's.

    Parameters
    ----------
    state : state from the previous epoch
    start_ps, stop_ps : ps of alice's clock
    margin_ps : ps, added on both ends to six sigmas of the prediction and eight of the peak

    Returns
    -------
    tuple[int, int]
        First moment of bob's clock that belongs to it and first that no longer does, ps.
    """
    first, last = state.moved_to(start_ps), state.moved_to(stop_ps)
    return (
        start_ps + first.offset_ps - _wanted_half_ps(first) - margin_ps,
        stop_ps + last.offset_ps + 1 + _wanted_half_ps(last) + margin_ps,
    )


def _wanted_half_ps(state: ClockState) -> int:
    """Return the half width in which the peak must lie, ps."""
    peak, phase = state.peak_sigma_ps, math.sqrt(state.phase_variance_ps2)
    return math.ceil(max(PEAK_WINDOW * peak, UNCERTAINTY_WINDOW * math.hypot(peak, phase)))


def track(alice_ps: I64, bob_ps: I64, state: ClockState, start_ps: int, stop_ps: int | None = None) -> Tracked:
    """Follow bob's clock through one epoch.

    Parameters
    ----------
    alice_ps
        int64[n], ps of alice's clock, ascending; all detectors merged, delays removed. Clicks outside the
        epoch are left out.
    bob_ps
        int64[m], ps of bob's clock, ascending; ``bob_span`` tells which stretch is needed, more does no harm.
    state
        From the previous epoch, or from ``start`` after an acquisition.
    start_ps, stop_ps
        The epoch, ps of alice's clock; 2**39 ps long by default. Epochs may be skipped: the state runs free.

    Returns
    -------
    Tracked
        State at ``stop_ps``, clock map of the epoch, report.

    Raises
    ------
    UsageError
        If the epoch is empty, longer than 10 s, or begins before the state.

    Notes
    -----
    Two-state Kalman filter with white and random-walk FM (C. Zucca and P. Tavella, IEEE Trans. Ultrason.
    Ferroelectr. Freq. Control 52, 289 (2005)), Rauch-Tung-Striebel smoother within the epoch.
    """
    stop_ps = start_ps + EPOCH_PS if stop_ps is None else stop_ps
    if not 0 < stop_ps - start_ps <= LONGEST_EPOCH_PS:
        problem = f"an epoch of {stop_ps - start_ps} ps cannot be tracked; give more than 0 and at most 10 s"
        raise UsageError(problem)
    if state.last_seen_ps is not None and start_ps < state.reference_ps - EPOCH_PS:
        problem = f"an epoch from {start_ps} ps lies before the state's {state.reference_ps} ps; go forward in time"
        raise UsageError(problem)
    epoch_s = (stop_ps - start_ps) / PS_PER_S
    before = state.moved_to(start_ps)
    wanted_half_ps = _wanted_half_ps(before.moved_to(stop_ps))
    half_ps = min(wanted_half_ps, WIDEST_PS)
    alice_ps = alice_ps[slice(*np.searchsorted(alice_ps, (start_ps, stop_ps)))]
    bob_ps = bob_ps[slice(*np.searchsorted(bob_ps, bob_span(before, start_ps, stop_ps)))]
    last_seen_ps = state.reference_ps if state.last_seen_ps is None else state.last_seen_ps

    followed = follow(alice_ps, bob_ps, before, stop_ps, half_ps, last_seen_ps)

    counts = (alice_ps.size, bob_ps.size)
    pairs, accidentals = _count(followed, bob_ps.size / (stop_ps - start_ps), half_ps)
    looked_s = epoch_s * followed.scanned / max(alice_ps.size, 1)
    rate_hz = max(pairs - accidentals, 0.0) / CORE_SHARE / looked_s if looked_s > 0.0 else 0.0
    reason, peakless, locked = judge(state, counts, epoch_s, pairs, accidentals, rate_hz, wanted_half_ps)
    changes: dict[str, object] = {"peakless_epochs": peakless}
    if reason is None:
        changes |= _learnt(before, followed, rate_hz, counts, epoch_s)
    if followed.used.size:
        changes["last_seen_ps"] = start_ps + round(followed.used[-1, LAST] * PS_PER_S)
    after = before.replaced(stop_ps, followed.final, **changes)
    innovation = followed.slots[:, INNOVATION]
    report = TrackingReport(
        locked=locked,
        reason=reason,
        pairs=pairs,
        accidentals=accidentals,
        ratio=pairs / max(accidentals, 1.0),
        significance=significance(pairs, accidentals),
        pair_rate_hz=rate_hz,
        slots=followed.slots.shape[0],
        refused=followed.slots.shape[0] - followed.used.shape[0],
        innovation_rms_ps=_rms(innovation),
        innovation_chi2=_rms(innovation / np.sqrt(followed.slots[:, INNOVATION_VARIANCE])) ** 2,
        residual_rms_ps=_rms(followed.used[:, PHASE] - followed.smoothed[2:-2, 0]),
        phase_sigma_ps=_phase_sigma_ps(followed, before.densities()[0]),
        frequency_sigma=math.sqrt(after.frequency_variance),
        peak_sigma_ps=after.peak_sigma_ps,
        window_ps=2 * half_ps,
        white_fm=after.white_fm,
        random_walk_fm=after.random_walk_fm,
    )
    return Tracked(after, _clock_map(before, followed), report)


def _rms(values: F64) -> float:
    return math.sqrt(float(np.mean(values**2))) if values.size else math.nan


def _count(followed: Followed, bob_per_ps: float, half_ps: int) -> tuple[int, float]:
    """Return the coincidences in the core of the peak and how many of them are accidental."""
    phase_ps = np.interp(followed.time_s, followed.knots_s, followed.smoothed[:, 0])
    away_ps = np.abs(followed.residual_ps - phase_ps)
    core_ps = CORE * followed.apparent_ps
    pairs = int(np.count_nonzero(away_ps <= core_ps))
    accidentals = followed.scanned * bob_per_ps * 2.0 * core_ps
    beside_ps = half_ps - SIDE * followed.apparent_ps
    if beside_ps > 0.0:
        outside = int(np.count_nonzero(away_ps > SIDE * followed.apparent_ps))
        accidentals = max(accidentals, outside * core_ps / beside_ps)
    return pairs, accidentals


def _learnt(
    before: ClockState, followed: Followed, rate_hz: float, counts: tuple[int, int], epoch_s: float
) -> dict[str, object]:
    """Return what a good epoch teaches: noise of the clock, rates, width of the peak."""
    white_fm, walk_fm, evidence = weigh(before, followed.slots, before.vector())
    share = LEARNING if any(before.singles_hz) else 1.0
    singles_hz = (old + share * (count / epoch_s - old) for old, count in zip(before.singles_hz, counts, strict=True))
    return {
        "white_fm": white_fm,
        "random_walk_fm": walk_fm,
        "evidence": evidence,
        "pair_rate_hz": before.pair_rate_hz + share * (rate_hz - before.pair_rate_hz),
        "singles_hz": tuple(singles_hz),
        "peak_sigma_ps": _peak_sigma_ps(before, followed.used, before.densities()[0]),
    }


def _clock_map(before: ClockState, followed: Followed) -> ClockMap:
    """Return the map through the smoothed phases, relative to the line of ``before``."""
    knots_s, smoothed = followed.knots_s, followed.smoothed
    kept = [0, 1]
    for number in range(2, knots_s.size - 2):
        if min(knots_s[number] - knots_s[kept[-1]], knots_s[-2] - knots_s[number]) > KNOTS_APART_S:
            kept.append(number)
    kept += [knots_s.size - 2, knots_s.size - 1]
    start_ps = before.reference_ps
    knots_ps = start_ps + np.rint(knots_s[kept] * PS_PER_S).astype(np.int64)
    # As ``ClockState.line_at``, for all knots at once.
    run_ps = before.fraction_ps + before.frequency_error * (knots_ps - before.reference_ps) + smoothed[kept, 0]
    whole_ps = np.floor(run_ps)
    return ClockMap(
        knots_ps,
        before.offset_ps + whole_ps.astype(np.int64),
        run_ps - whole_ps,
        np.sqrt(smoothed[kept, 2]),
        before.replaced(start_ps, smoothed[1]).clock,
    )


def _phase_sigma_ps(followed: Followed, white: float) -> float:
    """Return the standard deviation of the map, root mean square over the epoch, ps."""
    step_s = np.diff(followed.knots_s[1:-1])
    variance = followed.smoothed[1:-1, 2]
    # Between two knots white FM strays from the straight line by a sixth of its variance over the step.
    strayed = 0.5 * (variance[1:] + variance[:-1]) + white * step_s / 6.0
    # Without a knot to come back to it is not a bridge but already in the variance of the end.
    strayed[-1] = 0.5 * (variance[-1] + variance[-2])
    return math.sqrt(float(np.average(strayed, weights=step_s)))


def _peak_sigma_ps(state: ClockState, used: F64, white: float) -> float:
    """Return the width of the peak, updated with the spread of the pairs within their slots."""
    pairs = float(used[:, PAIRS].sum())
    if pairs <= used.shape[0]:
        return state.peak_sigma_ps
    within = float(used[:, SQUARES].sum()) / (pairs - used.shape[0])
    wander = float(np.average(white * used[:, SPAN] / 6.0, weights=used[:, PAIRS]))
    variance = max(within - wander, 0.25 * within)
    share = pairs / (pairs + WIDTH_PAIRS)
    mixed = (1.0 - share) * state.peak_sigma_ps**2 + share * variance
    return min(max(math.sqrt(mixed), PEAK_SIGMA_BOUNDS_PS[0]), PEAK_SIGMA_BOUNDS_PS[1])
