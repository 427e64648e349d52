"""Pairs of tags near a supposed clock: how many there are, and how many are accidental."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from qnoded.kernels.correlating import count_near_pairs, list_near_pairs
from qnoded.records import F64, I64, ClockModel
from qnoded.units import PS_PER_NS

SKEW_PS: Final = 60 * PS_PER_NS
"""Half width that holds all pairs even if channel delays are not known: +-15 ns a side, with a margin for drift."""
MOST_PAIRS: Final = 2**23
"""Pairs listed at a time, 134 MB: stretches are chosen so that 6 million suffice, but tags that stand still in a burst
make as many pairs as the product of their numbers."""


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
    """List the pairs of tags within ``half_ps`` of a clock's line in a span of alice's time, the first `MOST_PAIRS`.

    Returns
    -------
    delay_ps, elapsed_ps
        float64[n]: delay relative to the line, and alice's time since the reference of the clock.
    """
    near = _near(alice_ps, bob_ps, clock, start_ps, stop_ps, half_ps)
    pairs = min(count_near_pairs(*near), MOST_PAIRS)
    delay, elapsed = np.empty(pairs), np.empty(pairs)
    list_near_pairs(*near, delay, elapsed)
    return delay, elapsed


def count_pairs(
    alice_ps: I64, bob_ps: I64, clock: ClockModel, start_ps: int, stop_ps: int
) -> tuple[float, float, float]:
    """Count all pairs near a clock, whatever the delays of their channels, with the background of the bands beside.

    Returns
    -------
    pairs, sigma, background
        Pairs above background within +-`SKEW_PS`, their standard deviation, and the background counts there.
    """
    inside = count_near_pairs(*_near(alice_ps, bob_ps, clock, start_ps, stop_ps, SKEW_PS))
    outside = count_near_pairs(*_near(alice_ps, bob_ps, clock, start_ps, stop_ps, 3 * SKEW_PS)) - inside
    background = outside / 2.0
    return inside - background, math.sqrt(inside + outside / 4.0 + 1.0), background


def _near(
    alice_ps: I64, bob_ps: I64, clock: ClockModel, start_ps: int, stop_ps: int, half_ps: int
) -> tuple[I64, I64, int, int, float, int]:
    """Return what the kernels want: the tags of both sides that a span of alice's time can pair, line and band."""
    low, high = np.searchsorted(alice_ps, (start_ps, stop_ps))
    span_a = alice_ps[low:high]
    low, high = np.searchsorted(bob_ps, (clock.bob_at(start_ps) - half_ps - 1, clock.bob_at(stop_ps) + half_ps + 1))
    return span_a, bob_ps[low:high], clock.reference_ps, clock.offset_ps, clock.frequency_error, half_ps
