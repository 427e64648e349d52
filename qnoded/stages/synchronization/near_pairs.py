"""Pairs of tags near a supposed clock: how many there are, how many are accidental, and what that proves."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from qnoded.kernels.correlating import list_near_pairs
from qnoded.records import F64, I64, ClockModel
from qnoded.units import PS_PER_NS

SKEW_PS: Final = 60 * PS_PER_NS
"""Half width that holds all pairs even if channel delays are not known: +-15 ns a side, with a margin for drift."""


def poisson_significance(counts: float, background: float) -> float:
    """Return the significance of an excess, standard deviations, from the likelihood ratio of two Poisson means.

    ``sqrt(2 (n ln(n / b) - n + b))``, the usual large-sample form (Wilks, Ann. Math. Stat. 9, 60, 1938); it equals
    ``(n - b) / sqrt(b)`` for many counts and stays honest for few.

    Parameters
    ----------
    counts, background
        Observed and expected counts; the background is taken as known.
    """
    if counts <= background:
        return 0.0
    expected = max(background, 1e-9)
    return math.sqrt(2.0 * (counts * math.log(counts / expected) - counts + expected))


def overlap_span(alice_ps: I64, bob_ps: I64, clock: ClockModel, start_ps: int, stop_ps: int) -> tuple[int, int]:
    """Return the part of alice's time from ``start_ps`` to ``stop_ps`` in which both sides have data under a clock."""
    first = max(start_ps, int(alice_ps[0]), int(bob_ps[0]) - clock.offset_at(int(bob_ps[0]) - clock.offset_ps))
    last = min(stop_ps, int(alice_ps[-1]) + 1, int(bob_ps[-1]) - clock.offset_at(int(bob_ps[-1]) - clock.offset_ps))
    return first, max(first, last)


def rates_per_ps(alice_ps: I64, bob_ps: I64, clock: ClockModel, span: tuple[int, int]) -> tuple[float, float]:
    """Return both sides' tags per picosecond in a span of alice's time."""
    low_a, high_a = np.searchsorted(alice_ps, span)
    low_b, high_b = np.searchsorted(bob_ps, (clock.bob_at(span[0]), clock.bob_at(span[1])))
    length = max(span[1] - span[0], 1)
    return float(high_a - low_a) / length, float(high_b - low_b) / length


def near_pairs(
    alice_ps: I64, bob_ps: I64, clock: ClockModel, start_ps: int, stop_ps: int, half_ps: int
) -> tuple[F64, F64]:
    """List the pairs of tags within ``half_ps`` of a clock's line in a span of alice's time.

    Returns
    -------
    delay_ps, elapsed_ps
        float64[n]: delay relative to the line, and alice's time since the reference of the clock.
    """
    low, high = np.searchsorted(alice_ps, (start_ps, stop_ps))
    span_a = alice_ps[low:high]
    low, high = np.searchsorted(bob_ps, (clock.bob_at(start_ps) - half_ps - 1, clock.bob_at(stop_ps) + half_ps + 1))
    span_b = bob_ps[low:high]
    line = (clock.reference_ps, clock.offset_ps, clock.frequency_error, half_ps)
    expected = span_a.size * span_b.size / max(stop_ps - start_ps, 1) * (2 * half_ps + 1)
    capacity = min(span_a.size, span_b.size) + round(1.2 * expected)
    while True:
        delay, elapsed = np.empty(capacity), np.empty(capacity)
        count = list_near_pairs(span_a, span_b, *line, delay, elapsed)
        if count <= capacity:
            return delay[:count], elapsed[:count]
        capacity = count


def count_pairs(
    alice_ps: I64, bob_ps: I64, clock: ClockModel, start_ps: int, stop_ps: int
) -> tuple[float, float, float]:
    """Count all pairs near a clock, whatever the delays of their channels, with the background of the bands beside.

    Returns
    -------
    pairs, sigma, background
        Pairs above background within +-`SKEW_PS`, their standard deviation, and the background counts there.
    """
    delay, _ = near_pairs(alice_ps, bob_ps, clock, start_ps, stop_ps, 3 * SKEW_PS)
    inside = int(np.count_nonzero(np.abs(delay) <= SKEW_PS))
    outside = delay.size - inside
    background = outside / 2.0
    return inside - background, math.sqrt(inside + outside / 4.0 + 1.0), background
