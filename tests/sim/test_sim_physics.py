"""The simulated world against theory. Limits are four standard deviations of the counting statistics, seeds fixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from link_formulas import CwLink, rotation_qber
from plain_counting import PERFECT, matrix, record, residuals

from qnoded.sim import optics, theory
from qnoded.sim.settings import FibreSettings, SourceSettings

SIGMAS = 4.0
FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


def agrees(found: float, expected: float, sigma: float) -> None:
    assert abs(found - expected) < SIGMAS * sigma, f"{found} is {(found - expected) / sigma:+.1f} sigma off {expected}"


def counted(found: float, expected: float) -> None:
    """A Poisson number."""
    agrees(found, expected, math.sqrt(expected))


CW_CASES = [
    # pairs/s, efficiencies, dark counts/s, peak and window in ps, polarization error, seconds
    (1e6, 0.2, 0.02, 500.0, 300.0, 500, 0.01, 10.0),
    (1e7, 0.2, 0.002, 500.0, 300.0, 500, 0.01, 3.0),
    (1e8, 0.1, 0.001, 1000.0, 100.0, 150, 0.02, 0.6),
    (5e6, 0.15, 1.5e-4, 200.0, 60.0, 100, 0.015, 10.0),
]


@pytest.mark.parametrize("case", CW_CASES)
def test_continuous_wave_link(case: tuple[float, ...]) -> None:
    rate, eta_a, eta_b, dark, peak_ps, window_ps, error, seconds = case
    expected = CwLink(rate, eta_a, eta_b, dark, dark, peak_ps, window_ps, error).expectation()
    changes = [
        *PERFECT,
        f"source.pair_rate_hz={rate}",
        f"source.visibility_hv={1 - 2 * error}",
        f"source.visibility_da={1 - 2 * error}",
        f"alice.heralding={eta_a}",
        f"bob.heralding={eta_b}",
    ]
    for side in ("alice", "bob"):
        changes += [
            f"{side}.detectors.dark_hz={dark / 4}",
            f"{side}.detectors.jitter_fwhm_ps={peak_ps / math.sqrt(2)}",
        ]
    alice, bob, world = record(changes, seconds)
    counted(alice.tag_ps.size, expected.singles_alice_hz * seconds)
    counted(bob.tag_ps.size, expected.singles_bob_hz * seconds)
    # Tags are whole picoseconds: +-window/2 holds one value more than the window is wide.
    found = matrix(alice, bob, window_ps)
    displaced = sum(matrix(alice, bob, window_ps, shift).sum() for shift in range(10**6, 9 * 10**6, 10**6))
    per_value = expected.accidental_hz * seconds * (window_ps + 1) / window_ps
    counted(displaced, 8 * per_value)
    share = theory.window_share(window_ps + 1, peak_ps)
    true = expected.true_hz / expected.window_share * share * seconds
    counted(found.sum(), true + per_value)
    same = found[:2, :2].sum() + found[2:, 2:].sum()
    wrong = found[0, 1] + found[1, 0] + found[2, 3] + found[3, 2]
    qber = (true * error + per_value / 2) / (true + per_value)
    assert qber == pytest.approx(expected.qber, rel=0.01)
    agrees(wrong / same, qber, math.sqrt(qber * (1 - qber) / same))
    # What the truth tells of the run is the same theory.
    told = world.truth["expected"]
    assert sum(told["singles_hz"]["alice"]) == pytest.approx(expected.singles_alice_hz)
    assert told["peak_fwhm_ps"] == pytest.approx(peak_ps, rel=1e-3)
    assert told["pairs_hz"] == pytest.approx(rate * eta_a * eta_b)
    counted(np.sum(world.truth["pairs_absorbed"]), rate * eta_a * eta_b * seconds)


def correlators_of(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e = theory.matrix_correlators(found)
    n = found.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).sum(axis=(2, 3))
    return e, np.sqrt((1 - e**2) / n)


def test_perfect_pair_reaches_tsirelson() -> None:
    alice, bob, world = record([*PERFECT, "source.pair_rate_hz=3e5", "bob.analyser.angle_deg=22.5"], 2.0)
    e, sigma = correlators_of(matrix(alice, bob, 2))
    agrees(theory.chsh(e), 2 * math.sqrt(2), float(np.hypot.reduce(sigma.ravel())))
    assert theory.chsh(e) - 2 > 100 * np.hypot.reduce(sigma.ravel())
    # The truth tells it for a window of 1 ns, which holds 3e-4 accidentals per pair at 3e5 pairs/s.
    assert world.truth["expected"]["chsh"] == pytest.approx(2 * math.sqrt(2) * (1 - 3e-4), abs=1e-5)
    assert world.truth["expected"]["chsh_largest"] == pytest.approx(2 * math.sqrt(2))


def test_nothing_of_bobs_setting_reaches_alice() -> None:
    shares = []
    for angle in (0.0, 22.5, 45.0):
        alice, _, _ = record([*PERFECT, "source.pair_rate_hz=1e5", f"bob.analyser.angle_deg={angle}"], 1.0)
        shares.append(alice.rates_hz(1.0))
    for found in np.ravel(shares):
        counted(found, 1e5 / 4)


@pytest.mark.parametrize(
    ("state", "hv", "da"), [("Phi+", 0.99, 0.97), ("Phi-", 0.99, -0.97), ("Psi+", -0.99, 0.97), ("Psi-", -0.99, -0.97)]
)
def test_bell_states(state: str, hv: float, da: float) -> None:
    changes = [f"source.state={state}", "source.visibility_hv=0.99", "source.visibility_da=0.97"]
    alice, bob, _ = record([*PERFECT, *changes, "source.pair_rate_hz=1e5"], 1.0)
    e, sigma = correlators_of(matrix(alice, bob, 2))
    for found, expected, error in zip(e.ravel(), (hv, 0.0, 0.0, da), sigma.ravel(), strict=True):
        agrees(found, expected, error)


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 2.0, -0.5)])
@pytest.mark.parametrize("side", ["alice", "bob"])
def test_rotation_in_a_fibre(side: str, axis: tuple[float, float, float]) -> None:
    changes = [f"{side}.fibre.rotation_deg=40", f"{side}.fibre.rotation_axis={list(axis)}"]
    alice, bob, _ = record([*PERFECT, *changes, "source.pair_rate_hz=1e5"], 0.5)
    found = matrix(alice, bob, 2)
    for block, expected in zip((found[:2, :2], found[2:, 2:]), rotation_qber(math.radians(40), axis), strict=True):
        n = block.sum()
        sigma = math.sqrt(max(expected * (1 - expected), 1 / n) / n)
        agrees((block[0, 1] + block[1, 0]) / n, expected, sigma)


def test_opposite_rotations_about_s2_cancel_for_phi_plus() -> None:
    # Phi+ has T = diag(1, 1, -1): T R(-a) = R(a) T for rotations about S1 and S2, so R(a) T R(-a)^T = T R(-a) R(a) = T.
    changes = [
        "alice.fibre.rotation_deg=50",
        "alice.fibre.rotation_axis=[0, 1, 0]",
        "bob.fibre.rotation_deg=-50",
        "bob.fibre.rotation_axis=[0, 1, 0]",
    ]
    alice, bob, world = record([*PERFECT, *changes, "source.pair_rate_hz=1e5"], 0.2)
    assert world.truth["pairs_qber"]["total"] == 0.0
    assert matrix(alice, bob, 2)[:2, :2].trace() > 0


def test_polarization_forgets_itself_at_the_named_rate() -> None:
    # 0.05 rad a step, 200 steps: exp(-0.5); mean of 2,000 walks of a vector's component, scatter below 1 each.
    rng = np.random.default_rng(5)
    kept = []
    for _ in range(400):
        turned = np.eye(3)
        for _ in range(200):
            turned = optics.drifted(turned, 0.25, 0.01, rng.standard_normal(3))
        kept.append(np.trace(turned) / 3)
    agrees(float(np.mean(kept)), math.exp(-0.5), float(np.std(kept)) / math.sqrt(400))


def test_drift_raises_the_qber_of_a_run() -> None:
    _, _, still = record([*PERFECT, "source.pair_rate_hz=1e4"], 1.0)
    _, _, moving = record([*PERFECT, "source.pair_rate_hz=1e4", "bob.fibre.polarization_drift_rad2_per_s=0.2"], 1.0)
    assert still.truth["pairs_qber"]["total"] == 0.0
    # Mean over the run of (1 - exp(-d t)) / 2, 4.7 %, for a single walk within a factor of ten.
    assert 0.004 < moving.truth["pairs_qber"]["total"] < 0.4


def test_extinction_becomes_qber() -> None:
    # 1:20 in both ports of alice only: one photon in 21 leaves by the wrong port.
    changes = ["alice.analyser.extinction_transmitted=20", "alice.analyser.extinction_reflected=20"]
    alice, bob, _ = record([*PERFECT, *changes, "source.pair_rate_hz=1e5"], 1.0)
    qber = theory.matrix_qber(matrix(alice, bob, 2))["total"]
    agrees(qber, 1 / 21, math.sqrt(1 / 21 * 20 / 21 / 5e4))


def test_extinction_belongs_to_the_port() -> None:
    # 1:20 in the transmitted port only: of the clicks in H (and D) one in 21 is wrong, of those in V (and A) none.
    changes = ["alice.analyser.extinction_transmitted=20"]
    alice, bob, _ = record([*PERFECT, *changes, "source.pair_rate_hz=1e5"], 1.0)
    found = matrix(alice, bob, 2)
    assert found[1, 0] == found[3, 2] == 0
    for row, right, wrong in ((0, 0, 1), (2, 2, 3)):
        n = found[row, right] + found[row, wrong]
        agrees(found[row, wrong] / n, 1 / 22, math.sqrt(1 / 22 / n))


def test_mode_dispersion_costs_visibility() -> None:
    # 0.5 nm at 1550 nm and 0.5 ps of differential delay: 0.35 %.
    left = optics.mode_dispersion(FibreSettings(length_km=100, pmd_ps_per_sqrt_km=0.05), SourceSettings())
    assert np.diag(left) == pytest.approx([1.0, 1 - 0.0035, 1 - 0.0035], abs=5e-5)


def test_efficiencies_splitter_and_losses() -> None:
    changes = [
        "source.pair_rate_hz=1e6",
        "alice.heralding=0.4",
        "alice.analyser.hv_share=0.45",
        "alice.detectors.V.efficiency=0.5",
        "bob.heralding=0.5",
        "bob.fibre.length_km=50",
        "bob.fibre.fixed_loss_db=3",
        "bob.fibre.dispersion_ps_per_nm_km=0",
        "bob.detectors.A.dark_hz=2e4",
    ]
    alice, bob, world = record([*PERFECT, *changes], 2.0)
    arrived = 1e6 * 0.5 * 10 ** -(1.0 + 0.3)
    bob_hz = arrived / 4 + np.array([0, 0, 0, 2e4])
    for found, expected in zip(alice.rates_hz(1.0), 4e5 * np.array([0.225, 0.1125, 0.275, 0.275]), strict=True):
        counted(found, 2 * expected)
    for found, expected in zip(bob.rates_hz(1.0), bob_hz, strict=True):
        counted(found, 2 * expected)
    told = world.truth["expected"]
    assert told["singles_hz"]["bob"] == pytest.approx(bob_hz, rel=1e-6)
    # Klyshko: coincidences over the other side's light are this side's efficiency.
    found = matrix(alice, bob, 2, 50 * 4_897_000)
    counted(found.sum(), 2 * arrived * 0.4 * (0.225 + 0.1125 + 0.275 + 0.275))
    sifted = found[:2, :2].sum() + found[2:, 2:].sum()
    share = (0.225 + 0.1125) / 2 + (0.275 + 0.275) / 2
    agrees(sifted / found.sum(), share / (2 * share), math.sqrt(0.25 / found.sum()))


def test_dead_time_laws() -> None:
    # 1 Mcps and 50 ns: 952,381 and 951,229 cps; counts behind a dead time scatter by 1/(1 + r tau) of Poisson.
    changes = ["source.pair_rate_hz=0", "bob.detectors.paralysable=true"]
    for side in ("alice", "bob"):
        changes += [f"{side}.detectors.dark_hz=1e6", f"{side}.detectors.dead_time_ps=50_000"]
    seconds = 2.5
    alice, bob, world = record([*PERFECT, *changes], seconds)
    sigma = math.sqrt(4 * seconds * 952_381) / 1.05
    agrees(alice.tag_ps.size, 4 * seconds * 952_381, sigma)
    agrees(bob.tag_ps.size, 4 * seconds * 951_229, sigma)
    for side in (alice, bob):
        own = side.tag_ps[side.channel == 2]
        assert 50_000 <= np.diff(own).min() < 50_100
    assert world.truth["expected"]["singles_hz"]["bob"] == pytest.approx([951_229] * 4, rel=1e-6)


def test_recharging_detector() -> None:
    # Efficiency 1 - exp(-(t/T)^2) after a click: an interval exceeds t with exp(-r (t - T sqrt(pi)/2 erf(t/T))).
    rate, recovery_us, seconds = 1e6, 1.0, 0.5
    changes = ["source.pair_rate_hz=0", f"alice.detectors.dark_hz={rate}", "alice.detectors.recovery_ps=1e6"]
    alice, _, _ = record([*PERFECT, *changes], seconds)
    gaps = np.concatenate([np.diff(alice.tag_ps[alice.channel == k]) for k in range(4)]) * 1e-6
    for after_us in (0.3, 1.0, 3.0):
        lost_us = recovery_us * math.sqrt(math.pi) / 2 * math.erf(after_us / recovery_us)
        expected = math.exp(-(after_us - lost_us) * rate * 1e-6)
        agrees(np.mean(gaps > after_us), expected, math.sqrt(expected * (1 - expected) / gaps.size))


def test_tagger_has_a_dead_time_of_its_own() -> None:
    changes = ["source.pair_rate_hz=0", "alice.detectors.dark_hz=1e7", "alice.tagger.dead_time_ps=20_000"]
    alice, _, _ = record([*PERFECT, *changes], 0.1)
    expected = 4 * theory.counted_rate_hz(1e7, 20_000, False) * 0.1
    agrees(alice.tag_ps.size, expected, math.sqrt(expected))
    assert np.diff(alice.tag_ps[alice.channel == 0]).min() == 20_000


def test_jitter_widths() -> None:
    changes = ["source.pair_rate_hz=1e5", "alice.detectors.jitter_fwhm_ps=150", "bob.detectors.jitter_fwhm_ps=30"]
    changes += [f"{side}.tagger.jitter_rms_ps={20 / FWHM}" for side in ("alice", "bob")]
    alice, bob, world = record([*PERFECT, *changes], 1.0)
    dt, _, _ = residuals(alice, bob, 500)
    # A diode of 150 ps, a nanowire of 30 ps and two taggers of 20 ps make 156 ps; 1e5 pairs fix it to 0.22 %.
    width = FWHM * np.std(dt)
    agrees(width, math.sqrt(150**2 + 30**2 + 2 * 20**2), 156 / math.sqrt(2 * dt.size) + 0.2)
    agrees(float(np.mean(dt)), 0.0, 66 / math.sqrt(dt.size))
    assert world.truth["expected"]["peak_fwhm_ps"] == pytest.approx(156, abs=0.5)


def test_jitter_tail() -> None:
    changes = ["source.pair_rate_hz=1e5", "bob.detectors.jitter_tail_share=0.08", "bob.detectors.jitter_tail_ps=300"]
    alice, bob, _ = record([*PERFECT, *changes], 1.0)
    dt, _, _ = residuals(alice, bob, 5000)
    assert np.count_nonzero(dt < 0) < 80  # accidentals: 50 expected on either side of the peak
    late = dt[(dt > 0) & (dt < 3000)]
    agrees(late.size, 0.08 * dt.size, math.sqrt(0.08 * dt.size))
    # 30 accidentals with a mean of 1,500 ps lift the mean by 4.5 ps.
    agrees(float(late.mean()), 304.5, 300 / math.sqrt(late.size) + 2)


@pytest.mark.parametrize(
    ("at_alice", "at_bob", "fwhm_ps"), [(0.0, 17.0, 425.0), (17.0, 17.0, 850.0), (-17.0, 17.0, 0.0)]
)
def test_dispersion(at_alice: float, at_bob: float, fwhm_ps: float) -> None:
    # 50 km at 0.5 nm. Equal fibres add, an opposite one in the other arm cancels without any photon meeting another.
    changes = ["source.pair_rate_hz=1e5", "source.spectral_width_nm=0.5"]
    for side, dispersion in (("alice", at_alice), ("bob", at_bob)):
        changes += [
            f"{side}.fibre.length_km=50",
            f"{side}.fibre.loss_db_per_km=0",
            f"{side}.fibre.dispersion_ps_per_nm_km={dispersion}",
        ]
    alice, bob, world = record([*PERFECT, *changes], 1.0)
    dt, _, _ = residuals(alice, bob, round(2 * fwhm_ps) + 2)
    assert dt.size > 99_000
    agrees(FWHM * np.std(dt), fwhm_ps, fwhm_ps / math.sqrt(2 * dt.size) + 0.35)
    assert world.truth["expected"]["peak_fwhm_ps"] == pytest.approx(fwhm_ps, abs=1.0)


def test_afterpulses() -> None:
    # 5 % after 10 us with traps of 2.9 and 11.6 us, seen in 2e5 intervals.
    changes = ["source.pair_rate_hz=0", "alice.detectors.preset=ingaas", "alice.detectors.dark_hz=1000"]
    changes += ["alice.detectors.afterpulse_probability=0.05", "alice.detectors.dead_time_ps=10_000_000"]
    seconds = 50.0
    alice, _, world = record([*PERFECT, *changes], seconds)
    intervals = np.concatenate([np.diff(alice.tag_ps[alice.channel == k]) for k in range(4)]) / 1e6
    assert intervals.min() >= 10.0
    rate = 1000 * 1e-6
    for after_us in (3.0, 15.0, 80.0):
        missing = 0.5 * math.exp(-after_us / 2.9) + 0.5 * math.exp(-after_us / 11.6)
        # The first of the next dark count and the afterpulse, counted from the end of the dead time.
        survive = math.exp(-rate * after_us) * (1 - 0.05 * (1 - missing))
        expected = intervals.size * (1 - survive)
        agrees(np.count_nonzero(intervals < 10 + after_us), expected, math.sqrt(expected))
    told = world.truth["expected"]["singles_hz"]["alice"][0]
    # Clicks come in clusters, so their number scatters by (1 + p) / (1 - p) of Poisson.
    agrees(alice.tag_ps.size, 4 * told * seconds, math.sqrt(1.1 * 4 * told * seconds))
    assert told == pytest.approx(1000 / (1 - 0.05) * (1 - 1000 * 1e-5), rel=0.002)


def test_double_firing() -> None:
    changes = ["source.pair_rate_hz=1e5", "bob.detectors.dead_time_ps=24_000"]
    changes += ["bob.detectors.H.double_firing_probability=0.9"]
    _, bob, world = record([*PERFECT, *changes], 2.0)
    for k in range(4):
        gaps = np.diff(bob.tag_ps[bob.channel == k])
        # The next photon may come 6.4 ns after an echo; such gaps are rare and spread wider.
        echoes = gaps[(gaps > 15_000) & (gaps < 18_600)]
        if k:
            assert echoes.size == 0
            continue
        assert np.count_nonzero((echoes < 16_000) | (echoes > 17_600)) < 10
        assert echoes.mean() == pytest.approx(16_800, abs=4 * 462 / math.sqrt(echoes.size))
        clicks = gaps.size + 1 - echoes.size
        agrees(echoes.size, 0.9 * clicks, math.sqrt(0.09 * clicks))
    told = world.truth["expected"]["singles_hz"]["bob"]
    for found, expected in zip(bob.rates_hz(1.0), told, strict=True):
        agrees(found, 2 * expected, 2 * math.sqrt(2 * expected))


def test_dead_time_takes_pairs_as_the_truth_says() -> None:
    changes = ["source.pair_rate_hz=4e5", "alice.detectors.dead_time_ps=1_000_000", "bob.heralding=0.1"]
    alice, bob, world = record([*PERFECT, *changes], 2.0)
    told = world.truth["expected"]
    assert told["pairs_hz"] == pytest.approx(4e5 * 0.1 / 1.1, rel=1e-6)
    counted(matrix(alice, bob, 2).sum(), 2 * told["pairs_hz"])
    agrees(alice.tag_ps.size, 2 * sum(told["singles_hz"]["alice"]), math.sqrt(8e5))


def test_bins_of_the_tagger() -> None:
    alice, _, _ = record([*PERFECT, "alice.tagger.bin_ps=625/8"], 0.05)
    ticks = np.rint(alice.tag_ps / 78.125).astype(np.int64)
    np.testing.assert_array_equal(alice.tag_ps, (ticks * 625 * 2 + 8) // 16)
