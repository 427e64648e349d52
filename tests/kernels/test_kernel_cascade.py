"""Cascade's kernels against plain numpy: orders, prefix parities, and the search against a search bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels import cascade as kernel
from qnoded.kernels.cascade_orders import interleave, prefix_parities


def words_of(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)


def bits_of(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")


@given(st.integers(1, 12), st.sampled_from([64, 128, 256]), st.integers(0, 2**32 - 1))
def test_interleaving_is_a_roll_of_each_column(rows: int, lanes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (rows, lanes), np.uint8)
    shifts = rng.integers(0, rows, lanes).astype(np.uint64)
    turned = np.full(rows * lanes // 64, 7, np.uint64)
    interleave(words_of(bits.ravel()), shifts, lanes, turned)
    plain = np.stack([np.roll(bits[:, lane], -int(shifts[lane])) for lane in range(lanes)], axis=1)
    assert (bits_of(turned) == plain.ravel()).all()


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_prefix_parities_are_a_running_sum_modulo_two(words: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, 64 * words, np.uint8)
    table = np.full(words + 1, 7, np.uint64)
    prefix_parities(words_of(bits), table)
    before = np.concatenate([[0], np.cumsum(bits)]) % 2
    assert (bits_of(table[:-1].copy()) == before[:-1]).all()
    assert table[-1] == (2**64 - 1 if before[-1] else 0)


class PlainEnd:
    """One key at one end, one pass in natural order and subsets; every parity is a sum of bits."""

    def __init__(self, bits: np.ndarray, log_size: int, masks: np.ndarray) -> None:
        words = bits.size // 64
        blocks = -(-bits.size >> log_size)
        self.plan = np.array([[0, 64, 0, bits.size, log_size, 0, 0]], np.uint64)
        self.masks, self.words = masks, words_of(bits)[None, :]
        self.bits = np.zeros((1, 1, 2, words + 1), np.uint64)
        prefix_parities(self.words[0], self.bits[0, 0, kernel.PREFIX])
        self.shifts = np.zeros((1, 64), np.uint64)
        self.trees = np.zeros((1, (blocks << log_size) // 64 + 1, 2), np.uint64)
        self.queue, self.waiting = np.zeros((1, blocks), np.uint32), np.zeros((1, 1), np.uint32)
        self.subsets = np.zeros((1, masks.size), np.uint8)
        self.search = np.zeros((1, kernel.SEARCH_COLUMNS), np.uint64)
        self.asked = np.zeros(1, np.uint32)
        self.accounts = np.zeros((1, kernel.ACCOUNT_COLUMNS), np.uint64)
        self.questions, self.following = np.zeros(blocks + 1, np.uint64), np.zeros(blocks + 1, np.uint64)
        self.own, self.found = np.zeros(blocks + masks.size, np.uint8), np.zeros(blocks + 1, np.uint32)
        kernel.block_parities(self.plan, self.masks, self.words, self.bits, self.own)

    def start(self, theirs: np.ndarray) -> None:
        kernel.take_block_parities(self.plan, self.own, theirs, self.trees, self.queue, self.waiting, self.subsets)

    def advance(self, theirs: np.ndarray) -> np.ndarray:
        asked = kernel.advance(
            self.plan, self.shifts, 10**6, 1, 10**6, self.masks, self.words, self.bits, self.trees, self.queue,
            self.waiting, self.subsets, self.search, self.accounts, self.asked, self.questions, theirs, self.following,
            self.own, self.found,
        )  # fmt: skip
        self.questions, self.following = self.following, self.questions
        assert asked == self.asked[0]
        return self.own[:asked].copy()


def mask_bits(key: int, words: int) -> np.ndarray:
    """SplitMix64 with Python's integers."""
    low = 2**64 - 1
    mixed = []
    for word in range(words):
        z = (key + word * 0x9E3779B97F4A7C15) & low
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & low
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & low
        mixed.append(z ^ (z >> 31))
    return bits_of(np.array(mixed, np.uint64))


@given(st.integers(1, 6), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_block_and_subset_parities_are_sums(words: int, log_size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, 64 * words, np.uint8)
    masks = rng.integers(0, 2**63, 3, np.uint64)
    end = PlainEnd(bits, log_size, masks)
    blocks = [bits[i : i + (1 << log_size)].sum() % 2 for i in range(0, bits.size, 1 << log_size)]
    subsets = [(bits & mask_bits(int(key), words)).sum() % 2 for key in masks]
    assert end.own.tolist() == [*blocks, *subsets]


@given(st.integers(1, 6), st.integers(2, 8), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_the_search_locates_the_errors_that_halving_by_hand_locates(
    words: int, log_size: int, errors: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, 64 * words, np.uint8)
    wrong = np.zeros_like(alice)
    wrong[rng.choice(alice.size, errors, replace=False)] = 1
    no_masks = np.zeros(0, np.uint64)
    ends = [PlainEnd(bits, log_size, no_masks) for bits in (alice, alice ^ wrong)]
    said = [end.own.copy() for end in ends]
    for end, theirs in zip(ends, reversed(said), strict=True):
        end.start(theirs)
    said = [np.zeros(0, np.uint8)] * 2
    asked = 0
    while True:
        said = [ends[0].advance(said[1]), ends[1].advance(said[0])]
        if not said[0].size:
            break
        asked += said[0].size
    located = bits_of(ends[0].bits[0, 0, kernel.LOCATED, :-1].copy())
    assert (located == bits_of(ends[1].bits[0, 0, kernel.LOCATED, :-1].copy())).all()

    expected, questions = np.zeros_like(wrong), 0
    size = 1 << log_size
    for start in range(0, alice.size, size):
        if wrong[start : start + size].sum() % 2:
            low, high = start, start + size
            while high - low > 1:
                middle = (low + high) // 2
                questions += 1
                low, high = (low, middle) if wrong[low:middle].sum() % 2 else (middle, high)
            expected[low] = 1
    assert (located == expected).all()
    assert asked == questions
    assert ends[1].accounts[0, kernel.ERRORS] == expected.sum()
    assert ends[1].accounts[0, kernel.DISCLOSED] == questions


@pytest.mark.parametrize("seed", range(5))
def test_subsets_locate_what_blocks_hide(seed: int) -> None:
    """Two errors in one block are even there; a random subset tells them apart with probability 1/2."""
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, 640, np.uint8)
    wrong = np.zeros_like(alice)
    wrong[[100, 120]] = 1
    masks = rng.integers(0, 2**63, 20, np.uint64)
    ends = [PlainEnd(bits, 6, masks) for bits in (alice, alice ^ wrong)]
    said = [end.own.copy() for end in ends]
    for end, theirs in zip(ends, reversed(said), strict=True):
        end.start(theirs)
    said = [np.zeros(0, np.uint8)] * 2
    while True:
        said = [ends[0].advance(said[1]), ends[1].advance(said[0])]
        if not said[0].size:
            break
    assert (bits_of(ends[1].bits[0, 0, kernel.LOCATED, :-1].copy()) == wrong).all()
