"""Two nodes with noisy clocks, and a walk through their epochs that knows the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnoded.records import ClockModel
from qnoded.stages.synchronization.clock_state import ClockState, start
from qnoded.stages.synchronization.tracking import Tracked, bob_span, track
from qnoded.units import EPOCH_PS, PS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OFFSET_PS = 100_000_000_123
FREQUENCY_ERROR = 2e-6
STEP_S = 1e-4

# White FM and random-walk FM, Allan deviation at 1 s each, between the two clocks.
IDEAL = (0.0, 0.0)
RUBIDIUM = (2e-11, 1e-14)
OCXO = (1e-11, 1e-12)
TCXO = (1e-9, 1e-10)


@dataclass(frozen=True)
class Streams:
    """Tags of both sides and the true offset as a function of link time."""

    alice_ps: np.ndarray
    bob_ps: np.ndarray
    origin_ps: int
    seconds: float
    truth_ps: Callable[[np.ndarray], np.ndarray]
    """Bob minus alice minus OFFSET_PS at moments of link time, float64 ps."""

    def epoch(self, number: int, state: ClockState) -> tuple[np.ndarray, np.ndarray, int]:
        start_ps = self.origin_ps + number * EPOCH_PS
        alice = slice(*np.searchsorted(self.alice_ps, (start_ps, start_ps + EPOCH_PS)))
        bob = slice(*np.searchsorted(self.bob_ps, bob_span(state, start_ps, start_ps + EPOCH_PS)))
        return self.alice_ps[alice], self.bob_ps[bob], start_ps

    @property
    def epochs(self) -> int:
        return int(self.seconds * PS_PER_S) // EPOCH_PS

    def swapped(self) -> Streams:
        """Return the same clicks with alice and bob exchanged; link time is then what bob's clock was."""
        return Streams(self.bob_ps, self.alice_ps, self.origin_ps + OFFSET_PS, self.seconds, self.truth_ps)


def streams(
    seed: int,
    seconds: float,
    clock: tuple[float, float],
    *,
    singles_hz: float = 1e5,
    pairs_hz: float = 5e3,
    sigma_ps: float = 60.0,
    drift_per_s: float = 0.0,
    origin_ps: int = 0,
    dark_s: tuple[float, float] = (0.0, 0.0),
    dark_hz: float = 1e3,
    step_ps: int = 0,
    step_s: float = 0.0,
) -> Streams:
    """Poissonian pairs and lonely clicks in wandering clocks; only ``dark_hz`` is left within ``dark_s``."""
    rng = np.random.Generator(np.random.Philox(seed))
    white, walk = clock
    steps = int(seconds / STEP_S) + 2
    frequency = np.cumsum(rng.normal(0.0, 1.0, steps) * walk * np.sqrt(3.0 * STEP_S))
    wander = np.cumsum(frequency * STEP_S + rng.normal(0.0, 1.0, steps) * white * np.sqrt(STEP_S)) * PS_PER_S
    grid_s = np.arange(steps) * STEP_S

    def truth_ps(link_ps: np.ndarray) -> np.ndarray:
        since_s = (link_ps - origin_ps) / PS_PER_S
        steady = (FREQUENCY_ERROR * since_s + 0.5 * drift_per_s * since_s**2) * PS_PER_S
        return np.interp(since_s, grid_s, wander) + steady + step_ps * (since_s >= step_s)

    span_ps = round(seconds * PS_PER_S)

    def light(rate_hz: float) -> np.ndarray:
        moments = rng.integers(0, span_ps, rng.poisson(rate_hz * seconds))
        return moments[(moments < dark_s[0] * PS_PER_S) | (moments >= dark_s[1] * PS_PER_S)]

    births = light(pairs_hz)

    def clicks() -> np.ndarray:
        jitter = np.rint(rng.normal(0.0, sigma_ps / np.sqrt(2.0), births.size)).astype(np.int64)
        dark = rng.integers(0, span_ps, rng.poisson(dark_hz * seconds))
        lonely = light(max(singles_hz - pairs_hz - dark_hz, 0.0))
        return np.sort(np.concatenate((births + jitter, lonely, dark))) + origin_ps

    alice, true_bob = clicks(), clicks()
    bob = true_bob + OFFSET_PS + np.rint(truth_ps(true_bob)).astype(np.int64)
    return Streams(alice, np.sort(bob), origin_ps, seconds, truth_ps)


def acquired(
    seed: int,
    origin_ps: int = 0,
    *,
    sigma_ps: float = 30.0,
    frequency_sigma: float = 3e-10,
    peak_sigma_ps: float = 80.0,
    pairs_hz: float = 6e3,
) -> ClockState:
    """Return a state as an acquisition would leave it: right within its errors."""
    rng = np.random.Generator(np.random.Philox(seed + 10_000))
    clock = ClockModel(
        origin_ps,
        OFFSET_PS + round(rng.normal(0.0, sigma_ps)),
        FREQUENCY_ERROR + rng.normal(0.0, frequency_sigma),
        sigma_ps,
        frequency_sigma,
    )
    return start(clock, peak_sigma_ps, pairs_hz)


def walk(recorded: Streams, state: ClockState) -> Iterator[Tracked]:
    """Track epoch after epoch."""
    for number in range(recorded.epochs):
        alice_ps, bob_ps, start_ps = recorded.epoch(number, state)
        tracked = track(alice_ps, bob_ps, state, start_ps=start_ps)
        state = tracked.state
        yield tracked


def clock_error_ps(recorded: Streams, tracked: Tracked, points: int = 400) -> np.ndarray:
    """Return map minus truth at even moments of an epoch, ps."""
    stop_ps = tracked.state.reference_ps
    moments = stop_ps - EPOCH_PS + np.arange(points) * (EPOCH_PS // points)
    return tracked.clock_map.offset_at(moments) - OFFSET_PS - recorded.truth_ps(moments)
