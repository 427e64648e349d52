"""Cascade for many keys at once: both ends run the same search and exchange nothing but parities.

After Brassard and Salvail, EUROCRYPT '93, LNCS 765, 410, with what was learned since: block sizes of powers of two,
the second pass much larger than the first, and known parities of sub-blocks used again (Martinez-Mateo, Pacher, Peev,
Ciurana and Martin, Quantum Inf. Comput. 15, 453 (2015)); questions of all blocks in one message (Yan, Ren, Peng,
Lin, Jiang, Liu and Guo, 2008; Mao, Li, Hao, Abd-El-Latif and Iliyasu, arXiv:2101.12565). Here each end sends its own
parities of what both know is asked next: no question is ever sent, the n-th messages of both ends travel at the same
time, and both ends locate all errors.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import UsageError
from qnoded.kernels import cascade as kernel
from qnoded.kernels.cascade_orders import interleave, prefix_parities
from qnoded.records import U8
from qnoded.secret import Secret
from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.reconciliation.reconciled import Disclosure, Outcome, ReconciledBlock

U64 = NDArray[np.uint64]

SHORTEST_BLOCK: Final = 64
LONGEST_BLOCK: Final = 1 << 30
"""Bits of a key: places must fit into the kernel's 32-bit work lists with room to spare."""
MOST_KEYS: Final = 1 << 16
SEED_BYTES: Final = 32
LARGEST_ERROR_RATE: Final = 0.25
"""No key survives a rate of 11 % (one-way) or 20 % (two-way), so blocks made for this one serve all above it."""

SUBSETS: Final = 12
"""Random subsets compared at the end: what still differs escapes with probability 2^-12, and then verification."""
BLOCK_PRODUCT: Final = ((0.0, 2.8), (0.03, 3.5), (0.05, 4.4), (0.06, 3.3), (0.25, 3.3))
"""Error rate Q -> k1 k2 Q^2, the product of the first two block sizes and the squared error rate; linear in between.
Far above, most errors hang together in one cluster that takes hundreds of messages; far below, the efficiency suffers.
Found by simulation with 1e5 and 1e6 bits: f <= 1.05 up to 5 %, and the fewest messages that allow it."""
ROUNDED_UP: Final = 0.4
"""A product this close below the next power of two, in log2, is rounded up to it."""
THIRD_SIZE_LOG: Final = 12
"""Third-pass blocks have 4096 bits: few enough parities to cost 0.1 %, enough to search a dozen errors at once."""
WORD_BITS: Final = 64
LANES_PER_BLOCK: Final = 16
"""Rows of an interleaved pass are at most a sixteenth of the block, so that there are shifts to choose from."""
FEW: Final = 6e-3
LEAST: Final = 2e-4
"""See ``kernels.cascade.advance``; here per bit that an ideal code discloses. By simulation: more of the first locates
errors twice, less takes more messages; each of the second costs one bit a message and shortens the end, where few
errors are left."""


@dataclass(frozen=True, slots=True)
class CascadePlan:
    """What both ends must have in common; made by ``cascade_plan``."""

    block_bits: int
    words: int
    """64-bit words that a key fills, padding included."""
    log_sizes: tuple[int, int, int]
    """log2 of the block size in each order, the first the natural one."""
    doubled: int
    """Places of the second order, the last ones, whose blocks are twice as long: the mean size is no power of two."""
    lanes: tuple[int, int, int]
    few: int
    least: int
    seed: bytes


def cascade_plan(block_bits: int, error_rate: float, seed: bytes) -> CascadePlan:
    """Choose block sizes for keys of this length and expected error rate.

    Parameters
    ----------
    block_bits : bits of each key, 64 to 2^30
    error_rate : what is expected before reconciliation, from a sample or the last block, 0 to 0.5. An estimate that is
        wrong costs efficiency or messages, never correctness.
    seed : 32 public bytes, drawn after detection and sifting

    Raises
    ------
    UsageError
        If a number is out of range.
    """
    if not SHORTEST_BLOCK <= block_bits <= LONGEST_BLOCK:
        message = f"a block of {block_bits} bits cannot be reconciled; use {SHORTEST_BLOCK} to {LONGEST_BLOCK}"
        raise UsageError(message)
    if not 0.0 <= error_rate <= 0.5:
        message = f"an expected error rate of {error_rate:g} is no probability up to 0.5; estimate it again"
        raise UsageError(message)
    if len(seed) != SEED_BYTES:
        message = f"the seed of Cascade has {len(seed)} bytes; give {SEED_BYTES} random ones"
        raise UsageError(message)
    log_block = block_bits.bit_length() - 1
    rate = min(max(error_rate, 1.0 / block_bits), LARGEST_ERROR_RATE)
    product = math.log2(float(np.interp(rate, *np.transpose(BLOCK_PRODUCT))) / rate**2)
    log_product = math.floor(product + ROUNDED_UP)
    first = min(max(2, log_product // 2 - 1), log_block - 4)
    second = min(max(first + 1, log_product - first), log_block - 2)
    third = min(max(THIRD_SIZE_LOG, second + 2), log_block - 1)
    widest = 1 << min(second, (block_bits // LANES_PER_BLOCK).bit_length() - 1)
    lanes = (WORD_BITS, max(WORD_BITS, widest), WORD_BITS)
    words = -(-block_bits // max(lanes)) * max(lanes) // WORD_BITS
    # With a share s of the places in blocks twice as long there are 1 - s / 2 times as many blocks.
    share = max(0.0, 2.0 - 2.0 ** (1 + log_product - product)) if first + second == log_product else 0.0
    kept = math.ceil(words * WORD_BITS * (1.0 - share) / (2 << second)) << (second + 1)
    doubled = max(0, words * WORD_BITS - kept)
    ideal = block_bits * binary_entropy(rate)
    few, least = (max(1, round(share_of_leak * ideal)) for share_of_leak in (FEW, LEAST))
    return CascadePlan(block_bits, words, (first, second, third), doubled, lanes, few, least, seed)


class Cascade:
    """One end of Cascade for one or more keys of equal length; the other end must have the same plan.

    ``parities`` are what this end sends next, ``take`` what the other end sent; when ``done``, ``reconciled`` holds
    the results. A key whose disclosure passes its own length is given up, at both ends alike.

    Parameters
    ----------
    keys : uint8[keys, ceil(block_bits / 8)], packed bits
    plan : shared by both ends
    corrects : True at bob's end, whose bits change
    """

    def __init__(self, keys: U8, plan: CascadePlan, *, corrects: bool) -> None:
        count, width = keys.shape if keys.ndim == 2 else (0, 0)
        if not 1 <= count <= MOST_KEYS or width != -(-plan.block_bits // 8):
            message = (
                f"an array of shape {keys.shape} does not hold 1 to {MOST_KEYS} keys of {plan.block_bits} bits; "
                "give packed keys of the planned length"
            )
            raise UsageError(message)
        padded = np.zeros((count, plan.words * 8), np.uint8)
        padded[:, :width] = keys
        self._plan, self._corrects = plan, corrects
        self._words = padded.view("<u8").astype(np.uint64, copy=False)
        self._table, blocks, tree_words = _table(plan)
        self._shifts, self._masks = _public_choices(plan)
        passes, orders = len(self._table), len(plan.lanes)
        self._bits = np.zeros((count, orders, 2, plan.words + 1), np.uint64)
        turned = np.empty(plan.words, np.uint64)
        for words, bits in zip(self._words, self._bits, strict=True):
            prefix_parities(words, bits[0, kernel.PREFIX])
            for number in range(1, orders):
                interleave(words, self._shifts[number], plan.lanes[number], turned)
                prefix_parities(turned, bits[number, kernel.PREFIX])
        self._trees = np.zeros((count, tree_words, 2), np.uint64)
        self._queue = np.zeros((count, blocks), np.uint32)
        self._waiting = np.zeros((count, passes), np.uint32)
        self._subsets = np.zeros((count, SUBSETS), np.uint8)
        self._search = np.zeros((count, kernel.SEARCH_COLUMNS), np.uint64)
        self._questions, self._following = (np.zeros(count * (blocks + 1), np.uint64) for _ in range(2))
        self._own = np.zeros(count * (blocks + SUBSETS), np.uint8)
        self._found = np.zeros(blocks + 1, np.uint32)
        self._asked = np.zeros(count, np.uint32)
        self._accounts = np.zeros((count, kernel.ACCOUNT_COLUMNS), np.uint64)
        self._accounts[:, kernel.DISCLOSED], self._accounts[:, kernel.EXCHANGES] = blocks + SUBSETS, 1
        self._started = False
        kernel.block_parities(self._table, self._masks, self._words, self._bits, self._own)
        self._open = self._own.size

    @property
    def done(self) -> bool:
        """Whether there is nothing left to send."""
        return self._open == 0

    @property
    def parities(self) -> U8:
        """The next parities to send, uint8[n], 0 or 1; the other end has as many."""
        return self._own[: self._open]

    def take(self, theirs: U8) -> None:
        """Take the other end's parities, uint8[n], for those that ``parities`` now holds; then these are the next.

        Raises
        ------
        UsageError
            If there are more or fewer.
        """
        if theirs.shape != (self._open,) or self.done:
            message = f"{theirs.size} parities arrived where {self._open} are due; both ends need the same plan"
            raise UsageError(message)
        if not self._started:
            kernel.take_block_parities(
                self._table, self._own, theirs, self._trees, self._queue, self._waiting, self._subsets
            )
            self._started = True
        plan = self._plan
        self._open = kernel.advance(
            self._table, self._shifts, plan.few, plan.least, plan.block_bits, self._masks, self._words, self._bits,
            self._trees, self._queue, self._waiting, self._subsets, self._search, self._accounts, self._asked,
            self._questions, theirs, self._following, self._own, self._found,
        )  # fmt: skip
        self._questions, self._following = self._following, self._questions

    def reconciled(self) -> tuple[ReconciledBlock, ...]:
        """Return the keys as they now are, one block each."""
        words = self._words ^ self._bits[:, 0, kernel.LOCATED, :-1] if self._corrects else self._words
        octets = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
        blocks = []
        for key, accounts in zip(octets, self._accounts.tolist(), strict=True):
            told = accounts[kernel.DISCLOSED]
            blocks.append(
                ReconciledBlock(
                    Secret(key[: -(-self._plan.block_bits // 8)].data),
                    self._plan.block_bits,
                    errors=accounts[kernel.ERRORS],
                    disclosed=Disclosure(told, told),
                    exchanges=accounts[kernel.EXCHANGES],
                    outcome=Outcome.GIVEN_UP if accounts[kernel.GIVEN_UP] else Outcome.CORRECTED,
                )
            )
        return tuple(blocks)


def _table(plan: CascadePlan) -> tuple[U64, int, int]:
    """Return the kernel's plan, the number of blocks of all passes and the words of all trees."""
    end = plan.words * WORD_BITS
    first, second, third = plan.log_sizes
    passes = (
        (0, 0, end, first),
        (1, 0, end - plan.doubled, second),
        (1, end - plan.doubled, end, second + 1),
        (2, 0, end, third),
    )
    table = np.zeros((len(passes), kernel.PLAN_COLUMNS), np.uint64)
    blocks = trees = 0
    for row, (order, start, stop, log_size) in zip(table, passes, strict=True):
        here = -(-(stop - start) // (1 << log_size))
        tree = (trees * WORD_BITS - start) % (1 << WORD_BITS)
        row[:] = (  # in the order of the columns
            order, plan.lanes[order], start, stop, log_size, tree, blocks,
        )  # fmt: skip
        blocks += here
        trees += -(-(here << log_size) // WORD_BITS)
    return table, blocks, trees


def _public_choices(plan: CascadePlan) -> tuple[U64, U64]:
    """Stretch the seed to the shifts of all lanes and the keys of all masks.

    The choices must differ from block to block and fit the errors by chance only; nothing secret rests on them.
    """
    widest = max(plan.lanes)
    numbers = (len(plan.lanes) - 1) * widest + SUBSETS
    stretched = np.frombuffer(hashlib.shake_256(plan.seed).digest(8 * numbers), "<u8").astype(np.uint64, copy=False)
    shifts = np.zeros((len(plan.lanes), widest), np.uint64)
    for number in range(1, len(plan.lanes)):
        rows = plan.words * WORD_BITS // plan.lanes[number]
        shifts[number] = stretched[(number - 1) * widest : number * widest] % np.uint64(rows)
    return shifts, stretched[-SUBSETS:].copy()
