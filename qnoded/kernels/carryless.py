"""Which carry-less multiplication this processor offers, and what the kernels built on it share.

Polynomials over GF(2) multiply without carries: a sum of products is an exclusive or, exact by construction. x86
processors multiply two words of 64 bits so, one pair per instruction (``pclmulqdq``), two (``vpclmulqdq`` with
AVX) or four (with AVX-512). Other processors take another way to the same bits.

The kernels ask ``offers`` while they are compiled and leave out what the processor lacks. Numba keys its cache by
the very string that is asked here, so code for one processor is never run on another; the same holds where
``NUMBA_CPU_NAME`` or ``NUMBA_CPU_FEATURES`` set the target by hand.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from numba import types
from numba.core.registry import cpu_target

U64_IN = types.Array(types.uint64, 1, "C", readonly=True)
U64_OUT = types.Array(types.uint64, 1, "C")

WORD_BITS: Final = 64

Word = Any
"""A uint64 inside of a kernel; callers may give any integer that fits it."""

FEATURES: Final = {2: ("pclmul",), 4: ("vpclmulqdq", "avx2"), 8: ("vpclmulqdq", "avx512f")}
"""Width of the vectors in words -> the features, in LLVM's spelling, that carry-less products of that width need."""

NAMES: Final = {2: "pclmulqdq", 4: "vpclmulqdq with AVX2", 8: "vpclmulqdq with AVX-512"}
"""Width of the vectors in words -> what a person calls it."""

INSTRUCTIONS: Final = {2: "llvm.x86.pclmulqdq", 4: "llvm.x86.pclmulqdq.256", 8: "llvm.x86.pclmulqdq.512"}
"""Width of the vectors in words -> LLVM's name of the instruction."""


@cache
def target_features() -> frozenset[str]:
    """Return what numba compiles for, in LLVM's spelling, such as ``"pclmul"``; the key of its cache."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(feature[1:] for feature in features.split(",") if feature.startswith("+"))


def offers(width: int) -> bool:
    """Tell whether the processor multiplies vectors of ``width`` (2, 4 or 8) words without carries."""
    return target_features().issuperset(FEATURES[width])


def widest() -> int:
    """Return the widest vectors, in words, that the processor multiplies without carries; 0 if it has none."""
    return max((width for width in FEATURES if offers(width)), default=0)
