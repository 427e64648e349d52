"""Theory counts as the two nodes of a demo do: window, dead times and who reveals come from their settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnoded.demo.verdict import Expected, Rules
from qnoded.node_settings import load_node

CONFIG = Path(__file__).parents[2] / "config" / "sim"
BOB_HZ = 4e5


def present(alice_hz: float, bob_hz: float) -> dict[str, Any]:
    """Return a world of pairs that differ in nothing, a peak of 100 ps."""
    return {
        "pairs_matrix_hz": (1000.0 * np.eye(4)).tolist(),
        "singles_hz": {"alice": [alice_hz / 4] * 4, "bob": [bob_hz / 4] * 4},
        "peak_fwhm_ps": 100.0,
    }


def test_rules_are_those_of_the_nodes() -> None:
    alice, bob = (load_node(CONFIG / f"{side}.toml") for side in ("alice", "bob"))
    assert Rules.of(alice, bob) == Rules(1000, "auto", (40_000, 40_000))


@pytest.mark.parametrize(
    ("revealer", "alice_hz", "bob_hz", "lost"),
    [("auto", 1e6, BOB_HZ, 0.004), ("auto", BOB_HZ, BOB_HZ, 0.004), ("alice", 1e6, BOB_HZ, 0.010)],
)
def test_the_revealers_dead_time_costs_what_its_rate_says(
    revealer: str, alice_hz: float, bob_hz: float, lost: float
) -> None:
    """A neighbour of 100 kHz, or 250 kHz, has clicked between 41 ns and 1 ns ago with 0.4 %, or 1 %."""
    now = present(alice_hz, bob_hz)
    apart, all_told = (Rules(1000, revealer, (each, each)).matrix_hz(now) for each in (41_000, 0))
    assert apart / all_told == pytest.approx(np.full((4, 4), 1 - lost), abs=2e-5)


def test_a_narrow_window_leaves_out_a_part_of_the_peak() -> None:
    """A window as wide as the peak at half its height holds 76 % of it."""
    matrix_hz = Rules(100).matrix_hz(present(1e5, 1e5))
    assert matrix_hz.trace() == pytest.approx(0.761 * 4000.0, rel=1e-3)


def test_only_moments_of_sifting_are_expected_to_give_bits() -> None:
    expected = Expected(Rules())
    for state in ("ACQUIRING", "INTERLUDE", "SIFTING"):
        expected.take(state, present(1e5, 1e5))
    assert len(expected.coincidences_hz) == len(expected.qber["total"]) == 1
    # Both analysers stand alike: as much as two things without entanglement can have.
    assert expected.chsh == pytest.approx([2.0], abs=0.01)
