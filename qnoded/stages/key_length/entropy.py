"""Binary entropy, in the two number types that key lengths need.

Rates are floats. Lengths are whole bits, and a float that is off by 1e-9 near a whole number makes two ends disagree by
one bit; they are therefore computed in decimals of 40 digits, from the decimal numbers that a person typed.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from typing import Final

DIGITS: Final = 40
"""Working precision of a length: 1e12 bits leave 28 digits behind the point."""

_LN_2: Final = Context(prec=DIGITS + 5).ln(Decimal(2))
_HALF: Final = Decimal("0.5")
_BISECTIONS: Final = 60
"""Halvings of an interval below 1 until a float cannot be told from its neighbour."""


def binary_entropy(probability: float) -> float:
    """Return h(p) = -p log2 p - (1-p) log2(1-p) in bits; 0 at and beyond the ends of [0, 1]."""
    if probability <= 0.0 or probability >= 1.0:
        return 0.0
    return -(probability * math.log(probability) + (1.0 - probability) * math.log1p(-probability)) / math.log(2.0)


def error_rate_at(entropy_bits: float) -> float:
    """Return the error rate in [0, 1/2] whose binary entropy is ``entropy_bits`` (limited to [0, 1])."""
    if entropy_bits <= 0.0:
        return 0.0
    low, high = 0.0, 0.5
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if binary_entropy(middle) < entropy_bits else (low, middle)
    return (low + high) / 2


def precisely() -> AbstractContextManager[Context]:
    """Return the context in which lengths are computed: 40 digits, whatever the caller has set for itself."""
    return localcontext(Context(prec=DIGITS))


def exact(number: float) -> Decimal:
    """Return the decimal number that the float or int was written as: 0.1 is one tenth."""
    return Decimal(repr(number))


def log2_exact(number: Decimal) -> Decimal:
    """Return the logarithm to base 2 of a positive number."""
    return number.ln() / _LN_2


def entropy_exact(probability: Decimal) -> Decimal:
    """Return h(p) in bits; 0 at and beyond the ends of [0, 1]."""
    if probability <= 0 or probability >= 1:
        return Decimal(0)
    return -probability * log2_exact(probability) - (1 - probability) * log2_exact(1 - probability)


def worst_entropy(error_rate: Decimal) -> Decimal:
    """Return the largest h(p) of all p up to a bound on an error rate: h falls beyond 1/2, ignorance does not."""
    return Decimal(1) if error_rate >= _HALF else entropy_exact(error_rate)


def whole_bits(length: Decimal | None) -> int:
    """Return the length rounded down, and 0 where the bound is negative or empty (None)."""
    if length is None or length <= 0:
        return 0
    return int(length.to_integral_value(rounding=ROUND_FLOOR))
