"""The closed formulas against worked cases and limits found in the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from link_formulas import CwLink, rotation_qber

from qnoded.sim import theory

# B, eta_A, eta_B, d, t_D, window, e_pol -> S_A, S_B, true before the window, accidentals, C, CAR, QBER in percent
CW_CASES = [
    (1e6, 0.2, 0.02, 500, 300, 500, 0.01, 200_500, 20_500, 3801.1, 2.055, 3803.2, 1849.6, 1.0265),
    (1e7, 0.2, 0.002, 500, 300, 500, 0.01, 2.0005e6, 20_500, 3801.1, 20.505, 3821.6, 185.4, 1.2629),
    (1e8, 0.1, 0.001, 1000, 100, 150, 0.02, 1.0001e7, 1.01e5, 9226.2, 151.5, 9377.7, 60.9, 2.7755),
    (5e6, 0.15, 1.5e-4, 200, 60, 100, 0.015, 7.502e5, 950, 106.91, 0.0713, 106.98, 1500, 1.5323),
]


@pytest.mark.parametrize("case", CW_CASES)
def test_continuous_wave_link(case: tuple[float, ...]) -> None:
    rate, eta_a, eta_b, dark, peak_ps, window_ps, error, s_a, s_b, true, acc, total, car, qber = case
    found = CwLink(rate, eta_a, eta_b, dark, dark, peak_ps, window_ps, error).expectation()
    # Limits: half of the last digit of the coarsest entry in each column.
    assert found.singles_alice_hz == pytest.approx(s_a, rel=1e-9)
    assert found.singles_bob_hz == pytest.approx(s_b, rel=1e-9)
    assert found.true_hz == pytest.approx(true, rel=5e-5)
    assert found.accidental_hz == pytest.approx(acc, rel=5e-4)
    assert found.coincidences_hz == pytest.approx(total, rel=5e-5)
    assert found.car == pytest.approx(car, rel=6e-4)
    assert 100 * found.qber == pytest.approx(qber, abs=6e-5)


@pytest.mark.parametrize(("visibility", "s"), [(0.98, 2.772), (0.95, 2.687), (0.90, 2.546), (0.80, 2.263)])
def test_largest_chsh_of_a_werner_state(visibility: float, s: float) -> None:
    assert theory.largest_chsh(visibility * np.diag([1.0, 1.0, -1.0])) == pytest.approx(s, abs=5e-4)


@pytest.mark.parametrize(("widths", "share"), [(0.5, 0.444), (1.0, 0.761), (1.5, 0.923), (2.0, 0.981), (3.0, 0.9996)])
def test_window_share(widths: float, share: float) -> None:
    assert theory.window_share(300 * widths, 300) == pytest.approx(share, abs=5e-4)


def test_window_share_of_a_peak_without_width() -> None:
    assert theory.window_share(1, 0) == 1.0
    assert theory.window_share(0, 0) == 0.0


def test_rotation_qber() -> None:
    # One percent of mean QBER over all axes belongs to 0.245 rad.
    rng = np.random.default_rng(1)
    axes = rng.standard_normal((20_000, 3))
    mean = np.mean([rotation_qber(0.245, tuple(axis)) for axis in axes])
    assert mean == pytest.approx((1 - math.cos(0.245)) / 3, rel=0.01)
    assert mean == pytest.approx(0.01, rel=0.02)
    assert rotation_qber(1.0, (0.0, 0.0, 2.0)) == pytest.approx((0.22985, 0.22985), abs=1e-5)
    assert rotation_qber(1.0, (1.0, 0.0, 0.0)) == pytest.approx((0.0, 0.22985), abs=1e-5)


def test_dead_time_laws() -> None:
    # 1 Mcps and 50 ns.
    assert theory.counted_rate_hz(1e6, 50_000, False) == pytest.approx(952_381, abs=0.5)
    assert theory.counted_rate_hz(1e6, 50_000, True) == pytest.approx(951_229, abs=0.5)
    assert theory.counted_rate_hz(0.0, 50_000, True) == 0.0


def test_afterpulses_add_to_the_rate() -> None:
    counted, ready = theory.afterpulsing_rate_hz(1000.0, 0, False, 0.2)
    assert counted == pytest.approx(1000 / (1 - 0.2))
    assert ready == 1.0
    assert theory.afterpulsing_rate_hz(0.0, 1000, False, 0.2) == (0.0, 1.0)


def test_chsh_of_the_four_settings() -> None:
    half = math.sqrt(0.5)
    for minus in range(4):
        correlators = np.full((2, 2), half)
        correlators[divmod(minus, 2)] = -half
        assert theory.chsh(correlators) == pytest.approx(2 * math.sqrt(2))
        assert theory.chsh(-correlators) == pytest.approx(2 * math.sqrt(2))


def test_matrix_without_counts_has_no_qber() -> None:
    assert theory.matrix_qber(np.zeros((4, 4))) == {"HV": None, "DA": None, "total": None}
    assert theory.matrix_correlators(np.zeros((4, 4))).tolist() == [[0, 0], [0, 0]]
