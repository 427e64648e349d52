"""Brightness, bias, asymptotic key and the window: against theory, simulation and a recording."""

from __future__ import annotations

import gzip
import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import erf

from qnoded.errors import UsageError
from qnoded.kernels.peaks import count_close_pairs, list_close_pairs
from qnoded.records import Detector, Receiver
from qnoded.stages.artefacts.intervals import find_double_firing
from qnoded.stages.calibration import calibrate_delays
from qnoded.stages.estimation import (
    asymptotic_key_rate,
    asymptotic_share,
    bias_test,
    bias_tests,
    car,
    heralding,
    qber,
    recommend_window,
)
from qnoded.stages.key_length.entropy import binary_entropy

if TYPE_CHECKING:
    from pathlib import Path

LABELS = (("H", "HV", 0), ("V", "HV", 1), ("D", "DA", 0), ("A", "DA", 1))
ALICE, BOB = (
    Receiver(side, tuple(Detector(name, k, basis, bit) for k, (name, basis, bit) in enumerate(LABELS)))
    for side in ("alice", "bob")
)
FLAT_PAIRS = np.array([[2, 0, 1, 1], [0, 2, 1, 1], [1, 1, 2, 0], [1, 1, 0, 2]]) / 16.0


# Continuous-wave table: true coincidences and accidentals per second, CAR.
@pytest.mark.parametrize(
    ("true", "accidental", "ratio"),
    [(3801.1, 2.0550, 1849.6), (3801.1, 20.505, 185.4), (9226.2, 151.5, 60.9), (106.91, 0.0713, 1500)],
)
def test_car_of_the_continuous_wave_table(true: float, accidental: float, ratio: float) -> None:
    found = car(true + accidental, accidental)
    assert found.true_to_accidental == pytest.approx(ratio, rel=1e-3)
    assert found.total_to_accidental == pytest.approx(ratio + 1.0, rel=1e-3)


def test_car_without_accidentals_is_a_lower_limit() -> None:
    found = car(1000, 0, 4)
    assert found.true_to_accidental is None
    # No count in four windows: less than 3.0 counts with 95 %, 0.75 a window.
    assert found.at_least == pytest.approx(1000 / 0.749 - 1.0, rel=1e-3)
    assert car(0, 0).at_least == 0.0
    with pytest.raises(UsageError):
        car(-1, 0)
    with pytest.raises(UsageError):
        car(1, 0, 0)


def test_car_error_is_what_repetition_shows() -> None:
    rng = np.random.default_rng(1)
    found = [car(int(rng.poisson(2000)), rng.poisson(40 * 4) / 4, 4) for _ in range(500)]
    values = np.array([one.true_to_accidental for one in found], np.float64)
    assert np.std(values) == pytest.approx(np.mean([one.error for one in found if one.error]), rel=0.12)
    assert np.mean(values) == pytest.approx(49.0, abs=1.0)
    assert np.mean([one.at_least < 49.0 for one in found]) > 0.93


def test_heralding_recovers_efficiencies_and_pair_rate() -> None:
    rate_hz, eta_a, eta_b, dark_hz, seconds = 1e6, 0.2, 0.02, 500.0, 10.0
    rng = np.random.default_rng(2)
    clicks_a = rng.poisson((rate_hz * eta_a / 4 + dark_hz) * seconds, 4)
    clicks_b = rng.poisson((rate_hz * eta_b / 4 + dark_hz) * seconds, 4)
    floor = np.outer(clicks_a, clicks_b) / seconds * 1e-9
    matrix = rng.poisson(rate_hz * seconds * eta_a * eta_b * FLAT_PAIRS + floor)
    dark = np.full(4, dark_hz)

    found = heralding(clicks_a, clicks_b, matrix, floor, seconds, alice_dark_hz=dark, bob_dark_hz=dark)

    assert found.alice_efficiency.value == pytest.approx(eta_a, abs=4 * found.alice_efficiency.error)
    assert found.bob_efficiency.value == pytest.approx(eta_b, abs=4 * found.bob_efficiency.error)
    assert found.pair_rate_hz.value == pytest.approx(rate_hz, abs=4 * found.pair_rate_hz.error)
    assert found.pair_rate_hz.error < 0.01 * rate_hz
    assert sum(one.value for one in found.alice_detector_efficiency) == pytest.approx(found.alice_efficiency.value)
    assert [one.value for one in found.bob_partner_share] == pytest.approx([eta_a] * 4, rel=0.05)
    assert [one.value for one in found.alice_partner_share] == pytest.approx([eta_b] * 4, rel=0.05)
    # Without the background taken off, dark counts look like loss.
    assert heralding(clicks_a, clicks_b, matrix, floor, seconds).alice_efficiency.value < 0.95 * eta_a


@pytest.mark.parametrize("windows", [1, 8])
def test_heralding_errors_are_what_repetition_shows_for_any_number_of_windows(windows: int) -> None:
    # As many accidentals as pairs: there it matters how well they are known.
    rng, clicks = np.random.default_rng(3), np.full(4, 10**6)
    pairs, chance = 4000.0 * FLAT_PAIRS, np.full((4, 4), 250.0)
    found = [
        heralding(
            clicks,
            clicks,
            rng.poisson(pairs + chance),
            rng.poisson(windows * chance) / windows,
            1.0,
            accidental_windows=windows,
        ).alice_efficiency
        for _ in range(1000)
    ]
    # The standard deviation of 1000 values is good to 2.2 %.
    assert np.std([one.value for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.09)


def test_heralding_without_clicks_is_undefined_and_shapes_are_checked() -> None:
    none = np.zeros(4, np.int64)
    found = heralding(none, none, np.zeros((4, 4)), np.zeros((4, 4)), 1.0)
    assert math.isnan(found.alice_efficiency.value)
    assert math.isnan(found.pair_rate_hz.value)
    with pytest.raises(UsageError):
        heralding(none, none, np.zeros((4, 3)), np.zeros((4, 3)), 1.0)
    with pytest.raises(UsageError):
        heralding(none, none, np.zeros((4, 4)), np.zeros((4, 4)), 0.0)
    with pytest.raises(UsageError, match="0 displaced windows"):
        heralding(none, none, np.zeros((4, 4)), np.zeros((4, 4)), 1.0, accidental_windows=0)


def test_bias_of_recorded_keys() -> None:
    # 37,765 ones of 74,800 bits.
    found = bias_test("alice", "bit", "HV", 74_800 - 37_765, 74_800)
    assert found.z == pytest.approx(-2.669, abs=1e-3)
    assert found.p_value == pytest.approx(0.0076, abs=1e-4)
    assert found.effect == pytest.approx(-0.00488, abs=1e-5)
    assert found.min_entropy == pytest.approx(-math.log2(37_765 / 74_800))
    assert not found.notable


def test_bias_cries_wolf_as_seldom_as_it_says() -> None:
    rng = np.random.default_rng(3)
    p_values = np.array([bias_test("bob", "bit", "HV", k, 5000).p_value for k in rng.binomial(5000, 0.5, 4000)])
    assert np.mean(p_values < 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(p_values < 0.001) < 0.003


def test_efficiency_mismatch_and_uneven_bases_are_found_where_they_are() -> None:
    efficiency = np.diag([1.0, 0.8, 1.0, 1.0])
    matrix = np.random.default_rng(4).poisson(efficiency @ FLAT_PAIRS * 2e5)
    tests = {(one.side, one.of, one.basis): one for one in bias_tests(matrix, ALICE, BOB)}
    bit = tests["alice", "bit", "HV"]
    assert bit.share.value == pytest.approx(1 / 1.8, abs=0.01)
    assert bit.notable
    assert not tests["alice", "bit", "DA"].notable
    # The peer's bits go with them, since they are correlated.
    assert tests["bob", "bit", "HV"].notable
    assert tests["alice", "basis", "HV"].effect < -0.02
    assert tests["alice", "basis", "HV"].notable
    assert len(tests) == 6


def test_bias_without_counts_says_nothing() -> None:
    for one in bias_tests(np.zeros((4, 4)), ALICE, BOB):
        assert one.p_value == 1.0
        assert not one.notable
    with pytest.raises(UsageError):
        bias_test("alice", "bit", "HV", 1, 2, expected=1.0)


def test_binary_entropy_of_known_values() -> None:
    assert [binary_entropy(p) for p in (0.0, 0.11, 0.5, 1.0)] == pytest.approx([0.0, 0.49992, 1.0, 0.0], abs=1e-5)


# Werner states: secret bits per sifted bit at f = 1.1.
@pytest.mark.parametrize(("q", "share"), [(0.01, 0.830), (0.025, 0.646), (0.05, 0.399), (0.07, 0.232), (0.10, 0.015)])
def test_asymptotic_share_of_the_table(q: float, share: float) -> None:
    assert float(asymptotic_share(q, q, 1.1)) == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize(("efficiency", "limit"), [(1.0, 0.1100), (1.1, 0.1023), (1.16, 0.0981), (1.22, 0.0942)])
def test_largest_qber_with_key(efficiency: float, limit: float) -> None:
    found = brentq(lambda q: 1.0 - (1.0 + efficiency) * binary_entropy(q), 0.01, 0.3)
    assert found == pytest.approx(limit, abs=5e-5)
    assert float(asymptotic_share(limit + 1e-3, limit + 1e-3, efficiency)) == 0.0
    assert float(asymptotic_share(limit - 1e-3, limit - 1e-3, efficiency)) > 0.0
    # Anticorrelated bits are no key either until the state is named.
    assert float(asymptotic_share(0.99, 0.99, efficiency)) == 0.0
    with pytest.raises(UsageError):
        asymptotic_share(0.1, 0.1, 0.99)


def test_key_rate_takes_phase_errors_from_the_other_basis() -> None:
    matrix = np.array([[95, 5, 0, 0], [5, 95, 0, 0], [0, 0, 198, 2], [0, 0, 2, 198]])
    found = asymptotic_key_rate(qber(matrix, ALICE, BOB), 2.0, 1.1)
    hv, da = (float(asymptotic_share(*pair, 1.1)) for pair in ((0.05, 0.01), (0.01, 0.05)))
    assert found.per_basis == pytest.approx({"HV": hv, "DA": da})
    assert found.secret_hz == pytest.approx((200 * hv + 400 * da) / 2.0)
    assert found.sifted_hz == 300.0
    assert found.asymptotic
    assert asymptotic_key_rate(qber(matrix * 0, ALICE, BOB), 2.0).secret_hz == 0.0
    with pytest.raises(UsageError):
        asymptotic_key_rate(qber(matrix, ALICE, BOB), 0.0)


def wide_window(
    seed: int, pairs: int, floor_per_ns: float, fwhm_ps: float, e_pol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in equal bases within +-20 ns: a Gaussian peak on a flat floor of chance."""
    rng = np.random.default_rng(seed)
    chance = rng.poisson(40 * floor_per_ns)
    residual = np.concatenate([rng.normal(0.0, fwhm_ps / 2.3548, pairs), rng.uniform(-20_000, 20_000, chance)])
    wrong = np.concatenate([rng.random(pairs) < e_pol, rng.random(chance) < 0.5])
    return residual.round().astype(np.int64), wrong


@pytest.mark.parametrize("floor_per_ns", [10.0, 300.0, 3000.0])
def test_recommended_window_gives_the_best_key_of_theory(floor_per_ns: float) -> None:
    pairs, fwhm, e_pol, f = 20_000, 1000.0, 0.01, 1.16
    windows = np.arange(100.0, 30_000.0, 10.0)
    true = pairs * erf(math.sqrt(math.log(2.0)) * windows / fwhm)
    chance = floor_per_ns * windows / 1000.0
    q = (true * e_pol + chance / 2) / (true + chance)
    key = (true + chance) * asymptotic_share(q, q, f)

    found = recommend_window(*wide_window(5, pairs, floor_per_ns, fwhm, e_pol), efficiency=f)

    assert found.window_ps is not None
    at_found = float(np.interp(found.window_ps, windows, key))
    # The errors that were counted move the curve by (1 + f) h'(q) sqrt(n q); 1 % is given for a narrower window.
    n, e = (float(np.interp(found.window_ps, windows, curve)) for curve in (true + chance, q))
    noise = (1.0 + f) * math.log2((1.0 - e) / e) * math.sqrt(n * e)
    assert at_found > 0.99 * key.max() - noise
    assert noise < 0.25 * key.max()
    assert found.window_ps <= windows[np.argmax(key)] * 1.15
    assert np.all(np.diff(found.windows_ps) > 0)
    assert np.all(np.diff(found.sifted) >= 0)
    assert "asymptotic" in found.sentence


def test_recommendation_compares_with_the_present_window() -> None:
    data = wide_window(6, 20_000, 1000.0, 1000.0, 0.01)
    best = recommend_window(*data)
    assert best.window_ps is not None
    assert "as good" in recommend_window(*data, window_ps=best.window_ps).sentence
    assert "% more than" in recommend_window(*data, window_ps=2_000).sentence
    assert "gives none" in recommend_window(*data, window_ps=20_000).sentence
    assert recommend_window(*data, window_ps=10**9).sentence == best.sentence


def test_a_window_that_ends_within_the_peak_asks_for_a_wider_look() -> None:
    residual, wrong = wide_window(7, 20_000, 0.0, 1000.0, 0.01)
    near = np.abs(residual) < 200
    found = recommend_window(residual[near], wrong[near])
    assert "look wider" in found.sentence


def test_no_recommendation_without_pairs_or_without_key() -> None:
    residual, wrong = wide_window(8, 50, 1.0, 1000.0, 0.01)
    few = recommend_window(residual, wrong)
    assert few.window_ps is None
    assert "too few" in few.sentence
    assert few.windows_ps.size == 0
    bad = recommend_window(*wide_window(9, 5_000, 10.0, 1000.0, 0.2))
    assert bad.window_ps is None
    assert "none gives key" in bad.sentence
    with pytest.raises(UsageError):
        recommend_window(residual, wrong[1:])


def test_window_uses_phase_errors_of_the_other_basis() -> None:
    residual, wrong = wide_window(10, 20_000, 300.0, 1000.0, 0.01)
    basis = (np.arange(wrong.size) % 2).astype(np.uint8)
    together, apart = recommend_window(residual, wrong), recommend_window(residual, wrong, basis)
    assert apart.secret_bits.max() == pytest.approx(together.secret_bits.max(), rel=0.03)
    assert np.array_equal(apart.sifted, together.sifted)


def test_window_of_a_recording(recordings: Path) -> None:
    with gzip.open(recordings / "uiuc_entangled_tags" / "tags.txt.gz") as file:
        channel, ticks = np.loadtxt(file, dtype=np.int64, unpack=True)
    tag_ps = (ticks * 625 + 4) // 8
    own = np.flatnonzero(channel == 0)
    echo = find_double_firing(np.diff(tag_ps[own]))
    assert echo is not None
    keep = np.ones(channel.size, np.bool_)
    keep[own[1:][np.diff(tag_ps[own]) < echo.dead_time_ps]] = False
    detector, tag_ps = (channel[keep] % 4).astype(np.uint8), tag_ps[keep]
    alice = channel[keep] < 4
    a, t, b, u = detector[alice], tag_ps[alice], detector[~alice], tag_ps[~alice]
    delays = calibrate_delays(ALICE, a, t, BOB, b, u, shared_clock=True, tick_ps=Fraction(625, 8))
    t, u = t - np.array(delays.alice_ps, np.int64)[a], u - np.array(delays.bob_ps, np.int64)[b]
    at, bu = np.argsort(t, kind="stable"), np.argsort(u, kind="stable")
    count = count_close_pairs(t[at], u[bu], -10_000, 10_001)
    dt, i, j = np.empty(count, np.int64), np.empty(count, np.uint8), np.empty(count, np.uint8)
    list_close_pairs(t[at], a[at], u[bu], b[bu], -10_000, 10_001, dt, i, j)
    same = i // 2 == j // 2

    found = recommend_window(dt[same], (i != j)[same], (i // 2)[same], window_ps=2031)

    # The reference counted 4,836 sifted bits at +-6 and 5,087 at +-13 ticks, 4.57 % and 4.97 % errors.
    assert found.window_ps is not None
    assert 700 <= found.window_ps <= 2500
    near_13 = int(np.searchsorted(found.windows_ps, 2 * 13.5 * 78.125))
    assert found.sifted[near_13] == pytest.approx(5087, rel=0.01)
    assert found.qber[near_13] == pytest.approx(0.0497, abs=0.002)
