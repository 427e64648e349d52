"""Ascending times as a Rice code of their gaps, with a label of some bits each; tens of bits become a dozen.

Layout: clicks stand in blocks of ``BLOCK``, each with a width of its own, the number of raw bits of a gap. The code is
one stream of bits, lowest first. First come, click after click, the lowest bits of the gap above the label; then, for
all clicks again, what is left of the gap (the quotient) as so many zeros and a one. A quotient of ``FARTHEST`` or more
is written as ``FARTHEST`` zeros and a one, and the rest of it stands in a list by itself.

Raw bits and quotients are apart so that neither loop has to find out where the next click begins: raw bits lie at known
places, and quotients are counted by the ones of whole words.

Rice: R. F. Rice, JPL Publication 79-22 (1979). An exponential gap of mean m costs least where ``2**width`` is the
smallest power of two above 0.481 m; it then takes 0.03 to 0.12 bit more than its entropy.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numba.cpython.unsafe.numbers import trailing_zeros

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.records import I64, U8

U64: Final[Any] = np.uint64
S64: Final[Any] = np.int64
count_zeros: Final[Any] = trailing_zeros
tuple_of: Final[Any] = types.UniTuple
"""Any to the type checker: the arithmetic of a kernel is numba's, and numba has no annotations here."""

U64_IN: Final = types.Array(types.uint64, 1, "C", readonly=True)
U64_OUT: Final = types.Array(types.uint64, 1, "C")

BLOCK: Final = 1024
"""Clicks that share a width: few enough to follow the rate within milliseconds, and a byte is little among so many."""
FARTHEST: Final = 32
"""Zeros of a quotient at most: a Poisson stream has none that long, a dark moment costs 33 bits and a number."""
WIDEST: Final = 40
"""Raw bits of a gap at most: an epoch has 2**39 ps."""
MEAN_PER_POWER: Final = 2.0780869
"""A width w serves best up to a mean gap of this many ``2**w``: there ``exp(-2**w / mean)`` is 0.618."""
QUOTIENT_BITS: Final = 4
"""Room per click for the quotients: their mean is below ``MEAN_PER_POWER``, each ends with a one."""

SOUND: Final = 0
TOO_WIDE: Final = 1
CUT_SHORT: Final = 2
TOO_FAR: Final = 3
LEFT_OVER: Final = 4
FAULTS: Final = {
    TOO_WIDE: "a gap has more bits than an epoch",
    CUT_SHORT: "the code ends before the last click",
    TOO_FAR: "a click lies beyond the end",
    LEFT_OVER: "something is left over after the last click",
}


@kernel(types.int64, I64_IN, types.int64, types.int64, types.int64, U8_OUT)
def choose_widths(tag_ps: I64, start_ps: int, resolution_ps: int, label_bits: int, widths: U8) -> int:
    """Choose each block's width from its mean gap; return the raw bits of all blocks, labels included.

    Parameters
    ----------
    tag_ps : int64[n], ps, ascending, from ``start_ps``
    start_ps, resolution_ps : ps, time is counted in ticks of the resolution from the start
    label_bits : bits of a label
    widths : uint8[ceil(n / BLOCK)], filled
    """
    bits, before = 0, 0
    for block in range(widths.size):
        first = block * BLOCK
        clicks = min(BLOCK, tag_ps.size - first)
        last = (tag_ps[first + clicks - 1] - start_ps) // resolution_ps
        per_power = MEAN_PER_POWER * clicks
        width = 0
        while width < WIDEST and (1 << width) * per_power < last - before:
            width += 1
        widths[block] = width
        bits += clicks * (width + label_bits)
        before = last
    return bits


@kernel(
    tuple_of(types.int64, 2),
    I64_IN, U8_IN, types.int64, types.int64, types.int64, U8_IN, types.int64, U64_OUT, I64_OUT,
)  # fmt: skip
def encode(
    tag_ps: I64, label: U8, start_ps: int, resolution_ps: int, label_bits: int, widths: U8, raw_bits: int,
    words: Any, far: I64,
) -> tuple[int, int]:  # fmt: skip
    """Write the code.

    Parameters
    ----------
    tag_ps, start_ps, resolution_ps, label_bits, widths : as for ``choose_widths``
    label : uint8[n], below ``2**label_bits``; not read where that is 0
    raw_bits : what ``choose_widths`` returned
    words : uint64[(raw_bits + QUOTIENT_BITS n) / 64 + 3], zeros; filled
    far : int64[n / 15 + 1], filled with what exceeds ``FARTHEST``

    Returns
    -------
    (int, int)
        Bits written, and entries of ``far``.

    See Also
    --------
    tests.kernels.test_kernel_gap_coding.encode_plainly : the plain twin.
    """
    per_tick = 1.0 / resolution_ps
    ticks = np.empty(BLOCK + 1, np.int64)
    raw_at, one_at = U64(0), U64(raw_bits)
    before, exceeding = S64(0), U64(0)
    six, mask, one, top = U64(6), U64(63), U64(1), U64(63)
    for block in range(widths.size):
        first = U64(block * BLOCK)
        clicks = min(BLOCK, tag_ps.size - block * BLOCK)
        ticks[0] = before
        for n in range(U64(clicks)):
            elapsed_ps = tag_ps[first + n] - start_ps
            tick = S64(elapsed_ps * per_tick)
            # The product may be one tick off where the time lies at a tick's border.
            rest_ps = elapsed_ps - tick * resolution_ps
            ticks[n + one] = tick + S64(rest_ps >= resolution_ps) - S64(rest_ps < 0)
        before = ticks[clicks]
        width = U64(widths[block])
        low = (one << width) - one
        labelled = width + U64(label_bits)
        shift = U64(label_bits)
        for n in range(U64(clicks)):
            gap = U64(ticks[n + one] - ticks[n])
            raw = (gap & low) << shift
            if label_bits:
                raw |= U64(label[first + n])
            word, bit = raw_at >> six, raw_at & mask
            words[word] |= raw << bit
            words[word + one] |= (raw >> one) >> (top - bit)
            raw_at += labelled
            quotient = gap >> width
            if quotient >= U64(FARTHEST):
                far[exceeding] = S64(quotient) - FARTHEST
                exceeding += one
                quotient = U64(FARTHEST)
            one_at += quotient
            words[one_at >> six] |= one << (one_at & mask)
            one_at += one
    return S64(one_at), S64(exceeding)


@kernel(
    types.int64,
    U64_IN, types.int64, U8_IN, I64_IN, types.int64, types.int64, types.int64, types.int64, I64_OUT, U8_OUT,
)  # fmt: skip
def decode(
    words: Any, bits: int, widths: U8, far: I64, start_ps: int, resolution_ps: int, label_bits: int, ticks: int,
    tag_ps: I64, label: U8,
) -> int:  # fmt: skip
    """Read a code, whatever its bits are.

    Parameters
    ----------
    words : uint64[>= bits / 64 + 2], zeros beyond the code
    bits : length of the code, a multiple of 8
    widths, far : as written; ``widths`` has ``ceil(n / BLOCK)`` entries
    start_ps, resolution_ps, label_bits : as for ``choose_widths``
    ticks : ticks of the whole stretch; no click lies beyond
    tag_ps : int64[n], filled: the middle of each click's tick, ps
    label : uint8[n], filled

    Returns
    -------
    int
        ``SOUND``, or what is wrong with the code, see ``FAULTS``; the outputs then mean nothing.
    """
    six, mask, one, top = U64(6), U64(63), U64(1), U64(63)
    raw_bits = 0
    for block in range(widths.size):
        if widths[block] > WIDEST:
            return TOO_WIDE
        raw_bits += min(BLOCK, tag_ps.size - block * BLOCK) * (S64(widths[block]) + label_bits)
    if raw_bits + tag_ps.size > bits:
        return CUT_SHORT
    end = U64((bits + 63) // 64)
    quotients = np.empty(BLOCK + 64, np.uint64)
    raw_at, word_at = U64(0), U64(raw_bits) >> six
    word = (words[word_at] >> (U64(raw_bits) & mask)) << (U64(raw_bits) & mask)
    previous = U64(raw_bits) - one
    tick, exceeding = U64(0), 0
    middle_ps = start_ps + resolution_ps // 2
    shift = U64(label_bits)
    label_mask = (one << shift) - one
    for block in range(widths.size):
        first = U64(block * BLOCK)
        clicks = min(BLOCK, tag_ps.size - block * BLOCK)
        found = U64(0)
        while found < U64(clicks):
            while word == U64(0):
                word_at += one
                if word_at >= end:
                    return CUT_SHORT
                word = words[word_at]
            place = (word_at << six) + U64(count_zeros(word))
            word &= word - one
            quotients[found] = place - previous - one
            previous = place
            found += one
        width = U64(widths[block])
        labelled = width + shift
        low = (one << labelled) - one
        most = U64(0)
        for n in range(U64(clicks)):
            most = max(most, quotients[n])
        if most >= U64(FARTHEST):
            for n in range(U64(clicks)):
                if quotients[n] > U64(FARTHEST):
                    return TOO_FAR
                if quotients[n] == U64(FARTHEST):
                    if exceeding == far.size:
                        return CUT_SHORT
                    if far[exceeding] < 0 or far[exceeding] > ticks >> S64(width):
                        return TOO_FAR
                    quotients[n] += U64(far[exceeding])
                    exceeding += 1
        for n in range(U64(clicks)):
            at, bit = raw_at >> six, raw_at & mask
            raw = ((words[at] >> bit) | ((words[at + one] << one) << (top - bit))) & low
            raw_at += labelled
            label[first + n] = np.uint8(raw & label_mask)
            tick += (quotients[n] << width) + (raw >> shift)
            tag_ps[first + n] = middle_ps + S64(tick) * resolution_ps
        if tick >= U64(ticks):
            return TOO_FAR
    whole_bytes = (previous + U64(8)) >> U64(3)
    if exceeding != far.size or S64(whole_bytes << U64(3)) != bits or word != U64(0):
        return LEFT_OVER
    return SOUND
