"""The closed formulas against worked cases and limits found in the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from link_formulas import CwLink, rotation_qber
from plain_counting import Side, matrix, record

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


WINDOW_PS, APART_PS = 1000, 40_000
DENSE = [
    "source.pair_rate_hz=3e7",
    "bob.fibre.length_km=0",
    "bob.fibre.fixed_loss_db=3.5",
    *(f"{side}.{one}" for side in ("alice", "bob") for one in ("clock.preset=ideal", "clock.offset_ps=0")),
    *(f"{side}.detectors.skew_ps=0" for side in ("alice", "bob")),
]
"""The demo's link with 30 times its light: one click of a hundred has another of its side within the window."""


def one_each(side: Side, rng: np.random.Generator) -> Side:
    """Of a click with all that follow within the window keep one, as a node does; dead times keep detectors apart."""
    kept = np.ones(side.tag_ps.size, bool)
    done = 0
    for first in np.flatnonzero(np.diff(side.tag_ps) <= WINDOW_PS):
        if first < done:
            continue
        done = int(np.searchsorted(side.tag_ps, side.tag_ps[first] + WINDOW_PS, "right"))
        kept[first:done] = False
        kept[rng.integers(first, done)] = True
    return Side(side.tag_ps[kept], side.channel[kept])


def told_by(revealer: Side) -> Side:
    """Drop what is too near to the click before in the same basis."""
    kept = np.ones(revealer.tag_ps.size, bool)
    for basis in (0, 1):
        own = np.flatnonzero(revealer.channel // 2 == basis)
        kept[own[1:]] = np.diff(revealer.tag_ps[own]) >= APART_PS
    return Side(revealer.tag_ps[kept], revealer.channel[kept])


def test_a_dense_link_counts_what_theory_says_of_its_nodes_rules() -> None:
    """30 Mpairs/s: rate (0.15 %) and QBER (1 %) within 3 sigma; without the nodes' rules 5 % and 11 % are missed."""
    seconds, rng = 1.0, np.random.default_rng(1)
    alice, bob, world = record(DENSE, seconds)
    found = matrix(one_each(alice, rng), told_by(one_each(bob, rng)), WINDOW_PS) / seconds
    expected = world.truth["expected"]
    pairs_hz = np.array(expected["pairs_matrix_hz"])
    clicks_hz = np.array(expected["singles_hz"]["alice"]), np.array(expected["singles_hz"]["bob"])
    theory_hz = theory.linked_matrix_hz(pairs_hz, clicks_hz, WINDOW_PS, revealer=1, apart_ps=APART_PS)

    def told(matrix_hz: np.ndarray) -> tuple[float, float]:
        qber = theory.matrix_qber(matrix_hz)["total"]
        assert qber is not None
        return float(matrix_hz[:2, :2].sum() + matrix_hz[2:, 2:].sum()), qber

    (rate_hz, qber), (due_hz, share) = told(found), told(theory_hz)
    assert rate_hz == pytest.approx(due_hz, abs=3 * math.sqrt(due_hz / seconds))
    assert qber == pytest.approx(share, abs=3 * math.sqrt(share / (due_hz * seconds)))
    naive_hz, naive = told(np.array(expected["matrix_hz"]))
    assert naive_hz / rate_hz == pytest.approx(1.05, abs=0.005)
    assert naive / qber == pytest.approx(1.11, abs=0.02)


def test_a_thin_link_counts_all_pairs_and_accidentals() -> None:
    pairs_hz, clicks_hz = np.eye(4) * 10.0, (np.full(4, 100.0), np.full(4, 50.0))
    plain = pairs_hz + np.outer(*clicks_hz) * 1e-9
    assert theory.linked_matrix_hz(pairs_hz, clicks_hz, 1000, revealer=0, apart_ps=0) == pytest.approx(plain, abs=1e-5)


def test_dead_times_of_one_pair_run_side_by_side() -> None:
    """1 MHz of pairs of one kind and 40 ns: 4 % more than chance; the shorter dead time counts."""
    ready, pairs_hz = np.full(4, 0.5), np.diag([1e6, 0.0, 0.0, 0.0])
    together = theory.ready_together(ready, ready, pairs_hz, np.full((4, 4), 40_000.0))
    assert together[0, 0] == pytest.approx(0.25 * 1.04)
    assert together[1:] == pytest.approx(np.full((3, 4), 0.25))


def test_who_reveals_loses_what_is_too_near() -> None:
    """1 MHz a detector and 40 ns: 4 % of the revealer's clicks, whoever it is."""
    pairs_hz, clicks_hz = np.eye(4), (np.full(4, 1e6), np.zeros(4))
    for revealer, clicks in ((0, clicks_hz), (1, clicks_hz[::-1])):
        linked = theory.linked_matrix_hz(pairs_hz, clicks, 1e-3, revealer=revealer, apart_ps=40_000)
        assert linked.diagonal() == pytest.approx([0.96] * 4, rel=1e-6)
