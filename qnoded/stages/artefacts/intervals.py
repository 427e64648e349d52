"""What the intervals between the clicks of one detector tell: double firing, dead time, afterpulsing.

Ordinary light gives intervals that are exponential beyond the dead time. Afterpulses add short ones whose
density falls smoothly over tens of nanoseconds to microseconds; a detector that fires twice adds a narrow
peak with nothing on either side. The shape, not the number of short intervals, tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.kernels.peaks import fullest_window
from qnoded.records import I64

LONGEST_ECHO_PS: Final = 1_000_000
"""Double firing is an electrical reflection or ringing: metres of cable, less than a microsecond."""
ECHO_WIDTHS_PS: Final = (10_000, 5_000, 2_000, 1_000, 500)
"""Widths tried for the peak of a double firing; the timing jitter of a second, lower pulse is below 10 ns."""
LEAST_ECHO_SHARE: Final = 0.02
"""Peaks below 2 % of the clicks are left to afterpulsing: they cannot move a result."""
MOST_ECHO_SHARE: Final = 0.8
"""Where more of the intervals than this are alike, a pulse follows on each pulse: a clock signal, no photons."""
LEAST_ECHO_CONTRAST: Final = 3.0
"""A peak stands this much above its surroundings; an exponential does so only if it dies within a few ns."""
LEAST_ECHO_CLICKS: Final = 20
"""Below this the contrast of 3 is within the noise (5 sigma at 20 against 6)."""
EDGE_BIN_PS: Final = 250
"""Bins in which the edges of the peak are sought; at least two ticks of the tagger, or they would be a comb."""
EDGE_LEVEL: Final = 0.01
"""A bin belongs to the peak while it holds more than 1 % of the highest bin."""
STRAGGLING_SHARE: Final = 0.03
"""Share of the peak that may follow beyond its edge before the next interval counts as an ordinary one."""

DEAD_TIME_LEAK: Final = 0.05
"""Intervals inside the dead time are at most this share of those that a detector without any would show."""
AFTERPULSE_WINDOW_PS: Final = 5_000_000
"""Afterpulses are counted up to 5 us after a click, or up to half the mean interval where that is shorter."""
LEAST_INTERVALS: Final = 100
"""Fewer intervals give no statement about a detector."""


@dataclass(frozen=True, slots=True)
class DoubleFiring:
    """A narrow peak of intervals after the click itself."""

    clicks: int
    """Clicks that belong to the peak."""
    share: float
    """``clicks`` of all clicks of the detector, 0 to 1."""
    low_ps: int
    """Shortest interval of the peak."""
    high_ps: int
    """Longest interval of the peak."""
    dead_time_ps: int
    """A dead-time filter of this length removes the peak and spares ordinary clicks."""
    other_clicks: int
    """Clicks that the filter would remove beside the peak."""


@dataclass(frozen=True, slots=True)
class DeadTime:
    """The shortest stretch after a click in which the detector does not fire."""

    dead_time_ps: int
    expected_clicks: float
    """Intervals below ``dead_time_ps`` that random light of this rate would have shown without any dead
    time."""


@dataclass(frozen=True, slots=True)
class Afterpulsing:
    """Excess of short intervals over random light."""

    probability: float
    """Probability that a click is followed by an afterpulse within ``window_ps``."""
    sigma: float
    """Standard deviation of ``probability`` from counting."""
    window_ps: int


def find_double_firing(interval_ps: I64) -> DoubleFiring | None:
    """Find a narrow peak among the intervals of one detector.

    Parameters
    ----------
    interval_ps : int64[n], ps
        Time from each click to the next of the same detector; any order.

    Returns
    -------
    DoubleFiring or None
        None where no peak of at least 2 % of the clicks stands out three times above all other windows of its width.
    """
    short = np.sort(interval_ps[(interval_ps >= 0) & (interval_ps < LONGEST_ECHO_PS)])
    if short.size < LEAST_ECHO_CLICKS:
        return None
    least = max(float(LEAST_ECHO_CLICKS), LEAST_ECHO_SHARE * interval_ps.size)
    step = np.diff(short)
    step = step[step > 0]
    bin_ps = max(EDGE_BIN_PS, 2 * int(step.min()) if step.size else 0)
    # The widest first: it shows best how quiet the surroundings are.
    for width in ECHO_WIDTHS_PS:
        if width < 2 * bin_ps:
            break
        first, count = fullest_window(short, width)
        low = int(short[first])
        if count > MOST_ECHO_SHARE * interval_ps.size:
            return None
        # Light in pulses makes a comb of peaks: the echo is the only one, so all other windows must be low.
        aside = max(_count(short, low - width, low), fullest_window(short[first + count :], width)[1])
        if count - aside >= least and count >= LEAST_ECHO_CONTRAST * (aside + 1):
            return _outlined(short, low, width, bin_ps, interval_ps.size)
    return None


def _count(ascending: I64, low: int, high: int) -> int:
    first, beyond = np.searchsorted(ascending, [low, high])
    return int(beyond - first)


def _outlined(short: I64, low: int, width: int, bin_ps: int, intervals: int) -> DoubleFiring:
    """Find the edges of a peak in its window, and the quiet place behind it where a dead time may end."""
    window = short[(short >= low) & (short < low + width)]
    height = np.bincount((window - low) // bin_ps)
    belongs = height > EDGE_LEVEL * height.max()
    first = last = int(np.argmax(height))
    # One empty bin may lie inside a peak of few clicks, two do not.
    while belongs[max(first - 2, 0) : first].any():
        first -= 1
    while belongs[last + 1 : last + 3].any():
        last += 1
    peak = window[((window - low) // bin_ps >= first) & ((window - low) // bin_ps <= last)]
    start, stop = int(peak[0]), int(peak[-1])
    later = short[short > stop]
    stragglers = int(STRAGGLING_SHARE * peak.size)
    following = int(later[stragglers]) if later.size > stragglers else LONGEST_ECHO_PS
    # Halfway to the ordinary intervals, but not more than a third of the lag beyond the peak: what is empty
    # in a short sample fills up in a long one.
    dead_time = min((stop + following) // 2, stop + stop // 3) + 1
    return DoubleFiring(
        clicks=int(peak.size),
        share=peak.size / (intervals + 1),
        low_ps=start,
        high_ps=stop,
        dead_time_ps=dead_time,
        other_clicks=_count(short, 0, dead_time) - int(peak.size),
    )


def without_closer_than(tag_ps: I64, dead_time_ps: int) -> I64:
    """Return the clicks of one detector that are not closer than a dead time to the one before, kept or not.

    Parameters
    ----------
    tag_ps : int64[n], ps, ascending
    dead_time_ps : int, ps

    Returns
    -------
    int64[m], ps
    """
    keep = np.ones(tag_ps.size, np.bool_)
    keep[1:] = np.diff(tag_ps) >= dead_time_ps
    return tag_ps[keep]


def estimate_dead_time(interval_ps: I64) -> DeadTime | None:
    """Estimate the dead time of a detector from its intervals.

    Random light of mean interval T gives ``n (1 - exp(-g/T))`` intervals shorter than g. The dead time is the
    longest g below which at most 5 % of them are present: a stray short interval does not hide it.

    Parameters
    ----------
    interval_ps : int64[n], ps
        Time from each click to the next of the same detector, double firings removed.

    Returns
    -------
    DeadTime or None
        None for fewer than 100 intervals.
    """
    if interval_ps.size < LEAST_INTERVALS:
        return None
    ascending = np.sort(interval_ps)
    mean = max(float(ascending.mean()), 1.0)
    expected = -ascending.size * np.expm1(-ascending / mean)
    quiet = np.flatnonzero(np.arange(ascending.size) <= DEAD_TIME_LEAK * expected)
    last = int(quiet[-1]) if quiet.size else 0
    return DeadTime(int(ascending[last]), float(expected[last]))


def estimate_afterpulsing(interval_ps: I64, dead_time_ps: int) -> Afterpulsing | None:
    """Estimate the probability of an afterpulse from the share of intervals that are too short.

    Intervals longer than all afterpulses are exponential; their mean gives the rate r of everything else, and
    random light alone would leave ``exp(-r (w - d))`` of the intervals longer than the window w beyond the
    dead time d. What is missing there are the clicks that an afterpulse cut short.

    Parameters
    ----------
    interval_ps : int64[n], ps
        Time from each click to the next of the same detector, double firings removed.
    dead_time_ps : int, ps

    Returns
    -------
    Afterpulsing or None
        None for fewer than 100 intervals beyond the window.
    """
    if interval_ps.size < LEAST_INTERVALS:
        return None
    window = min(AFTERPULSE_WINDOW_PS, dead_time_ps + int(np.median(interval_ps)) // 2)
    beyond = interval_ps[interval_ps >= window]
    if beyond.size < LEAST_INTERVALS or window <= dead_time_ps:
        return None
    rate = 1.0 / max(float(np.mean(beyond - window)), 1.0)
    alone = float(np.exp(-rate * (window - dead_time_ps)))
    share = beyond.size / interval_ps.size
    probability = 1.0 - share / alone
    of_share = (1.0 - share) / (share * interval_ps.size)
    of_rate = (rate * (window - dead_time_ps)) ** 2 / beyond.size
    return Afterpulsing(probability, share / alone * float(np.sqrt(of_share + of_rate)), window)
