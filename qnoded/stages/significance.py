"""How far a count stands above what chance gives: one measure for peaks of all kinds."""

from __future__ import annotations

import math

from qnoded.kernels.tracking import RAREST


def significance(counts: float, expected: float) -> float:
    """Return by how many standard deviations counts exceed those that chance gives, negative if they are fewer.

    Parameters
    ----------
    counts : counts found
    expected : counts of chance, known; taken as 0.001 at least

    Notes
    -----
    Root of twice the logarithm of the likelihood ratio of two Poisson means (S. S. Wilks, Ann. Math. Stat. 9, 60
    (1938)): ``(counts - expected) / sqrt(expected)`` for many counts, and right for few too, where that is not.
    """
    mean = max(expected, RAREST)
    deviance = 2.0 * (counts * math.log(counts / mean) - (counts - mean)) if counts > 0 else 2.0 * mean
    return math.copysign(math.sqrt(max(deviance, 0.0)), counts - mean)
