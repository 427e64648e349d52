"""The reading of the matrix, scored on every fault it knows, with counting noise, and on honest links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from qnoded.errors import UsageError
from qnoded.records import Detector, Receiver
from qnoded.stages.estimation import Pattern, read_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable
from dataclasses import replace

LABELS = (("H", "HV", 0), ("V", "HV", 1), ("D", "DA", 0), ("A", "DA", 1))
ALICE, BOB = (
    Receiver(side, tuple(Detector(name, k + first, basis, bit) for k, (name, basis, bit) in enumerate(LABELS)))
    for side, first in (("alice", 0), ("bob", 4))
)
STOKES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float64)
BELL = {"Phi+": (1, 1, -1), "Phi-": (1, -1, 1), "Psi+": (-1, 1, 1), "Psi-": (-1, -1, -1)}
UIUC = np.array([[2017, 107, 551, 403], [123, 1826, 486, 432], [384, 534, 577, 10], [669, 488, 13, 414]])
SEEDS = range(12)


def link(
    pairs: float,
    *,
    visibility: tuple[float, float, float] = (0.97, 0.95, 0.95),
    state: str = "Phi+",
    turn: np.ndarray | None = None,
    floor: float = 0.0,
    alice: Iterable[float] = (1.0, 1.0, 1.0, 1.0),
    bob: Iterable[float] = (1.0, 1.0, 1.0, 1.0),
    alice_order: list[int] | None = None,
    bob_order: list[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean coincidences and mean accidentals: floor is the accidental share of the pairs, the orders mislabel."""
    tensor = np.diag(np.array(BELL[state]) * visibility)
    if turn is not None:
        tensor = tensor @ turn.T
    efficiency = np.outer(list(alice), list(bob))
    mean = pairs / 16.0 * (1.0 + STOKES @ tensor @ STOKES.T) * efficiency
    chance = np.full((4, 4), pairs * floor / 16.0) * efficiency
    matrix = mean + chance
    if alice_order:
        matrix, chance = matrix[alice_order], chance[alice_order]
    if bob_order:
        matrix, chance = matrix[:, bob_order], chance[:, bob_order]
    return matrix, chance


def readings(
    mean: np.ndarray, chance: np.ndarray, state: str = "Phi+"
) -> list[tuple[tuple[Pattern, ...], tuple[Pattern, ...]]]:
    """Read noisy counts of several seeds, without and with accidentals from four displaced windows."""
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        matrix, floor = rng.poisson(mean), rng.poisson(4 * chance) / 4
        found.append(
            (
                read_pattern(matrix, ALICE, BOB, state=state),
                read_pattern(matrix, ALICE, BOB, state=state, accidentals=floor, accidental_windows=4),
            )
        )
    return found


def kinds(found: tuple[Pattern, ...]) -> list[str]:
    return [one.kind for one in found]


@pytest.mark.parametrize("pairs", [30.0, 300.0, 3e3, 3e4, 3e6])
@pytest.mark.parametrize(
    "honest",
    [
        {},
        {"visibility": (0.995, 0.90, 0.9)},
        {"alice": (1.0, 0.5, 0.8, 0.6), "bob": (0.4, 0.9, 1.0, 0.7)},
        {"floor": 0.05},
        {"turn": Rotation.from_euler("z", 8, degrees=True).as_matrix()},
        {"state": "Psi-"},
    ],
)
def test_an_honest_link_gives_no_finding_at_any_count(pairs: float, honest: dict[str, object]) -> None:
    mean, chance = link(pairs, **honest)
    for found in readings(mean, chance, str(honest.get("state", "Phi+"))):
        assert found == ((), ())


def test_no_counts_give_no_finding() -> None:
    assert read_pattern(np.zeros((4, 4)), ALICE, BOB) == ()
    assert read_pattern(np.ones((4, 4)), ALICE, BOB, accidentals=np.ones((4, 4))) == ()


def test_recorded_matrix_is_in_order_whatever_share_of_it_is_read() -> None:
    for share in (1.0, 0.3, 0.1, 0.03, 0.01):
        matrix = np.random.default_rng(1).binomial(UIUC, share)
        assert read_pattern(matrix, ALICE, BOB) == ()
        assert read_pattern(matrix, ALICE, BOB, accidentals=np.full((4, 4), 9.0) * share) == ()


@pytest.mark.parametrize("efficiency", [(1.0, 1.0, 1.0, 1.0), (1.0, 0.4, 0.8, 0.3)])
def test_a_wrong_peak_is_flat(efficiency: tuple[float, ...]) -> None:
    mean, _ = link(2e4, visibility=(0.0, 0.0, 0.0), alice=efficiency, bob=efficiency[::-1])
    for plain, known in readings(mean, mean):
        assert kinds(plain) == kinds(known) == ["wrong-peak"]
        assert "wider range" in known[0].sentence


def test_uncorrelated_pairs_above_chance_are_told_from_a_wrong_peak_of_chance() -> None:
    mean, _ = link(2e4, visibility=(0.0, 0.0, 0.0))
    for _, known in readings(mean, 0.1 * mean):
        assert kinds(known) == ["wrong-peak"]
        assert "side peak" in known[0].sentence


@pytest.mark.parametrize("given", ["Phi-", "Psi+", "Psi-"])
@pytest.mark.parametrize("pairs", [2e3, 1e5])
def test_another_bell_state_is_named(given: str, pairs: float) -> None:
    for plain, known in readings(*link(pairs, state=given)):
        assert kinds(plain) == kinds(known) == ["bit-flip"]
        assert f"{given} instead of Phi+" in plain[0].sentence


def test_exchanged_channels_of_one_basis_read_as_a_bit_flip_that_names_them() -> None:
    for plain, _ in readings(*link(1e4, alice_order=[0, 1, 3, 2])):
        assert kinds(plain) == ["bit-flip"]
        assert "outcomes in DA" in plain[0].sentence
        assert "exchanged" in plain[0].sentence


@pytest.mark.parametrize("pair", [(0, 2), (0, 3), (1, 2), (1, 3)])
@pytest.mark.parametrize("side", ["alice", "bob"])
@pytest.mark.parametrize("efficiency", [(1.0, 1.0, 1.0, 1.0), (1.0, 0.5, 0.8, 0.7)])
def test_two_exchanged_channels_are_named(pair: tuple[int, int], side: str, efficiency: tuple[float, ...]) -> None:
    order = list(range(4))
    order[pair[0]], order[pair[1]] = order[pair[1]], order[pair[0]]
    orders = {f"{side}_order": order}
    mean, chance = link(1e4, alice=efficiency, **orders)
    names = f"exchange {side} {'HVDA'[pair[0]]} (channel {pair[0] + (4 if side == 'bob' else 0)}) with "
    for plain, known in readings(mean, chance):
        assert kinds(plain) == kinds(known) == ["swapped-channels"]
        assert names + "HVDA"[pair[1]] in plain[0].sentence
        assert plain[0].numbers["qber_now"] > 0.15
        assert plain[0].numbers["qber_after_at_most"] < 0.15


@pytest.mark.parametrize("orders", [{"alice_order": [2, 3, 0, 1]}, {"bob_order": [2, 3, 0, 1]}])
def test_exchanged_bases_are_named_for_either_side(orders: dict[str, list[int]]) -> None:
    for plain, _ in readings(*link(1e4, **orders)):
        assert kinds(plain) == ["swapped-channels"]
        assert "the bases are exchanged on one side" in plain[0].sentence


@pytest.mark.parametrize(("angle", "basis"), [(60, "DA"), (90, "DA")])
def test_a_phase_spoils_one_basis(angle: float, basis: str) -> None:
    turn = Rotation.from_euler("x", angle, degrees=True).as_matrix()
    for plain, known in readings(*link(2e4, turn=turn)):
        assert kinds(plain) == kinds(known) == ["basis-rotated"]
        assert plain[0].sentence.startswith(basis)
        assert plain[0].numbers["angle_deg"] == pytest.approx(angle, abs=6)


@pytest.mark.parametrize("angle", [20, 30, -30, 45, 70, 90, -50])
def test_a_turn_of_linear_polarization_shows_between_the_bases(angle: float) -> None:
    turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    for plain, known in readings(*link(2e4, turn=turn)):
        assert kinds(plain) == kinds(known) == ["basis-rotated"]
        assert "between unequal bases" in plain[0].sentence
        # On the sphere of Stokes vectors angles are twice those of the polarization.
        assert plain[0].numbers["angle_deg"] == pytest.approx(abs(angle) / 2, abs=3)


def test_a_turn_of_30_degrees_on_the_sphere_is_named_though_its_errors_are_below_8_percent() -> None:
    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    matrix, chance = link(2e4, turn=turn, visibility=(0.985, 0.985, 0.985), floor=0.01)
    for found in (read_pattern(matrix, ALICE, BOB), read_pattern(matrix, ALICE, BOB, accidentals=chance)):
        assert kinds(found) == ["basis-rotated"]
        assert found[0].numbers["qber_HV"] == pytest.approx(0.078, abs=0.002)
        assert "turned by some 15 degrees" in found[0].sentence


@pytest.mark.parametrize("floor", [0.4, 1.0, 1.5])
def test_a_floor_of_chance_is_told_with_its_share(floor: float) -> None:
    for plain, known in readings(*link(4e4, floor=floor)):
        assert kinds(plain) == kinds(known) == ["high-accidentals"]
        assert known[0].numbers["accidental_share"] == pytest.approx(floor / (1 + floor), abs=0.02)


def test_a_turned_link_without_accidentals_is_not_called_a_floor() -> None:
    # About an axis between the three, correlations leave both bases for the circular one.
    turn = Rotation.from_rotvec(np.radians(55) * np.array([1, -1, 0]) / np.sqrt(2)).as_matrix()
    for _, known in readings(*link(4e4, turn=turn)):
        assert kinds(known) == ["basis-rotated"]


@pytest.mark.parametrize(("side", "k"), [("alice", 0), ("alice", 3), ("bob", 1), ("bob", 2)])
def test_a_weak_detector_is_named(side: str, k: int) -> None:
    efficiency = [1.0] * 4
    efficiency[k] = 0.03
    for plain, known in readings(*link(2e4, **{side: efficiency})):
        assert kinds(plain) == kinds(known) == ["weak-detector"]
        assert plain[0].sentence.startswith(f"{side} {'HVDA'[k]}")


TURNED = Rotation.from_euler("z", 60, degrees=True).as_matrix()
PHASE = Rotation.from_euler("x", 70, degrees=True).as_matrix()


@pytest.mark.parametrize("pairs", [20, 80, 150, 300, 600, 1200, 3000])
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("swapped-channels", {"alice_order": [2, 1, 0, 3]}),
        ("swapped-channels", {"bob_order": [0, 2, 1, 3]}),
        ("basis-rotated", {"turn": TURNED}),
        ("basis-rotated", {"turn": PHASE}),
        ("bit-flip", {"state": "Psi-"}),
        ("bit-flip", {"state": "Phi-"}),
        ("wrong-peak", {"visibility": (0.0, 0.0, 0.0)}),
        ("high-accidentals", {"floor": 1.0}),
        ("weak-detector", {"alice": (1.0, 0.02, 1.0, 1.0)}),
    ],
)
def test_few_counts_give_the_right_verdict_or_none(pairs: float, kind: str, fault: dict[str, object]) -> None:
    mean, chance = link(pairs, **fault)
    if kind == "wrong-peak":
        chance = mean
    verdicts = [verdict for _, known in readings(mean, chance) for verdict in kinds(known)]
    assert set(verdicts) <= {kind}
    if mean.sum() < 70:
        assert not verdicts


def test_analysers_turned_for_chsh_are_no_fault() -> None:
    angles = (0.0, 90.0, 45.0, 135.0)
    alice, bob = (
        replace(
            side,
            detectors=tuple(
                replace(one, angle_deg=angle + turn) for one, angle in zip(side.detectors, angles, strict=True)
            ),
        )
        for side, turn in ((ALICE, 0.0), (BOB, 22.5))
    )
    matrix = link(1e5, turn=Rotation.from_euler("z", 45, degrees=True).as_matrix())[0]
    assert read_pattern(matrix, alice, bob) == ()
    assert kinds(read_pattern(matrix, ALICE, BOB)) == ["basis-rotated"]
    # A whole turn of an analyser is none.
    bob = replace(
        bob, detectors=tuple(replace(one, angle_deg=a + 180.0) for one, a in zip(bob.detectors, angles, strict=True))
    )
    assert kinds(read_pattern(matrix, alice, bob)) == ["basis-rotated"]


def test_one_basis_alone_can_be_read() -> None:
    alice, bob = (replace(side, detectors=side.detectors[:2]) for side in (ALICE, BOB))
    assert read_pattern(np.array([[900, 20], [20, 900]]), alice, bob) == ()
    assert kinds(read_pattern(np.array([[20, 900], [900, 20]]), alice, bob)) == ["bit-flip"]
    assert kinds(read_pattern(np.array([[900, 900], [900, 900]]), alice, bob)) == ["wrong-peak"]
    assert kinds(read_pattern(np.array([[900, 300], [300, 900]]), alice, bob)) == ["high-accidentals"]


def test_shapes_are_checked() -> None:
    with pytest.raises(UsageError, match="shape"):
        read_pattern(np.ones((3, 4)), ALICE, BOB)
    with pytest.raises(UsageError, match="shape"):
        read_pattern(np.ones((4, 4)), ALICE, BOB, accidentals=np.ones((2, 2)))
