"""Intervals, errors per basis, CHSH and fidelity: known counts of real instruments, and laws of counting."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.records import Detector, Receiver
from qnoded.stages.estimation import (
    THREE_SIGMA,
    Measured,
    bell_state_fidelity,
    chsh,
    chsh_expected_from_visibilities,
    chsh_from_matrix,
    correlation,
    correlations_per_basis,
    proportion,
    qber,
)

if TYPE_CHECKING:
    from pathlib import Path

ANGLES = {"H": 0.0, "V": 90.0, "D": 45.0, "A": 135.0}
UIUC = np.array([[2017, 107, 551, 403], [123, 1826, 486, 432], [384, 534, 577, 10], [669, 488, 13, 414]])


def receiver(side: str, names: str = "HVDA", angles: dict[str, float] | None = None) -> Receiver:
    bases = {"H": "HV", "V": "HV", "D": "DA", "A": "DA", "R": "RL", "L": "RL"}
    return Receiver(
        side,
        tuple(
            Detector(n, k, bases[n], int(n in "VAL"), angle_deg=None if angles is None else angles[n])
            for k, n in enumerate(names)
        ),
    )


ALICE, BOB = receiver("alice"), receiver("bob")


@pytest.fixture(scope="module")
def tomography(recordings: Path) -> np.ndarray:
    """Counts of 36 projections as a matrix in the order H V D A R L."""
    with (recordings / "bell_counts" / "counts.csv").open() as file:
        return np.array([complex(row[3].replace("i", "j")).real for row in csv.reader(file)]).reshape(6, 6)


# Published tables: Clopper and Pearson 1934; the rule of three; R's binom.test.
@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 10, 0.0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0)],
)
def test_intervals_equal_published_tables(hits: int, total: int, low: float, high: float) -> None:
    found = proportion(hits, total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_interval_of_a_recorded_qber() -> None:
    found = proportion(253, 5087)
    assert found.value == pytest.approx(0.049735, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.0439, 0.0561), abs=1e-4)


def test_no_counts_tell_nothing() -> None:
    found = proportion(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0.0, 1.0)


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6), st.sampled_from([0.5, 0.95, THREE_SIGMA]))
def test_interval_contains_the_value_and_grows_with_confidence(hits: float, misses: float, confidence: float) -> None:
    found = proportion(hits, hits + misses, confidence)
    wider = proportion(hits, hits + misses, 0.9999)
    assert 0.0 <= wider.low <= found.low <= found.high <= wider.high <= 1.0
    if hits + misses > 0.0:
        assert found.low <= found.value + 1e-12
        assert found.value <= found.high + 1e-12


@pytest.mark.parametrize("p", [0.001, 0.03, 0.5])
def test_interval_covers_at_least_as_often_as_it_says(p: float) -> None:
    counts = np.random.default_rng(1).binomial(300, p, 4000)
    intervals = {int(k): proportion(int(k), 300) for k in np.unique(counts)}
    covered = np.mean([intervals[int(k)].low <= p <= intervals[int(k)].high for k in counts])
    assert covered > 0.945


@pytest.mark.parametrize(("hits", "total", "confidence"), [(-1, 3, 0.9), (4, 3, 0.9), (1, 3, 1.0), (1, 3, 0.0)])
def test_impossible_counts_are_refused(hits: float, total: float, confidence: float) -> None:
    with pytest.raises(UsageError):
        proportion(hits, total, confidence)


def test_recorded_chsh_and_its_error_come_out_exactly(recordings: Path) -> None:
    with (recordings / "bell_counts" / "bozanic_16_counts.csv").open() as file:
        counts = np.array([row[1:] for row in list(csv.reader(file))[1:]], np.float64)
    found = chsh(counts)
    assert round(found.s.value, 5) == 2.72183
    assert round(found.s.error, 5) == 0.00363
    assert [round(one.value, 5) for one in found.correlations] == [-0.64943, 0.68234, -0.7045, -0.68556]
    assert found.odd_setting == "A1B2"
    assert found.sigmas_above_local == pytest.approx(199.0, abs=0.1)


def test_recorded_tomography_comes_out_exactly(tomography: np.ndarray) -> None:
    alice, bob = receiver("alice", "HVDARL"), receiver("bob", "HVDARL")
    seen = correlations_per_basis(tomography, alice, bob)
    assert {basis: round(one.value, 5) for basis, one in seen.items()} == {
        "HV": 0.99703,
        "DA": 0.99438,
        "RL": -0.99279,
    }
    errors = qber(tomography, alice, bob)
    assert [round(100 * one.qber.value, 3) for one in errors.bases.values()] == [0.148, 0.281, 0.36]
    fidelity = bell_state_fidelity(seen)
    assert fidelity is not None
    assert round(fidelity.value, 5) == 0.99605
    assert fidelity.error < 0.001


def test_recorded_matrix_gives_the_qber_of_the_reference() -> None:
    errors = qber(UIUC, ALICE, BOB)
    assert [round(100 * one.qber.value, 2) for one in (*errors.bases.values(), errors.total)] == [5.65, 2.27, 4.97]
    assert errors.total.qber.total == 5087
    assert errors.bases["HV"].visibility.value == pytest.approx(1 - 2 * 230 / 4073)
    assert errors.bases["HV"].visibility.low < errors.bases["HV"].visibility.value
    assert errors.total.qber_without_accidentals is None


def test_accidentals_are_taken_off_only_under_their_own_name() -> None:
    floor = np.full((4, 4), 20.0)
    plain, corrected = qber(UIUC, ALICE, BOB), qber(UIUC, ALICE, BOB, accidentals=floor, accidental_windows=4)
    assert corrected.total.qber == plain.total.qber
    without = corrected.total.qber_without_accidentals
    assert without is not None
    assert without.value == pytest.approx((253 - 80) / (5087 - 160))
    assert 0.9 * math.sqrt(253 + 80 / 4) / 4927 < without.error < 1.1 * math.sqrt(253 + 80 / 4) / 4927


@pytest.mark.parametrize(
    ("state", "wrong"),
    [("Phi+", (0.0, 0.0)), ("Phi-", (0.0, 1.0)), ("Psi+", (1.0, 0.0)), ("Psi-", (1.0, 1.0))],
)
def test_the_state_says_what_an_error_is(state: str, wrong: tuple[float, float]) -> None:
    errors = qber(np.diag([10, 10, 10, 10]), ALICE, BOB, state=state)
    assert tuple(one.qber.value for one in errors.bases.values()) == wrong


def test_basis_without_counts_and_receivers_without_common_basis() -> None:
    errors = qber(np.diag([5, 5, 0, 0]), ALICE, BOB)
    assert math.isnan(errors.bases["DA"].qber.value)
    assert errors.total.qber.total == 10
    with pytest.raises(UsageError, match="no basis in common"):
        qber(np.ones((2, 2)), receiver("alice", "HV"), receiver("bob", "DA"))
    with pytest.raises(UsageError, match="shape"):
        qber(np.ones((4, 3)), ALICE, BOB)
    with pytest.raises(UsageError, match="negative"):
        qber(-np.ones((4, 4)), ALICE, BOB)


def perfect_pair(bob_turn_deg: float, pairs: float, visibility: float = 1.0) -> tuple[np.ndarray, Receiver]:
    turned = {name: angle + bob_turn_deg for name, angle in ANGLES.items()}
    a = np.radians([ANGLES[n] for n in "HVDA"])[:, None]
    b = np.radians([turned[n] for n in "HVDA"])[None, :]
    return pairs / 16.0 * (1.0 + visibility * np.cos(2.0 * (a - b))), receiver("bob", angles=turned)


@pytest.mark.parametrize("turn", [22.5, -22.5, 67.5, 112.5])
@pytest.mark.parametrize("visibility", [1.0, 0.9, 0.72])
def test_chsh_of_a_werner_state_is_tsirelson_times_visibility(turn: float, visibility: float) -> None:
    matrix, bob = perfect_pair(turn, 1e5, visibility)
    found = chsh_from_matrix(matrix, receiver("alice", angles=ANGLES), bob)
    assert found.reason is None
    assert found.chsh is not None
    assert found.chsh.s.value == pytest.approx(2.0 * math.sqrt(2.0) * visibility)
    assert found.chsh.s.error == pytest.approx(math.sqrt(4.0 * (1.0 - visibility**2 / 2.0) / 25_000.0), rel=0.01)


def test_chsh_error_is_what_repetition_shows() -> None:
    matrix, bob = perfect_pair(22.5, 4000.0, 0.95)
    rng = np.random.default_rng(2)
    alice = receiver("alice", angles=ANGLES)
    found = [chsh_from_matrix(rng.poisson(matrix), alice, bob).chsh for _ in range(400)]
    values = np.array([one.s.value for one in found if one is not None])
    errors = np.array([one.s.error for one in found if one is not None])
    # 400 repetitions: the spread is known to 3.5 %.
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.12)
    assert np.mean(values) == pytest.approx(2.0 * math.sqrt(2.0) * 0.95, abs=0.01)


@pytest.mark.parametrize("angle_deg", [math.nan, math.inf])
def test_an_angle_that_is_no_number_gives_no_chsh_but_a_reason(angle_deg: float) -> None:
    alice = receiver("alice", angles={**ANGLES, "H": angle_deg})
    found = chsh_from_matrix(UIUC, alice, receiver("bob", angles=ANGLES))
    assert found.chsh is None
    assert found.reason == "the analyser angle of alice H is not known; give angle_deg for CHSH"


@pytest.mark.parametrize(
    ("alice", "bob", "matrix", "reason"),
    [
        (receiver("alice", angles=ANGLES), receiver("bob", angles=ANGLES), UIUC, "S = 2.000"),
        (ALICE, BOB, UIUC, "not known"),
        (receiver("alice", "HV", ANGLES), receiver("bob", angles=ANGLES), UIUC[:2], "two bases"),
        (
            receiver("alice", angles={"H": 0.0, "V": 45.0, "D": 45.0, "A": 135.0}),
            receiver("bob", angles=ANGLES),
            UIUC,
            "right angles",
        ),
        (receiver("alice", angles=ANGLES), perfect_pair(22.5, 1.0)[1], np.zeros((4, 4)), "no coincidences"),
    ],
)
def test_settings_that_allow_no_chsh_give_a_reason(
    alice: Receiver, bob: Receiver, matrix: np.ndarray, reason: str
) -> None:
    found = chsh_from_matrix(matrix, alice, bob)
    assert found.chsh is None
    assert found.reason is not None
    assert reason in found.reason


@given(st.lists(st.integers(1, 10**6), min_size=16, max_size=16))
def test_chsh_never_exceeds_four_and_takes_the_best_sign(counts: list[int]) -> None:
    found = chsh(np.array(counts).reshape(4, 4))
    e = np.array([one.value for one in found.correlations])
    assert found.s.value == pytest.approx(max(abs(e.sum() - 2 * one) for one in e))
    assert found.s.value <= 4.0


def test_chsh_refuses_what_is_no_table_of_counts() -> None:
    for counts in (np.ones((4, 3)), -np.ones((4, 4)), np.array([[1] * 4] * 3 + [[0] * 4])):
        with pytest.raises(UsageError, match="CHSH"):
            chsh(counts)


def test_correlation_without_counts_is_undefined_and_fidelity_needs_three_bases() -> None:
    assert math.isnan(correlation(np.zeros((2, 2))).value)
    assert bell_state_fidelity({"HV": Measured(1.0, 0.0), "DA": Measured(1.0, 0.0)}) is None
    perfect = {basis: Measured(-1.0, 0.0) for basis in ("HV", "DA", "RL")}
    assert bell_state_fidelity(perfect, "Psi-") == Measured(1.0, 0.0)


# Werner state: QBER, S of visibility V (tables of the field).
@pytest.mark.parametrize(("v", "s"), [(0.98, 2.772), (0.95, 2.687), (0.9, 2.546), (0.86, 2.432), (0.8, 2.263)])
def test_expected_chsh_of_visibilities(v: float, s: float) -> None:
    found = chsh_expected_from_visibilities(Measured(v, 0.01), Measured(v, 0.02))
    assert found.value == pytest.approx(s, abs=5e-4)
    assert found.error == pytest.approx(math.sqrt(2.0) * math.hypot(0.01, 0.02))
