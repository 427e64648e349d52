"""Bursts of tags that no light makes: a cable that rings, a clock that stood still, a tagger's own test signal."""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.records import I64

BURST_TAGS: Final = 64
"""So many tags within ..."""
BURST_PS: Final = 100_000
"""... 100 ns are 640 Mcps, four times what four detectors of 25 ns dead time can give."""


def without_bursts(tag_ps: I64) -> I64:
    """Leave out the tags that stand in bursts: two of them make a peak at every delay, and pairs without number.

    Parameters
    ----------
    tag_ps : int64[n], ps, ascending

    Returns
    -------
    int64[m], ps
        The array itself where it has no burst.
    """
    crowded = np.flatnonzero(tag_ps[BURST_TAGS - 1 :] - tag_ps[: 1 - BURST_TAGS] <= BURST_PS)
    if not crowded.size:
        return tag_ps
    begun = np.zeros(tag_ps.size + 1, np.int64)
    begun[crowded] = 1
    # Each crowded window holds its first tag and those that follow.
    begun[BURST_TAGS:] -= begun[:-BURST_TAGS].copy()
    alone: I64 = tag_ps[np.cumsum(begun[:-1]) == 0]
    return alone
