"""Which of the revealed clicks met one of the matcher's tells everybody when his detectors clicked."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from live_streams import TERMS, receiver

from qnoded.exchange.epoch_work import Setup, identify, prepare
from qnoded.records import ClockModel, DetectionEpoch, Receiver
from qnoded.stages.synchronization.clock_state import start
from qnoded.units import EPOCH_PS

DEAD_PS = {"alice": 30_000, "bob": 10_000_000}
"""Nanowires at the revealer, InGaAs diodes at the matcher."""
PAIRS = 20_000
"""In one epoch."""


def slow(side: str) -> Receiver:
    made = receiver(side)
    return replace(made, detectors=tuple(replace(each, dead_time_ps=DEAD_PS[side]) for each in made.detectors))


def alive(epoch: DetectionEpoch, dead_ps: int) -> DetectionEpoch:
    """Return the clicks that detectors of such a dead time give."""
    kept = np.zeros(len(epoch), np.bool_)
    for detector in range(4):
        last_ps = -dead_ps
        for place in np.flatnonzero(epoch.detector == detector):
            if epoch.tag_ps[place] - last_ps >= dead_ps:
                kept[place], last_ps = True, int(epoch.tag_ps[place])
    return DetectionEpoch(epoch.detector[kept], epoch.tag_ps[kept], epoch.start_ps, epoch.stop_ps)


@pytest.mark.parametrize("number", [4, 5])
def test_no_two_coincidences_in_one_basis_are_nearer_than_the_matchers_dead_time(number: int) -> None:
    """Of two such ones the second bit would be the opposite of the first, for everybody who can subtract."""
    rng, chance = np.random.default_rng(number), random.Random(number).randbytes
    alice, bob = (Setup.of(TERMS, side, slow(side), "alice", chance) for side in ("alice", "bob"))
    start_ps = number * EPOCH_PS
    born_ps = np.sort(rng.integers(start_ps, start_ps + EPOCH_PS, PAIRS))
    basis, other_basis, bit = rng.integers(0, 2, (3, PAIRS))
    other_bit = np.where(basis == other_basis, bit, rng.integers(0, 2, PAIRS))
    clicks = [
        alive(DetectionEpoch((2 * b + v).astype(np.uint8), born_ps, start_ps, start_ps + EPOCH_PS), DEAD_PS[side])
        for side, b, v in (("alice", basis, bit), ("bob", other_basis, other_bit))
    ]
    prepared = prepare(clicks[0], alice, 128, chance, settling=False, service=False)
    state = start(ClockModel(start_ps, 0, 0.0), 100.0, PAIRS / 0.55)
    found = identify(prepared.message, [clicks[1]], state, bob, chance, map, settling=False)
    assert found.told is not None
    told = found.told.coincident
    met_ps = prepared.epoch.tag_ps[told.revealed]
    assert met_ps.size > 0.3 * PAIRS
    for each in (0, 1):
        times_ps = met_ps[told.basis == each]
        assert np.diff(times_ps).min() > DEAD_PS["bob"] - 2_000
        assert times_ps[0] - start_ps > DEAD_PS["bob"] - 2_000
