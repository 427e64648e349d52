"""What unequal shares of the bases cost, where the bits of all bases make key.

The phase error of a bit is the error that its pair would have shown in the other basis. With equal shares phase errors
come as often as bit errors; with others they may come more often, by the ratio of the shares at most. The argument and
what it assumes are in docs/key-length.md.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

MOST_RATIO: Final = 1.5
"""Of the largest share to the smallest, 60:40 for two bases. Beyond it a splitter is broken or swapped, or somebody
chooses what is detected: the bound would hold, but its assumption that nobody does is not believed any more."""


def uneven(basis_bits: tuple[int, ...]) -> str:
    """Return what is wrong with the shares of the bases, for people; empty where a key may be made.

    Parameters
    ----------
    basis_bits : sifted bits of each basis, test bits included
    """
    if len(basis_bits) < 2 or max(basis_bits) > MOST_RATIO * min(basis_bits):
        counted = " : ".join(f"{bits:,}" for bits in basis_bits)
        return f"the bases have {counted} sifted bits, at most {MOST_RATIO:g} to 1 may be"
    return ""


def phase_error_rate(n: int, k: int, delta: Decimal, nu: Decimal, basis_bits: tuple[int, ...]) -> Decimal:
    """Return the bound on the phase error rate of the key bits; to be called within ``precisely()``.

    It holds but for the probability exp(-2 nu^2 n k^2 / ((n + k)(k + 1))), Serfling's for equal shares.

    Parameters
    ----------
    n, k : key bits and test bits of all bases together
    delta : error rate of the test bits
    nu : allowance that has this failure probability at equal shares
    basis_bits : sifted bits of each basis, test bits included; empty: equal shares by construction
    """
    if not basis_bits:
        return delta + nu
    ratio = Decimal(max(basis_bits)) / min(basis_bits)
    # The shares are those that were counted, not probabilities that somebody knows: whatever these are, what was
    # concluded from the counts is wrong at most sqrt(2 (n + k)) times as often, for each basis but one.
    log_factor = (2 * Decimal(n + k)).ln() * (len(basis_bits) - 1) / 2
    steepness = Decimal(n * k * k) / ((n + k) * (k + 1))
    return ratio * (delta + (nu * nu + log_factor / (2 * steepness)).sqrt())
