"""What is true of a run and what an analysis of its tags should find, as one table ready for JSON."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from qnoded.records import F64, I64
from qnoded.sim.optics import (
    correlation,
    dispersion_ps_per_nm,
    fibre_rotation,
    mode_dispersion,
    transmission,
)
from qnoded.sim.photons import Rates, rates
from qnoded.sim.settings import NAMES, SideSettings, WorldSettings
from qnoded.sim.theory import (
    afterpulsing_rate_hz,
    chsh,
    largest_chsh,
    matrix_correlators,
    matrix_qber,
    ready_together,
    window_share,
)
from qnoded.units import FWHM_PER_SIGMA, PS_PER_S, seconds

EXPECTED_WINDOW_PS: Final = 1000
"""Full width of the coincidence window that the expectations are told for, unless asked otherwise."""


def describe_clock(world: WorldSettings, trace: list[tuple[int, int]], final: tuple[int, int]) -> dict[str, Any]:
    """Return the relation of the clocks from readings of one photon pair at alice's H and bob's H.

    Parameters
    ----------
    trace : list of (alice's reading, bob's reading), ps
        For pairs born at equal distances of true time, the first at 0.
    final : (alice's reading, bob's reading), ps
        For a pair born at the end.
    """
    a, b = world.alice.clock, world.bob.clock
    reference_ps, bob_ps = trace[0]
    elapsed_ps = final[0] - reference_ps
    shift_ps = (final[1] - final[0]) - (bob_ps - reference_ps)
    return {
        "offset_ps": b.offset_ps - a.offset_ps,
        "offset_total_ps": bob_ps - reference_ps,
        "reference_ps": reference_ps,
        "frequency_error": (b.frequency_error - a.frequency_error) / (1.0 + a.frequency_error),
        "frequency_error_mean": shift_ps / elapsed_ps if elapsed_ps else None,
        "drift_per_s": b.drift_per_s - a.drift_per_s,
        "final_offset_total_ps": final[1] - final[0],
        "final_reference_ps": final[0],
        "trace": [[alice_ps, reading_ps - alice_ps] for alice_ps, reading_ps in trace],
    }


def describe_delays(arrival_ps: I64) -> list[int]:
    """Return the delays of H V D A against H."""
    return [int(one) for one in arrival_ps - arrival_ps[0]]


def expect(
    world: WorldSettings,
    window_ps: int = EXPECTED_WINDOW_PS,
    *,
    arms: tuple[F64, F64] | None = None,
    streams: Rates | None = None,
) -> dict[str, Any]:
    """Return rates, errors and S that the tags should show, by theory; at the beginning unless told otherwise.

    Accidentals and dead times are included, exponential tails of the jitter and slow recovery of efficiency are not.

    Parameters
    ----------
    window_ps : int
        Full width of the coincidence window.
    arms : (alice, bob), float64[3, 3] each
        What turns the polarization between source and analysers, if it is not the fibres as at the beginning.
    streams
        Rates of all streams, if they are not what settings and arms alone give.
    """
    turned = arms or (fibre_rotation(world.alice.fibre), fibre_rotation(world.bob.fibre))
    streams = streams or rates(world, *turned)
    clicks_a, ready_a = _clicks(world.alice, streams.alice_hz + streams.pairs_hz.sum(axis=1))
    clicks_b, ready_b = _clicks(world.bob, streams.bob_hz + streams.pairs_hz.sum(axis=0))
    peak_fwhm_ps = np.sqrt(
        np.add.outer(_widths_ps(world.alice) ** 2, _widths_ps(world.bob) ** 2) + _dispersion_fwhm_ps(world) ** 2
    )
    share = np.vectorize(window_share)(window_ps, peak_fwhm_ps)
    shared_ps = np.minimum.outer(_dead_times_ps(world.alice), _dead_times_ps(world.bob))
    pairs_hz = streams.pairs_hz * ready_together(ready_a, ready_b, streams.pairs_hz, shared_ps)
    accidentals_hz = np.outer(clicks_a, clicks_b) * window_ps / PS_PER_S
    matrix_hz = pairs_hz * share + accidentals_hz
    correlators = matrix_correlators(matrix_hz)
    true_hz, accidental_hz = float((pairs_hz * share).sum()), float(accidentals_hz.sum())
    seen = turned[0] @ mode_dispersion(world.alice.fibre, world.source) @ correlation(world.source)
    seen = seen @ mode_dispersion(world.bob.fibre, world.source).T @ turned[1].T
    return {
        "window_ps": window_ps,
        "peak_fwhm_ps": float(peak_fwhm_ps.mean()),
        "singles_hz": {"alice": clicks_a.tolist(), "bob": clicks_b.tolist()},
        "transmission": {"alice": transmission(world.alice), "bob": transmission(world.bob)},
        "pairs_hz": float(pairs_hz.sum()),
        "pairs_matrix_hz": pairs_hz.tolist(),
        "matrix_hz": matrix_hz.tolist(),
        "accidentals_hz": accidental_hz,
        "car": true_hz / accidental_hz if accidental_hz else None,
        "qber": matrix_qber(matrix_hz),
        "visibility": {"HV": float(correlators[0, 0]), "DA": float(correlators[1, 1])},
        "chsh": chsh(correlators),
        "chsh_largest": largest_chsh(seen),
    }


def describe(
    world: WorldSettings,
    seed: int,
    duration_ps: int,
    clock: dict[str, Any],
    arrival_ps: tuple[I64, I64],
    tags: tuple[I64, I64],
    pairs_absorbed: I64,
) -> dict[str, Any]:
    """Return the whole table; sides come as (alice, bob), arrays are int64[4] and int64[4, 4]."""
    expected = expect(world)
    expected["pairs_emitted"] = world.source.pair_rate_hz * seconds(duration_ps)
    sides = ("alice", "bob")
    return {
        "version": version("qnoded"),
        "simulated": True,
        "seed": seed,
        "duration_s": seconds(duration_ps),
        "channels": {side: {name: k for k, name in enumerate(NAMES)} for side in sides},
        "clock": clock,
        "delays_ps": {side: describe_delays(own) for side, own in zip(sides, arrival_ps, strict=True)},
        "delays_absolute_ps": {side: own.tolist() for side, own in zip(sides, arrival_ps, strict=True)},
        "tags": {side: own.tolist() for side, own in zip(sides, tags, strict=True)},
        "pairs_absorbed": pairs_absorbed.tolist(),
        "pairs_qber": matrix_qber(np.asarray(pairs_absorbed, dtype=np.float64)),
        "expected": expected,
        "settings": world.model_dump(mode="json"),
    }


def as_text(truth: dict[str, Any]) -> str:
    """Return the table as JSON, one line per subject: a person finds the numbers, long ones do not fill the screen."""
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in truth.items())
    return f"{{\n{lines}\n}}\n"


def _clicks(side: SideSettings, excitations_hz: F64) -> tuple[F64, F64]:
    """Return the tags per second and the share of the time ready of each detector, float64[4] each."""
    counted, ready = [], []
    for one, rate_hz in zip(side.detectors, excitations_hz, strict=True):
        clicks_hz, share = afterpulsing_rate_hz(
            float(rate_hz), one.dead_time_ps, one.paralysable, one.afterpulse_probability
        )
        echoes = one.double_firing_probability
        counted.append(clicks_hz * (1.0 + echoes))
        ready.append(share)
    return np.array(counted), np.array(ready)


def _dead_times_ps(side: SideSettings) -> F64:
    return np.array([float(detector.dead_time_ps) for detector in side.detectors])


def _widths_ps(side: SideSettings) -> F64:
    """Return the timing widths of the four detectors with the tagger, FWHM, float64[4]."""
    jitter_ps = np.array([detector.jitter_fwhm_ps for detector in side.detectors])
    # Rounding to a bin adds the spread of a uniform distribution.
    tagger_ps = math.hypot(side.tagger.jitter_rms_ps, float(side.tagger.bin_ps) / math.sqrt(12.0))
    widths_ps: F64 = np.hypot(jitter_ps, FWHM_PER_SIGMA * tagger_ps)
    return widths_ps


def _dispersion_fwhm_ps(world: WorldSettings) -> float:
    """Return the width that both fibres give a pair together: its photons are detuned oppositely, so delays add."""
    sum_ps_per_nm = dispersion_ps_per_nm(world.alice.fibre) + dispersion_ps_per_nm(world.bob.fibre)
    return abs(sum_ps_per_nm) * world.source.spectral_width_nm
