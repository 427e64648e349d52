"""One epoch through the servo: pairs listed around the prediction, filtered slot by slot, smoothed backwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qnoded.kernels.pair_listing import list_pairs
from qnoded.kernels.tracking import COLUMNS, FILTERED, PREDICTED, STATE, TIME, USED, filter_slots, predict, smooth
from qnoded.units import PS_PER_MS, PS_PER_S

if TYPE_CHECKING:
    from qnoded.records import F64, I64
    from qnoded.stages.synchronization.clock_state import ClockState

GRAIN_PS: Final = PS_PER_MS
"""Time in which pairs are counted out, 1 ms: the shortest slot."""
LONGEST_SLOT_PS: Final = 100 * PS_PER_MS
"""A slot grows no longer, since a quartz wanders by some peak widths in it, unless pairs are fewer than"""
STARVED_PER_SLOT: Final = 12.0
"""this many in it: then a slot may take the epoch."""
FEWEST_PER_SLOT: Final = 6.0
"""Pairs that a slot aims at where the clock is so noisy that every pair counts."""
MOST_PER_SLOT: Final = 200.0
"""Pairs that a slot aims at where the clock is quiet; the filter adds up the slots at no loss."""
ENOUGH_PER_GRAIN: Final = 64
"""Clicks with a partner after which a grain is left: 8 times sharper than the peak every millisecond."""
MOST_PER_GRAIN: Final = 512
"""The same where accidentals outnumber pairs; bounds an epoch to some 10 MB and 0.1 s."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What the servo made of one epoch; phases in ps relative to the line of the state before it."""

    time_s: F64
    """float64[n], s after the start, of the pairs listed."""
    residual_ps: F64
    """float64[n], bob's click minus the line, ps."""
    scanned: int
    """Clicks of alice that were looked at."""
    apparent_ps: float
    """Standard deviation of the peak within a slot: jitter and the wander of the clock, ps."""
    slots: F64
    """float64[m, COLUMNS], slots whose phase was measured."""
    used: F64
    """float64[k, COLUMNS], those that the filter took."""
    knots_s: F64
    """float64[k + 4], s after the start: an epoch before, start, slots, stop, an epoch after."""
    smoothed: F64
    """float64[k + 4, 5], smoothed states at the knots."""
    final: F64
    """float64[5], causal state at the stop."""


def slot_length_s(state: ClockState) -> float:
    """Return the length of a slot at which the clock's wander equals the error of the phase, s."""
    rate = max(state.pair_rate_hz, 1.0)
    balanced = state.peak_sigma_ps / math.sqrt(rate * state.densities()[0])
    wanted = min(max(balanced, FEWEST_PER_SLOT / rate), MOST_PER_SLOT / rate)
    return min(max(wanted, GRAIN_PS / PS_PER_S), LONGEST_SLOT_PS / PS_PER_S)


def follow(alice_ps: I64, bob_ps: I64, before: ClockState, stop_ps: int, half_ps: int, last_seen_ps: int) -> Followed:
    """Run the servo over one epoch.

    Parameters
    ----------
    alice_ps, bob_ps : int64[n], int64[m], ps, clicks of the epoch
    before : state at the start of the epoch
    stop_ps : ps of alice's clock, end of the epoch
    half_ps : ps, half width around the predicted line within which pairs are listed
    last_seen_ps : ps of alice's clock, when pairs last gave a phase
    """
    start_ps = before.reference_ps
    epoch_s = (stop_ps - start_ps) / PS_PER_S
    slot_s = slot_length_s(before)
    white, walk = before.densities()
    starved = before.pair_rate_hz * LONGEST_SLOT_PS / PS_PER_S < STARVED_PER_SLOT
    time_s, residual_ps, first_pair, scanned = _list(alice_ps, bob_ps, before, start_ps, stop_ps, half_ps)
    final = before.vector()
    rows = np.empty((first_pair.size - 1, COLUMNS))
    filled = filter_slots(
        time_s,
        residual_ps,
        first_pair,
        scanned,
        GRAIN_PS / PS_PER_S,
        max(round(slot_s * PS_PER_S / GRAIN_PS), 1),
        first_pair.size if starved else LONGEST_SLOT_PS // GRAIN_PS,
        bob_ps.size / (stop_ps - start_ps),
        float(half_ps),
        before.peak_sigma_ps,
        white,
        walk,
        min(last_seen_ps - start_ps, 0) / PS_PER_S,
        final,
        rows,
    )
    slots = rows[:filled]
    used = slots[slots[:, USED] > 0.0]
    predict(final, epoch_s - (used[-1, TIME] if used.size else 0.0), white, walk)
    return Followed(
        time_s,
        residual_ps,
        int(scanned[-1]),
        math.sqrt(before.peak_sigma_ps**2 + white * slot_s / 6.0),
        slots,
        used,
        *_smooth(used, before.vector(), epoch_s, white, walk),
        final,
    )


def _list(
    alice_ps: I64, bob_ps: I64, before: ClockState, start_ps: int, stop_ps: int, half_ps: int
) -> tuple[F64, F64, I64, I64]:
    """List the pairs of an epoch around the predicted line, boundedly many per grain."""
    grains = -((start_ps - stop_ps) // GRAIN_PS)
    epoch_s = (stop_ps - start_ps) / PS_PER_S
    by_accident_hz = alice_ps.size * bob_ps.size / epoch_s**2 * 2.0 * half_ps / PS_PER_S
    diluted = 1.0 + by_accident_hz / max(before.pair_rate_hz, 1.0)
    cap = min(math.ceil(ENOUGH_PER_GRAIN * diluted), MOST_PER_GRAIN)
    most = min(2 * grains * cap, alice_ps.size * (2 + bob_ps.size * 4 * half_ps // (stop_ps - start_ps)) + cap)
    time_s, residual_ps = np.empty(most), np.empty(most)
    first_pair, scanned = np.empty(grains + 1, np.int64), np.empty(grains + 1, np.int64)
    pairs = list_pairs(
        alice_ps,
        bob_ps,
        start_ps,
        GRAIN_PS,
        before.reference_ps,
        before.offset_ps,
        before.fraction_ps,
        before.frequency_error,
        half_ps,
        cap,
        time_s,
        residual_ps,
        first_pair,
        scanned,
    )
    return time_s[:pairs], residual_ps[:pairs], first_pair, scanned


def _smooth(used: F64, initial: F64, epoch_s: float, white: float, walk: float) -> tuple[F64, F64]:
    """Return knots in seconds and smoothed states: one epoch before, start, slots, stop, one epoch after."""
    count = used.shape[0]
    knots_s = np.concatenate(([-epoch_s, 0.0], used[:, TIME], [epoch_s, 2.0 * epoch_s]))
    filtered = np.vstack((initial, used[:, FILTERED : FILTERED + STATE]))
    predicted = np.vstack((initial, used[:, PREDICTED : PREDICTED + STATE]))
    inner = np.zeros((count + 1, STATE + 1))
    inner[:-1, STATE] = np.diff(knots_s[1:-2])
    smooth(predicted, filtered, inner)
    stop = inner[-1, :STATE].copy()
    predict(stop, epoch_s - knots_s[-3], white, walk)
    states = np.vstack((inner[0, :STATE], inner[:, :STATE], stop, stop))
    # Outside the epoch the line goes on with the frequency at its ends, not with the slope between two slots.
    states[0, 0] -= epoch_s * states[0, 1]
    predict(states[-1], epoch_s, white, walk)
    return knots_s, states
