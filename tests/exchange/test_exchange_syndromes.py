from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from qnoded.errors import RemoteProtocolError, UsageError
from qnoded.exchange.effects import Compute, Receive, Script, Send
from qnoded.exchange.messages import Message, PackedBits, ReconciliationOpening
from qnoded.exchange.syndromes import DecodingReport, DisclosedBits, Syndromes, alice, bob
from qnoded.records import U8
from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.reconciliation import ldpc
from qnoded.stages.reconciliation.reconciled import Outcome, ReconciledBlock

Blocks = tuple[ReconciledBlock, ...]
Spoil = Callable[[Message], Message]
BITS = 50_000


def talk(
    alices: Script[Blocks], bobs: Script[Blocks], spoil: Spoil = lambda message: message
) -> tuple[Blocks, Blocks, int]:
    """Run both ends until each has returned; also return the number of messages."""
    scripts, queues = (alices, bobs), (deque[Message](), deque[Message]())
    answers: list[object] = [None, None]
    results: list[Blocks | None] = [None, None]
    pending: list[Receive | None] = [None, None]
    sent = 0
    while None in results:
        moved = False
        for end in (0, 1):
            if results[end] is not None:
                continue
            if pending[end]:
                if not queues[end]:
                    continue
                answers[end], pending[end] = queues[end].popleft(), None
            moved = True
            try:
                effect = scripts[end].send(answers[end])
            except StopIteration as stop:
                results[end] = stop.value
                continue
            answers[end] = None
            if isinstance(effect, Compute):
                answers[end] = effect.work()
            elif isinstance(effect, Send):
                sent += 1
                queues[1 - end].append(spoil(effect.message))
            elif isinstance(effect, Receive):
                pending[end] = effect
        assert moved, "both ends wait for each other"
    assert results[0] is not None
    assert results[1] is not None
    return results[0], results[1], sent


def blocks_of(count: int, qber: float, seed: int, bits: int = BITS) -> tuple[U8, U8, list[int]]:
    rng = np.random.default_rng(seed)
    ours = rng.integers(0, 2, (count, bits), dtype=np.uint8)
    errors = (rng.random(ours.shape) < qber).astype(np.uint8)
    return np.packbits(ours, axis=1), np.packbits(ours ^ errors, axis=1), errors.sum(axis=1).tolist()


def opened(count: int, expected: float, bits: int = BITS) -> ReconciliationOpening:
    return ReconciliationOpening("ldpc", count, bits, round(expected * 1e9), bytes(32))


def coins(seed: int) -> Callable[[int], bytes]:
    return np.random.default_rng(seed).bytes


def test_one_message_each_way_makes_blocks_equal() -> None:
    """3 blocks of 50,000 bits at 3 %: equal, errors counted exactly, the leak that was planned and no more."""
    ours, theirs, errors = blocks_of(3, 0.03, 1)
    opening = opened(3, 0.03)
    at_alice, at_bob, sent = talk(alice(ours, opening, coins=coins(9)), bob(theirs, opening))
    assert sent == 2
    for mine, his, own, count in zip(at_alice, at_bob, ours, errors, strict=True):
        assert mine.block == his.block
        assert mine.block.reveal() == own.tobytes()
        assert mine.errors == his.errors == count
        assert mine.disclosed == his.disclosed
        assert mine.disclosed.alice_bits == ldpc.first_leak(BITS, 0.03)
        assert mine.outcome is his.outcome is Outcome.CORRECTED
        assert mine.round_trips == 1


def test_failed_decoding_asks_for_more_instead_of_losing_the_block() -> None:
    """4 % of errors where 3 % were expected: more messages, more leak, equal blocks."""
    ours, theirs, errors = blocks_of(2, 0.04, 2)
    opening = opened(2, 0.03)
    at_alice, at_bob, sent = talk(alice(ours, opening, coins=coins(9)), bob(theirs, opening))
    assert sent > 2
    for mine, his, own, count in zip(at_alice, at_bob, ours, errors, strict=True):
        assert mine.block == his.block
        assert mine.block.reveal() == own.tobytes()
        assert (mine.errors, mine.disclosed, mine.exchanges) == (his.errors, his.disclosed, his.exchanges)
        assert mine.errors == count
        assert ldpc.first_leak(BITS, 0.03) < mine.disclosed.alice_bits < 1.8 * BITS * binary_entropy(0.04)
        assert mine.disclosed.bob_bits > 1


def test_long_block_is_cut_into_frames_and_put_together() -> None:
    bits = ldpc.MOST_PAYLOAD_BITS + 2
    ours, theirs, errors = blocks_of(1, 0.02, 3, bits)
    opening = opened(1, 0.02, bits)
    at_alice, at_bob, _ = talk(alice(ours, opening, coins=coins(9)), bob(theirs, opening))
    assert at_alice[0].block == at_bob[0].block
    assert at_alice[0].errors == errors[0]
    assert at_alice[0].disclosed.alice_bits == sum(ldpc.first_leak(half, 0.02) for half in ldpc.split(bits))


@pytest.mark.slow
def test_unrelated_blocks_end_given_up_on_both_sides() -> None:
    ours, _, _ = blocks_of(1, 0.0, 4)
    theirs, _, _ = blocks_of(1, 0.0, 5)
    opening = opened(1, 0.11)
    at_alice, at_bob, _ = talk(alice(ours, opening, coins=coins(9)), bob(theirs, opening))
    assert at_alice[0].outcome is at_bob[0].outcome is Outcome.GIVEN_UP
    assert at_alice[0].disclosed.alice_bits >= BITS


def short_syndrome(message: Message) -> Message:
    if isinstance(message, Syndromes):
        return Syndromes(PackedBits.of(message.syndromes.unpacked()[:-1]))
    return message


def wrong_number(message: Message) -> Message:
    return replace(message, number=message.number + 1) if isinstance(message, DecodingReport) else message


def too_many_errors(message: Message) -> Message:
    return replace(message, errors=(BITS + 1,)) if isinstance(message, DecodingReport) else message


def empty_disclosure(message: Message) -> Message:
    return (
        replace(message, bits=PackedBits.of(np.empty(0, np.uint8))) if isinstance(message, DisclosedBits) else message
    )


@pytest.mark.parametrize("spoil", [short_syndrome, wrong_number, too_many_errors, empty_disclosure])
def test_messages_that_do_not_fit_are_refused(spoil: Spoil) -> None:
    ours, theirs, _ = blocks_of(1, 0.04, 6)
    opening = opened(1, 0.03)
    with pytest.raises(RemoteProtocolError, match=r"due"):
        talk(alice(ours, opening, coins=coins(9)), bob(theirs, opening), spoil)


def test_short_block_is_refused_at_both_ends() -> None:
    ours, theirs, _ = blocks_of(1, 0.0, 7, 1_000)
    opening = opened(1, 0.03, 1_000)
    for script in (partial(alice, ours, opening, coins=coins(9)), partial(bob, theirs, opening)):
        with pytest.raises(UsageError, match="1000 bits"):
            talk(script(), script())
