"""Product of one square tile of a binary Toeplitz matrix and a vector, by carry-less multiplication.

Bit i of a vector is bit i % 64 of word i // 64. A tile has k by k words: row word i and column word j meet in the
seed's words i - j + k - 1 and i - j + k, so 2 k words of seed belong to it::

    product[i] = sum over j of seed[i - j + 64 k] * bits[j]   (mod 2),  i and j from 0 to 64 k - 1

A tile is halved again and again, each time with three products in place of four (Fan and Hasan, IEEE Trans. Comput.
56:224 (2007), two-way split)::

    | t1 t0 | | x0 |     | t1 (x0+x1) + (t0+t1) x1 |
    | t2 t1 | | x1 |  =  | t1 (x0+x1) + (t1+t2) x0 |

down to a leaf of three or four vectors on a side, which is worked out in the registers by the same formulas. Sums are
exclusive ors and products carry-less: there is nothing to round.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from qnoded.kernels.carryless import INSTRUCTIONS, U64_IN, U64_OUT, WORD_BITS, Word, offers
from qnoded.kernels.compiling import kernel

U64 = NDArray[np.uint64]

LEAF_VECTORS: Final = (3, 4)
"""Vectors on a side of a leaf. Four keep 9 sums of products in registers; three fit sizes that four would overshoot."""

pointer_to: Final[Any] = types.CPointer
instruction: Final[Any] = cgutils.get_or_insert_function
_WORD: Final = ir.IntType(WORD_BITS)
_INDEX: Final = ir.IntType(32)
_POINTER: Final[Any] = pointer_to(types.uint64)
"""Inside of the recursion arrays are bare pointers: numba would count references at each of millions of calls."""


def _split(builder: ir.IRBuilder, t: list[Any], x: list[Any]) -> tuple[list[tuple[Any, Any]], list[set[int]]]:
    """Break the Toeplitz product sum over q of t[g - q + G - 1] x[q] into few products, G = 1 to 4.

    Returns
    -------
    (products, rows)
        The factors of each product, and for each row g the numbers of the products whose sum it is.
    """

    def added(*terms: Any) -> Any:
        total = terms[0]
        for term in terms[1:]:
            total = builder.xor(total, term)
        return total

    if len(x) == 1:
        return [(t[0], x[0])], [{0}]
    if len(x) == 3:
        # Six products for nine blocks: Fan and Hasan, section 3.2.
        products = [
            (added(t[0], t[1], t[2]), x[2]), (added(t[1], t[2], t[3]), x[1]), (added(t[2], t[3], t[4]), x[0]),
            (t[1], added(x[1], x[2])), (t[2], added(x[0], x[2])), (t[3], added(x[0], x[1])),
        ]  # fmt: skip
        return products, [{0, 3, 4}, {1, 3, 5}, {2, 4, 5}]
    half = len(x) // 2
    low, middle, high = t[: 2 * half - 1], t[half : 3 * half - 1], t[2 * half :]
    shared, shared_rows = _split(builder, middle, [added(a, b) for a, b in zip(x[:half], x[half:], strict=True)])
    upper, upper_rows = _split(builder, [added(a, b) for a, b in zip(low, middle, strict=True)], x[half:])
    lower, lower_rows = _split(builder, [added(a, b) for a, b in zip(middle, high, strict=True)], x[:half])
    shift, shift_lower = len(shared), len(shared) + len(upper)
    rows = [own | {p + shift for p in other} for own, other in zip(shared_rows, upper_rows, strict=True)]
    rows += [own | {p + shift_lower for p in other} for own, other in zip(shared_rows, lower_rows, strict=True)]
    return shared + upper + lower, rows


def _leaf(width: int, vectors: int) -> Any:
    """Return the kernel part that adds the product of one tile of ``width * vectors`` words, in registers.

    Word b of the vector meets whole vectors of seed: they are loaded at an offset that b sets and multiplied by
        the word in every lane. ``pclmulqdq`` takes the even or the odd lanes, and gives 128 bits for each:
    the low half belongs to
    the row of its lane less one, the high half to the row of its lane.
    """
    vector = ir.VectorType(_WORD, width)
    size = width * vectors

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        if not offers(width):
            return context.get_dummy_value()
        multiply_lanes = instruction(
            builder.module, ir.FunctionType(vector, [vector, vector, ir.IntType(8)]), INSTRUCTIONS[width]
        )

        seed, bits, product = (builder.gep(arguments[i], [arguments[i + 1]]) for i in (0, 2, 4))

        def place(base: Any, offset: int) -> Any:
            return builder.bitcast(builder.gep(base, [ir.Constant(_WORD, offset)]), ir.PointerType(vector))

        def load(base: Any, offset: int) -> Any:
            return builder.load(place(base, offset), align=8)

        def lanes(a: Any, b: Any, order: list[int]) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, width), order))

        def times(a: Any, b: Any, odd_a: int, odd_b: int) -> Any:
            return builder.call(multiply_lanes, [a, b, ir.Constant(ir.IntType(8), odd_a | odd_b << 4)])

        def total(terms: list[Any]) -> Any:
            while len(terms) > 1:
                terms = [
                    builder.xor(*terms[i : i + 2]) if i + 1 < len(terms) else terms[i] for i in range(0, len(terms), 2)
                ]
            return terms[0]

        x = [load(bits, width * q) for q in range(vectors)]
        zero = ir.Constant(vector, [0] * width)
        rows: list[set[int]] = []
        even: dict[int, Any] = {}
        odd: dict[int, Any] = {}
        for b in range(width):
            pair = [b & ~1, b | 1] * (width // 2)
            t = [load(seed, width - 1 - b + width * i) for i in range(2 * vectors - 1)]
            products, rows = _split(builder, t, [lanes(v, v, pair) for v in x])
            for p, (a, v) in enumerate(products):
                even[p] = builder.xor(even.get(p, zero), times(a, v, 0, b & 1))
                odd[p] = builder.xor(odd.get(p, zero), times(a, v, 1, b & 1))

        evens = [total([even[p] for p in sorted(row)]) for row in rows]
        odds = [total([odd[p] for p in sorted(row)]) for row in rows]
        order = [lane // 2 * 2 + (lane % 2) * width for lane in range(width)]
        low = [lanes(a, b, order) for a, b in zip(evens, odds, strict=True)]
        high = [lanes(a, b, [lane + 1 for lane in order]) for a, b in zip(evens, odds, strict=True)]

        # The last row also needs the low half of the diagonal that starts beyond the vectors above.
        backwards = list(range(width))[::-1]
        edge = []
        for q in range(vectors):
            t_edge, x_edge = load(seed, 2 * size - width * (q + 1)), lanes(x[q], x[q], backwards)
            edge += [times(t_edge, x_edge, 0, 0), times(t_edge, x_edge, 1, 1)]
        last = total(edge)
        step = width // 2
        while step >= 2:
            last = builder.xor(last, lanes(last, last, [(lane + step) % width for lane in range(width)]))
            step //= 2
        low.append(last)

        for g in range(vectors):
            shifted = lanes(low[g], low[g + 1], list(range(1, width + 1)))
            value = builder.xor(load(product, width * g), builder.xor(high[g], shifted))
            builder.store(value, place(product, width * g), align=8)
        return context.get_dummy_value()

    @intrinsic
    def leaf(
        _typing_context: Any, seed: Any, seed_at: Any, bits: Any, bits_at: Any, product: Any, product_at: Any
    ) -> tuple[Any, Any]:
        """Add tile(seed[seed_at:]) times bits[bits_at:] to product[product_at:]; indices are unsigned words."""
        return types.void(seed, seed_at, bits, bits_at, product, product_at), generate

    return leaf


_leaf_2x3, _leaf_2x4 = _leaf(2, 3), _leaf(2, 4)
_leaf_4x3, _leaf_4x4 = _leaf(4, 3), _leaf(4, 4)
_leaf_8x3, _leaf_8x4 = _leaf(8, 3), _leaf(8, 4)


def _give_words(_typing_context: Any, array: Any) -> tuple[Any, Any]:
    """Return where the words of an array lie, for as long as the caller holds the array."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return _POINTER(array), generate


_words: Final[Any] = intrinsic(_give_words)


@kernel(types.void, types.uint64, types.uint64, _POINTER, types.uint64, _POINTER, types.uint64,
        _POINTER, types.uint64, types.uint64, _POINTER, types.uint64)  # fmt: skip
def _multiply(
    width: Word, leaf: Word, seed: U64, t: Word, bits: U64, x: Word, product: U64, y: Word, k: Word, work: U64, w: Word
) -> None:
    """Add the product of the tile of k words at seed[t] with bits[x] to product[y]; ``work`` from w on is free."""
    if k == leaf:
        if width == 8:
            if leaf == 32:
                _leaf_8x4(seed, t, bits, x, product, y)
            else:
                _leaf_8x3(seed, t, bits, x, product, y)
        elif width == 4:
            if leaf == 16:
                _leaf_4x4(seed, t, bits, x, product, y)
            else:
                _leaf_4x3(seed, t, bits, x, product, y)
        elif width == 2:
            if leaf == 8:
                _leaf_2x4(seed, t, bits, x, product, y)
            else:
                _leaf_2x3(seed, t, bits, x, product, y)
        return
    h = k >> np.uint64(1)
    h2, h3 = h + h, h + h + h
    v, p, free = w + h2, w + h3, w + h2 + h2
    for i in range(h):
        work[v + i] = bits[x + i] ^ bits[x + h + i]
        work[p + i] = np.uint64(0)
    _multiply(width, leaf, seed, t + h, work, v, work, p, h, work, free)
    for i in range(h):
        product[y + i] ^= work[p + i]
        product[y + h + i] ^= work[p + i]
    for i in range(h2):
        work[w + i] = seed[t + i] ^ seed[t + h + i]
    _multiply(width, leaf, work, w, bits, x + h, product, y, h, work, free)
    for i in range(h2):
        work[w + i] = seed[t + h2 + i] ^ seed[t + h + i]
    _multiply(width, leaf, work, w, bits, x, product, y + h, h, work, free)


@kernel(types.void, types.uint64, types.uint64, U64_IN, types.uint64, U64_IN, types.uint64, U64_OUT, types.uint64,
        types.uint64, U64_OUT)  # fmt: skip
def add_tile(
    width: Word, leaf: Word, seed: U64, t: Word, bits: U64, x: Word, product: U64, y: Word, k: Word, work: U64
) -> None:
    """Add, modulo 2, the product of one tile and a vector to ``product``; the twin writes the matrix out.

    Parameters
    ----------
    width
        Words per vector, 2, 4 or 8; the processor must offer it (``carryless.offers``), else nothing is added.
    leaf
        Words on a side of the leaf, ``width`` times a number of ``LEAF_VECTORS``.
    seed, t
        uint64, the tile's 2 k words begin at word t.
    bits, x
        uint64, the vector's k words begin at word x.
    product, y
        uint64, k words from word y on are added to.
    k
        Words on a side of the tile, ``leaf`` times a power of two.
    work
        uint64[>= 4 k], overwritten.
    """
    _multiply(width, leaf, _words(seed), t, _words(bits), x, _words(product), y, k, _words(work), np.uint64(0))
