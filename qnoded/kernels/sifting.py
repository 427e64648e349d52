"""Of the coincidences in equal bases: both sides' bits and the basis."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import U8_IN, U8_OUT, U32_IN, kernel
from qnoded.records import U8, U32

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""

NO_BASIS: Final = 255
"""Entry of a basis table for a label that no detector has."""


@kernel(tuple_of(types.int64, 2), U32_IN, U32_IN, U8_IN, U8_IN, U8_IN, U8_IN, U8_IN, U8_IN,
        U8_OUT, U8_OUT, U8_OUT)  # fmt: skip
def sift(
    found_a: U32, found_b: U32, detector_a: U8, detector_b: U8, basis_of_a: U8, bit_of_a: U8, basis_of_b: U8,
    bit_of_b: U8, bits_a: U8, bits_b: U8, basis: U8,
) -> tuple[int, int]:  # fmt: skip
    """Keep the bits of the pairs in equal bases.

    Parameters
    ----------
    found_a, found_b : uint32[n], indices of the clicks of each pair
    detector_a, detector_b : uint8, labels of all clicks
    basis_of_a, bit_of_a, basis_of_b, bit_of_b : uint8[256], basis (or ``NO_BASIS``) and bit of each label
    bits_a, bits_b, basis : uint8[>= n + 1], filled

    Returns
    -------
    (int, int)
        Pairs kept, and pairs with a label that no detector has.

    See Also
    --------
    tests.kernels.test_kernel_sifting.sift_plainly : the plain twin.
    """
    kept, unknown = U64(0), U64(0)
    for n in range(U64(found_a.size)):
        label_a, label_b = detector_a[found_a[n]], detector_b[found_b[n]]
        basis_a, basis_b = basis_of_a[label_a], basis_of_b[label_b]
        # Always store and advance only on a hit: half of all pairs are kept, which no branch can foresee.
        bits_a[kept] = bit_of_a[label_a]
        bits_b[kept] = bit_of_b[label_b]
        basis[kept] = basis_a
        strange = U64(basis_a == NO_BASIS) | U64(basis_b == NO_BASIS)
        unknown += strange
        kept += U64(basis_a == basis_b) & (U64(1) - strange)
    return S64(kept), S64(unknown)
