"""Units, epochs and the only conversions between them.

Picoseconds are integers from driver to sifting: a float64 is exact only up to 2**53 ps, which is 2.5 hours.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from qnoded.errors import UsageError

PS_PER_S: Final = 10**12
PS_PER_MS: Final = 10**9
PS_PER_US: Final = 10**6
PS_PER_NS: Final = 10**3

EPOCH_PS: Final = 2**39
"""Length of an epoch, 0.549755813888 s: the unit of work, naming and loss."""

FWHM_PER_SIGMA: Final = 2.3548200450309493
"""Full width at half maximum of a Gaussian in units of its standard deviation, 2 sqrt(2 ln 2)."""

_RATIONAL: Final = re.compile(r"\d{1,18}(?:\.\d{1,12})?(?:/\d{1,18})?")


def seconds(duration_ps: int) -> float:
    """Return a duration in seconds; for people and rates, never for tags."""
    return duration_ps / PS_PER_S


def tick(text: str, what: str = "tick") -> Fraction:
    """Read a tick or another period in picoseconds, written ``"625/8"``, ``"78.125"`` or ``"1"``, exactly.

    Raises
    ------
    UsageError
        If the text is not a positive decimal number or ratio.
    """
    if _RATIONAL.fullmatch(text.strip()):
        numerator, _, denominator = text.strip().partition("/")
        if Fraction(denominator or "1") > 0 and Fraction(numerator) > 0:
            return Fraction(numerator) / Fraction(denominator or "1")
    problem = f"{what} of {text!r} ps cannot be read; write a positive number or ratio such as 1, 78.125 or 625/8"
    raise UsageError(problem)


def from_db(ratio_db: float) -> float:
    """Return the power ratio of ``ratio_db`` decibels."""
    return float(10.0 ** (ratio_db / 10.0))
