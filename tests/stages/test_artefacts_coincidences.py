"""Faults that only coincidences show."""

from __future__ import annotations

import numpy as np
import pytest

from qnoded.errors import UsageError
from qnoded.records import Detector, Receiver
from qnoded.stages.artefacts import coincidence_artefacts

LABELS = (("H", "HV", 0), ("V", "HV", 1), ("D", "DA", 0), ("A", "DA", 1))
ALICE, BOB = (
    Receiver(side, tuple(Detector(name, k + first, basis, bit) for k, (name, basis, bit) in enumerate(LABELS)))
    for side, first in (("alice", 0), ("bob", 4))
)
CLEAN = np.array([[50, 1, 25, 25], [1, 50, 25, 25], [25, 25, 50, 1], [25, 25, 1, 50]])


def counted(seed: int, scale: float, rows: list[float], columns: list[float]) -> np.ndarray:
    mean = CLEAN * scale * np.outer(rows, columns)
    return np.random.default_rng(seed).poisson(mean)


def test_equal_shares_give_no_finding_even_at_unequal_efficiency() -> None:
    clicks = np.array([50_000, 45_000, 20_000, 60_000])
    for scale in (0.02, 1.0, 100.0):
        matrix = counted(1, scale, [1.0, 0.9, 0.4, 1.2], [1.0, 1.0, 1.0, 1.0])
        assert coincidence_artefacts(ALICE, BOB, clicks, np.full(4, 40_000), matrix) == ()


def test_a_detector_with_forty_times_too_few_coincidences_is_dim() -> None:
    matrix = counted(2, 10.0, [1.0] * 4, [1.0, 1.0, 1.0, 1 / 40])
    found = coincidence_artefacts(ALICE, BOB, np.full(4, 50_000), np.full(4, 50_000), matrix)
    assert [(one.side, one.detector, one.channel, one.kind) for one in found] == [("bob", "A", 7, "dim")]
    assert found[0].numbers["expected_coincidences"] == pytest.approx(1000, rel=0.15)


def test_a_loud_detector_without_partners_is_hot() -> None:
    matrix = counted(3, 10.0, [1.0, 1 / 40, 1.0, 1.0], [1.0] * 4)
    clicks = np.array([50_000, 900_000, 50_000, 50_000])
    found = coincidence_artefacts(ALICE, BOB, clicks, np.full(4, 50_000), matrix)
    assert [(one.side, one.detector, one.kind) for one in found] == [("alice", "V", "hot")]
    assert "18.0 times" in found[0].sentence


def test_accidentals_of_a_hot_detector_do_not_hide_it() -> None:
    pairs = counted(4, 50.0, [1.0, 0.0, 1.0, 1.0], [1.0] * 4)
    floor = np.zeros((4, 4))
    floor[1] = 400.0
    matrix = pairs + np.random.default_rng(5).poisson(floor)
    clicks = np.array([50_000, 900_000, 50_000, 50_000])
    found = coincidence_artefacts(ALICE, BOB, clicks, np.full(4, 50_000), matrix, floor)
    assert [(one.detector, one.kind) for one in found] == [("V", "hot")]


@pytest.mark.parametrize("scale", [0.0, 0.01, 0.1])
def test_few_coincidences_allow_no_statement(scale: float) -> None:
    for seed in range(50):
        matrix = counted(seed, scale, [1.0] * 4, [1.0] * 4)
        assert coincidence_artefacts(ALICE, BOB, np.full(4, 900), np.full(4, 900), matrix) == ()


def test_more_accidentals_than_coincidences_are_no_fault() -> None:
    matrix = np.random.default_rng(6).poisson(np.full((4, 4), 50.0))
    assert coincidence_artefacts(ALICE, BOB, np.full(4, 900), np.full(4, 900), matrix, np.full((4, 4), 60.0)) == ()


def test_a_recorded_matrix_in_order_gives_no_finding() -> None:
    matrix = np.array([[2017, 107, 551, 403], [123, 1826, 486, 432], [384, 534, 577, 10], [669, 488, 13, 414]])
    alice, bob = np.array([13_874, 13_805, 8_999, 6_616]), np.array([26_471, 29_447, 13_858, 10_818])
    assert coincidence_artefacts(ALICE, BOB, alice, bob, matrix) == ()


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UsageError, match="matrix"):
        coincidence_artefacts(ALICE, BOB, np.ones(4, int), np.ones(4, int), np.ones((4, 3)))
    with pytest.raises(UsageError, match="bob has 4 detectors"):
        coincidence_artefacts(ALICE, BOB, np.ones(4, int), np.ones(5, int), np.ones((4, 4)))
