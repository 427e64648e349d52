"""Every knob of the running world moves what physics says. Limits are four standard deviations, seeds fixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conducted import arm, conduct
from plain_counting import PERFECT, Side, matrix, record, residuals

from qnoded.sim.knobs import Move, brightness
from qnoded.sim.settings import SourceSettings
from qnoded.sim.theory import chsh, matrix_correlators, matrix_qber

SIGMAS = 4.0
WINDOW_PS = 10
PAIRS = [*PERFECT, "source.pair_rate_hz=2e5", "source.spectral_width_nm=0"]


def counted(found: float, expected: float) -> None:
    """A Poisson number."""
    assert abs(found - expected) <= SIGMAS * math.sqrt(max(expected, 1.0)), f"{found} counts, expected {expected}"


def share(found: float, expected: float, n: float) -> None:
    """A share of n."""
    sigma = math.sqrt(max(expected * (1.0 - expected), 1.0 / n) / n)
    assert abs(found - expected) <= SIGMAS * sigma, f"{found}, expected {expected} +- {sigma}"


def qber(alice: Side, bob: Side) -> tuple[float, float, float]:
    """Return the QBER of HV and DA, and the coincidences in each."""
    found = matrix(alice, bob, WINDOW_PS)
    errors = matrix_qber(found)
    return errors["HV"], errors["DA"], found[:2, :2].sum()


def rests(*retardance_deg: float) -> Move:
    return Move(target_deg=retardance_deg)


def test_knobs_that_nobody_turns_leave_every_tag_as_it_was() -> None:
    plain_a, plain_b, _ = record([], 0.1)
    alice, bob, _ = conduct([], 0.1, stops_s=[0.05])
    np.testing.assert_array_equal(alice.tag_ps, plain_a.tag_ps)
    np.testing.assert_array_equal(bob.tag_ps, plain_b.tag_ps)
    np.testing.assert_array_equal(bob.channel, plain_b.channel)


@pytest.mark.parametrize("pump_mw", [0.0, 0.25, 2.0])
def test_pair_rate_follows_the_pump(pump_mw: float) -> None:
    dark = [f"{side}.detectors.dark_hz=1000" for side in ("alice", "bob")]
    alice, bob, _ = conduct([*PAIRS, *dark], 0.5, pump_mw=pump_mw)
    for side in (alice, bob):
        counted(side.tag_ps.size, 0.5 * (2e5 * pump_mw + 4000))


def test_crystal_off_its_optimum_is_dim_and_loses_visibility_in_da_alone() -> None:
    # Half a kelvin is half the width: half the pairs. A phase of 1 rad: E_DA = cos 1.
    changes = [*PAIRS, "source.crystal_phase_rad_per_k=2", "source.visibility_hv=1"]
    alice, bob, _ = conduct(changes, 0.5, crystal_k=0.5)
    counted(alice.tag_ps.size, 0.5 * 2e5 * 0.5008)
    hv, da, n = qber(alice, bob)
    share(hv, 0.0, n)
    share(da, (1.0 - math.cos(1.0)) / 2.0, n)
    assert brightness(SourceSettings(), 0.0) == 1.0


def test_loss_attenuation_cut_and_switch() -> None:
    half_db = 10.0 * math.log10(2.0)
    for turned, expected in (
        (arm(extra_loss_db=half_db), 0.5),
        (arm(extra_loss_db=half_db, attenuation_db=half_db), 0.25),
        (arm(cut=True), 0.0),
        (arm(blocked=True), 0.0),
    ):
        alice, bob, _ = conduct(PAIRS, 0.2, bob=turned)
        counted(alice.tag_ps.size, 0.2 * 2e5)
        counted(bob.tag_ps.size, 0.2 * 2e5 * expected)


@pytest.mark.parametrize("side", ["alice", "bob"])
@pytest.mark.parametrize("element", [0, 1, 2])
def test_each_retarder_turns_about_its_own_axis(side: str, element: int) -> None:
    # About S1 (elements 0 and 2) HV stays and E_DA = cos; about S2 (element 1) the other way round.
    retardance_deg = [0.0, 0.0, 0.0]
    retardance_deg[element] = 60.0
    alice, bob, _ = conduct(PAIRS, 0.5, **{side: arm(move=rests(*retardance_deg))})
    hv, da, n = qber(alice, bob)
    turned = (1.0 - math.cos(math.radians(60.0))) / 2.0
    share(hv, turned if element == 1 else 0.0, n)
    share(da, 0.0 if element == 1 else turned, n)


@pytest.mark.parametrize("retardance_deg", [(90.0, 45.0, 270.0), (270.0, 45.0, 90.0)])
@pytest.mark.parametrize("visibility", [1.0, 0.9])
def test_retarders_turn_linear_polarization_by_the_angle_of_chsh(
    retardance_deg: tuple[float, float, float], visibility: float
) -> None:
    # 45 degrees about S3 are 22.5 degrees of the analyser: S = 2 sqrt(2) V.
    changes = [*PAIRS, f"source.visibility_hv={visibility}", f"source.visibility_da={visibility}"]
    alice, bob, conductor = conduct(changes, 1.0, bob=arm(move=rests(*retardance_deg)))
    found = matrix(alice, bob, WINDOW_PS)
    n = found.sum() / 4
    correlator = visibility / math.sqrt(2.0)
    sigma = 2.0 * math.sqrt((1.0 - correlator**2) / n)
    assert abs(chsh(matrix_correlators(found)) - 2.0 * math.sqrt(2.0) * visibility) < SIGMAS * sigma
    assert conductor.truth["present"]["chsh"] == pytest.approx(2.0 * math.sqrt(2.0) * visibility, abs=1e-3)


def test_both_controllers_in_the_same_place_undo_each_other() -> None:
    move = rests(90.0, 45.0, 270.0)
    alice, bob, _ = conduct(PAIRS, 0.2, alice=arm(move=move), bob=arm(move=move))
    hv, da, n = qber(alice, bob)
    share(hv, 0.0, n)
    share(da, 0.0, n)


def test_controller_moves_at_a_steady_pace() -> None:
    move = Move(10**12, 10**11, (0.0, 90.0, 360.0), (90.0, 90.0, 0.0))
    assert move.at(0) == (0.0, 90.0, 360.0)
    assert move.at(10**12 + 5 * 10**10) == (45.0, 90.0, 180.0)
    assert move.at(10**12 + 10**11) == (90.0, 90.0, 0.0)
    assert [move.resting(10**12 + late_ps) for late_ps in (0, 10**11 - 1, 10**11)] == [False, False, True]
    # Half a turn of element 1 in a second: E_HV = cos, which is 0 on average.
    alice, bob, _ = conduct(PAIRS, 1.0, bob=arm(move=Move(0, 10**12, (0.0,) * 3, (0.0, 180.0, 0.0))))
    hv, da, n = qber(alice, bob)
    share(hv, 0.5, n)
    share(da, 0.0, n)


def test_alignment_laser_is_horizontal_and_uncorrelated() -> None:
    changes = [*PAIRS, "source.pair_rate_hz=0"]
    alice, bob, _ = conduct(changes, 1.0, alignment_mw=1.0)
    assert alice.tag_ps.size == 0
    for found, expected in zip(bob.rates_hz(1.0), (1e5, 0.0, 5e4, 5e4), strict=True):
        counted(found, expected)
    # A quarter wave about S2 makes it circular: all detectors alike.
    _, bob, _ = conduct(changes, 1.0, alignment_mw=0.5, bob=arm(move=rests(0.0, 90.0, 0.0)))
    for found in bob.rates_hz(1.0):
        counted(found, 2.5e4)


def test_detectors_die_darken_and_tire_one_by_one() -> None:
    changes = [*PAIRS, "bob.detectors.dark_hz=1e4"]
    faults = arm(efficiency=(0.0, 0.5, 1.0, 1.0), dark=(0.0, 1.0, 3.0, 1.0), biased=(1.0, 1.0, 1.0, 0.0))
    alice, bob, _ = conduct(changes, 1.0, bob=faults)
    counted(alice.tag_ps.size, 2e5)
    for found, expected in zip(bob.rates_hz(1.0), (0.0, 2.5e4 + 1e4, 5e4 + 3e4, 0.0), strict=True):
        counted(found, expected)


@pytest.mark.parametrize("intercepted", [0.25, 0.5, 1.0])
def test_intercept_resend_costs_a_quarter_of_its_share(intercepted: float) -> None:
    alice, bob, _ = conduct(PAIRS, 1.0, intercepted=intercepted)
    hv, da, n = qber(alice, bob)
    share(hv, intercepted / 4.0, n)
    share(da, intercepted / 4.0, n)
    alice, bob, conductor = conduct(
        PAIRS, 1.0, intercepted=intercepted, bob=arm(move=rests(90.0, 45.0, 270.0))
    )  # fmt: skip
    found = matrix(alice, bob, WINDOW_PS)
    expected = 2.0 * math.sqrt(2.0) * (1.0 - intercepted / 2.0)
    sigma = 2.0 / math.sqrt(found.sum() / 4)
    assert abs(chsh(matrix_correlators(found)) - expected) < SIGMAS * sigma
    assert conductor.truth["present"]["chsh"] == pytest.approx(expected, abs=1e-3)


def test_blinded_detectors_make_no_errors_and_care_for_no_loss() -> None:
    changes = [*PAIRS, "bob.heralding=0.1", "bob.detectors.dark_hz=1e4"]
    alice, bob, _ = conduct(changes, 1.0, blinded=True, bob=arm(extra_loss_db=20.0))
    counted(alice.tag_ps.size, 2e5)
    # As many clicks as bob's own would be without dark counts, whatever the loss, and shared evenly.
    for found in bob.rates_hz(1.0):
        counted(found, 0.1 * 2e5 / 4)
    hv, da, n = qber(alice, bob)
    counted(n, 0.1 * 2e5 / 4)
    share(hv, 0.0, n)
    share(da, 0.0, n)


def test_time_shift_moves_the_peaks_of_the_outcomes_apart_and_makes_no_errors() -> None:
    shift_ps, mismatch = 1000, 0.8
    alice, bob, _ = conduct(PAIRS, 1.0, time_shift_ps=shift_ps, mismatch=mismatch)
    counted(bob.tag_ps.size, 2e5 * (1.0 - mismatch / 2.0))
    late, _, of_b = residuals(alice, bob, shift_ps + 5)
    kept = (late < 5) & (late > -5) | (late > shift_ps - 5)
    late, of_b = late[kept], of_b[kept]
    for detector in range(4):
        own = late[bob.channel[of_b] == detector]
        delayed = np.count_nonzero(own > shift_ps / 2) / own.size
        rare, often = (1.0 - mismatch) / (2.0 - mismatch), 1.0 / (2.0 - mismatch)
        # 200 pairs/s stand within the other window by chance.
        assert abs(delayed - (often if detector % 2 else rare)) < 0.02
    found = matrix(alice, bob, 2 * shift_ps + 10)
    share(matrix_qber(found)["total"], 0.0, found.sum() / 200)


def test_present_expectation_is_that_of_the_knobs() -> None:
    _, _, conductor = conduct([], 0.05, pump_mw=0.0)
    assert conductor.truth["present"]["pairs_hz"] == 0.0
    _, _, conductor = conduct([], 0.05, intercepted=0.4)
    assert conductor.truth["present"]["qber"]["HV"] > conductor.truth["expected"]["qber"]["HV"] + 0.09
