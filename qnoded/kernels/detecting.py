"""From photons that would be absorbed to tags: dead time, recovery, afterpulses, echoes, the tagger and its clock.

A click in flight is one int64, ``time_ps << DETECTOR_BITS | detector``, so that sorting the numbers sorts the clicks.
Chance inside these kernels comes from a generator whose state the caller owns, one per detector: which numbers are
drawn depends on the clicks alone, never on how the time was cut into calls.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from qnoded.kernels.compiling import F64_IN, I64_IN, I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.records import F64, I64, U8

DETECTOR_BITS: Final = 2
"""A receiver has four detectors; 2**61 ps of time are left, 26 days."""
PENDING: Final = 128
"""Afterpulses that one detector can have on their way; the settings keep their mean below a quarter of it."""

EFFICIENCY_RECOVERY_PS: Final = 0
AFTERPULSE_PROBABILITY: Final = 1
AFTERPULSE_FAST_SHARE: Final = 2
AFTERPULSE_FAST_PS: Final = 3
AFTERPULSE_SLOW_PS: Final = 4
ECHO_PROBABILITY: Final = 5
ECHO_FROM_PS: Final = 6
ECHO_TO_PS: Final = 7
FAULTS: Final = 8
"""Columns of a detector's row of ``faults``."""

_DETECTOR: Final = (1 << DETECTOR_BITS) - 1
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
"""Constants of SplitMix64: Steele, Lea, Flood, OOPSLA 2014, with the finalizer that Stafford calls variant 13."""
_UNIT: Final = 2.0**-53
"""Spacing of float64 below 1: turns 53 random bits into a number in [0, 1)."""

_U64_OUT: Final = types.Array(types.uint64, 1, "C")
_F64_ROWS: Final = types.Array(types.float64, 2, "C", readonly=True)
_I64_ROWS: Final = types.Array(types.int64, 2, "C")


@kernel(types.float64, _U64_OUT, types.int64)
def uniform(chance: NDArray[np.uint64], which: int) -> float:
    """Draw from [0, 1) with generator ``which`` of ``chance`` (uint64[n], advanced); SplitMix64."""
    chance[which] += _GOLDEN
    bits = chance[which]
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    bits = bits ^ (bits >> np.uint64(31))
    return np.float64(bits >> np.uint64(11)) * _UNIT


@kernel(types.void, I64_IN, _F64_ROWS, _U64_OUT, types.int64, types.int64, _I64_ROWS, I64_OUT)
def _await_afterpulse(
    dead_time_ps: I64,
    faults: F64,
    chance: NDArray[np.uint64],
    which: int,
    click_ps: int,
    pending_ps: I64,
    pending: I64,
) -> None:
    """Decide whether a trap will fire after this click; if so insert its moment into the ascending queue."""
    if uniform(chance, which) >= faults[which, AFTERPULSE_PROBABILITY]:
        return
    decay_ps = faults[which, AFTERPULSE_SLOW_PS]
    if uniform(chance, which) < faults[which, AFTERPULSE_FAST_SHARE]:
        decay_ps = faults[which, AFTERPULSE_FAST_PS]
    moment = click_ps + dead_time_ps[which] - np.int64(decay_ps * math.log(1.0 - uniform(chance, which)))
    if pending[which] == PENDING:
        return
    k = pending[which]
    while k > 0 and pending_ps[which, k - 1] > moment:
        pending_ps[which, k] = pending_ps[which, k - 1]
        k -= 1
    pending_ps[which, k] = moment
    pending[which] += 1


@kernel(
    types.int64,
    types.int64, types.int64, I64_IN, U8_IN, _F64_ROWS, I64_OUT, _I64_ROWS, I64_OUT, _U64_OUT, I64_OUT, types.int64,
)  # fmt: skip
def _absorb(
    which: int,
    moment: int,
    dead_time_ps: I64,
    paralysable: U8,
    faults: F64,
    last_ps: I64,
    pending_ps: I64,
    pending: I64,
    chance: NDArray[np.uint64],
    clicks: I64,
    filled: int,
) -> int:
    """Let one excitation reach a detector; append its click and echo, return how many ``clicks`` are filled."""
    waited_ps = moment - last_ps[which]
    if waited_ps < dead_time_ps[which]:
        if paralysable[which]:
            last_ps[which] = moment
        return filled
    recovery_ps = faults[which, EFFICIENCY_RECOVERY_PS]
    if recovery_ps > 0.0:
        missed = math.exp(-((waited_ps / recovery_ps) ** 2))
        if uniform(chance, which) < missed:
            return filled
    last_ps[which] = moment
    clicks[filled] = (moment << DETECTOR_BITS) | which
    filled += 1
    if faults[which, ECHO_PROBABILITY] > 0.0 and uniform(chance, which) < faults[which, ECHO_PROBABILITY]:
        spread_ps = faults[which, ECHO_TO_PS] - faults[which, ECHO_FROM_PS] + 1.0
        lag_ps = np.int64(faults[which, ECHO_FROM_PS] + uniform(chance, which) * spread_ps)
        clicks[filled] = ((moment + lag_ps) << DETECTOR_BITS) | which
        filled += 1
    if faults[which, AFTERPULSE_PROBABILITY] > 0.0:
        _await_afterpulse(dead_time_ps, faults, chance, which, moment, pending_ps, pending)
    return filled


@kernel(types.int64, _I64_ROWS, I64_OUT, types.int64)
def _next_afterpulse(pending_ps: I64, pending: I64, which: int) -> int:
    """Take the first moment out of a detector's queue."""
    moment: int = pending_ps[which, 0]
    pending[which] -= 1
    for k in range(pending[which]):
        pending_ps[which, k] = pending_ps[which, k + 1]
    return moment


@kernel(
    types.int64,
    I64_IN, types.int64, I64_IN, U8_IN, _F64_ROWS, I64_OUT, _I64_ROWS, I64_OUT, _U64_OUT, I64_OUT, I64_OUT,
)  # fmt: skip
def detect(
    arrivals: I64,
    until_ps: int,
    dead_time_ps: I64,
    paralysable: U8,
    faults: F64,
    last_ps: I64,
    pending_ps: I64,
    pending: I64,
    chance: NDArray[np.uint64],
    consumed: I64,
    clicks: I64,
) -> int:
    """Turn excitations into clicks, one detector after the other in each one's own time order.

    Parameters
    ----------
    arrivals : int64[n], packed, ascending, all before ``until_ps``
        Photons that would be absorbed and dark counts, from ``consumed[0]`` on.
    until_ps : int
        Afterpulses before this moment fire; later ones wait for the next call.
    dead_time_ps : int64[4]
        An excitation this soon or sooner after the last click (paralysable: the last excitation) is lost;
        one that comes exactly at its end is not.
    paralysable : uint8[4], 0 or 1
    faults : float64[4, FAULTS], columns as named in this module
    last_ps : int64[4], state: last click, or last excitation where paralysable
    pending_ps : int64[4, PENDING], state: afterpulses to come, ascending
    pending : int64[4], state: how many
    chance : uint64[4], state of the generators
    consumed : int64[1]
        Arrivals dealt with; less than n means that ``clicks`` is full: take it away and call again.
    clicks : int64[m], packed, filled; in time order for each detector except for echoes, not between detectors

    Returns
    -------
    int
        Number of ``clicks`` filled. The call is complete when ``consumed[0] == n`` and fewer than m - 1 are filled.
    """
    filled = 0
    room = clicks.size - 1  # a click and its echo
    detectors = dead_time_ps.size
    plain = np.zeros(detectors, np.uint8)
    for which in range(detectors):
        chances = (
            faults[which, EFFICIENCY_RECOVERY_PS]
            + faults[which, AFTERPULSE_PROBABILITY]
            + faults[which, ECHO_PROBABILITY]
        )
        plain[which] = chances == 0.0 and paralysable[which] == 0
    for n in range(np.uint64(consumed[0]), np.uint64(arrivals.size)):
        if filled >= room:
            consumed[0] = n
            return filled
        moment = arrivals[n] >> DETECTOR_BITS
        which = arrivals[n] & _DETECTOR
        if plain[np.uint64(which)]:
            # What _absorb does, without its chances: most detectors are like this, and a call costs 100 ns.
            own = np.uint64(which)
            if moment - last_ps[own] >= dead_time_ps[own]:
                last_ps[own] = moment
                clicks[np.uint64(filled)] = arrivals[n]
                filled += 1
            continue
        while pending[which] > 0 and pending_ps[which, 0] < moment and filled < room:
            first = _next_afterpulse(pending_ps, pending, which)
            filled = _absorb(
                which, first, dead_time_ps, paralysable, faults, last_ps, pending_ps, pending, chance, clicks, filled
            )
        if filled >= room:
            consumed[0] = n
            return filled
        filled = _absorb(
            which, moment, dead_time_ps, paralysable, faults, last_ps, pending_ps, pending, chance, clicks, filled
        )
    consumed[0] = arrivals.size
    for which in range(detectors):
        while pending[which] > 0 and pending_ps[which, 0] < until_ps and filled < room:
            first = _next_afterpulse(pending_ps, pending, which)
            filled = _absorb(
                which, first, dead_time_ps, paralysable, faults, last_ps, pending_ps, pending, chance, clicks, filled
            )  # fmt: skip
    return filled


@kernel(types.int64, I64_IN, types.int64, I64_OUT, U8_OUT, I64_OUT)
def register(clicks: I64, dead_time_ps: int, last_ps: I64, channel: U8, edge_ps: I64) -> int:
    """Let pulses into the tagger: one that follows the last registered one of its input too closely is lost.

    Parameters
    ----------
    clicks : int64[n], packed, ascending
    dead_time_ps : int, per input
    last_ps : int64[4], state: last registered pulse of each input
    channel : uint8[>= n], filled
    edge_ps : int64[>= n], filled, true time

    Returns
    -------
    int
        Number of pulses registered.
    """
    kept = 0
    for n in range(np.uint64(clicks.size)):
        which = np.uint64(clicks[n] & _DETECTOR)
        moment = clicks[n] >> DETECTOR_BITS
        if moment - last_ps[which] >= dead_time_ps:
            last_ps[which] = moment
            channel[np.uint64(kept)] = which
            edge_ps[np.uint64(kept)] = moment
            kept += 1
    return kept


@kernel(
    types.void,
    I64_IN, types.int64, types.int64, F64_IN, types.int64, types.int64, types.int64, I64_OUT,
)  # fmt: skip
def read_clock(
    edge_ps: I64,
    start_ps: int,
    step_ps: int,
    lead_ps: F64,
    offset_ps: int,
    bin_numerator: int,
    bin_denominator: int,
    tag_ps: I64,
) -> None:
    """Tell true moments in a node's own clock, in whole bins, rounded to whole picoseconds (half up).

    Parameters
    ----------
    edge_ps : int64[n], true time, within the grid
    start_ps, step_ps : int
        Grid of true time on which the clock's lead is known.
    lead_ps : float64[m]
        Reading minus true time minus ``offset_ps`` at ``start_ps + k * step_ps``; a straight line between.
    offset_ps : int
    bin_numerator, bin_denominator : int
        The tagger's bin in picoseconds as a ratio.
    tag_ps : int64[n], filled
    """
    unit = bin_numerator == 1 and bin_denominator == 1
    step = np.float64(step_ps)
    for n in range(np.uint64(edge_ps.size)):
        into_ps = np.uint64(edge_ps[n] - start_ps)
        k = into_ps // np.uint64(step_ps)
        share = np.float64(into_ps - k * np.uint64(step_ps)) / step
        lead = lead_ps[k] + share * (lead_ps[k + np.uint64(1)] - lead_ps[k])
        reading = edge_ps[n] + offset_ps + np.int64(math.floor(lead + 0.5))
        if not unit:
            # Whole and rest apart, since the product of a late reading and a denominator leaves int64.
            whole = reading // bin_numerator
            ticks = whole * bin_denominator + (reading - whole * bin_numerator) * bin_denominator // bin_numerator
            whole = ticks // bin_denominator
            rest = ticks - whole * bin_denominator
            reading = whole * bin_numerator + (2 * rest * bin_numerator + bin_denominator) // (2 * bin_denominator)
        tag_ps[n] = reading
