"""Speed of key distillation: privacy amplification and authentication on one core, beside other exact ways.

Rows in Mbit/s or Gbit/s of input. Targets are those of the best instructions that this processor offers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from qnoded.bench.measuring import OWN, Row, median_seconds
from qnoded.kernels.carryless import NAMES, offers, widest
from qnoded.kernels.toeplitz import toeplitz_product
from qnoded.stages.universal_hash import Purpose, universal_hash

OUTPUT_SHARE: Final = 0.3
"""Bits of key for each bit hashed, as on a link with some 5 % of errors."""
TOEPLITZ_TARGETS: Final = {10**6: (200.0, 50.0), 10**7: (60.0, 12.0), 10**8: (20.0, 8.0)}
"""Bits of the block -> Mbit/s with AVX-512 and without."""
TAG_TARGETS: Final = (20.0, 8.0)
"""Gbit/s at 64 KiB with AVX-512 and without."""
WIDEST: Final = 8
FFT_LIMIT: Final = 10**7
"""The floating-point twin takes 16 bytes a bit and more."""


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure Toeplitz hashing at each block size and then tags of messages."""
    rng = np.random.default_rng(1)
    for n in (10**5,) if quick else TOEPLITZ_TARGETS:
        yield _toeplitz(rng, n, repeat)
    for size in (4096,) if quick else (4096, 65536, 2**20):
        yield _tag(rng, size, repeat)


def _toeplitz(rng: np.random.Generator, n: int, repeat: int) -> Row:
    m = int(OUTPUT_SHARE * n)
    seed = rng.integers(0, 256, -(-(n + m - 1) // 8), np.uint8)
    bits = rng.integers(0, 256, -(-n // 8), np.uint8)
    best = widest()
    run: dict[str, Callable[[], object]] = {
        (OWN if width == best else _name(width)): partial(toeplitz_product, seed, bits, n, m, width=width)
        for width in (best, *(w for w in (4, 2, 0) if w < best and (not w or offers(w))))
    }
    if n <= FFT_LIMIT:
        run["float64 FFT"] = partial(_by_fft, seed, bits, n, m)
    speeds = {name: n / duration / 1e6 for name, duration in median_seconds(run, repeat).items()}
    target = TOEPLITZ_TARGETS.get(n, (None, None))[0 if best == WIDEST else 1]
    what = f"Toeplitz hash, {n:.0e} bits to {OUTPUT_SHARE} of it"
    return Row(what, "Mbit/s", speeds.pop(OWN), speeds, target, note=_name(best))


def _tag(rng: np.random.Generator, size: int, repeat: int) -> Row:
    message, point = rng.bytes(size), rng.bytes(16)
    calls = max(1, 2**20 // size)
    best = widest()

    def many(width: int) -> None:
        for _ in range(calls):
            universal_hash(message, point, Purpose.ALICE_TO_BOB, width=width)

    run: dict[str, Callable[[], object]] = {
        (OWN if width == best else _name(width)): partial(many, width)
        for width in (best, *(w for w in (4, 2, 0) if w < best and (not w or offers(w))))
    }
    speeds = {name: 8 * size * calls / duration / 1e9 for name, duration in median_seconds(run, repeat).items()}
    target = TAG_TARGETS[0 if best == WIDEST else 1] if size == 2**16 else None
    what = f"hash for a tag, GF(2^128), {size} bytes"
    return Row(what, "Gbit/s", speeds.pop(OWN), speeds, target, note=_name(best))


def _name(width: int) -> str:
    return NAMES.get(width, "no carry-less instruction")


def _by_fft(seed: NDArray[np.uint8], bits: NDArray[np.uint8], n: int, m: int) -> NDArray[np.uint8]:
    """Read the product off a convolution of floats: what is commonly done, and exact only within its rounding."""
    length = scipy.fft.next_fast_len(n + m - 1, real=True)
    spectrum = scipy.fft.rfft(np.unpackbits(bits, count=n).astype(np.float64), length)
    spectrum *= scipy.fft.rfft(np.unpackbits(seed, count=n + m - 1).astype(np.float64), length)
    sums = scipy.fft.irfft(spectrum, length, overwrite_x=True)[n - 1 : n + m - 1]
    return np.packbits(np.rint(sums).astype(np.int64).astype(np.uint8) & 1)
