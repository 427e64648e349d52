"""The one decorator of all kernels, and the argument types that they are declared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

I64_IN = types.Array(types.int64, 1, "C", readonly=True)
I32_IN = types.Array(types.int32, 1, "C", readonly=True)
U32_IN = types.Array(types.uint32, 1, "C", readonly=True)
U64_IN = types.Array(types.uint64, 1, "C", readonly=True)
U8_IN = types.Array(types.uint8, 1, "C", readonly=True)
F64_IN = types.Array(types.float64, 1, "C", readonly=True)
F32_IN = types.Array(types.float32, 1, "C", readonly=True)
I64_OUT = types.Array(types.int64, 1, "C")
I32_OUT = types.Array(types.int32, 1, "C")
U32_OUT = types.Array(types.uint32, 1, "C")
U8_OUT = types.Array(types.uint8, 1, "C")
F64_OUT = types.Array(types.float64, 1, "C")
F32_OUT = types.Array(types.float32, 1, "C")


def kernel(returns: types.Type, *arguments: types.Type) -> Callable[[Kernel], Kernel]:
    """Compile a function for exactly these types, at import, from the cache where there is one.

    - Explicit signatures: a wrong dtype is a ``TypeError`` at the call and never a second compilation.
    - ``nogil``: kernels run side by side in the thread pool of whoever calls them.
    - ``cache``: numba keys it by the source file alone, so a kernel may call kernels of its own file only. It lies
      beside the source, else below the home folder; ``NUMBA_CACHE_DIR`` puts it elsewhere.
    - Inputs are declared read-only (``*_IN``) because records are; writable arrays are accepted there too.
    - ``error_model="numpy"``: a division by zero gives inf instead of a hidden branch in every loop.

    Arrays are indexed with unsigned integers in hot loops: a signed index costs numba's wrap-around test.
    """

    def compiled(function: Kernel) -> Kernel:
        signature = returns(*arguments)
        try:
            return cast("Kernel", numba.njit(signature, nogil=True, cache=True, error_model="numpy")(function))
        except RuntimeError:
            # No place for a cache can be written (read-only package and home): each start compiles anew.
            return cast("Kernel", numba.njit(signature, nogil=True, error_model="numpy")(function))

    return compiled
