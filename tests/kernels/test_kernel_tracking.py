"""Pair listing, clock filter, smoother and clock mapping against plain twins and dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm, poisson

from qnoded.kernels import tracking as kernels
from qnoded.kernels.clock_mapping import carry_to_link
from qnoded.kernels.pair_listing import list_pairs

NO_CAP = 10**6


def listed(alice, bob, start, grain, grains, line, half, cap=NO_CAP, room=100_000):
    reference, offset, fraction, frequency = line
    time_s, residual = np.empty(room), np.empty(room)
    first, scanned = np.empty(grains + 1, np.int64), np.empty(grains + 1, np.int64)
    pairs = list_pairs(
        alice, bob, start, grain, reference, offset, fraction, frequency, half, cap, time_s, residual, first, scanned
    )
    return time_s[:pairs], residual[:pairs], first, scanned


def twin_list(alice, bob, start, grain, grains, line, half):
    reference, offset, fraction, frequency = line
    inside = alice[(alice >= start) & (alice < start + grains * grain)]
    run = frequency * (inside - reference) + fraction
    whole = bob[None, :] - inside[:, None] - offset
    i, j = np.nonzero(np.abs(whole - np.floor(run + 0.5).astype(np.int64)[:, None]) <= half)
    return (inside[i] - start) * 1e-12, whole[i, j] - run[i], inside


sorted_tags = st.lists(st.integers(0, 4000), max_size=60).map(lambda tags: np.sort(np.array(tags, np.int64)))


@given(
    sorted_tags,
    sorted_tags,
    st.sampled_from([0, 10**17, -(10**12)]),
    st.floats(-1e-2, 1e-2),
    st.floats(0.0, 0.999),
    st.integers(0, 60),
)
def test_listing_equals_all_pairs_of_the_twin(alice, bob, origin, frequency, fraction, half) -> None:
    alice, bob = alice + origin, bob + origin + 10**11
    line = (origin + 100, 10**11, fraction, frequency)
    time_s, residual, first, scanned = listed(alice, bob, origin + 50, 1000, 3, line, half)

    twin_time, twin_residual, inside = twin_list(alice, bob, origin + 50, 1000, 3, line, half)
    np.testing.assert_array_equal(time_s, twin_time)
    np.testing.assert_array_equal(residual, twin_residual)
    edges = origin + 50 + 1000 * np.arange(4)
    np.testing.assert_array_equal(scanned, np.searchsorted(inside, edges))
    np.testing.assert_array_equal(first, np.searchsorted(np.rint(twin_time * 1e12), edges - origin - 50))


@given(st.integers(1, 40), st.integers(0, 5))
def test_a_cap_stops_each_grain_and_never_the_next(cap, seed) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    alice = np.sort(rng.integers(0, 10**6, 5000))
    bob = np.sort(alice + rng.integers(-3, 4, alice.size))
    line = (0, 0, 0.0, 0.0)
    time_s, residual, first, scanned = listed(alice, bob, 0, 10**5, 10, line, 20, cap)
    full_time, full_residual, full_first, _ = listed(alice, bob, 0, 10**5, 10, line, 20)

    for grain in range(10):
        part = slice(first[grain], first[grain + 1])
        count = part.stop - part.start
        whole = slice(full_first[grain], full_first[grain] + count)
        # What is listed is the beginning of what the grain holds: nothing is picked.
        np.testing.assert_array_equal(time_s[part], full_time[whole])
        np.testing.assert_array_equal(residual[part], full_residual[whole])
        assert np.unique(time_s[part]).size <= cap
        assert scanned[grain + 1] - scanned[grain] >= np.unique(time_s[part]).size


def test_a_full_list_ends_without_harm() -> None:
    tags = np.arange(0, 10_000, 10, dtype=np.int64)
    time_s, _, first, scanned = listed(tags, tags, 0, 1000, 10, (0, 0, 0.0, 0.0), 4, room=37)
    assert time_s.size == 37
    assert first[-1] == 37
    assert np.all(np.diff(first) >= 0)
    assert scanned[-1] <= tags.size


def transition(step_s, white, walk):
    f = np.array([[1.0, step_s], [0.0, 1.0]])
    q = np.array(
        [
            [white * step_s + walk * step_s**3 / 3, walk * step_s**2 / 2],
            [walk * step_s**2 / 2, walk * step_s],
        ]
    )
    return f, q


def as_matrix(state):
    return np.array([[state[2], state[3]], [state[3], state[4]]])


times = st.lists(st.floats(0.001, 0.1), min_size=1, max_size=12).map(np.cumsum)


@given(times, st.floats(1.0, 1e6), st.floats(1e-2, 1e6), st.integers(0, 1000))
def test_filter_smoother_and_likelihood_equal_dense_gaussian_conditioning(at_s, white, walk, seed) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    n = at_s.size
    initial = np.array([3.0, -20.0, 900.0, 40.0, 1e4])
    variance = rng.uniform(10.0, 500.0, n)
    # Joint prior of the states at 0 and at each time, stacked.
    mean, covariance = initial[:2], as_matrix(initial)
    means, joint = [mean], np.zeros((2 * n + 2, 2 * n + 2))
    joint[:2, :2] = covariance
    for k, step_s in enumerate(np.diff(at_s, prepend=0.0), start=1):
        f, q = transition(step_s, white, walk)
        means.append(f @ means[-1])
        row = f @ joint[2 * k - 2 : 2 * k, : 2 * k]
        joint[2 * k : 2 * k + 2, : 2 * k] = row
        joint[: 2 * k, 2 * k : 2 * k + 2] = row.T
        joint[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = f @ joint[2 * k - 2 : 2 * k, 2 * k - 2 : 2 * k] @ f.T + q
    mean = np.concatenate(means)
    observe = np.zeros((n, 2 * n + 2))
    observe[np.arange(n), 2 * np.arange(1, n + 1)] = 1.0
    spread = observe @ joint @ observe.T + np.diag(variance)
    phases = observe @ mean + rng.multivariate_normal(np.zeros(n), spread)
    gain = joint @ observe.T @ np.linalg.inv(spread)
    best = mean + gain @ (phases - observe @ mean)
    left = joint - gain @ observe @ joint

    state = initial.copy()
    predicted, filtered = [initial.copy()], [initial.copy()]
    now_s = 0.0
    for k in range(n):
        kernels.predict(state, at_s[k] - now_s, white, walk)
        now_s = at_s[k]
        predicted.append(state.copy())
        total = state[2] + variance[k]
        kernels.correct(state, phases[k] - state[0], variance[k], state[2] / total, state[3] / total)
        filtered.append(state.copy())
    smoothed = np.zeros((n + 1, kernels.STATE + 1))
    smoothed[:-1, kernels.STATE] = np.diff(at_s, prepend=0.0)
    kernels.smooth(np.array(predicted), np.array(filtered), smoothed)

    np.testing.assert_allclose(smoothed[:, :2].ravel(), best, rtol=1e-6, atol=1e-4)
    for k in range(n + 1):
        block = left[2 * k : 2 * k + 2, 2 * k : 2 * k + 2]
        np.testing.assert_allclose(as_matrix(smoothed[k]), block, rtol=1e-5, atol=1e-4 * np.abs(block).max())

    slots = np.zeros((n, kernels.COLUMNS))
    slots[:, kernels.TIME], slots[:, kernels.PHASE], slots[:, kernels.VARIANCE] = at_s, phases, variance
    likelihood = np.empty(1)
    kernels.noise_likelihood(slots, initial, np.array([white]), np.array([walk]), likelihood)
    dense = multivariate_normal(observe @ mean, spread).logpdf(phases) + 0.5 * n * np.log(2 * np.pi)
    assert likelihood[0] == pytest.approx(dense, abs=1e-5 * max(1.0, abs(dense)))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), st.integers(0, 30))
def test_densest_stretch_equals_its_twin(values, width) -> None:
    ascending = np.sort(np.array(values, np.float64))
    found = np.empty(2)
    kernels.densest(ascending, ascending.size, float(width), found)
    counts = [np.count_nonzero((ascending >= v) & (ascending <= v + width)) for v in ascending]
    assert found[1] == max(counts)
    near = np.abs(ascending - found[0]) <= width / 2
    assert np.count_nonzero(near) == max(counts)


@pytest.mark.parametrize("accidentals", [0, 20, 200])
def test_the_centroid_is_right_and_knows_its_error(accidentals: int) -> None:
    """100 pairs of 60 ps sigma in a 600 ps gate: over 600 runs bias below 3 standard errors, chi^2 within 15 %."""
    rng = np.random.Generator(np.random.Philox(accidentals))
    sigma, centre, gate = 60.0, 20.0, 300.0
    pulls, pairs = [], []
    for _ in range(600):
        at = np.concatenate((rng.normal(centre, sigma, 100), rng.uniform(-gate, gate, rng.poisson(accidentals))))
        found = np.zeros(5)
        kernels.centroid(at, np.zeros(at.size), at.size, sigma, accidentals / (2 * gate), found)
        pulls.append((found[0] - centre) * np.sqrt(found[2]))
        pairs.append(found[1])
    assert abs(np.mean(pulls)) < 3 / np.sqrt(600)
    assert np.mean(np.square(pulls)) == pytest.approx(1.0, abs=0.15)
    assert np.mean(pairs) == pytest.approx(100.0, abs=3.0)


@given(st.integers(0, 60), st.integers(1, 100), st.floats(0.0, 1.0), st.floats(-50.0, 50.0))
def test_the_centroid_equals_its_twin(seed, pairs, per_ps, start) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    at = np.concatenate((rng.normal(10.0, 30.0, pairs), rng.uniform(-150.0, 150.0, round(300 * per_ps))))
    time_s = rng.uniform(0.0, 1.0, at.size)
    found = np.zeros(5)
    found[0] = start
    kernels.centroid(at, time_s, at.size, 30.0, per_ps, found)

    centre, true = start, max(at.size - per_ps * 2 * kernels.GATE_SIGMAS * 30.0, 1.0)
    for _ in range(kernels.CENTROID_STEPS):
        height = true * norm.pdf(at, centre, 30.0)
        weight = height / (height + per_ps)
        away, total = at - centre, weight.sum()
        doubt = np.sum(weight * (1 - weight) * (away / 30.0) ** 2)
        step = np.average(away, weights=weight)
        centre += step
        done = abs(total - true) < kernels.CENTROID_TOLERANCE * total
        if done and abs(step) < kernels.CENTROID_TOLERANCE * 30.0 / np.sqrt(total):
            break
        true = total
    twin = [
        centre,
        total,
        max(total - doubt, 0.0) / 900.0,
        np.sum(weight * (at - centre) ** 2),
        np.average(time_s, weights=weight),
    ]
    np.testing.assert_allclose(found, twin, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 300), st.floats(1e-3, 200.0))
def test_the_chance_of_accidentals_is_bounded_from_above(count, expected) -> None:
    """Never below the exact Poisson tail, and above its first term by no more than a factor of 100."""
    bound = kernels.log_chance(float(count), expected)
    exact = poisson.logsf(count - 1, expected)
    assert bound >= exact - 1e-9
    if count > expected:
        assert bound <= poisson.logpmf(count, expected) + np.log(100.0)


def slots_of(time_s, residual, *, seconds=0.5, last_seen_s=0.0, state=None, white=1e4, slot_grains=10, longest=100):
    grains = round(seconds * 1000)
    first = np.searchsorted(time_s, np.arange(grains + 1) * 1e-3)
    state = np.array([0.0, 0.0, 400.0, 0.0, 1e4]) if state is None else state
    rows = np.empty((grains, kernels.COLUMNS))
    filled = kernels.filter_slots(
        time_s, residual, first, first, 1e-3, slot_grains, longest, 0.0, 1e5, 60.0, white, 1e4, last_seen_s, state, rows
    )
    return rows[:filled], state


def test_after_a_gap_the_first_slot_moves_the_phase_and_not_the_frequency() -> None:
    """Pairs until 0.1 s and from 0.3 s on with 150 ps of phase step: 200 ms of nothing, then phase only."""
    rng = np.random.Generator(np.random.Philox(4))
    time_s = np.sort(np.concatenate((rng.uniform(0.0, 0.1, 1000), rng.uniform(0.3, 0.5, 2000))))
    residual = rng.normal(0.0, 60.0, time_s.size) + 150.0 * (time_s > 0.2)
    rows, _ = slots_of(time_s, residual)
    back = int(np.argmax(rows[:, kernels.TIME] > 0.2))
    before, after = rows[back, kernels.PREDICTED + 1], rows[back, kernels.FILTERED + 1]
    assert after == before
    assert rows[back, kernels.FILTERED] == pytest.approx(150.0, abs=30.0)
    assert rows[back + 1, kernels.FILTERED + 1] != rows[back + 1, kernels.PREDICTED + 1]


def test_too_few_pairs_do_nothing() -> None:
    rows, state = slots_of(np.array([0.1, 0.4]), np.array([5.0, -5.0]))
    assert rows.shape[0] == 0
    np.testing.assert_array_equal(state, [0.0, 0.0, 400.0, 0.0, 1e4])


def test_a_single_odd_slot_is_refused_and_a_lasting_step_is_taken() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    time_s = np.sort(rng.uniform(0.0, 0.5, 10_000))
    odd = rng.normal(0.0, 60.0, time_s.size) + 250.0 * ((time_s > 0.2) & (time_s < 0.21))
    rows, _ = slots_of(time_s, odd, white=100.0)
    refused = rows[:, kernels.USED] == 0.0
    assert np.count_nonzero(refused) == 1
    assert abs(rows[-1, kernels.FILTERED]) < 10.0

    step = rng.normal(0.0, 60.0, time_s.size) + 250.0 * (time_s > 0.2)
    rows, _ = slots_of(time_s, step, white=100.0)
    assert 1 <= np.count_nonzero(rows[:, kernels.USED] == 0.0) < 5
    assert rows[-1, kernels.FILTERED] == pytest.approx(250.0, abs=15.0)


def test_the_frequency_moves_by_a_bounded_step_per_slot() -> None:
    """A frequency known to 2e-10 meets pairs that run 2e-8 off: no slot moves it by more than 1e-9."""
    rng = np.random.Generator(np.random.Philox(6))
    time_s = np.sort(rng.uniform(0.0, 0.1, 20_000))
    residual = rng.normal(0.0, 60.0, time_s.size) + 20_000.0 * time_s
    state = np.array([0.0, 0.0, 400.0, 0.0, 200.0**2])
    rows, _ = slots_of(time_s, residual, seconds=0.1, state=state, white=1.0)
    moved = rows[:, kernels.FILTERED + 1] - rows[:, kernels.PREDICTED + 1]
    assert np.abs(moved).max() <= kernels.FREQUENCY_STEP_PS_PER_S * (1 + 1e-12)


def twin_carry(bob, knots_bob, offset, fraction, slope):
    segment = np.clip(np.searchsorted(knots_bob, bob, "right") - 1, 0, slope.size - 1)
    run = slope[segment] * (bob - knots_bob[segment]) + (fraction[segment] + 0.5)
    return bob - offset[segment] - np.floor(run).astype(np.int64)


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=8, unique=True),
    st.lists(st.integers(-(2 * 10**9), 2 * 10**9), max_size=60),
    st.sampled_from([0, 10**17, 9 * 10**18]),
    st.integers(0, 99),
)
def test_mapping_equals_its_twin_at_any_absolute_time(knots, tags, origin, seed) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    knots_bob = np.sort(np.array(knots, np.int64)) + origin
    bob = np.sort(np.array(tags, np.int64)) + origin
    offset = rng.integers(-(10**11), 10**11, knots_bob.size)
    fraction = rng.random(knots_bob.size)
    slope = rng.normal(0.0, 1e-5, knots_bob.size - 1)
    link = np.empty_like(bob)
    carry_to_link(bob, knots_bob, offset, fraction, slope, link)
    np.testing.assert_array_equal(link, twin_carry(bob, knots_bob, offset, fraction, slope))
