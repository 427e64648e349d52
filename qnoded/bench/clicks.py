"""Clicks for measuring speed: two nodes that share pairs, in one clock, by seed; no optics beyond that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.kernels.filtering import NEVER_PS, drop_dead_time
from qnoded.records import I64, U8, DetectionEpoch, Detector, Receiver
from qnoded.units import PS_PER_S

DETECTORS: Final = 4
JITTER_PS: Final = 100.0
"""Standard deviation of one click: avalanche diodes with a good tagger, as in both links below."""
DEAD_TIME_PS: Final = 30_000
"""Of a fast detector; both links see its mark on the intervals."""
QBER: Final = 0.025


@dataclass(frozen=True, slots=True)
class Link:
    """What decides how the hot path sees a link: the clicks of a node, and how many of them have a partner."""

    name: str
    rate_hz: float
    """Clicks per second of one node."""
    heralding: float
    """Share of them that have a partner at the other node."""


LAB: Final = Link("lab", 3.88e6, 0.25)
"""A bright source on the table: four detectors near a million clicks a second each."""
FIELD: Final = Link("field", 0.398e6, 0.05)
"""Two lossy fibres: a hundred thousand clicks a second and detector."""


def receiver(side: str) -> Receiver:
    """Return the four detectors of a side."""
    names = (("H", "HV", 0), ("V", "HV", 1), ("D", "DA", 0), ("A", "DA", 1))
    return Receiver(side, tuple(Detector(name, k, basis, bit) for k, (name, basis, bit) in enumerate(names)))


def epochs(link: Link, clicks: int, seed: int) -> tuple[DetectionEpoch, DetectionEpoch]:
    """Return one long epoch of each node with about this many clicks.

    Pairs and lone clicks are Poissonian and independent; in equal bases the bits agree up to ``QBER``, in unequal ones
    they know nothing of each other. Dead times are applied.

    Parameters
    ----------
    link : rates
    clicks : of each node, before dead times
    seed : same seed, same clicks
    """
    random = np.random.default_rng(seed)
    span_ps = clicks / link.rate_hz * PS_PER_S
    pairs = int(clicks * link.heralding)
    true_ps = random.uniform(0, span_ps, pairs)
    bit, basis = random.integers(0, 2, pairs, np.uint8), random.integers(0, 2, (2, pairs), np.uint8)
    unlike = np.where(basis[0] == basis[1], random.random(pairs) < QBER, random.random(pairs) < 0.5)
    outcomes = 2 * basis[0] + bit, 2 * basis[1] + (bit ^ unlike)
    sides = (_node(random, true_ps, outcome, clicks - pairs, span_ps) for outcome in outcomes)
    alice, bob = (DetectionEpoch(detector, tag_ps, 0, int(span_ps)) for detector, tag_ps in sides)
    return alice, bob


def _node(random: np.random.Generator, true_ps: np.ndarray, outcome: U8, lone: int, span_ps: float) -> tuple[U8, I64]:
    tag_ps = np.append(true_ps + random.normal(0, JITTER_PS, true_ps.size), random.uniform(0, span_ps, lone))
    detector = np.append(outcome, random.integers(0, DETECTORS, lone, np.uint8))
    order = np.argsort(tag_ps, kind="stable")
    tags, labels = np.rint(tag_ps[order]).astype(np.int64), detector[order]
    last_ps, dropped = np.full(DETECTORS, NEVER_PS), np.zeros(DETECTORS, np.int64)
    dead_time_ps = np.full(DETECTORS, DEAD_TIME_PS, np.int64)
    kept = drop_dead_time(tags, labels, dead_time_ps, last_ps, tags, labels, dropped)
    return labels[:kept].copy(), tags[:kept].copy()
