"""Faults that the clicks of one side show alone: double firing, long dead time, afterpulsing, no clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.records import I64, U8, Receiver
from qnoded.stages.artefacts.finding import Artefact, artefact
from qnoded.stages.artefacts.intervals import (
    Afterpulsing,
    DeadTime,
    DoubleFiring,
    estimate_afterpulsing,
    estimate_dead_time,
    find_double_firing,
    without_closer_than,
)
from qnoded.units import PS_PER_NS

LONG_DEAD_TIME: Final = 1.5
"""A dead time 1.5 times the siblings' is no tolerance of one maker's detectors any more."""
MISSED_CLICKS: Final = 15.0
"""Intervals that must be missing between the siblings' dead time and this one: none of 15 has 3e-7."""
MUCH_AFTERPULSING: Final = 0.10
"""Detectors in order stay below 10 % afterpulses per click; what counts is the excess over the siblings."""
AFTERPULSING_SIGMAS: Final = 5.0
DEAD_SHARE: Final = 0.01
"""A detector with less than 1 % of its siblings' clicks measures nothing: dark counts are often more."""
SIBLING_CLICKS: Final = 1000
"""Siblings must show this many clicks before the absence of clicks says something."""


@dataclass(frozen=True, slots=True)
class ClickStatistics:
    """What the clicks of one detector show, faulty or not."""

    clicks: int
    double_firing: DoubleFiring | None
    dead_time: DeadTime | None
    """Of the clicks without double firings; None for fewer than 100 clicks."""
    afterpulsing: Afterpulsing | None
    """Of the clicks without double firings; None where they are too few."""


def click_statistics(tag_ps: I64) -> ClickStatistics:
    """Return double firing, dead time and afterpulsing of one detector.

    Parameters
    ----------
    tag_ps : int64[n], ps, ascending; some 1e5 clicks are plenty

    Returns
    -------
    ClickStatistics
    """
    double_firing = find_double_firing(np.diff(tag_ps))
    if double_firing is not None:
        tag_ps = without_closer_than(tag_ps, double_firing.dead_time_ps)
    interval_ps = np.diff(tag_ps)
    dead_time = estimate_dead_time(interval_ps)
    shortest = dead_time.dead_time_ps if dead_time else 0
    return ClickStatistics(
        int(tag_ps.size) + (double_firing.clicks + double_firing.other_clicks if double_firing else 0),
        double_firing,
        dead_time,
        estimate_afterpulsing(interval_ps, shortest),
    )


def click_artefacts(receiver: Receiver, detector: U8, tag_ps: I64) -> tuple[Artefact, ...]:
    """Find the faults that the clicks of one side show by themselves.

    Parameters
    ----------
    receiver : Receiver
    detector : uint8[n], index into ``receiver.detectors``
    tag_ps : int64[n], ps, ascending

    Returns
    -------
    tuple of Artefact
        In the order of the detectors; empty where nothing stands out or the clicks are too few.
    """
    shown = [click_statistics(tag_ps[detector == k]) for k in range(len(receiver))]
    found: list[Artefact] = []
    for k, own in enumerate(shown):
        siblings = shown[:k] + shown[k + 1 :]
        finding = _dead(receiver, k, own, siblings)
        if finding:
            found.append(finding)
            continue
        if own.double_firing:
            found.append(_double_firing(receiver, k, own.double_firing))
        else:
            # A second pulse starts the dead time anew, so a long one is then no fault of its own.
            finding = _long_dead_time(receiver, k, own, siblings)
            found.extend([finding] if finding else [])
        finding = _afterpulsing(receiver, k, own.afterpulsing, siblings)
        found.extend([finding] if finding else [])
    return tuple(found)


def _dead(receiver: Receiver, k: int, own: ClickStatistics, siblings: Sequence[ClickStatistics]) -> Artefact | None:
    usual = float(np.median([sibling.clicks for sibling in siblings])) if siblings else 0.0
    if usual < SIBLING_CLICKS or own.clicks > DEAD_SHARE * usual:
        return None
    return artefact(
        receiver,
        k,
        "dead",
        {"clicks": own.clicks, "sibling_clicks": usual},
        f"is dead: {own.clicks} clicks where its siblings have {usual:.0f}; "
        "check its bias, its cable and the channel number",
    )


def _double_firing(receiver: Receiver, k: int, seen: DoubleFiring) -> Artefact:
    return artefact(
        receiver,
        k,
        "double-firing",
        {
            "clicks": seen.clicks,
            "share": seen.share,
            "low_ps": seen.low_ps,
            "high_ps": seen.high_ps,
            "dead_time_ps": seen.dead_time_ps,
            "other_clicks": seen.other_clicks,
        },
        f"fires twice: {seen.clicks} clicks ({100 * seen.share:.1f} %) come {seen.low_ps / PS_PER_NS:.1f} to "
        f"{seen.high_ps / PS_PER_NS:.1f} ns after another; set dead_time_ps = {seen.dead_time_ps} for it",
    )


def _long_dead_time(
    receiver: Receiver, k: int, own: ClickStatistics, siblings: Sequence[ClickStatistics]
) -> Artefact | None:
    usual = [s.dead_time.dead_time_ps for s in siblings if s.dead_time and not s.double_firing]
    if not usual or own.dead_time is None:
        return None
    sibling_ps, dead_time_ps = float(np.median(usual)), own.dead_time.dead_time_ps
    missed = own.dead_time.expected_clicks * (1.0 - sibling_ps / dead_time_ps) if dead_time_ps else 0.0
    if dead_time_ps < LONG_DEAD_TIME * sibling_ps or missed < MISSED_CLICKS:
        return None
    return artefact(
        receiver,
        k,
        "long-dead-time",
        {"dead_time_ps": dead_time_ps, "sibling_dead_time_ps": sibling_ps, "missed_clicks": missed},
        f"has a dead time of {dead_time_ps / PS_PER_NS:.1f} ns where its siblings have "
        f"{sibling_ps / PS_PER_NS:.1f} ns; "
        "it saturates earlier: check its hold-off setting",
    )


def _afterpulsing(
    receiver: Receiver, k: int, seen: Afterpulsing | None, siblings: Sequence[ClickStatistics]
) -> Artefact | None:
    usual = [sibling.afterpulsing.probability for sibling in siblings if sibling.afterpulsing]
    if seen is None or not usual:
        return None
    # Light that fluctuates bunches the clicks of all detectors alike: only the excess is the detector's own.
    excess = seen.probability - max(float(np.median(usual)), 0.0)
    if excess < max(MUCH_AFTERPULSING, AFTERPULSING_SIGMAS * seen.sigma):
        return None
    return artefact(
        receiver,
        k,
        "afterpulsing",
        {
            "probability": seen.probability,
            "sigma": seen.sigma,
            "excess": excess,
            "window_ps": seen.window_ps,
        },
        f"shows {100 * seen.probability:.1f} +- {100 * seen.sigma:.1f} % afterpulses within "
        f"{seen.window_ps / PS_PER_NS:.0f} ns; lengthen its hold-off or lower its bias",
    )
