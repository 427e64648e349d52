"""What an acquisition returns: the clock with its numbers, or the reason why there is none and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from qnoded.records import ClockModel
from qnoded.stages.synchronization.feasibility import Feasibility, Rung, SearchRange, Stretch
from qnoded.stages.synchronization.refinement import Refined
from qnoded.stages.synchronization.search import Candidate
from qnoded.units import PS_PER_MS, PS_PER_S


class AcquisitionFailure(Enum):
    """Why no clock was found."""

    NO_TAGS = "no tags on one side"
    TOO_FEW_TAGS = "too few tags"
    BURSTS = "the tags stand in bursts that no light makes"
    NO_OVERLAP = "the two sides do not overlap in time at any offset of the range"
    NOT_ENOUGH_DATA = "not enough data for this pair fraction"
    TOO_MUCH_WORK = "the effort limit forbids the search"
    NO_PEAK = "no correlation peak"
    EDGE_OF_RANGE = "the highest peak lies at the edge of the range"
    NOT_CONFIRMED = "a peak was found, but its pairs lie on no line"


ADVICE: Final = {
    AcquisitionFailure.NO_TAGS: "check the tagger, its trigger levels and the channel map",
    AcquisitionFailure.TOO_FEW_TAGS: "record longer or check detectors and light",
    AcquisitionFailure.BURSTS: "check tick and format of the recordings, then cables and trigger levels for ringing",
    AcquisitionFailure.NO_OVERLAP: "record at the same time, or give the difference of the two clocks as centre",
    AcquisitionFailure.NOT_ENOUGH_DATA: "record longer or raise the heralding efficiency",
    AcquisitionFailure.TOO_MUCH_WORK: "narrow the ranges of offset and frequency, record longer, or raise the effort",
    AcquisitionFailure.NO_PEAK: "check that both sides see the same source, or widen the range of offset and frequency",
    AcquisitionFailure.EDGE_OF_RANGE: "widen the range of offset or frequency",
    AcquisitionFailure.NOT_CONFIRMED: "look for light or pick-up that both sides share, or for a clock that jumps",
}
"""What to do about each, one line."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The clock, or the reason why there is none."""

    locked: bool
    clock: ClockModel | None
    """Bob's clock; its reference lies in the middle of the pairs that were fitted."""
    significance: float
    """Height of the finest peak in standard deviations; of the highest candidate where not locked."""
    coarse_significance: float
    """Height of the peak in the coarse search, to be compared with ``feasibility.predicted_significance``."""
    pair_rate_hz: float
    pairs: float
    """Pairs of the fitted peak."""
    heralding: tuple[float, float]
    """Pairs to singles of alice and of bob."""
    peak_sigma_ps: float
    """Standard deviation of the fitted peak."""
    peak_share: float
    """Part of the pairs in the fitted peak; well below 1 where channel delays are not compensated yet."""
    accidental_rate_hz: float
    """Accidental coincidences per second and nanosecond of window."""
    reason: AcquisitionFailure | None
    sentence: str
    """Numbers and advice for a person."""
    feasibility: Feasibility
    trials: int
    """Frequency errors that were tried, all supposed pair fractions together."""
    points: float
    """Work spent, points of Fourier transforms."""
    bin_ps: float
    """Bins of the last coarse search."""
    data_s: float
    """Length of alice's data that the last coarse search took."""


def locked(
    refined: Refined,
    candidate: Candidate,
    feasibility: Feasibility,
    trials: int,
    points: float,
    rung: Rung,
    stretch: Stretch,
    where: SearchRange,
) -> Acquisition:
    """Return the acquisition of a confirmed clock, with its sentence."""
    rate_a, rate_b = max(feasibility.rate_a_hz, 1e-9), max(feasibility.rate_b_hz, 1e-9)
    heralding = (refined.pair_rate_hz / rate_a, refined.pair_rate_hz / rate_b)
    clock = refined.clock
    sentence = (
        f"locked: bob is {clock.offset_ps / PS_PER_MS:+.6f} ms and {clock.frequency_error * 1e9:+.2f} ppb off; "
        f"{refined.pair_rate_hz:.4g} pairs/s, {heralding[0]:.2%} and {heralding[1]:.2%} of the clicks; peak "
        f"{refined.peak_sigma_ps:.0f} ps wide (sigma), {refined.significance:.0f} sigma high, from "
        f"{stretch.duration_ps / PS_PER_S:.3g} s of data"
    )
    moved_ps = round(where.frequency_range * stretch.duration_ps)
    if (
        abs(clock.offset_ps - where.offset_ps) > where.offset_range_ps + moved_ps
        or abs(clock.frequency_error - where.frequency_error) > where.frequency_range + 5.0 * clock.frequency_sigma
    ):
        sentence += "; this lies outside of the range that was given: widen it for the next time"
    return Acquisition(
        locked=True,
        clock=clock,
        significance=refined.significance,
        coarse_significance=candidate.significance,
        pair_rate_hz=refined.pair_rate_hz,
        pairs=refined.pairs_in_peak,
        heralding=heralding,
        peak_sigma_ps=refined.peak_sigma_ps,
        peak_share=refined.peak_share,
        accidental_rate_hz=refined.accidental_rate_hz,
        reason=None,
        sentence=sentence,
        feasibility=feasibility,
        trials=trials,
        points=points,
        bin_ps=rung.bin_ps,
        data_s=stretch.duration_ps / PS_PER_S,
    )


def failed(
    reason: AcquisitionFailure,
    feasibility: Feasibility,
    numbers: str = "",
    significance: float = 0.0,
    trials: int = 0,
    points: float = 0.0,
    bin_ps: float = 0.0,
    duration_ps: int = 0,
) -> Acquisition:
    """Return the acquisition that found no clock: reason, numbers, what theory says, advice."""
    words = [reason.value, *([numbers] if numbers else []), feasibility.sentence(), ADVICE[reason]]
    return Acquisition(
        locked=False,
        clock=None,
        significance=significance,
        coarse_significance=significance,
        pair_rate_hz=0.0,
        pairs=0.0,
        heralding=(0.0, 0.0),
        peak_sigma_ps=0.0,
        peak_share=0.0,
        accidental_rate_hz=0.0,
        reason=reason,
        sentence="; ".join(words),
        feasibility=feasibility,
        trials=trials,
        points=points,
        bin_ps=bin_ps,
        data_s=duration_ps / PS_PER_S,
    )
