"""What a search for the clock can find: predicted significance, data and work, before anything is searched.

Two streams with ``R_a`` and ``R_b`` clicks per second share ``R_c`` pairs per second. In a correlation over ``T``
seconds with bins ``tau`` the pairs fill one bin with ``R_c T`` counts on a background of ``R_a R_b T tau``, so the
peak stands ``S = h sqrt(T / tau)`` standard deviations high, with ``h = R_c / sqrt(R_a R_b)`` the pair fraction: rates
do not matter, only their ratio does (significance as in Ho, Lamas-Linares, Kurtsiefer, New J. Phys. 11, 045011, 2009).
A frequency error dy smears the peak over ``T dy``. So with ``q = T / tau = (S / h)^2`` the frequency step is ``1 / q``,
there are ``2 y q`` trials over +-y, each with as many bins as the offset range has ``tau``: the work grows as ``q^2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.records import I64
from qnoded.units import PS_PER_MS, PS_PER_NS, PS_PER_S

DESIGN_SIGNIFICANCE: Final = 10.0
"""Ideal height of the peak that a search is laid out for; after `PEAK_LOSS` it clears the noise of 1e9 cells."""
PEAK_LOSS: Final = 0.76
"""Part of the ideal height that remains on average: the peak shares itself between two bins (0.79 with sums of two) and
frequency steps and stepwise shifts smear it by up to half a bin each."""
SHORTEST_BIN_PS: Final = 100 * PS_PER_NS
"""Bins of the search are never shorter: delays of channels that are not known yet spread the pairs over +-25 ns."""
FEWEST_PAIRS: Final = 40
"""Fewer pairs in all the data are not looked for: counts per bin are then too low for a Gaussian background."""
ENOUGH_PAIRS: Final = 1000
"""The search takes at least as much data as holds this many pairs, where there is so much."""
AMPLE_PAIRS: Final = 20_000
"""And no more than holds this many, unless theory asks for it: lists of pairs near the peak grow as their square."""
CHEAP_POINTS: Final = 2.0**25
"""Points of Fourier transforms that cost next to nothing (some 0.1 s): below, less data is preferred to less work."""
STRONGEST_FRACTION: Final = 0.25
"""The search starts here when nothing is known: whatever shares more is found at once all the same."""
HINTED_RATIO: Final = 2.0**0.25
"""The same where the pair fraction is known roughly: each costs twice the one before."""
STEP_BINS: Final = 1.5
"""Step of the frequency error: from one trial to the next the delay moves by so many bins over the whole stretch."""
LADDER_RATIO: Final = math.sqrt(2.0)
"""From one supposed pair fraction to the next lower one: each costs four times the one before."""
DEFAULT_EFFORT_POINTS: Final = 3.0e9
"""Default limit of the work in points of Fourier transforms; some 6 ns each on one core, all else included."""
LAG_POINTS: Final = 2.2
"""Points of transforms per trial and lag: an inverse one of two, and a share in those of bob's stream."""
BIN_POINTS: Final = 0.4
"""Points of transforms per trial and bin of the stretch: a share in those of both streams."""
CELL_PS: Final = 5 * PS_PER_MS
"""Grid on which the best stretch of the data is looked for."""


@dataclass(frozen=True, slots=True)
class SearchRange:
    """Where the clock of bob may stand and how fast it may run against alice's."""

    offset_ps: int = 0
    """Centre of the search, bob's reading minus alice's."""
    offset_range_ps: int = PS_PER_S // 2
    """Search this far to either side of it."""
    frequency_error: float = 0.0
    """Centre of the search, bob's clock rate over alice's minus 1."""
    frequency_range: float = 20e-6
    """Search this far to either side of it."""

    def __post_init__(self) -> None:
        if self.offset_range_ps <= 0 or self.frequency_range < 0.0 or abs(self.frequency_error) > 0.1:
            problem = (
                f"search range of +-{self.offset_range_ps} ps and {self.frequency_error:g} +- {self.frequency_range:g} "
                "makes no sense; give a positive offset range and a frequency range of at least 0"
            )
            raise UsageError(problem)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of the data that a search correlates."""

    start_ps: int
    """First moment of alice's clock."""
    duration_ps: int
    """Length; bob's tags are taken from the whole range that the offsets reach."""

    @property
    def middle_ps(self) -> int:
        """Moment of alice's clock at which the offsets of the search hold."""
        return self.start_ps + self.duration_ps // 2


@dataclass(frozen=True, slots=True)
class Rung:
    """One supposed pair fraction with the stretch, the bins and the trials that it takes to find it."""

    pair_fraction: float
    duration_ps: int
    bin_ps: float
    trials: int
    points: float
    """Points of Fourier transforms, an estimate."""


@dataclass(frozen=True, slots=True)
class Feasibility:
    """What theory says about finding the clock in this data."""

    rate_a_hz: float
    rate_b_hz: float
    overlap_s: float
    """Longest time that both streams can have in common at any offset of the range."""
    pair_fraction: float
    """The pair fraction that the other numbers are for: the hint, or the smallest that can be found."""
    smallest_pair_fraction: float
    """Smallest pairs:singles (geometric mean of both sides) that data and effort can find; inf if none."""
    limited_by: str
    """``"data"`` or ``"effort"``: what sets the smallest pair fraction."""
    seconds_needed: float
    """Data needed for ``pair_fraction``."""
    predicted_significance: float
    """Expected height of the peak for ``pair_fraction`` in standard deviations."""
    points: float
    """Work of the whole search down to ``pair_fraction``, points of Fourier transforms."""
    feasible: bool
    """True if ``pair_fraction`` is not below the smallest one."""

    def sentence(self) -> str:
        """Return the one line that an operator reads before the search starts."""
        rates = f"{self.rate_a_hz / 1e3:.4g} and {self.rate_b_hz / 1e3:.4g} kcps"
        if not math.isfinite(self.smallest_pair_fraction):
            return f"no pair fraction can be found in {self.overlap_s:.3g} s at these rates ({rates})"
        if self.feasible and self.pair_fraction == self.smallest_pair_fraction:
            return (
                f"needs {self.seconds_needed:.2g} s of data at these rates ({rates}) for {self.pair_fraction:.2%} "
                f"pairs, the smallest share that the {self.overlap_s:.3g} s here allow; the peak should then stand "
                f"{self.predicted_significance:.1f} sigma high"
            )
        if self.feasible:
            return (
                f"needs {self.seconds_needed:.2g} s of data at these rates ({rates}, {self.pair_fraction:.2%} pairs); "
                f"the peak should stand {self.predicted_significance:.1f} sigma high; "
                f"{self.overlap_s:.3g} s are there, enough for {self.smallest_pair_fraction:.2%}"
            )
        return (
            f"needs {self.seconds_needed:.2g} s of data at these rates ({rates}, {self.pair_fraction:.3%} pairs) and "
            f"{self.points:.2g} points of work; with {self.overlap_s:.3g} s the smallest pair fraction that can be "
            f"found is {self.smallest_pair_fraction:.2%}, limited by the {self.limited_by}"
        )


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rates of both sides and the time that they may have in common."""

    rate_a_hz: float
    rate_b_hz: float
    longest_ps: int

    @property
    def pairs_per_fraction_hz(self) -> float:
        """Pairs per second at a pair fraction of 1: the geometric mean of the rates."""
        return math.sqrt(self.rate_a_hz * self.rate_b_hz)


def median_rate_hz(tag_ps: I64) -> float:
    """Return the rate of a stream, clicks per second, that gaps do not lower.

    The median time that 1/64 of the tags take stands for all; bursts and gaps touch few of the 64.
    """
    parts = min(64, tag_ps.size - 1)
    if parts < 1:
        return 0.0
    edges = np.linspace(0, tag_ps.size - 1, parts + 1).astype(np.int64)
    per_tag_ps = np.diff(tag_ps[edges]) / np.diff(edges)
    return PS_PER_S / max(float(np.median(per_tag_ps)), 1.0)


def overlap_of(alice_ps: I64, bob_ps: I64, search: SearchRange) -> Overlap:
    """Return rates and the longest overlap of two streams at any offset of the range.

    Parameters
    ----------
    alice_ps, bob_ps
        int64[n] and int64[m], ps, ascending, at least 2 each.
    search
        Range of offsets.
    """
    span_a = int(alice_ps[-1] - alice_ps[0])
    span_b = int(bob_ps[-1] - bob_ps[0])
    # bob's stream shifted by -offset covers [low, low + span_b]; the best shift brings the middles together
    apart = int(bob_ps[0]) - int(alice_ps[0]) + (span_b - span_a) // 2 - search.offset_ps
    missing = max(abs(apart) - search.offset_range_ps, 0)
    longest = min(span_a, span_b, (span_a + span_b) // 2 - missing)
    return Overlap(median_rate_hz(alice_ps), median_rate_hz(bob_ps), longest)


def work_points(q: float, duration_ps: float, search: SearchRange) -> float:
    """Return the points of Fourier transforms that a search of ``q = T / tau`` over ``T`` takes, an estimate.

    One inverse transform of twice the lags per trial; forward transforms of both streams are shared by some ten.
    """
    trials = max(1.0, 2.0 * search.frequency_range * q / STEP_BINS)
    lags = 2.0 * search.offset_range_ps * q / duration_ps
    return trials * (LAG_POINTS * lags + BIN_POINTS * q) + 2.0 * q


def rung_of(pair_fraction: float, overlap: Overlap, search: SearchRange) -> Rung | None:
    """Lay out the search for one supposed pair fraction, or None if there is too little data for it.

    The stretch is the shortest whose work is cheap, but holds enough pairs to be sure and bins no shorter than the
    unknown delays of the channels.
    """
    q = (DESIGN_SIGNIFICANCE / pair_fraction) ** 2
    pairs_hz = pair_fraction * overlap.pairs_per_fraction_hz
    shortest = max(q * SHORTEST_BIN_PS, ENOUGH_PAIRS / pairs_hz * PS_PER_S)
    longest = max(shortest, AMPLE_PAIRS / pairs_hz * PS_PER_S)
    trials = max(1.0, 2.0 * search.frequency_range * q / STEP_BINS)
    cheap_lags = (CHEAP_POINTS / trials - BIN_POINTS * q) / LAG_POINTS
    cheap = 2.0 * search.offset_range_ps * q / cheap_lags if cheap_lags > 0.0 else longest
    duration = min(max(cheap, shortest), longest, float(overlap.longest_ps))
    if duration < q * SHORTEST_BIN_PS or duration * pairs_hz < FEWEST_PAIRS * PS_PER_S:
        return None
    bin_ps = duration / q
    return Rung(pair_fraction, round(duration), bin_ps, math.ceil(trials), work_points(q, duration, search))


def ladder(
    overlap: Overlap,
    search: SearchRange,
    start: float,
    stop: float,
    effort_points: float,
    ratio: float = LADDER_RATIO,
) -> list[Rung]:
    """Return the rungs from the pair fraction ``start`` down to ``stop`` or to where data or effort end."""
    rungs: list[Rung] = []
    fraction, spent = start, 0.0
    while fraction >= stop * 0.999:
        rung = rung_of(fraction, overlap, search)
        if rung is None or spent + rung.points > effort_points:
            break
        rungs.append(rung)
        spent += rung.points
        fraction /= ratio
    return rungs


def predict_from(
    overlap: Overlap, search: SearchRange, pair_fraction: float | None, effort_points: float
) -> Feasibility:
    """Return the feasibility for known rates; see `acquisition.predict`."""
    start = STRONGEST_FRACTION
    rungs = ladder(overlap, search, start, 1e-6, effort_points)
    smallest = rungs[-1].pair_fraction if rungs else math.inf
    below = smallest / LADDER_RATIO if rungs else start
    limited_by = "data" if rung_of(below, overlap, search) is None else "effort"
    if pair_fraction is not None:
        direct = rung_of(pair_fraction, overlap, search)
        if direct is not None and direct.points <= effort_points:
            smallest = min(smallest, pair_fraction)
    fraction = pair_fraction if pair_fraction is not None else smallest if rungs else start
    q = (DESIGN_SIGNIFICANCE / fraction) ** 2
    rung = rung_of(fraction, overlap, search)
    pairs_hz = fraction * overlap.pairs_per_fraction_hz
    fewest_s = max(q * SHORTEST_BIN_PS / PS_PER_S, FEWEST_PAIRS / max(pairs_hz, 1e-9))
    needed_s = rung.duration_ps / PS_PER_S if rung is not None else fewest_s
    points = rung.points if rung is not None else work_points(q, needed_s * PS_PER_S, search)
    return Feasibility(
        rate_a_hz=overlap.rate_a_hz,
        rate_b_hz=overlap.rate_b_hz,
        overlap_s=max(overlap.longest_ps, 0) / PS_PER_S,
        pair_fraction=fraction,
        smallest_pair_fraction=smallest,
        limited_by=limited_by,
        seconds_needed=needed_s,
        predicted_significance=PEAK_LOSS * DESIGN_SIGNIFICANCE,
        points=points,
        feasible=bool(rungs) and fraction >= smallest * 0.999,
    )


def best_stretch(alice_ps: I64, bob_ps: I64, search: SearchRange, duration_ps: int) -> Stretch:
    """Return the stretch of alice's data with the most tags on both sides, for any offset of the range.

    Parameters
    ----------
    alice_ps, bob_ps
        int64[n] and int64[m], ps, ascending, at least 2 each.
    search
        Range of offsets: bob's data count by their mean over all the shifts that are searched.
    duration_ps
        Length wanted; shorter if alice's data are.
    """
    start = int(alice_ps[0])
    span = int(alice_ps[-1]) - start + 1
    duration = min(duration_ps, span)
    cell = max(min(CELL_PS, duration // 4), span // 2**20, 1)
    cells = span // cell + 1
    edges = start + np.arange(cells + 1, dtype=np.int64) * cell
    tags_a = np.diff(np.searchsorted(alice_ps, edges))
    reach = search.offset_range_ps
    low = np.searchsorted(bob_ps, edges[:-1] + (search.offset_ps - reach))
    high = np.searchsorted(bob_ps, edges[1:] + (search.offset_ps + reach))
    weight = np.concatenate(([0.0], np.cumsum(tags_a * (high - low).astype(np.float64))))
    width = max(duration // cell, 1)
    gain = weight[width:] - weight[: weight.size - width]
    # the first of nearly equal ones: Poisson noise must not drive the stretch to the end of a long recording
    best = int(np.argmax(gain >= 0.98 * gain.max()))
    return Stretch(min(start + best * cell, start + span - duration), duration)
