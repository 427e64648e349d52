"""Worlds for the tests and plain numpy counting of what their taggers say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnoded.sim import World
from qnoded.sim.changes import load_world

PERFECT = [
    "source.visibility_hv=1",
    "source.visibility_da=1",
    *(
        f"{side}.{change}"
        for side in ("alice", "bob")
        for change in (
            "heralding=1",
            "fibre.length_km=0",
            "fibre.pmd_ps_per_sqrt_km=0",
            "analyser.extinction_transmitted=1e12",
            "analyser.extinction_reflected=1e12",
            "detectors.efficiency=1",
            "detectors.dark_hz=0",
            "detectors.jitter_fwhm_ps=0",
            "detectors.dead_time_ps=0",
            "detectors.skew_ps=0",
            "tagger.jitter_rms_ps=0",
            "tagger.dead_time_ps=0",
            "clock.preset=ideal",
            "clock.offset_ps=0",
        )
    ),
]
"""Nothing is lost, nothing is late."""


@dataclass
class Side:
    tag_ps: np.ndarray
    channel: np.ndarray

    def rates_hz(self, seconds: float) -> np.ndarray:
        return np.bincount(self.channel, minlength=4) / seconds


def record(changes: list[str], seconds: float, seed: int = 1) -> tuple[Side, Side, World]:
    """Run a world and gather all tags."""
    world = World(load_world(None, changes), seed)
    blocks = list(world.blocks(seconds))
    alice, bob = (
        Side(
            np.concatenate([pair[side].tag_ps for pair in blocks]),
            np.concatenate([pair[side].channel for pair in blocks]),
        )
        for side in (0, 1)
    )
    return alice, bob, world


def residuals(alice: Side, bob: Side, half_ps: int, offset_ps: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bob's time minus alice's and the indices of both, for all pairs of clicks within +-half_ps."""
    first = np.searchsorted(alice.tag_ps, bob.tag_ps - offset_ps - half_ps, "left")
    stop = np.searchsorted(alice.tag_ps, bob.tag_ps - offset_ps + half_ps, "right")
    n = stop - first
    of_bob = np.repeat(np.arange(bob.tag_ps.size), n)
    of_alice = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first, n)
    return bob.tag_ps[of_bob] - offset_ps - alice.tag_ps[of_alice], of_alice, of_bob


def matrix(alice: Side, bob: Side, window_ps: int, offset_ps: int = 0) -> np.ndarray:
    """Return the coincidences of all pairs of detectors, int64[4, 4]."""
    _, of_alice, of_bob = residuals(alice, bob, window_ps // 2, offset_ps)
    cell = alice.channel[of_alice].astype(np.int64) * 4 + bob.channel[of_bob]
    return np.bincount(cell, minlength=16).reshape(4, 4)
