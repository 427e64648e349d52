"""Time that a tagger lost: it is no measured time for either side, and what the other saw in it can meet nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qnoded.records import I64, DetectionEpoch, Gap


def without_gaps(alice: DetectionEpoch, bob: DetectionEpoch) -> tuple[DetectionEpoch, DetectionEpoch, int]:
    """Leave out both sides' clicks in the gaps of either; return both sides and the time that is left, ps.

    Parameters
    ----------
    alice, bob : the same stretch of link time, gaps in link time too
    """
    length_ps = alice.stop_ps - alice.start_ps
    if not (alice.gaps or bob.gaps):
        return alice, bob, length_ps
    begins_ps, ends_ps = _united(alice.gaps + bob.gaps)
    clipped = np.clip(ends_ps, alice.start_ps, alice.stop_ps) - np.clip(begins_ps, alice.start_ps, alice.stop_ps)
    return _outside(alice, begins_ps, ends_ps), _outside(bob, begins_ps, ends_ps), length_ps - int(clipped.sum())


def _united(gaps: tuple[Gap, ...]) -> tuple[I64, I64]:
    """Return begins and ends of the times that are in any gap, int64[k] ps each, apart and ascending."""
    united: list[list[int]] = []
    for begin_ps, end_ps in sorted((gap.start_ps, gap.stop_ps) for gap in gaps):
        if united and begin_ps <= united[-1][1]:
            united[-1][1] = max(united[-1][1], end_ps)
        else:
            united.append([begin_ps, end_ps])
    borders_ps = np.array(united, np.int64)
    return borders_ps[:, 0], borders_ps[:, 1]


def _outside(epoch: DetectionEpoch, begins_ps: I64, ends_ps: I64) -> DetectionEpoch:
    """Leave out the clicks within gaps; those at the borders are certain."""
    gap = np.searchsorted(begins_ps, epoch.tag_ps) - 1
    kept = (gap < 0) | (epoch.tag_ps >= ends_ps[gap])
    return replace(epoch, detector=epoch.detector[kept], tag_ps=epoch.tag_ps[kept])
