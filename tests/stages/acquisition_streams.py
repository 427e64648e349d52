"""Pairs of streams with a clock whose truth is known, and the ways in which real ones are worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from qnoded.sim.pairs import pair_streams
from qnoded.stages.synchronization.acquisition import Acquisition

OFFSET_PS = -123_456_789_012
FREQUENCY_ERROR = -7e-6


@dataclass(frozen=True)
class Pair:
    """Two streams and the truth about bob's clock."""

    alice_ps: np.ndarray
    bob_ps: np.ndarray
    offset_ps: int
    frequency_error: float
    drift_per_s: float = 0.0

    def errors(self, found: Acquisition) -> tuple[float, float]:
        """Return the error of the offset at its reference, ps, and that of the frequency error, ppb."""
        assert found.clock is not None
        at = found.clock.reference_ps
        offset = self.offset_ps + self.frequency_error * at + 0.5 * self.drift_per_s * at * (at / 1e12)
        error = self.frequency_error + self.drift_per_s * at / 1e12
        return found.clock.offset_ps - offset, (found.clock.frequency_error - error) * 1e9

    def cut(self, alice: Callable[[np.ndarray], np.ndarray], bob: Callable[[np.ndarray], np.ndarray]) -> Pair:
        """Keep the tags for which a function of the tags of that side says so."""
        return replace(
            self,
            alice_ps=self.alice_ps[alice(self.alice_ps)],
            bob_ps=self.bob_ps[bob(self.bob_ps - self.offset_ps)],
        )


def link(
    rate_hz: float,
    pair_fraction: float,
    seconds: float,
    seed: int,
    *,
    offset_ps: int = OFFSET_PS,
    frequency_error: float = FREQUENCY_ERROR,
    drift_per_s: float = 0.0,
    jitter_ps: float = 100.0,
) -> Pair:
    """Return two streams of equal rate."""
    alice, bob = pair_streams(
        rate_hz,
        rate_hz,
        pair_fraction * rate_hz,
        seconds,
        seed,
        jitter_ps=jitter_ps,
        offset_ps=offset_ps,
        frequency_error=frequency_error,
        drift_per_s=drift_per_s,
    )
    return Pair(alice, bob, offset_ps, frequency_error, drift_per_s)


def skewed(pair: Pair, spread_ps: int, seed: int) -> Pair:
    """Delay each click by one of four channel delays a side: the pairs then make 16 peaks."""
    rng = np.random.default_rng(seed)

    def delayed(tag_ps: np.ndarray) -> np.ndarray:
        return np.sort(tag_ps + rng.integers(-spread_ps, spread_ps, 4)[rng.integers(0, 4, tag_ps.size)])

    return replace(pair, alice_ps=delayed(pair.alice_ps), bob_ps=delayed(pair.bob_ps))


def wandering(pair: Pair, allan_1s: float, seed: int) -> tuple[Pair, Callable[[int], float]]:
    """Let bob's clock walk with white frequency noise; return also the walk, ps, at a moment of alice's clock."""
    step_ps = 10**9
    count = int(pair.bob_ps[-1] - pair.offset_ps) // step_ps + 2
    steps = np.random.default_rng(seed).normal(0.0, allan_1s * np.sqrt(step_ps / 1e12) * 1e12, count)
    knots, walk = np.arange(count) * float(step_ps), np.cumsum(steps)
    moved = pair.bob_ps + np.rint(np.interp(pair.bob_ps - pair.offset_ps, knots, walk)).astype(np.int64)
    return replace(pair, bob_ps=np.sort(moved)), lambda at: float(np.interp(at, knots, walk))
