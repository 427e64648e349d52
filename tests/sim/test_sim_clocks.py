"""Node clocks: their named Allan deviations, the laws of their noise, and the same reading however they are asked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qnoded.sim.chance import Chance
from qnoded.sim.clocks import STRETCH_PS, Clock
from qnoded.sim.presets import CLOCKS
from qnoded.sim.settings import ClockSettings, TaggerSettings


def clock_of(settings: ClockSettings, seed: int = 1, side: int = 0) -> Clock:
    return Clock(settings, TaggerSettings(), Chance(seed), side)


def phase_s(settings: ClockSettings, seconds: float, step_s: float, seed: int = 1) -> np.ndarray:
    """Return reading minus true time at equal steps."""
    clock = clock_of(settings, seed)
    step_ps = round(step_s * 1e12)
    leads = []
    for true_ps in range(0, round(seconds * 1e12), step_ps):
        leads.append(clock.reading_ps(true_ps) - true_ps)
        clock.forget(true_ps)
    return np.array(leads) * 1e-12


def allan_deviation(phase: np.ndarray, step_s: float, steps: int) -> float:
    """Overlapping Allan deviation at ``steps * step_s``; Riley, NIST SP 1065."""
    second = phase[2 * steps :] - 2 * phase[steps:-steps] + phase[: -2 * steps]
    return math.sqrt(np.mean(second**2) / 2) / (steps * step_s)


def noise_only(**parameters: float) -> ClockSettings:
    return ClockSettings(preset="ideal", **parameters)


@pytest.mark.parametrize("preset", ["tcxo", "ocxo", "rb", "gpsdo"])
def test_presets_have_their_allan_deviation_at_one_second(preset: str) -> None:
    # 1 s in 400 s: the overlapping estimate scatters by about 4 %; limit four times that. Ageing is removed by the
    # second difference; readings are whole picoseconds, below the 10 ps of the quietest.
    settings = ClockSettings(preset=preset)
    found = allan_deviation(phase_s(settings, 400.0, 0.1), 0.1, 10)
    assert found == pytest.approx(CLOCKS[preset]["sigma_y_1s"], rel=0.16)


def test_white_rabbit_has_its_phase_noise() -> None:
    phase = phase_s(ClockSettings(preset="white-rabbit"), 20.0, 0.01)
    # 2,000 readings: 1.6 %.
    assert np.std(phase) == pytest.approx(10e-12, rel=0.064)
    # White phase noise: sqrt(3) times its rms over tau.
    assert allan_deviation(phase, 0.01, 100) == pytest.approx(math.sqrt(3) * 10e-12, rel=0.2)


def test_ideal_clock_tells_true_time() -> None:
    assert not phase_s(ClockSettings(preset="ideal"), 1.0, 0.1).any()


def test_white_frequency_noise_falls_with_the_root_of_tau() -> None:
    phase = phase_s(noise_only(sigma_y_1s=1e-9), 100.0, 0.01)
    for steps, tau_s, limit in ((1, 0.01, 0.05), (10, 0.1, 0.1), (100, 1.0, 0.3)):
        assert allan_deviation(phase, 0.01, steps) == pytest.approx(1e-9 / math.sqrt(tau_s), rel=limit)


def test_random_walk_of_frequency_grows_with_the_root_of_tau() -> None:
    phase = phase_s(noise_only(random_walk_sigma_y_1s=1e-9), 100.0, 0.01)
    for steps, tau_s, limit in ((10, 0.1, 0.1), (30, 0.3, 0.2), (100, 1.0, 0.3)):
        assert allan_deviation(phase, 0.01, steps) == pytest.approx(1e-9 * math.sqrt(tau_s), rel=limit)


def test_frequency_error_and_drift_are_exact() -> None:
    clock = clock_of(noise_only(offset_ps=-(10**17), frequency_error=6.5e-6, drift_per_s=1e-9))
    # 3 s: 3e12 x 6.5e-6 = 19,500,000 ps and 1e-9 x 9 / 2 s = 4,500 ps.
    assert clock.reading_ps(3 * 10**12) == -(10**17) + 3 * 10**12 + 19_500_000 + 4_500


def test_steering_holds_the_phase() -> None:
    # Loop of 0.5 s: the random phase settles at sigma sqrt(tau / 2) = 0.5 ns instead of growing to 10 ns in 100 s.
    held = phase_s(noise_only(sigma_y_1s=1e-9, steering_s=0.5), 100.0, 0.05)
    # About 100 independent values: 7 %.
    assert np.std(held) == pytest.approx(0.5e-9, rel=0.28)


def test_reading_does_not_depend_on_the_questions() -> None:
    settings = ClockSettings(preset="tcxo")
    edges = np.sort(np.random.default_rng(1).integers(0, 20 * STRETCH_PS, 1000))
    whole = clock_of(settings).tags(edges)
    divided, parts = clock_of(settings), []
    for part in np.array_split(edges, 17):
        parts.append(divided.tags(part))
        divided.forget(int(part[-1]))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal([clock_of(settings).reading_ps(int(edge)) for edge in edges[::100]], whole[::100])
    assert (np.diff(whole) >= 0).all()


def test_sides_and_seeds_have_their_own_noise() -> None:
    settings = noise_only(sigma_y_1s=1e-9)
    readings = {clock_of(settings, seed, side).reading_ps(10**12) for seed in (1, 2) for side in (0, 1)}
    assert len(readings) == 4


def test_late_readings_are_exact() -> None:
    # An ideal clock read late: the grid forgets, int64 does not.
    clock = clock_of(noise_only(offset_ps=10**17))
    for true_ps in (0, 10**12, 10**12 + 1):
        assert clock.reading_ps(true_ps) == 10**17 + true_ps
        clock.forget(true_ps)


def test_step_and_change_of_rate_add_to_what_the_clock_does_anyway() -> None:
    settings = ClockSettings(preset="tcxo")
    plain, turned = clock_of(settings), clock_of(settings)
    found = {}
    for true_ms in range(0, 7001, 10):
        true_ps = true_ms * 10**9
        if true_ms == 250:
            turned.step(true_ps, 5000, 1e-6)
        if true_ms == 4000:
            turned.step(true_ps, -7000, -1e-6)
        found[true_ms] = turned.reading_ps(true_ps) - plain.reading_ps(true_ps)
        plain.forget(true_ps - 10**9)
        turned.forget(true_ps - 10**9)
    # 1e-6 of 50 ms are 50 ns; of 3.75 s, 3.75 us; both readings are rounded to a picosecond.
    expected = {240: 0, 250: 5000, 300: 55_000, 3990: 3_745_000, 4000: 3_748_000, 7000: 3_748_000}
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1)


def test_restarted_clock_begins_at_zero_with_the_next_millisecond() -> None:
    clock = clock_of(noise_only(offset_ps=3 * 10**11, frequency_error=1e-6))
    assert clock.restart(5 * 10**11 + 1) == 501 * 10**9
    assert clock.reading_ps(501 * 10**9) == 0
    assert clock.reading_ps(601 * 10**9) == 10**11 + 10**5
    np.testing.assert_array_equal(clock.tags(np.array([501 * 10**9, 601 * 10**9])), [0, 10**11 + 10**5])
