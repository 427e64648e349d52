"""Toeplitz hashing: all ways against the plain twin, and against each other where that one is too slow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.kernels import toeplitz
from qnoded.kernels.carryless import offers
from qnoded.kernels.modular_transform import PRIME, blocking, toeplitz_by_transform
from qnoded.kernels.tile import add_tile
from qnoded.kernels.toeplitz import tiling, toeplitz_product

WIDTHS = [0, *(width for width in (2, 4, 8) if offers(width))]


def packed(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.packbits(rng.integers(0, 2, n, dtype=np.uint8))


def toeplitz_plainly(seed: np.ndarray, bits: np.ndarray, n: int, m: int, rows: list[int] | None = None) -> list[int]:
    s, x = np.unpackbits(seed, count=n + m - 1), np.unpackbits(bits, count=n)[::-1]
    return [int(np.count_nonzero(s[i : i + n] & x)) % 2 for i in (range(m) if rows is None else rows)]


@given(st.integers(1, 1500), st.integers(1, 900), st.integers(0, 2**32), st.sampled_from(WIDTHS))
def test_every_way_equals_the_plain_twin(n: int, m: int, number: int, width: int) -> None:
    rng = np.random.default_rng(number)
    seed, bits = packed(rng, n + m - 1), packed(rng, n)

    product = toeplitz_product(seed, bits, n, m, width=width)

    assert product.size == -(-m // 8)
    assert product.tolist() == np.packbits(toeplitz_plainly(seed, bits, n, m)).tolist()


def test_known_answer_by_hand() -> None:
    # n = 3, m = 2, seed 10110... : first row s2 s1 s0 = 1 0 1, second s3 s2 s1 = 1 1 0; times (1, 1, 0) is (1, 0).
    seed, bits = np.array([0b1011_0000], np.uint8), np.array([0b1100_0000], np.uint8)
    for width in WIDTHS:
        assert toeplitz_product(seed, bits, 3, 2, width=width).tolist() == [0b1000_0000]


@pytest.mark.parametrize("width", WIDTHS)
def test_single_bits_select_columns_so_the_shift_structure_shows(width: int) -> None:
    n, m = 700, 300
    seed = packed(np.random.default_rng(1), n + m - 1)
    s = np.unpackbits(seed, count=n + m - 1)
    for j in (0, 1, 63, 64, 383, 384, 699):
        bits = np.zeros(n, np.uint8)
        bits[j] = 1
        column = np.unpackbits(toeplitz_product(seed, np.packbits(bits), n, m, width=width), count=m)
        assert (column == s[n - 1 - j : n - 1 - j + m]).all()


@given(st.integers(0, 2**32), st.sampled_from(WIDTHS))
def test_linear_in_bits_and_in_seed_and_zero_at_zero(number: int, width: int) -> None:
    rng, n, m = np.random.default_rng(number), 999, 501
    s, t, x, y = packed(rng, n + m - 1), packed(rng, n + m - 1), packed(rng, n), packed(rng, n)

    def hashed(seed: np.ndarray, bits: np.ndarray) -> np.ndarray:
        return toeplitz_product(seed, bits, n, m, width=width)

    assert (hashed(s, x ^ y) == hashed(s, x) ^ hashed(s, y)).all()
    assert (hashed(s ^ t, x) == hashed(s, x) ^ hashed(t, x)).all()
    assert not hashed(s, np.zeros_like(x)).any()
    assert not hashed(np.zeros_like(s), x).any()


@pytest.mark.parametrize("width", [width for width in WIDTHS if width])
@pytest.mark.parametrize("vectors", [3, 4])
def test_tiles_of_every_leaf_equal_the_plain_twin(width: int, vectors: int) -> None:
    rng = np.random.default_rng(width)
    for k in (width * vectors, 4 * width * vectors):
        seed, bits = (rng.integers(0, 2**64, size, np.uint64) for size in (2 * k, k))
        before = rng.integers(0, 2**64, k, np.uint64)
        product = before.copy()
        add_tile(width, width * vectors, seed, 0, bits, 0, product, 0, k, np.empty(4 * k, np.uint64))
        s, x, added = (np.unpackbits(a.view(np.uint8), bitorder="little") for a in (seed, bits, product ^ before))
        n = 64 * k
        assert added.tolist() == [int(np.count_nonzero(s[i + 1 : i + 1 + n] & x[::-1])) % 2 for i in range(n)]


@pytest.mark.parametrize(("n", "m"), [(10**6, 300_007), pytest.param(10**7, 3 * 10**6, marks=pytest.mark.slow)])
def test_large_blocks_agree_bit_for_bit_between_all_ways_and_with_sampled_rows(n: int, m: int) -> None:
    rng = np.random.default_rng(7)
    seed, bits = rng.integers(0, 256, -(-(n + m - 1) // 8), np.uint8), rng.integers(0, 256, n // 8, np.uint8)
    rows = [0, 1, m - 1, *rng.integers(0, m, 20).tolist()]

    products = [toeplitz_product(seed, bits, n, m, width=width) for width in WIDTHS]

    assert np.unpackbits(products[0])[rows].tolist() == toeplitz_plainly(seed, bits, n, m, rows)
    assert all((product == products[0]).all() for product in products)


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([16, 32, 256]))
def test_transform_in_blocks_equals_the_plain_twin(n: int, m: int, longest: int) -> None:
    rng = np.random.default_rng(n * m)
    seed, bits = packed(rng, n + m - 1), packed(rng, n)
    product = toeplitz_by_transform(seed, bits, n, m, longest=longest)
    assert product.tolist() == np.packbits(toeplitz_plainly(seed, bits, n, m)).tolist()
    plan = blocking(n, m, longest)
    assert plan.points >= plan.rows + plan.columns - 1
    assert plan.rows >= m or plan.rows % 8 == 0


def test_all_ones_give_the_largest_sums_and_are_still_exact() -> None:
    n, m = 300_000, 64
    ones = np.full(-(-(n + m) // 8), 255, np.uint8)
    for count in (n, n - 1):
        product = toeplitz_product(ones, ones, count, m, width=0)
        assert set(product.tolist()) == {255 * (count % 2)}


def test_threads_change_nothing() -> None:
    rng, n, m = np.random.default_rng(5), 200_000, 60_000
    seed, bits = packed(rng, n + m - 1), packed(rng, n)
    with ThreadPoolExecutor(2) as pool:
        assert (toeplitz_product(seed, bits, n, m, over=pool.map) == toeplitz_product(seed, bits, n, m)).all()


def test_tiles_cover_the_matrix() -> None:
    for n, m, width in ((1, 1, 2), (10**6, 3 * 10**5, 8), (10**7, 3 * 10**6, 4), (10**5, 10**5, 8)):
        plan = tiling(n, m, width)
        assert plan.rows * plan.side * 64 >= m
        assert plan.columns * plan.side * 64 >= n


def test_what_cannot_be_exact_or_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    little = np.zeros(1, np.uint8)
    with pytest.raises(UsageError, match="beyond the prime"):
        toeplitz_by_transform(little, little, PRIME, 1)
    monkeypatch.setattr(toeplitz, "offers", lambda width: False)
    with pytest.raises(UsageError, match="no carry-less products of 8 words"):
        toeplitz_product(little, little, 3, 2, width=8)
