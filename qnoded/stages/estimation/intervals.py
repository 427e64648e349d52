"""What a count allows to say: proportions with exact intervals, measured values with standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import betaincinv

from qnoded.errors import UsageError

CONFIDENCE: Final = 0.95
"""Confidence of intervals unless told otherwise: what is read as an error bar."""
THREE_SIGMA: Final = 0.9973002039367398
"""Confidence of three standard deviations of a normal distribution, two-sided: for decisions."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its standard error from counting."""

    value: float
    error: float
    """Standard deviation."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of counts with a confidence interval that holds for any number of counts."""

    value: float
    """``hits / total``; nan without counts."""
    low: float
    high: float
    hits: float
    total: float
    confidence: float
    """Probability that the interval contains the truth, at least."""


def proportion(hits: float, total: float, confidence: float = CONFIDENCE) -> Proportion:
    """Return a share of counts with its Clopper-Pearson interval.

    Exact for binomial counts, never too short (Clopper and Pearson, Biometrika 26, 404 (1934), as quantiles
    of the beta distribution). Counts need not be whole numbers, since averaged counts are not.

    Parameters
    ----------
    hits : float, 0 to ``total``
    total : float; 0 gives the interval from 0 to 1
    confidence : float, above 0 and below 1; each tail gets half of the rest

    Returns
    -------
    Proportion

    Raises
    ------
    UsageError
        If ``hits`` is not within 0 and ``total`` or ``confidence`` not within 0 and 1.
    """
    if not 0.0 <= hits <= total:
        problem = f"{hits} of {total} counts is no proportion; give hits from 0 to the total"
        raise UsageError(problem)
    if not 0.0 < confidence < 1.0:
        problem = f"a confidence of {confidence} is not between 0 and 1; give for example 0.95"
        raise UsageError(problem)
    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(hits, total - hits + 1.0, tail)) if hits > 0.0 else 0.0
    high = float(betaincinv(hits + 1.0, total - hits, 1.0 - tail)) if hits < total else 1.0
    value = hits / total if total else float(np.nan)
    # The quantiles of the beta distribution lose their precision for hits far below one.
    low, high = (min(low, value), max(high, value)) if total else (low, high)
    return Proportion(value, low, high, float(hits), float(total), confidence)
