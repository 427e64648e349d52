"""Syndromes of quasi-cyclic low-density parity-check codes, and the search for the bits that have a given syndrome.

A code is a table of circulants: check row r meets column c with a shift s, and check z of that row takes part in bit
(z + s) mod Z of that column, for z from 0 to Z - 1. The table is given row by row in compressed form: the edges of row
r are ``row_start[r]`` to ``row_start[r + 1] - 1``.

The decoder is belief propagation in layers, one row after the other (Hocevar, IEEE SIPS 2004), towards a syndrome
instead of towards zero (Liveris, Xiong and Georghiades, IEEE Commun. Lett. 6:440 (2002)). Its check rule is
approximate-min* (Jones, Valles, Smith and Villasenor, IEEE MILCOM 2003): the least reliable edge hears what all others
say, the others hear what all of them together say. Two magnitudes, the number of the least edge and one sign per edge
therefore are all that a check has to remember.

All is done in int16, 32 checks side by side in one vector: integers neither round nor depend on the processor, so any
machine finds the same bits after the same number of iterations. LLVM maps the vectors to what the processor has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model
from numpy.typing import NDArray

from qnoded.kernels.compiling import I64_IN, U8_IN, U8_OUT, kernel
from qnoded.records import I64, U8

LANES: Final = 32
"""Checks side by side: one vector of 512 bits. The circulants' size is a multiple of it."""
UNITS_PER_NAT: Final = 32
"""Log-likelihood ratios are held in 1/32 of a natural unit; with 1/16 the codes for 5 % and more lose 1 to 2 %."""
CLIP: Final = 500
"""Greatest magnitude that a check says, 15.6 natural units; at half of that weak columns keep a floor of errors."""
CERTAIN: Final = 3000
"""Log-likelihood ratio of a bit that both sides know: it outweighs six checks at their loudest."""
MAX_COLUMN_DEGREE: Final = 50
"""Most edges of a column: 50 x 500 + 3000 + the last check's 500 stays below 32 767, so int16 never wraps."""
SILENT: Final = 2000
"""Magnitude of an edge that says nothing new: far above ``CLIP``, with a sum of two far inside int16."""
CORRECTION: Final = ((12, 3), (10, 2))
"""ln(1 + exp(-x)) is taken for the sum of the positive ones of 12 - x/8 and 10 - x/4, in units of 1/32 and rounded up:
within 0.08 of it everywhere, for two shifts and two saturating subtractions."""
WORD_BITS: Final = 16
"""Signs of edges that one lane holds."""
MEMORY_FIELDS: Final = 3
"""Vectors that a check remembers before its signs: what the least edge hears, what the others hear, the least edge."""

I16_IN = types.Array(types.int16, 1, "C", readonly=True)
I16_OUT = types.Array(types.int16, 1, "C")

_VECTOR: Final = ir.VectorType(ir.IntType(16), LANES)


class Lanes(types.Type):
    """32 int16 side by side, in a register."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


LANES_TYPE: Final = Lanes()


_primitive: Final[Any] = models.PrimitiveModel
_named_function: Final[Any] = cgutils.get_or_insert_function
register_model(Lanes)(lambda manager, kind: _primitive(manager, kind, _VECTOR))


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * LANES)


def _elementwise(arguments: int, emit: Callable[..., Any]) -> Any:
    """Make an operation on whole vectors of the instructions that ``emit(builder, *vectors)`` writes."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return emit(builder, *values)

    signature = LANES_TYPE(*[LANES_TYPE] * arguments)
    if arguments == 1:

        def one(_typing: Any, _x: Any) -> Any:
            return signature, generate

        return intrinsic(one)
    if arguments == 2:

        def two(_typing: Any, _x: Any, _y: Any) -> Any:
            return signature, generate

        return intrinsic(two)

    def four(_typing: Any, _x: Any, _y: Any, _v: Any, _w: Any) -> Any:
        return signature, generate

    return intrinsic(four)


def _instruction(name: str) -> Callable[..., Any]:
    """Return what emits LLVM's ``name`` for vectors of 32 int16."""

    def emit(builder: ir.IRBuilder, *values: Any) -> Any:
        function_type = ir.FunctionType(_VECTOR, [_VECTOR] * len(values))
        function = _named_function(builder.module, function_type, f"llvm.{name}.v{LANES}i16")
        return builder.call(function, values)

    return emit


def _correction_of(builder: ir.IRBuilder, x: Any) -> Any:
    steep, flat = (
        _instruction("usub.sat")(builder, _constant(height), builder.lshr(x, _constant(slope)))
        for height, slope in CORRECTION
    )
    return builder.add(steep, flat)


def _magnitude_of(builder: ir.IRBuilder, x: Any) -> Any:
    negated = builder.sub(_constant(0), x)
    return _instruction("smax")(builder, x, negated)


_plus = _elementwise(2, lambda builder, x, y: builder.add(x, y))
_minus = _elementwise(2, lambda builder, x, y: builder.sub(x, y))
_xor = _elementwise(2, lambda builder, x, y: builder.xor(x, y))
_either = _elementwise(2, lambda builder, x, y: builder.or_(x, y))
_both = _elementwise(2, lambda builder, x, y: builder.and_(x, y))
_left = _elementwise(2, lambda builder, x, y: builder.shl(x, y))
_lesser = _elementwise(2, _instruction("smin"))
_greater = _elementwise(2, _instruction("smax"))
_magnitude = _elementwise(1, _magnitude_of)
_signs = _elementwise(1, lambda builder, x: builder.ashr(x, _constant(WORD_BITS - 1)))
_correction = _elementwise(1, _correction_of)
_if_less = _elementwise(4, lambda builder, x, y, v, w: builder.select(builder.icmp_signed("<", x, y), v, w))
_if_equal = _elementwise(4, lambda builder, x, y, v, w: builder.select(builder.icmp_signed("==", x, y), v, w))


def _address(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _loading(_typing: Any, array: Any, _index: Any) -> Any:
    """Read 32 int16 from ``array[index]`` on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *values), align=2)

    return LANES_TYPE(array, types.uint64), generate


def _storing(_typing: Any, array: Any, _index: Any, _vector: Any) -> Any:
    """Write 32 int16 to ``array[index]`` on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        builder.store(values[2], _address(context, builder, signature.args[0], *values[:2]), align=2)
        return context.get_dummy_value()

    return types.void(array, types.uint64, LANES_TYPE), generate


def _filling(_typing: Any, _value: Any) -> Any:
    """Return a vector with ``value`` in every lane."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), values[0], ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), mask)

    return LANES_TYPE(types.int16), generate


def _finding(_typing: Any, _vector: Any) -> Any:
    """Tell whether any lane is negative."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        negative = builder.icmp_signed("<", values[0], _constant(0))
        word = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(negative, word), word(0))

    return types.boolean(LANES_TYPE), generate


_load: Any = intrinsic(_loading)
_store: Any = intrinsic(_storing)
_every: Any = intrinsic(_filling)
_any_negative: Any = intrinsic(_finding)


@kernel(types.void, U8_IN, I64_IN, I64_IN, I64_IN, types.int64, U8_OUT)
def syndrome(bits: U8, row_start: I64, column: I64, shift: I64, size: int, out: U8) -> None:
    """Work out the parities of all checks.

    Parameters
    ----------
    bits : uint8[columns * size], 0 or 1
    row_start : int64[rows + 1], first edge of each row
    column, shift : int64[edges]
    size : of a circulant
    out : uint8[rows * size], overwritten

    Notes
    -----
    Twin: ``tests/kernels/test_kernel_ldpc.py::plain_syndrome``.
    """
    for row in range(row_start.size - 1):
        parity = out[row * size : (row + 1) * size]
        parity[:] = 0
        for edge in range(row_start[row], row_start[row + 1]):
            first, turn = column[edge] * size, shift[edge]
            ahead, behind = bits[first + turn : first + size], bits[first : first + turn]
            for z in range(np.uint64(ahead.size)):
                parity[z] ^= ahead[z]
            rest = parity[size - turn :]
            for z in range(np.uint64(behind.size)):
                rest[z] ^= behind[z]


@kernel(types.int64, I16_IN, U8_IN, I64_IN, I64_IN, I64_IN, types.int64, types.int64, U8_OUT)
def decode(
    prior: NDArray[np.int16],
    target: U8,
    row_start: I64,
    column: I64,
    shift: I64,
    size: int,
    most_iterations: int,
    bits: U8,
) -> int:
    """Search the likeliest bits that have the target syndrome.

    Stops after the first iteration that leaves all checks met at once. That each check was met when it was visited is
    not enough, because a bit may turn afterwards; it only tells when a count of all is worth while.

    Parameters
    ----------
    prior : int16[columns * size], log-likelihood ratio of each bit, positive for 0, in 1/32 natural unit;
        magnitudes up to ``CERTAIN``
    target : uint8[rows * size], 0 or 1
    row_start : int64[rows + 1]
    column, shift : int64[edges]; no column twice in a row, at most ``MAX_COLUMN_DEGREE`` edges per column
    size : of a circulant, a multiple of ``LANES`` and at least twice it
    most_iterations : iterations after which to give up
    bits : uint8[columns * size], overwritten with the decision

    Returns
    -------
    int
        Iterations that were made; negative when the last of them still left a check unmet.

    Notes
    -----
    Each column is kept with its first 32 bits repeated behind its last, so that a vector is loaded in one piece
    wherever a circulant starts it; between the columns lies room that nobody reads.

    Twin: ``tests/kernels/test_kernel_ldpc.py::plain_decode``.
    """
    lanes, n_size = np.uint64(LANES), np.uint64(size)
    rows, columns = np.uint64(row_start.size - 1), np.uint64(prior.size // size)
    pitch = n_size + np.uint64(3) * lanes
    belief = np.zeros(columns * pitch, np.int16)
    for c in range(columns):
        inside = belief[c * pitch + lanes : (c + np.uint64(1)) * pitch]
        inside[:size] = prior[c * n_size : (c + np.uint64(1)) * n_size]
        inside[size : size + LANES] = inside[:LANES]
    wanted = np.empty(target.size, np.int16)
    for i in range(np.uint64(target.size)):
        wanted[i] = -np.int16(target[i])
    most = 0
    for r in range(rows):
        most = max(most, row_start[r + np.uint64(1)] - row_start[r])
    words = np.uint64((most + WORD_BITS - 1) // WORD_BITS)
    fields = (np.uint64(MEMORY_FIELDS) + words) * lanes
    memory = np.zeros(rows * (n_size // lanes) * fields, np.int16)
    heard = np.empty(np.uint64(most) * lanes, np.int16)
    place = np.empty(most, np.uint64)
    nothing, clip, silent = _every(np.int16(0)), _every(np.int16(CLIP)), _every(np.int16(SILENT))
    top = _every(np.int16(WORD_BITS - 1))

    iteration = 0
    while iteration < most_iterations:
        iteration += 1
        unmet = nothing
        for r in range(rows):
            start = np.uint64(row_start[r])
            degree = np.uint64(row_start[r + np.uint64(1)]) - start
            for first in range(np.uint64(0), n_size, lanes):
                cell = (r * n_size + first) // lanes * fields
                signs_at = cell + np.uint64(MEMORY_FIELDS) * lanes
                to_least, to_others = _load(memory, cell), _load(memory, cell + lanes)
                least_edge = _load(memory, cell + lanes + lanes)
                wish = _load(wanted, r * n_size + first)
                parity, sign = wish, wish
                least, rest, new_least_edge = silent, silent, nothing
                old_word, new_word = nothing, nothing
                for k in range(degree):
                    bit = k % np.uint64(WORD_BITS)
                    if bit == np.uint64(0):
                        old_word, new_word = _load(memory, signs_at + k // np.uint64(WORD_BITS) * lanes), nothing
                    edge = start + k
                    lane = first + np.uint64(shift[edge])
                    lane = lane - n_size if lane >= n_size else lane
                    at = np.uint64(column[edge]) * pitch + lanes + lane
                    place[k] = at
                    number = _every(np.int16(k))
                    said = _if_equal(least_edge, number, to_least, to_others)
                    flip = _signs(_left(old_word, _minus(top, _every(np.int16(bit)))))
                    total = _load(belief, at)
                    x = _minus(total, _minus(_xor(said, flip), flip))
                    _store(heard, k * lanes, x)
                    parity, sign = _xor(parity, total), _xor(sign, x)
                    new_word = _either(new_word, _both(_signs(x), _every(np.int16(1 << bit))))
                    if bit == np.uint64(WORD_BITS - 1) or k + np.uint64(1) == degree:
                        _store(memory, signs_at + k // np.uint64(WORD_BITS) * lanes, new_word)
                    size_of_x = _magnitude(x)
                    new_least_edge = _if_less(size_of_x, least, number, new_least_edge)
                    more = _greater(size_of_x, least)
                    least = _lesser(size_of_x, least)
                    apart = _magnitude(_minus(rest, more))
                    near = _minus(_plus(_lesser(rest, more), _correction(_plus(rest, more))), _correction(apart))
                    rest = _greater(near, nothing)
                apart = _magnitude(_minus(rest, least))
                near = _minus(_plus(_lesser(rest, least), _correction(_plus(rest, least))), _correction(apart))
                to_others = _lesser(_greater(near, nothing), clip)
                to_least = _lesser(rest, clip)
                sign = _signs(sign)
                unmet = _either(unmet, parity)
                _store(memory, cell, to_least)
                _store(memory, cell + lanes, to_others)
                _store(memory, cell + lanes + lanes, new_least_edge)
                for w in range((degree + np.uint64(WORD_BITS - 1)) // np.uint64(WORD_BITS)):
                    _store(memory, signs_at + w * lanes, _xor(_load(memory, signs_at + w * lanes), sign))
                for k in range(degree):
                    x = _load(heard, k * lanes)
                    said = _if_equal(new_least_edge, _every(np.int16(k)), to_least, to_others)
                    flip = _xor(_signs(x), sign)
                    total = _plus(x, _minus(_xor(said, flip), flip))
                    at = place[k]
                    _store(belief, at, total)
                    lane = at % pitch
                    if lane < lanes + lanes:
                        _store(belief, at + n_size, total)
                    elif lane > n_size:
                        _store(belief, at - n_size, total)
        if _any_negative(unmet):
            continue
        for r in range(rows):
            for first in range(np.uint64(0), n_size, lanes):
                parity = _load(wanted, r * n_size + first)
                start = np.uint64(row_start[r])
                for k in range(np.uint64(row_start[r + np.uint64(1)]) - start):
                    edge = start + k
                    lane = first + np.uint64(shift[edge])
                    lane = lane - n_size if lane >= n_size else lane
                    parity = _xor(parity, _load(belief, np.uint64(column[edge]) * pitch + lanes + lane))
                unmet = _either(unmet, parity)
        if not _any_negative(unmet):
            break
    else:
        iteration = -iteration
    for c in range(columns):
        inside = belief[c * pitch + lanes : (c + np.uint64(1)) * pitch]
        for z in range(n_size):
            bits[c * n_size + z] = inside[z] < 0
    return iteration
