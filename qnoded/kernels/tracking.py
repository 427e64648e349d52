"""The two-state clock filter (phase, frequency) over listed pairs: centroid per slot, Kalman step, smoothing.

Time is float64 seconds after the start of the epoch, phase float64 picoseconds from the predicted line and
frequency float64 picoseconds per second (1e-12): all small numbers, so nothing is lost. Five numbers make a
state: phase, frequency, and the covariances phase-phase, phase-frequency, frequency-frequency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import F64_IN, F64_OUT, I64_IN, kernel

if TYPE_CHECKING:
    from qnoded.records import F64, I64

TABLE_OUT: Final = types.Array(types.float64, 2, "C")
TABLE_IN: Final = types.Array(types.float64, 2, "C", readonly=True)

STATE: Final = 5
"""Numbers of a state."""
TIME: Final = 0
"""Column of a slot: weighted mean time of its pairs, s."""
SPAN: Final = 1
"""Column: time that its pairs fill, s."""
PHASE: Final = 2
"""Column: measured phase, ps."""
VARIANCE: Final = 3
"""Column: variance of the measured phase from photon statistics alone, ps^2."""
PAIRS: Final = 4
"""Column: effective number of true pairs."""
SQUARES: Final = 5
"""Column: weighted sum of squares around the centroid, ps^2."""
USED: Final = 6
"""Column: 1 if the filter took the measurement, 0 if the innovation gate refused it."""
INNOVATION: Final = 7
"""Column: measured minus predicted phase, ps."""
INNOVATION_VARIANCE: Final = 8
"""Column: predicted variance of the innovation, ps^2."""
PREDICTED: Final = 9
"""First of five columns: state predicted for the slot."""
FILTERED: Final = 14
"""First of five columns: state after the slot."""
LAST: Final = 19
"""Column: time of its last pair, s."""
COLUMNS: Final = 20

CENTROID_STEPS: Final = 12
"""Most steps of expectation-maximization; each gains a factor of ten or so when pairs outnumber accidentals."""
CENTROID_TOLERANCE: Final = 0.01
"""Steps end when the centroid moves by less than this part of its standard error."""
GATE_SIGMAS: Final = 5.0
"""Pairs further from the prediction take no part, and no larger step of the phase is believed at once."""
FEWEST_PAIRS: Final = 3.0
"""No action on fewer: two pairs cannot outvote an accidental."""
DOUBT: Final = 1e-3
"""Chance at which accidentals alone are taken for a slot's pairs; harmless, since the prediction bounds the phase."""
SEARCH_DOUBT: Final = 1e-7
"""The same for a search of a wide gate, as a whole: what it finds moves the clock by any amount."""
CLUSTER_WIDTH: Final = 4.0
"""Width in peak sigmas of the stretch in which a search counts: it holds 95 % of the peak."""
RAREST: Final = 1e-3
"""Accidentals are never taken as fewer: rates are not known better."""
REFUSALS: Final = 3
"""After so many refused slots in a row the phase is measured anew: a step is then likelier than noise."""
GAP_S: Final = 0.1
"""After a longer gap the first slot moves the phase alone: a frequency would be drawn across unseen time."""
FREQUENCY_STEP_PS_PER_S: Final = 1000.0
"""Largest step of the frequency in one slot (1e-9), unless it is known less well than that."""
NOTHING: Final = 1e-9
"""Weight of all pairs below which no peak is left to refine."""
TINY: Final = 1e-300
"""Added to a sum of densities that may both be zero."""
OUTLIER: Final = 36.0
"""Largest squared innovation, in variances, that counts against a noise model: one outlier is not noise."""


@kernel(types.void, F64_OUT, types.float64, types.float64, types.float64)
def predict(state: F64, elapsed_s: float, white: float, walk: float) -> None:
    """Move a state forward in time, in place: white FM adds to the phase, random-walk FM to the frequency.

    Parameters
    ----------
    state : float64[5]
    elapsed_s : s, not negative
    white : ps^2/s, variance of the phase per second
    walk : (ps/s)^2/s, variance of the frequency per second

    Notes
    -----
    C. Zucca and P. Tavella, IEEE Trans. Ultrason. Ferroelectr. Freq. Control 52, 289 (2005), eq. 9 and 13,
    without drift.
    """
    state[0] += elapsed_s * state[1]
    state[2] += elapsed_s * (2.0 * state[3] + elapsed_s * state[4]) + white * elapsed_s
    state[2] += walk * elapsed_s**3 / 3.0
    state[3] += elapsed_s * state[4] + walk * elapsed_s**2 / 2.0
    state[4] += walk * elapsed_s


@kernel(types.void, F64_OUT, types.float64, types.float64, types.float64, types.float64)
def correct(state: F64, innovation: float, variance: float, phase_gain: float, frequency_gain: float) -> None:
    """Take a measured phase into a state, in place; in Joseph's form, which holds for any gain.

    Parameters
    ----------
    state : float64[5]
    innovation : ps, measured minus predicted phase
    variance : ps^2, of the measurement
    phase_gain, frequency_gain : share of the innovation that each takes; 1 and 1/s
    """
    kept = 1.0 - phase_gain
    p00, p01, p11 = state[2], state[3], state[4]
    state[0] += phase_gain * innovation
    state[1] += frequency_gain * innovation
    state[2] = kept * kept * p00 + phase_gain * phase_gain * variance
    state[3] = kept * (p01 - frequency_gain * p00) + phase_gain * frequency_gain * variance
    state[4] = p11 - 2.0 * frequency_gain * p01 + frequency_gain * frequency_gain * (p00 + variance)


@kernel(types.float64, types.float64, types.float64)
def log_chance(count: float, expected: float) -> float:
    """Return the logarithm of the chance that so many counts or more come where fewer are expected.

    Parameters
    ----------
    count : counts found
    expected : mean of their Poisson distribution

    Returns
    -------
    float
        Upper bound of the logarithm, 0 if no more were found than expected.

    Notes
    -----
    Chernoff's bound of the Poisson tail: ln P(n >= k) <= k - mu - k ln(k / mu).
    """
    mean = max(expected, RAREST)
    if count <= mean:
        return 0.0
    return float(count - mean - count * np.log(count / mean))


@kernel(types.void, F64_IN, types.int64, types.float64, F64_OUT)
def densest(ascending: F64, size: int, width: float, found: F64) -> None:
    """Find the stretch of a given width that holds most values.

    Parameters
    ----------
    ascending : float64[>= size]
    size : number of values
    width : of the stretch
    found : float64[>= 2], filled with the centre of the stretch and the number of values in it
    """
    found[0], found[1] = 0.0, 0.0
    low = 0
    for high in range(size):
        while ascending[high] - ascending[low] > width:
            low += 1
        if high - low + 1 > found[1]:
            found[1] = high - low + 1
            found[0] = 0.5 * (ascending[high] + ascending[low])


@kernel(types.void, F64_IN, F64_IN, types.int64, types.float64, types.float64, F64_OUT)
def centroid(residual_ps: F64, time_s: F64, size: int, sigma_ps: float, per_ps: float, found: F64) -> None:
    """Find the centre of a Gaussian peak of known width on a flat background of known height.

    Expectation-maximization: each pair counts with the probability that it belongs to the peak.

    Parameters
    ----------
    residual_ps, time_s : float64[>= size]
    size : number of pairs
    sigma_ps : ps, standard deviation of the peak
    per_ps : accidental pairs per ps
    found : float64[5]; the first is where to start, ps. Filled with the centre, ps; the number of true pairs; the
        Fisher information of the centre, 1/ps^2; the sum of squares around it, ps^2; the mean time, s

    Notes
    -----
    The information is the observed one of the mixture (T. A. Louis, J. R. Stat. Soc. B 44, 226 (1982)): a pair
    that may or may not be accidental says less than its weight.
    """
    scale = 1.0 / (sigma_ps * np.sqrt(2.0 * np.pi))
    inverse = 1.0 / (sigma_ps * sigma_ps)
    centre_ps = found[0]
    true_pairs = max(size - per_ps * 2.0 * GATE_SIGMAS * sigma_ps, 1.0)
    for _ in range(CENTROID_STEPS):
        total, first, second, doubt, moment = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(np.uint64(size)):
            away = residual_ps[k] - centre_ps
            squared = away * away * inverse
            height = true_pairs * scale * np.exp(-0.5 * squared)
            weight = height / (height + per_ps + TINY)
            total += weight
            first += weight * away
            second += weight * away * away
            doubt += weight * (1.0 - weight) * squared
            moment += weight * time_s[k]
        if total < NOTHING:
            found[1:] = 0.0
            return
        step = first / total
        centre_ps += step
        found[0] = centre_ps
        found[1] = total
        found[2] = max(total - doubt, 0.0) * inverse
        found[3] = second - first * step
        found[4] = moment / total
        settled = abs(total - true_pairs) < CENTROID_TOLERANCE * total
        if settled and abs(step) < CENTROID_TOLERANCE * sigma_ps / np.sqrt(total):
            break
        true_pairs = total


@kernel(
    types.int64,
    F64_IN,
    F64_IN,
    I64_IN,
    I64_IN,
    types.float64,
    types.int64,
    types.int64,
    types.float64,
    types.float64,
    types.float64,
    types.float64,
    types.float64,
    types.float64,
    F64_OUT,
    TABLE_OUT,
)
def filter_slots(
    time_s: F64,
    residual_ps: F64,
    first_pair: I64,
    scanned: I64,
    grain_s: float,
    slot_grains: int,
    longest_grains: int,
    accidentals_per_click_ps: float,
    half_window_ps: float,
    sigma_ps: float,
    white: float,
    walk: float,
    last_seen_s: float,
    state: F64,
    slots: F64,
) -> int:
    """Cut an epoch into slots with enough pairs, measure each slot's phase and run the clock filter forward.

    Parameters
    ----------
    time_s, residual_ps : float64[n], pairs as ``list_pairs`` gives them
    first_pair, scanned : int64[grains + 1], from ``list_pairs``
    grain_s : s, length of a grain
    slot_grains, longest_grains : a slot has so many grains, or more up to the longest while pairs are too few
    accidentals_per_click_ps : bob's clicks per ps
    half_window_ps : ps, half width within which pairs were listed
    sigma_ps : ps, standard deviation of the coincidence peak in a moment
    white, walk : levels of the clock noise, as in ``predict``
    last_seen_s : s, when pairs last gave a phase; negative, before the epoch
    state : float64[5], state at 0 s; replaced by the state at the last slot
    slots : float64[grains, COLUMNS], one row filled per slot that was measured

    Returns
    -------
    int
        Number of rows filled.
    """
    grains = first_pair.size - 1
    near_ps = np.empty(residual_ps.size + 1)
    near_s = np.empty(residual_ps.size + 1)
    now = np.zeros(STATE)
    found = np.zeros(5)
    now_s, rows, refused, begin = 0.0, 0, 0, 0
    while begin < grains:
        end = min(begin + slot_grains, grains)
        measured = False
        while True:
            middle_s = 0.5 * (begin + end) * grain_s
            first, stop = first_pair[begin], first_pair[end]
            listed = stop - first
            span_s = 0.0
            if listed > 2:
                # From the first to the last of n moments is (n - 1) / (n + 1) of the time that they fill.
                span_s = (time_s[stop - 1] - time_s[first]) * (listed + 1) / (listed - 1)
            # White FM widens the peak within a slot by the variance of its wander around the slot's mean.
            width_ps = np.sqrt(sigma_ps * sigma_ps + white * span_s / 6.0)
            now[:] = state
            predict(now, max(middle_s - now_s, 0.0), white, walk)
            gate_ps = min(GATE_SIGMAS * np.sqrt(width_ps * width_ps + now[2]), half_window_ps)
            size = 0
            for k in range(np.uint64(first), np.uint64(stop)):
                away = residual_ps[k] - now[0] - now[1] * (time_s[k] - middle_s)
                near_ps[size] = away
                near_s[size] = time_s[k]
                size += 1 if abs(away) <= gate_ps else 0
            per_ps = (scanned[end] - scanned[begin]) * accidentals_per_click_ps
            if now[2] <= width_ps * width_ps:
                found[0], found[1] = 0.0, size
                expected, doubt = per_ps * 2.0 * gate_ps, DOUBT
            else:
                # The peak is anywhere in a wide gate: look for it before refining.
                densest(np.sort(near_ps[:size]), size, CLUSTER_WIDTH * width_ps, found)
                expected = per_ps * CLUSTER_WIDTH * width_ps
                doubt = SEARCH_DOUBT * CLUSTER_WIDTH * width_ps / (2.0 * gate_ps)
            if found[1] >= FEWEST_PAIRS and log_chance(found[1], expected) < np.log(doubt):
                centroid(near_ps, near_s, size, width_ps, per_ps, found)
                measured = found[1] >= FEWEST_PAIRS and found[2] > 0.0
            if measured or end == grains or end - begin >= longest_grains:
                break
            # Twice as long each time, so that no pair is looked at more than a few times.
            end = min(2 * end - begin, begin + longest_grains, grains)
        if measured:
            span_s = (near_s[size - 1] - near_s[0]) * (size + 1) / (size - 1)
            centre, pairs, information, squares, mean_s = found
            predict(state, mean_s - now_s, white, walk)
            now_s = mean_s
            # The mean of a slot differs from the phase at its mean time by the wander of white FM in between.
            variance = 1.0 / information + white * span_s / 12.0
            total = state[2] + variance
            believed = centre * centre <= GATE_SIGMAS * GATE_SIGMAS * total
            refused = 0 if believed else refused + 1
            slots[rows, PREDICTED : PREDICTED + STATE] = state
            slots[rows, INNOVATION] = centre
            slots[rows, INNOVATION_VARIANCE] = total
            if believed or refused >= REFUSALS:
                if not believed:
                    state[2] += centre * centre
                    refused = 0
                phase_gain = state[2] / (state[2] + variance)
                frequency_gain = state[3] / (state[2] + variance)
                limit = max(FREQUENCY_STEP_PS_PER_S, np.sqrt(state[4]))
                if not believed or near_s[0] - last_seen_s > GAP_S:
                    frequency_gain = 0.0
                elif abs(frequency_gain * centre) > limit:
                    frequency_gain *= limit / abs(frequency_gain * centre)
                correct(state, centre, variance, phase_gain, frequency_gain)
                slots[rows, USED] = 1.0
                last_seen_s = near_s[size - 1]
            else:
                slots[rows, USED] = 0.0
            slots[rows, TIME] = now_s
            slots[rows, SPAN] = span_s
            slots[rows, LAST] = near_s[size - 1]
            slots[rows, PHASE] = slots[rows, PREDICTED] + centre
            slots[rows, VARIANCE] = 1.0 / information
            slots[rows, PAIRS] = pairs
            slots[rows, SQUARES] = squares
            slots[rows, FILTERED : FILTERED + STATE] = state
            rows += 1
        begin = end
    return rows


@kernel(types.void, TABLE_IN, TABLE_IN, TABLE_OUT)
def smooth(predicted: F64, filtered: F64, smoothed: F64) -> None:
    """Carry what later slots say back to earlier ones (Rauch, Tung and Striebel's smoother).

    Parameters
    ----------
    predicted, filtered : float64[n, 5], states before and after each slot, in time order
    smoothed : float64[n, 6], filled: the five numbers and the time step to the next row, which is read

    Notes
    -----
    H. E. Rauch, F. Tung and C. T. Striebel, AIAA J. 3, 1445 (1965), eq. 3.30 to 3.31.
    """
    last = filtered.shape[0] - 1
    smoothed[last, :STATE] = filtered[last]
    for n in range(last - 1, -1, -1):
        step_s = smoothed[n, STATE]
        f00, f01, f11 = filtered[n, 2], filtered[n, 3], filtered[n, 4]
        p00, p01, p11 = predicted[n + 1, 2], predicted[n + 1, 3], predicted[n + 1, 4]
        determinant = p00 * p11 - p01 * p01
        a00, a10 = f00 + step_s * f01, f01 + step_s * f11
        # Gain = filtered covariance * transition^T * inverse of the predicted covariance.
        g00 = (a00 * p11 - f01 * p01) / determinant
        g01 = (f01 * p00 - a00 * p01) / determinant
        g10 = (a10 * p11 - f11 * p01) / determinant
        g11 = (f11 * p00 - a10 * p01) / determinant
        d0 = smoothed[n + 1, 0] - predicted[n + 1, 0]
        d1 = smoothed[n + 1, 1] - predicted[n + 1, 1]
        smoothed[n, 0] = filtered[n, 0] + g00 * d0 + g01 * d1
        smoothed[n, 1] = filtered[n, 1] + g10 * d0 + g11 * d1
        e00 = smoothed[n + 1, 2] - p00
        e01 = smoothed[n + 1, 3] - p01
        e11 = smoothed[n + 1, 4] - p11
        smoothed[n, 2] = f00 + g00 * (g00 * e00 + g01 * e01) + g01 * (g00 * e01 + g01 * e11)
        smoothed[n, 3] = f01 + g10 * (g00 * e00 + g01 * e01) + g11 * (g00 * e01 + g01 * e11)
        smoothed[n, 4] = f11 + g10 * (g10 * e00 + g11 * e01) + g11 * (g10 * e01 + g11 * e11)


@kernel(types.void, TABLE_IN, F64_IN, F64_IN, F64_IN, F64_OUT)
def noise_likelihood(slots: F64, initial: F64, white: F64, walk: F64, likelihood: F64) -> None:
    """Tell how well each of several noise levels explains the measured phases.

    Parameters
    ----------
    slots : float64[n, COLUMNS], from ``filter_slots``
    initial : float64[5], state at 0 s
    white, walk : float64[k], levels to compare, as in ``predict``
    likelihood : float64[k], filled with the natural logarithm of the likelihood, up to a constant
    """
    state = np.zeros(STATE)
    for model in range(white.size):
        state[:] = initial
        now_s, total = 0.0, 0.0
        for n in range(slots.shape[0]):
            predict(state, slots[n, TIME] - now_s, white[model], walk[model])
            now_s = slots[n, TIME]
            variance = slots[n, VARIANCE] + white[model] * slots[n, SPAN] / 12.0
            innovation = slots[n, PHASE] - state[0]
            spread = state[2] + variance
            total -= 0.5 * (np.log(spread) + min(innovation * innovation / spread, OUTLIER))
            correct(state, innovation, variance, state[2] / spread, state[3] / spread)
        likelihood[model] = total
