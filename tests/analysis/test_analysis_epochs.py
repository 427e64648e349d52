"""One epoch measured: what is counted by chance is counted like the rest."""

from __future__ import annotations

import numpy as np
import pytest

from qnoded.analysis.alignment import AlignedEpoch
from qnoded.analysis.epochs import measure
from qnoded.records import ClockModel, DetectionEpoch, Detector, Receiver
from qnoded.stages.coincidence import displacements
from qnoded.stages.tagging import MultiClick

RECEIVERS = tuple(Receiver(side, (Detector("H", 0, "HV", 0), Detector("V", 1, "HV", 1))) for side in ("alice", "bob"))


@pytest.mark.parametrize("policy", MultiClick)
def test_light_without_pairs_has_accidentals_alone(policy: MultiClick) -> None:
    # 2 Mcps a side and 20 ns: 40 000 pairs by chance in half a second, known to 0.5 %, and by eight displaced windows
    # to 0.2 %. Counted one-to-one after multi-clicks were resolved they were 7 % fewer.
    random, length_ps, clicks, window_ps = np.random.default_rng(4), 5 * 10**11, 10**6, 20_000
    alice, bob = (
        DetectionEpoch(
            random.integers(0, 2, clicks).astype(np.uint8), np.sort(random.integers(0, length_ps, clicks)), 0, length_ps
        )
        for _ in range(2)
    )
    aligned = AlignedEpoch(alice, bob, length_ps, ClockModel(0, 0, 0.0), None)
    displacements_ps = displacements(window_ps, 4)
    epoch = measure(aligned, RECEIVERS, window_ps, policy, 1, displacements_ps, map)
    pairs, accidentals = epoch.pairs.sum(), epoch.displaced.sum() / len(displacements_ps)
    assert pairs == pytest.approx(40_000, abs=5 * 200)
    assert accidentals == pytest.approx(pairs, abs=5 * (1.125 * pairs) ** 0.5)
    assert epoch.sifted[0].bits.size < pairs
