from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qnoded.kernels import ldpc
from qnoded.records import I64, U8

Circulants = tuple[I64, I64, I64]
SIZE = 2 * ldpc.LANES


def drawn(rng: np.random.Generator, rows: int, columns: int, size: int, most_edges: int) -> Circulants:
    """A table of circulants with no column twice in a row and every column somewhere."""
    table = [sorted(rng.permutation(columns)[: rng.integers(2, most_edges + 1)]) for _ in range(rows)]
    for absent in range(columns):
        row = table[absent % rows]
        if absent not in row:
            row.append(absent)
    start = np.concatenate([[0], np.cumsum([len(row) for row in table])]).astype(np.int64)
    column = np.concatenate(table).astype(np.int64)
    return start, column, rng.integers(0, size, column.size, dtype=np.int64)


def places(code: Circulants, size: int, row: int) -> NDArray[np.int64]:
    """Bits of all checks of a row, int64[edges of the row, size]."""
    start, column, shift = code
    edges = slice(start[row], start[row + 1])
    return column[edges, None] * size + (np.arange(size) + shift[edges, None]) % size


def plain_syndrome(bits: U8, code: Circulants, size: int) -> U8:
    rows = range(code[0].size - 1)
    return np.concatenate([np.bitwise_xor.reduce(bits[places(code, size, row)], axis=0) for row in rows])


def plain_correction(x: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.zeros_like(x)
    for height, slope in ldpc.CORRECTION:
        total += np.maximum(0, height - (x >> slope))
    return total


def plain_joined(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Magnitude of what two independent messages of magnitude x and y say together."""
    loudness: NDArray[np.int64] = np.minimum(x, y) + plain_correction(x + y) - plain_correction(np.abs(x - y))
    return loudness.clip(min=0)


def plain_decode(prior: NDArray[np.int16], target: U8, code: Circulants, size: int, most: int) -> tuple[int, U8]:
    belief = prior.astype(np.int64)
    said = [np.zeros(places(code, size, row).shape, np.int64) for row in range(code[0].size - 1)]
    for iteration in range(1, most + 1):
        all_held = True
        for row, old in enumerate(said):
            where = places(code, size, row)
            wanted = target[row * size : (row + 1) * size].astype(np.int64)
            total = belief[where]
            all_held &= not np.any((np.sum(total < 0, axis=0) + wanted) % 2)
            heard = total - old
            magnitude = np.abs(heard)
            least, rest = np.full(size, ldpc.SILENT), np.full(size, ldpc.SILENT)
            least_edge = np.zeros(size, np.int64)
            for k, size_of_x in enumerate(magnitude):
                least_edge = np.where(size_of_x < least, k, least_edge)
                more, least = np.maximum(size_of_x, least), np.minimum(size_of_x, least)
                rest = plain_joined(rest, more)
            others, own = np.minimum(plain_joined(rest, least), ldpc.CLIP), np.minimum(rest, ldpc.CLIP)
            loudness = np.where(np.arange(len(heard))[:, None] == least_edge, own, others)
            odd = (np.sum(heard < 0, axis=0) + wanted) % 2
            said[row] = np.where((odd + (heard < 0)) % 2, -loudness, loudness)
            belief[where] = heard + said[row]
        bits = (belief < 0).astype(np.uint8)
        if all_held and np.array_equal(plain_syndrome(bits, code, size), target):
            return iteration, bits
    return -most, (belief < 0).astype(np.uint8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 6), columns=st.integers(2, 40), lanes=st.integers(2, 5))
def test_syndrome_is_the_parity_of_each_check(seed: int, rows: int, columns: int, lanes: int) -> None:
    rng, size = np.random.default_rng(seed), lanes * ldpc.LANES
    code = drawn(rng, rows, columns, size, min(columns, 35))
    bits = rng.integers(0, 2, columns * size, dtype=np.uint8)
    out = np.full(rows * size, 9, np.uint8)
    ldpc.syndrome(bits, *code, size, out)
    assert np.array_equal(out, plain_syndrome(bits, code, size))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(2, 6),
    columns=st.integers(3, 40),
    lanes=st.integers(2, 4),
    flips=st.floats(0.0, 0.3),
)
def test_decoder_equals_its_twin_bit_for_bit(seed: int, rows: int, columns: int, lanes: int, flips: float) -> None:
    rng, size = np.random.default_rng(seed), lanes * ldpc.LANES
    code = drawn(rng, rows, columns, size, min(columns, 35))
    word = rng.integers(0, 2, columns * size, dtype=np.uint8)
    target = plain_syndrome(word, code, size)
    noisy = word ^ (rng.random(word.size) < flips)
    prior = (rng.integers(0, 120, word.size) * (1 - 2 * noisy.astype(np.int64))).astype(np.int16)
    prior[:: int(rng.integers(3, 50))] = 0
    known = rng.random(word.size) < 0.05
    prior[known] = np.where(word[known], -ldpc.CERTAIN, ldpc.CERTAIN)
    bits = np.empty(word.size, np.uint8)
    iterations = ldpc.decode(prior, target, *code, size, 7, bits)
    plain_iterations, plain_bits = plain_decode(prior, target, code, size, 7)
    assert iterations == plain_iterations
    assert np.array_equal(bits, plain_bits)


def test_no_error_needs_one_iteration() -> None:
    rng = np.random.default_rng(5)
    code = drawn(rng, 8, 30, SIZE, 12)
    word = rng.integers(0, 2, 30 * SIZE, dtype=np.uint8)
    bits = np.empty_like(word)
    prior = (60 - 120 * word.astype(np.int64)).astype(np.int16)
    assert ldpc.decode(prior, plain_syndrome(word, code, SIZE), *code, SIZE, 50, bits) == 1
    assert np.array_equal(bits, word)


def test_loudest_column_stays_in_int16() -> None:
    """50 checks of two sure bits each shout at one column: the sum must not wrap to the other sign."""
    rows = ldpc.MAX_COLUMN_DEGREE
    start = np.arange(0, 2 * rows + 1, 2)
    column = np.stack([np.zeros(rows, np.int64), 1 + np.arange(rows)], axis=1).reshape(-1)
    shift = np.zeros(2 * rows, np.int64)
    prior = np.full((rows + 1) * SIZE, ldpc.CERTAIN, np.int16)
    bits = np.empty(prior.size, np.uint8)
    for most in (1, 2, 20):
        iterations = ldpc.decode(prior, np.zeros(rows * SIZE, np.uint8), start, column, shift, SIZE, most, bits)
        assert iterations == 1
        assert not bits.any()
    worst = ldpc.MAX_COLUMN_DEGREE * ldpc.CLIP + ldpc.CERTAIN + ldpc.CLIP
    assert worst < 2**15
    assert 2 * ldpc.SILENT < 2**15


def test_correction_is_near_the_logarithm() -> None:
    x = np.arange(0, 400)
    exact = ldpc.UNITS_PER_NAT * np.log1p(np.exp(-x / ldpc.UNITS_PER_NAT))
    assert np.abs(plain_correction(x) - exact).max() < 0.08 * ldpc.UNITS_PER_NAT


def test_wrong_types_are_refused() -> None:
    number, floats = np.zeros(1, np.int64), np.zeros(64)
    with pytest.raises(TypeError):
        ldpc.syndrome(floats, np.arange(2), number, number, 64, np.zeros(64, np.uint8))  # type: ignore[arg-type]
