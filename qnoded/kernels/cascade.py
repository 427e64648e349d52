"""Cascade as two ends run it side by side: parities of one's own bits out, the peer's in, errors located.

Neither end changes its bits while it searches. Both know the parity of the errors in a range as the sum of the two
ends' parities of that range, so both locate the same errors and ask the same next question; a question therefore is
never sent, only its answer. Errors already located are kept in a set of their own, and *odd* below means an odd number
of errors not yet located.

The bits are looked at in several *orders* (``cascade_orders``). Order 0 is the natural one. The others view the bits as
rows of ``lanes`` bits and turn each lane (column) by a shift of its own, so that a bit's place in one order follows
from its place in another by one subtraction, and bits that share a block in one order are apart in the next. A *pass*
cuts a stretch of one order into blocks of one power of two; two passes with different sizes may share an order.
*Subsets* are the bits under a pseudo-random mask, in natural order.

A block is searched by halves. Its tree of parities is numbered like a heap: node 1 is the block, nodes 2 h and 2 h + 1
are the halves of node h; leaves are not stored. Two bitmaps say which nodes are known and which of these are odd; bit 0
of a tree, which the heap leaves free, says in ``known`` that the block waits in its pass's queue. Subsets are rarely
searched, one at a time, and have no trees.

The odd blocks of orders 0 and 1 are the ends of chains: each error is an edge between a block of one and a block of the
other, locating it moves the end of a chain on. When few chains are left, larger blocks are searched beside them, which
starts new ones and keeps the number of messages low.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import intrinsic, register_jitable
from numpy.typing import NDArray

from qnoded.kernels.compiling import U8_IN, U8_OUT, kernel
from qnoded.records import U8, U32

U64 = NDArray[np.uint64]
Word = int | np.uint64
"""An unsigned number; the type checker takes numpy's for Python's here and there."""

_U64_1 = types.Array(types.uint64, 1, "C")
_U64_2 = types.Array(types.uint64, 2, "C")
_U64_3 = types.Array(types.uint64, 3, "C")
_BITS = types.Array(types.uint64, 3, "C")
_U64_4 = types.Array(types.uint64, 4, "C")
_U8_1 = types.Array(types.uint8, 1, "C")
_U8_2 = types.Array(types.uint8, 2, "C")
_U32_1 = types.Array(types.uint32, 1, "C")
_U32_2 = types.Array(types.uint32, 2, "C")
_U64_1_IN = types.Array(types.uint64, 1, "C", readonly=True)
_U64_2_IN = types.Array(types.uint64, 2, "C", readonly=True)

ORDER, LANES, START, STOP, LOG_SIZE, TREE, QUEUE = range(7)
"""Columns of the plan, one row per pass: its order and that order's lanes (a multiple of 64), first place and place
after the last (multiples of the block size, but for the end), log2 of the block size, the bit of ``trees`` where the
tree of a block at place 0 would begin (may be negative, modulo 2^64), first entry of its queue."""
PLAN_COLUMNS: Final = 7
PREFIX, LOCATED = range(2)
"""Last axis but one of ``bits``: parity of all of this end's bits before a place, errors located so far."""
KNOWN, ODD = range(2)
"""Last axis of ``trees``."""
SUBSET: Final = np.uint64(255)
"""Stands for the number of a pass in a question about a subset."""
FIRST_OF_SEARCH, LOG_NODE, MASK, DONE = range(4)
"""Columns of the search of a subset: first bit of its node, log2 of the node's size (0: no search), key of the mask;
and whether nothing is left to ask."""
SEARCH_COLUMNS: Final = 4
ERRORS, DISCLOSED, EXCHANGES, GIVEN_UP = range(4)
"""Columns of the accounts of a key: errors located, parities that this end told, messages that held some of them, and
whether the search was stopped because it would have told too much."""
ACCOUNT_COLUMNS: Final = 4

_0, _1, _2, _6, _8, _16, _17, _63, _255 = (np.uint64(number) for number in (0, 1, 2, 6, 8, 16, 17, 63, 255))
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_MIX_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))
"""SplitMix64: Steele, Lea and Flood, OOPSLA 2014. The masks need to look random, not to be secret."""


def _declare_ones(_typing: Any, _word: Any) -> tuple[Any, Any]:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


_ones: Final[Any] = intrinsic(_declare_ones)
"""Number of ones of a word: one instruction where the processor has it."""


@register_jitable(inline="always")
def _odd_ones(word: Word) -> Word:
    """Return 1 if the word has an odd number of ones."""
    odd: Word = _ones(word) & _1
    return odd


@register_jitable(inline="always")
def _mask(key: Word, word: Word) -> Word:
    """Return word number ``word`` of the subset pass with this key."""
    mixed = key + word * _GOLDEN
    mixed = (mixed ^ (mixed >> _MIX_SHIFTS[0])) * _MIX[0]
    mixed = (mixed ^ (mixed >> _MIX_SHIFTS[1])) * _MIX[1]
    return mixed ^ (mixed >> _MIX_SHIFTS[2])


@register_jitable(inline="always")
def _own_parity(bits: U64, order: Word, start: Word, stop: Word) -> Word:
    """Return the parity of this end's bits start to stop - 1 in an order."""
    before_stop: Word = bits[order, PREFIX, stop >> _6] >> (stop & _63)
    before_start: Word = bits[order, PREFIX, start >> _6] >> (start & _63)
    return (before_stop ^ before_start) & _1


@register_jitable(inline="always")
def _located_parity(bits: U64, order: Word, start: Word, stop: Word) -> Word:
    """Return the parity of the located errors from start to stop - 1 in an order; start < stop."""
    first, last = start >> _6, (stop - _1) >> _6
    low, high = _ALL << (start & _63), _ALL >> (_63 - ((stop - _1) & _63))
    if first == last:
        return _odd_ones(bits[order, LOCATED, first] & low & high)
    total = (bits[order, LOCATED, first] & low) ^ (bits[order, LOCATED, last] & high)
    for i in range(first + _1, last):
        total ^= bits[order, LOCATED, i]
    return _odd_ones(total)


@kernel(types.uint64, _U64_1_IN, types.uint64, types.uint64, types.uint64)
def _own_parity_of_subset(words: U64, mask: Word, start: Word, stop: Word) -> Word:
    """Return the parity of this end's bits start to stop - 1 under the mask of a subset; start < stop."""
    first, last = start >> _6, (stop - _1) >> _6
    low, high = _ALL << (start & _63), _ALL >> (_63 - ((stop - _1) & _63))
    if first == last:
        return _odd_ones(words[first] & _mask(mask, first) & low & high)
    total = (words[first] & _mask(mask, first) & low) ^ (words[last] & _mask(mask, last) & high)
    for i in range(first + _1, last):
        total ^= words[i] & _mask(mask, i)
    return _odd_ones(total)


@kernel(types.uint64, _BITS, types.uint64, types.uint64, types.uint64)
def _located_parity_of_subset(bits: U64, mask: Word, start: Word, stop: Word) -> Word:
    """Return the parity of the located errors from start to stop - 1 under the mask of a subset; start < stop."""
    first, last = start >> _6, (stop - _1) >> _6
    low, high = _ALL << (start & _63), _ALL >> (_63 - ((stop - _1) & _63))
    if first == last:
        return _odd_ones(bits[_0, LOCATED, first] & _mask(mask, first) & low & high)
    total = bits[_0, LOCATED, first] & _mask(mask, first) & low
    total ^= bits[_0, LOCATED, last] & _mask(mask, last) & high
    for i in range(first + _1, last):
        total ^= bits[_0, LOCATED, i] & _mask(mask, i)
    return _odd_ones(total)


@kernel(types.void, _U64_2_IN, _U64_1_IN, _U64_2_IN, _U64_4, U8_OUT)
def block_parities(plan: U64, masks: U64, words: U64, bits: U64, own: U8) -> None:
    """Write this end's parities of all blocks of all passes and of all subsets, key after key.

    Parameters
    ----------
    plan : uint64[passes, PLAN_COLUMNS]
    masks : uint64[subsets], keys of their masks
    words : uint64[keys, w], the bits in natural order
    bits : uint64[keys, orders, 2, w + 1], see ``PREFIX``
    own : uint8[keys * (blocks of all passes + subsets)], overwritten with 0 and 1
    """
    end = np.uint64(words.shape[1]) << _6
    at = _0
    for key in range(np.uint64(words.shape[0])):
        for p in range(np.uint64(plan.shape[0])):
            size = _1 << plan[p, LOG_SIZE]
            for start in range(plan[p, START], plan[p, STOP], size):
                own[at] = _own_parity(bits[key], plan[p, ORDER], start, min(start + size, end))
                at += _1
        for subset in range(np.uint64(masks.size)):
            own[at] = _own_parity_of_subset(words[key], masks[subset], _0, end)
            at += _1


@kernel(types.void, _U64_2_IN, U8_IN, U8_IN, _U64_3, _U32_2, _U32_2, _U8_2)
def take_block_parities(plan: U64, own: U8, theirs: U8, trees: U64, queue: U32, waiting: U32, subsets: U8) -> None:
    """Queue the blocks in which the ends' parities differ.

    Parameters
    ----------
    plan : as in ``block_parities``
    own, theirs : uint8, the parities of both ends as ``block_parities`` writes them
    trees : uint64[keys, words of all trees, 2], see ``KNOWN``; zero before, changed
    queue : uint32[keys, blocks of all passes], changed
    waiting : uint32[keys, passes], length of each queue, zero before, changed
    subsets : uint8[keys, subsets], overwritten with the parities of the errors in each subset
    """
    at = _0
    for key in range(np.uint64(trees.shape[0])):
        for p in range(np.uint64(plan.shape[0])):
            log_size = plan[p, LOG_SIZE]
            for start in range(plan[p, START], plan[p, STOP], _1 << log_size):
                if own[at] != theirs[at]:
                    tree = plan[p, TREE] + start
                    trees[key, tree >> _6, KNOWN] |= _1 << (tree & _63)
                    trees[key, tree >> _6, ODD] |= _2 << (tree & _63)
                    queue[key, plan[p, QUEUE] + np.uint64(waiting[key, p])] = start >> log_size
                    waiting[key, p] += np.uint32(1)
                at += _1
        for subset in range(np.uint64(subsets.shape[1])):
            subsets[key, subset] = own[at] ^ theirs[at]
            at += _1


@kernel(types.uint64, _U64_2_IN, _U64_2_IN, types.uint64, _U64_1_IN, U8_IN, types.uint64, _U64_2, _BITS, _U64_1, _U32_1)
def _take_answers(
    plan: U64, shifts: U64, asked: Word, questions: U64, theirs: U8, at: Word, trees: U64, bits: U64, search: U64,
    found: U32,
) -> Word:  # fmt: skip
    """Enter the peer's answers for one key into its trees; return the number of errors located, in ``found``."""
    end = (np.uint64(bits.shape[2]) - _1) << _6
    count = _0
    for question in range(at, at + asked):
        start, log_half = questions[question] >> _17, ((questions[question] >> _8) & _255) - _1
        p = questions[question] & _255
        left_odd = ((questions[question] >> _16) ^ np.uint64(theirs[question])) & _1
        stop = min(start + (_1 << log_half), end)
        if p == SUBSET:
            if start < stop:
                left_odd ^= _located_parity_of_subset(bits, search[MASK], start, stop)
            search[FIRST_OF_SEARCH] = start + ((_1 - left_odd) << log_half)
            search[LOG_NODE] = log_half
            if log_half == _0 and search[FIRST_OF_SEARCH] < end:
                found[count] = search[FIRST_OF_SEARCH]
                count += _1
            continue
        if start < stop:
            left_odd ^= _located_parity(bits, plan[p, ORDER], start, stop)
        if log_half == _0:
            # A place in natural order: undo the turn of its lane.
            place, lanes = start + (_1 - left_odd), plan[p, LANES]
            if place < end:
                place += shifts[plan[p, ORDER], place & (lanes - _1)] * lanes
                found[count] = place - end if place >= end else place
                count += _1
        else:
            log_size = plan[p, LOG_SIZE]
            within = start & ((_1 << log_size) - _1)
            left = plan[p, TREE] + start - within + (_1 << (log_size - log_half)) + (within >> log_half)
            # Left nodes are even, so both halves share a word of the bitmap.
            bit = left & _63
            trees[left >> _6, KNOWN] |= (_1 | _2) << bit
            trees[left >> _6, ODD] |= (_2 - left_odd) << bit
    return count


@kernel(types.uint64, _U64_2_IN, _U64_2_IN, _U32_1, types.uint64, _U64_2, _BITS, _U32_1, _U32_1)
def _enter_errors(
    plan: U64, shifts: U64, found: U32, count: Word, trees: U64, bits: U64, queue: U32, waiting: U32
) -> Word:
    """Turn over every known node that holds a located error, queue blocks that become odd; return how many are new."""
    end = (np.uint64(bits.shape[2]) - _1) << _6
    new = _0
    for i in range(count):
        natural = np.uint64(found[i])
        if (bits[_0, LOCATED, natural >> _6] >> (natural & _63)) & _1:
            continue
        new += _1
        for p in range(np.uint64(plan.shape[0])):
            order, lanes, log_size = plan[p, ORDER], plan[p, LANES], plan[p, LOG_SIZE]
            turn = shifts[order, natural & (lanes - _1)] * lanes
            place = natural - turn + (end if natural < turn else _0)
            if place < plan[p, START] or place >= plan[p, STOP]:
                continue
            bits[order, LOCATED, place >> _6] |= _1 << (place & _63)
            block = place >> log_size
            tree = plan[p, TREE] + (block << log_size)
            # Places 0 and 1 of a tree share a word: waiting, and the block itself.
            word, bit = tree >> _6, tree & _63
            trees[word, ODD] ^= _2 << bit
            if (trees[word, ODD] >> bit) & _2 and not (trees[word, KNOWN] >> bit) & _1:
                trees[word, KNOWN] |= _1 << bit
                queue[plan[p, QUEUE] + np.uint64(waiting[p])] = block
                waiting[p] += np.uint32(1)
            log_node = log_size - _1
            within = place & ((_1 << log_size) - _1)
            while log_node:
                here = tree + (_1 << (log_size - log_node)) + (within >> log_node)
                if not (trees[here >> _6, KNOWN] >> (here & _63)) & _1:
                    break
                trees[here >> _6, ODD] ^= _1 << (here & _63)
                log_node -= _1
    return new


@kernel(
    types.uint64, _U64_2_IN, types.uint64, types.uint64, _U64_1_IN, _U64_1_IN, _BITS, _U64_2, _U32_1, _U32_1,
    _U8_1, _U64_1, _U64_1, U8_OUT, types.uint64,
)  # fmt: skip
def _ask(
    plan: U64, few: Word, least: Word, masks: U64, words: U64, bits: U64, trees: U64, queue: U32, waiting: U32,
    subsets: U8, search: U64, questions: U64, own: U8, at: Word,
) -> Word:  # fmt: skip
    """Write one key's questions and this end's answers from place ``at``; return the place after the last."""
    end = np.uint64(words.size) << _6
    first = at
    for p in range(np.uint64(plan.shape[0])):
        order, log_size = plan[p, ORDER], plan[p, LOG_SIZE]
        if (order == _1 and at - first > few) or (order > _1 and at - first >= least):
            break
        kept = plan[p, QUEUE]
        for entry in range(kept, kept + np.uint64(waiting[p])):
            block = np.uint64(queue[entry])
            tree = plan[p, TREE] + (block << log_size)
            word, bit = tree >> _6, tree & _63
            if not (trees[word, ODD] >> bit) & _2:
                trees[word, KNOWN] &= ~(_1 << bit)
                continue
            queue[kept] = block
            kept += _1
            if order > _1 and at - first >= least:
                continue
            log_node, node = log_size, _1
            if log_size <= _6:
                # The whole tree is in one word.
                known, odd = trees[word, KNOWN] >> bit, trees[word, ODD] >> bit
                while log_node > _1 and (known >> (node + node)) & _1:
                    log_node -= _1
                    node += node + (~(odd >> (node + node)) & _1)
            else:
                while log_node > _1:
                    left = tree + node + node
                    if not (trees[left >> _6, KNOWN] >> (left & _63)) & _1:
                        break
                    log_node -= _1
                    node += node + (~(trees[left >> _6, ODD] >> (left & _63)) & _1)
            start = (block << log_size) + ((node - (_1 << (log_size - log_node))) << log_node)
            stop = min(start + (_1 << (log_node - _1)), end)
            parity = _own_parity(bits, order, start, stop) if start < stop else _0
            own[at] = parity
            questions[at] = (start << _17) | (parity << _16) | (log_node << _8) | p
            at += _1
        waiting[p] = kept - plan[p, QUEUE]
    if at == first:
        if not search[LOG_NODE]:
            for subset in range(np.uint64(masks.size)):
                if _located_parity_of_subset(bits, masks[subset], _0, end) != np.uint64(subsets[subset]):
                    search[FIRST_OF_SEARCH], search[MASK] = _0, masks[subset]
                    while end > _1 << search[LOG_NODE]:
                        search[LOG_NODE] += _1
                    break
        if search[LOG_NODE]:
            start, log_node = search[FIRST_OF_SEARCH], search[LOG_NODE]
            stop = min(start + (_1 << (log_node - _1)), end)
            parity = _own_parity_of_subset(words, search[MASK], start, stop) if start < stop else _0
            own[at] = parity
            questions[at] = (start << _17) | (parity << _16) | (log_node << _8) | SUBSET
            at += _1
    return at


@kernel(
    types.uint64, _U64_2_IN, _U64_2_IN, types.uint64, types.uint64, types.uint64, _U64_1_IN, _U64_2_IN, _U64_4, _U64_3,
    _U32_2, _U32_2, _U8_2, _U64_2, _U64_2, _U32_1, _U64_1, U8_IN, _U64_1, U8_OUT, _U32_1,
)  # fmt: skip
def advance(
    plan: U64, shifts: U64, few: Word, least: Word, most: Word, masks: U64, words: U64, bits: U64, trees: U64,
    queue: U32, waiting: U32, subsets: U8, search: U64, accounts: U64, asked: U32, questions: U64, theirs: U8,
    following: U64, own: U8, found: U32,
) -> int:  # fmt: skip
    """Take the peer's answers, locate errors, and write the next questions and this end's answers.

    The question about a block halves its smallest odd node whose halves are not known: the parity of the left half.
    Due are the odd blocks of order 0; those of order 1 unless there are more than ``few`` by then; later ones as long
    as there are fewer than ``least`` questions; and one odd subset where there is nothing else to ask. A key without a
    question is done, and so is one that would tell more than ``most``.

    Parameters
    ----------
    plan, masks, words, bits, trees, queue, waiting, subsets : as in ``take_block_parities``; all but the first three
        are changed
    shifts : uint64[orders, lanes], zero for order 0
    few, least : numbers of questions of one key
    most : parities that one key may tell
    search : uint64[keys, SEARCH_COLUMNS], zero at the start, changed
    accounts : uint64[keys, ACCOUNT_COLUMNS], changed
    asked : uint32[keys], number of questions for each key, zero at the start, changed
    questions : uint64[keys * (blocks of all passes + 1)], the last questions: from the lowest bit pass (8 bits), log2
        of the node's size (8), this end's parity (1), first bit of the node in the order of its pass
    theirs : uint8, the peer's parities for them
    following : uint64, same length as ``questions``, overwritten with the next questions
    own : uint8, same length at least, overwritten with this end's parities for them
    found : uint32[blocks of all passes + 1], overwritten, working space

    Returns
    -------
    int
        Number of the next questions.
    """
    old: Word = _0
    at: Word = _0
    for key in range(np.uint64(words.shape[0])):
        if search[key, DONE]:
            continue
        count = _take_answers(
            plan, shifts, np.uint64(asked[key]), questions, theirs, old, trees[key], bits[key], search[key], found
        )
        old += np.uint64(asked[key])
        new = _enter_errors(plan, shifts, found, count, trees[key], bits[key], queue[key], waiting[key])
        accounts[key, ERRORS] += new
        first = at
        at = _ask(
            plan, few, least, masks, words[key], bits[key], trees[key], queue[key], waiting[key], subsets[key],
            search[key], following, own, at,
        )  # fmt: skip
        if accounts[key, DISCLOSED] + (at - first) > most and at > first:
            accounts[key, GIVEN_UP] = _1
            at = first
        accounts[key, DISCLOSED] += at - first
        asked[key] = at - first
        if at > first:
            accounts[key, EXCHANGES] += _1
        else:
            search[key, DONE] = _1
    return int(at)
