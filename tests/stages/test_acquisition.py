"""Cold acquisition where it must succeed: usual links, poor ones, odd recordings; limits in ps and ppb."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from acquisition_streams import FREQUENCY_ERROR, OFFSET_PS, Pair, link, skewed, wandering

from qnoded.stages.synchronization.acquisition import Acquisition, SearchRange, acquire
from qnoded.stages.synchronization.feasibility import DESIGN_SIGNIFICANCE, PEAK_LOSS
from qnoded.units import PS_PER_S

LOCKED_PS, LOCKED_PPB = 100.0, 3.0
"""A lock is right within these, with 100 ps of jitter a side: tracking takes over from there."""


def right(pair: Pair, found: Acquisition, ps: float = LOCKED_PS, ppb: float = LOCKED_PPB) -> bool:
    assert found.locked, found.sentence
    assert found.reason is None
    error_ps, error_ppb = pair.errors(found)
    return abs(error_ps) < ps and abs(error_ppb) < ppb


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_kcps_with_five_percent_lock_from_less_than_a_second(seed: int) -> None:
    rng = np.random.default_rng(seed)
    offset, error = int(rng.integers(-190, 190)) * 10**9 + 17, rng.uniform(-19e-6, 19e-6)
    pair = link(1e5, 0.05, 3.0, seed, offset_ps=offset, frequency_error=error, drift_per_s=1e-9)
    found = acquire(pair.alice_ps, pair.bob_ps, SearchRange(0, PS_PER_S // 5))
    assert right(pair, found)
    assert found.data_s < 1.0
    assert found.pair_rate_hz == pytest.approx(5000, rel=0.15)
    assert found.heralding == pytest.approx((0.05, 0.05), rel=0.15)
    assert found.peak_sigma_ps == pytest.approx(np.hypot(100, 100), rel=0.15)
    assert found.peak_share > 0.85


def test_one_percent_locks_over_one_second_and_ten_ppm() -> None:
    pair = link(5e5, 0.01, 4.0, 3, frequency_error=6.5e-6, drift_per_s=1e-9)
    where = SearchRange(0, PS_PER_S, 0.0, 10e-6)
    found = acquire(pair.alice_ps, pair.bob_ps, where, pair_fraction=0.01)
    assert right(pair, found)
    assert found.significance > 20.0
    # accidentals per second and nanosecond: 5e5 * 5e5 * 1e-9
    assert found.accidental_rate_hz == pytest.approx(250.0, rel=0.05)


def test_two_threads_find_the_same() -> None:
    pair = link(2e5, 0.05, 1.0, 4)
    alone = acquire(pair.alice_ps, pair.bob_ps)
    with ThreadPoolExecutor(2) as pool:
        together = acquire(pair.alice_ps, pair.bob_ps, over=pool.map)
    assert alone == together


def test_the_measured_height_is_the_predicted_one() -> None:
    # mean of 20 unit-variance heights: predicted +- 4 / sqrt(20), and 5 % for the average loss
    heights = []
    for seed in range(20):
        pair = link(1e5, 0.03, 1.0, seed, offset_ps=10**9 + seed * 1_234_567, frequency_error=(seed - 10) * 1e-6)
        where = SearchRange(0, 20 * 10**9)
        found = acquire(pair.alice_ps, pair.bob_ps, where, pair_fraction=0.03)
        assert right(pair, found)
        heights.append(found.coarse_significance)
        assert found.feasibility.predicted_significance == pytest.approx(PEAK_LOSS * DESIGN_SIGNIFICANCE)
    assert np.mean(heights) == pytest.approx(PEAK_LOSS * DESIGN_SIGNIFICANCE, abs=0.9 + 0.4)


def test_swapping_the_sides_flips_the_signs() -> None:
    pair = link(2e5, 0.05, 1.0, 5)
    found = acquire(pair.alice_ps, pair.bob_ps).clock
    swapped = acquire(pair.bob_ps, pair.alice_ps).clock
    assert found is not None
    assert swapped is not None
    at = found.reference_ps
    back = swapped.bob_at(found.bob_at(at))
    assert abs(back - at) < 100
    assert (1.0 + found.frequency_error) * (1.0 + swapped.frequency_error) == pytest.approx(1.0, abs=3e-9)


@pytest.mark.parametrize("seconds", [0, 10**5])
def test_tags_of_days_lose_no_picosecond(seconds: int) -> None:
    pair = link(2e5, 0.05, 1.0, 6, offset_ps=0, frequency_error=0.0)
    start = seconds * PS_PER_S
    bob = pair.bob_ps + OFFSET_PS + np.rint(pair.bob_ps * FREQUENCY_ERROR).astype(np.int64)
    found = acquire(pair.alice_ps + start, bob + start)
    assert found.clock is not None
    moment = found.clock.reference_ps - start
    assert abs(found.clock.offset_ps - (OFFSET_PS + round(FREQUENCY_ERROR * moment))) < LOCKED_PS


def test_the_range_is_about_its_centre() -> None:
    start = 65_333 * PS_PER_S
    pair = link(2e5, 0.05, 1.0, 7, offset_ps=start + 10**11, frequency_error=95e-6)
    where = SearchRange(start, PS_PER_S // 2, 100e-6, 10e-6)
    assert right(pair, acquire(pair.alice_ps, pair.bob_ps, where))


@pytest.mark.parametrize("common_s", [0.5, 0.1])
def test_a_small_overlap_is_enough_and_its_slope_is_no_peak(common_s: float) -> None:
    pair = link(2e5, 0.1, 3.0, 8)
    cut = pair.cut(lambda t: t < (1.5 + common_s) * PS_PER_S, lambda t: t > 1.5 * PS_PER_S)
    assert right(cut, acquire(cut.alice_ps, cut.bob_ps))


def test_gaps_on_both_sides_do_not_matter() -> None:
    pair = link(2e5, 0.1, 3.0, 9)
    comb = pair.cut(lambda t: t // (PS_PER_S // 5) % 2 == 0, lambda t: t // (PS_PER_S // 5) % 2 == 0)
    assert right(comb, acquire(comb.alice_ps, comb.bob_ps))
    late = pair.cut(lambda t: (t < 3e11) | (t > 2e12), lambda t: t > -1)
    assert right(late, acquire(late.alice_ps, late.bob_ps))


@pytest.mark.parametrize(("rate_hz", "fraction", "seconds"), [(1e5, 0.05, 2.0), (1.3e6, 0.14, 0.05)])
def test_delays_of_channels_move_the_offset_but_do_not_hide_it(rate_hz: float, fraction: float, seconds: float) -> None:
    pair = skewed(link(rate_hz, fraction, seconds, 10), 15_000, 1)
    found = acquire(pair.alice_ps, pair.bob_ps)
    # +-15 ns a side; 50 ms of data know the frequency to some ppb only
    assert right(pair, found, ps=30_000.0, ppb=5.0)
    assert found.peak_share < 0.6
    assert found.pair_rate_hz == pytest.approx(rate_hz * fraction, rel=0.25)


def test_a_clock_that_drifts_is_found_where_it_is() -> None:
    pair = link(2e5, 0.05, 3.0, 13, drift_per_s=1e-8)
    assert right(pair, acquire(pair.alice_ps, pair.bob_ps))


@pytest.mark.parametrize("seed", range(3))
def test_a_crystal_that_walks_is_followed(seed: int) -> None:
    # white frequency noise of 1e-9 at 1 s walks 0.3 ns in the 0.1 s of the fit, and 3 ppb is what it does to 0.1 s
    pair, walk = wandering(link(2e5, 0.05, 2.0, 14), 1e-9, seed)
    found = acquire(pair.alice_ps, pair.bob_ps)
    assert found.clock is not None
    error_ps, error_ppb = pair.errors(found)
    assert abs(error_ps - walk(found.clock.reference_ps)) < LOCKED_PS
    assert abs(error_ppb) < 15.0


@pytest.mark.parametrize("jitter_ps", [20.0, 500.0, 3000.0])
def test_any_jitter_is_measured(jitter_ps: float) -> None:
    pair = link(1e5, 0.05, 2.0, 15, jitter_ps=jitter_ps)
    found = acquire(pair.alice_ps, pair.bob_ps)
    assert right(pair, found, ps=max(50.0, jitter_ps / 3.0), ppb=3.0)
    assert found.peak_sigma_ps == pytest.approx(jitter_ps * np.sqrt(2.0), rel=0.15)


def test_double_firing_and_unequal_rates_make_no_false_peak() -> None:
    pair = link(2e5, 0.05, 2.0, 16)
    rng = np.random.default_rng(1)
    echoes = pair.alice_ps[rng.random(pair.alice_ps.size) < 0.5] + 16_000
    thin = pair.bob_ps[rng.random(pair.bob_ps.size) < 0.3]
    found = acquire(np.sort(np.concatenate((pair.alice_ps, echoes))), thin)
    assert right(pair, found)


def test_few_pairs_over_a_long_time_are_enough() -> None:
    pair = link(5e3, 0.05, 20.0, 17)
    assert right(pair, acquire(pair.alice_ps, pair.bob_ps))


@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_more_than_the_strongest_fraction_locks_at_once(fraction: float) -> None:
    pair = link(1e6, fraction, 0.5, 18)
    found = acquire(pair.alice_ps, pair.bob_ps)
    assert right(pair, found)
    assert found.points < 1e8


@pytest.mark.parametrize(
    ("offset_ps", "frequency_error"), [(499_900_000_000, -19.9e-6), (-499_900_000_000, 19.9e-6), (0, 20.3e-6)]
)
def test_the_edges_of_the_range_are_searched(offset_ps: int, frequency_error: float) -> None:
    pair = link(2e5, 0.05, 1.5, 19, offset_ps=offset_ps, frequency_error=frequency_error)
    assert right(pair, acquire(pair.alice_ps, pair.bob_ps))


def test_a_known_frequency_needs_one_trial() -> None:
    pair = link(2e5, 0.02, 2.0, 20, frequency_error=0.0)
    found = acquire(pair.alice_ps, pair.bob_ps, SearchRange(frequency_range=0.0), pair_fraction=0.02)
    assert right(pair, found)
    assert found.trials == 1


@pytest.mark.parametrize("reach_ps", [1_000, 10**6, 10**8, 10**10])
@pytest.mark.parametrize("fraction", [0.02, 0.2])
def test_a_narrow_range_is_searched_as_well(reach_ps: int, fraction: float) -> None:
    pair = link(2e5, fraction, 0.55, 22, frequency_error=3e-8)
    where = SearchRange(OFFSET_PS + reach_ps // 2, reach_ps, 0.0, 1e-7)
    found = acquire(pair.alice_ps, pair.bob_ps, where)
    assert right(pair, found)
    assert found.points < 1e8


def test_progress_rises_and_names_the_pair_fraction() -> None:
    pair = link(2e5, 0.05, 1.0, 21)
    told: list[tuple[float, str]] = []
    acquire(pair.alice_ps, pair.bob_ps, progress=lambda done, words: told.append((done, words)))
    parts = [done for done, _ in told]
    assert parts == sorted(parts)
    assert 0.0 < parts[0] <= parts[-1] <= 1.0
    assert "% pairs" in told[0][1]


@pytest.mark.slow
def test_thirty_seeds_of_one_percent_are_all_right() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        offset = int(rng.uniform(-0.95, 0.95) * PS_PER_S)
        pair = link(5e5, 0.01, 4.0, seed, offset_ps=offset, frequency_error=rng.uniform(-9.5e-6, 9.5e-6))
        found = acquire(pair.alice_ps, pair.bob_ps, SearchRange(0, PS_PER_S, 0.0, 10e-6), pair_fraction=0.01)
        assert right(pair, found), (seed, found.sentence)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fraction", "seconds", "error", "reach", "drift"),
    [(0.003, 12.0, 6.5e-6, 10e-6, 1e-9), (0.001, 20.0, 50e-9, 100e-9, 1e-11)],
)
def test_the_faintest_links_lock(fraction: float, seconds: float, error: float, reach: float, drift: float) -> None:
    pair = link(5e5, fraction, seconds, 2, offset_ps=131 * 10**9, frequency_error=error, drift_per_s=drift)
    where = SearchRange(0, PS_PER_S, 0.0, reach)
    with ThreadPoolExecutor(2) as pool:
        found = acquire(pair.alice_ps, pair.bob_ps, where, pair_fraction=fraction, over=pool.map)
    assert right(pair, found)
