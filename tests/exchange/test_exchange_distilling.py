"""The whole corridor of a block in memory: equal keys, discards with reasons, and a channel that does its worst."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnoded.errors import PeerSilent, ProtocolError, RemoteProtocolError
from qnoded.exchange import distilling
from qnoded.exchange.distilling import Accounts, Agreement, Discard, DiscardReason, DistilledKey, SampleEstimate
from qnoded.exchange.in_memory import run_both
from qnoded.exchange.messages import (
    AmplificationSeed,
    Message,
    PackedBits,
    Parities,
    ReconciliationOpening,
    Sample,
    SampleBits,
    Verdict,
    VerificationDigest,
)
from qnoded.stages.key_length.block import SiftedCounts, block_key_length
from qnoded.stages.reconciliation.reconciled import LeakCount
from qnoded.testing.pair import Conversation, converse, faithful, in_turn

Ended = Conversation[DistilledKey | Discard, DistilledKey | Discard]


def sifted(bits: int, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, bits, np.uint8)
    wrong = (rng.random(bits) < rate).astype(np.uint8)
    return alice, alice ^ wrong, int(wrong.sum())


def distil(bits: int, rate: float, test_bits: int, seed: int = 1, **how: Any) -> Ended:
    alice, bob, _ = sifted(bits, rate, seed)
    agreement = Agreement(test_bits)
    randomness = random.Random(seed).randbytes
    return converse(distilling.alice(alice, agreement, randomness), distilling.bob(bob, agreement), **how)


def test_both_ends_hold_the_key_that_the_bound_allows() -> None:
    """20,000 bits at 2 %: keys equal; length recomputed from what both ends saw; every error counted."""
    alice, bob, errors = sifted(20_000, 0.02, 1)
    agreement = Agreement(4_000)
    told = converse(distilling.alice(alice, agreement, random.Random(1).randbytes), distilling.bob(bob, agreement))
    assert isinstance(told.alice, DistilledKey)
    assert isinstance(told.bob, DistilledKey)
    assert told.alice.key == told.bob.key
    assert told.alice.accounts == told.bob.accounts
    accounts = told.alice.accounts
    assert accounts.errors == errors
    counts = SiftedCounts(16_000, 4_000, accounts.test_errors, accounts.leaked_bits)
    budget = agreement.at_length(16_000).budget
    assert budget.hash_bits == 64
    assert told.alice.length == block_key_length(counts, budget, tolerance=None)
    assert told.alice.length.bits > 4_000
    assert len(told.alice.key) == -(-told.alice.length.bits // 8)
    assert told.emitted[0] == told.emitted[1]
    assert [type(record) for record in told.emitted[0]] == [SampleEstimate, Accounts]


def test_leak_is_the_transcript() -> None:
    """Parities in the messages of both ends: exactly what is counted, by one end's count and by both."""
    told = distil(10_000, 0.03, 2_000)
    said = [0, 0]
    for sender, message in told.transcript:
        if isinstance(message, Parities):
            said[sender] += message.parities.count
    assert isinstance(told.alice, DistilledKey)
    assert said[0] == said[1] == told.alice.accounts.leaked_bits
    alice, bob, _ = sifted(10_000, 0.01, 1)
    agreement = Agreement(2_000, leak_count=LeakCount.TRANSCRIPT)
    both = converse(distilling.alice(alice, agreement, random.Random(1).randbytes), distilling.bob(bob, agreement))
    assert isinstance(both.bob, DistilledKey)
    counted = sum(message.parities.count for _, message in both.transcript if isinstance(message, Parities))
    assert both.bob.accounts.leaked_bits == counted


@pytest.mark.parametrize("seed", range(8))
def test_every_interleaving_gives_the_same(seed: int) -> None:
    """8 random schedules: transcript of each end, key and accounts as in turn."""
    plain = distil(3_000, 0.01, 800)
    assert isinstance(plain.alice, DistilledKey)
    mixed = distil(3_000, 0.01, 800, schedule=random.Random(seed).choice)
    assert isinstance(mixed.alice, DistilledKey)
    assert isinstance(mixed.bob, DistilledKey)
    assert mixed.alice.key == mixed.bob.key == plain.alice.key
    assert mixed.alice.accounts == plain.alice.accounts
    assert len(mixed.transcript) == len(plain.transcript)


def test_offline_runner_gives_the_same() -> None:
    alice, bob, _ = sifted(3_000, 0.01, 1)
    agreement = Agreement(800)
    at_alice, at_bob = run_both(
        distilling.alice(alice, agreement, random.Random(1).randbytes), distilling.bob(bob, agreement)
    )
    plain = distil(3_000, 0.01, 800)
    assert isinstance(at_alice, DistilledKey)
    assert isinstance(at_bob, DistilledKey)
    assert isinstance(plain.alice, DistilledKey)
    assert at_alice.key == at_bob.key == plain.alice.key


@pytest.mark.parametrize(
    ("bits", "rate", "test_bits", "reason", "words"),
    [
        (1_000, 0.02, 300, DiscardReason.NO_LENGTH, "more sifted bits at this QBER"),
        (30_000, 0.12, 8_000, DiscardReason.NO_LENGTH, "no block holds a key"),
        (5_000, 0.5, 1_000, DiscardReason.NOT_CORRECTED, "test bits are wrong"),
    ],
)
def test_discards_say_why(bits: int, rate: float, test_bits: int, reason: DiscardReason, words: str) -> None:
    told = distil(bits, rate, test_bits)
    for end in (told.alice, told.bob):
        assert isinstance(end, Discard)
        assert end.reason is reason
        assert words in end.advice
    assert told.alice == told.bob


def only(
    kind: type[Message], change: Callable[[Any], Any], sender: int | None = None
) -> Callable[..., Iterable[Message]]:
    """Change messages of one kind on their way, from one sender or from both."""

    def channel(who: int, number: int, message: Message) -> Iterable[Message]:
        touched = isinstance(message, kind) and sender in (None, who)
        return change(message) if touched else (message,)

    return channel


def flipped(bits: PackedBits, place: int) -> PackedBits:
    changed = bits.unpacked()
    changed[place % changed.size] ^= 1
    return PackedBits.of(changed)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 1), st.integers(0, 30))
def test_a_flipped_parity_never_passes_for_a_key(place: int, sender: int, number: int) -> None:
    """One bit of one message wrong: a discard or a protocol error at both ends, or the search got over it."""

    def flip(message: Parities) -> Iterable[Message]:
        if message.number != number:
            return (message,)
        return (Parities(number, flipped(message.parities, place)),)

    told = distil(3_000, 0.01, 800, channel=only(Parities, flip, sender))
    if isinstance(told.alice, DistilledKey):
        assert isinstance(told.bob, DistilledKey)
        assert told.alice.key == told.bob.key
    else:
        assert not isinstance(told.bob, DistilledKey)
        assert isinstance(told.bob, Discard | ProtocolError)


KINDS = (Sample, SampleBits, ReconciliationOpening, Parities, VerificationDigest, Verdict, AmplificationSeed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_message_ends_in_silence_or_an_error(kind: type[Message]) -> None:
    told = distil(3_000, 0.01, 800, channel=only(kind, lambda _: ()))
    assert isinstance(told.alice, PeerSilent) or isinstance(told.bob, PeerSilent)
    assert not (isinstance(told.alice, DistilledKey) and isinstance(told.bob, DistilledKey))


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_message_makes_no_second_key(kind: type[Message]) -> None:
    """The link drops repeats by number; a script that meets one refuses it. After the last message nobody looks."""
    told = distil(3_000, 0.01, 800, channel=only(kind, lambda message: (message, message)))
    for end in (told.alice, told.bob):
        assert isinstance(end, DistilledKey | ProtocolError)
    if isinstance(told.alice, DistilledKey) and isinstance(told.bob, DistilledKey):
        assert told.alice.key == told.bob.key
        assert kind in (Verdict, AmplificationSeed)


GARBLED = [
    (Sample, lambda m: (replace(m, chosen=PackedBits.of(np.ones(3_001, np.uint8))),), "a sample of"),
    (Sample, lambda m: (replace(m, chosen=flipped(m.chosen, 5)),), "marks"),
    (Sample, lambda m: (replace(m, bits=PackedBits.of(np.ones(7, np.uint8))),), "a sample of 7"),
    (SampleBits, lambda m: (SampleBits(PackedBits.of(np.ones(7, np.uint8))),), "7 test bits"),
    (ReconciliationOpening, lambda m: (replace(m, method="magic"),), "'magic'"),
    (ReconciliationOpening, lambda m: (replace(m, block_bits=64),), "64 bits"),
    (ReconciliationOpening, lambda m: (replace(m, blocks=2),), "2 blocks"),
    (Parities, lambda m: (replace(m, number=m.number + 1),), "message 1"),
    (Parities, lambda m: (replace(m, parities=PackedBits.of(np.ones(3, np.uint8))),), "3 parities"),
    (Parities, lambda m: (Verdict(True),), "Verdict arrived"),
    (VerificationDigest, lambda m: (replace(m, digest=m.digest[:4]),), "4 bytes"),
    (AmplificationSeed, lambda m: (replace(m, length=m.length + 1),), "amplifies"),
    (AmplificationSeed, lambda m: (replace(m, seed=PackedBits.of(np.ones(9, np.uint8))),), "9 seed bits"),
]


@pytest.mark.parametrize(("kind", "change", "words"), GARBLED)
def test_what_makes_no_sense_is_the_peers_fault(kind: type[Message], change: Callable[[Any], Any], words: str) -> None:
    told = distil(3_000, 0.01, 800, channel=only(kind, change))
    errors = [end for end in (told.alice, told.bob) if isinstance(end, RemoteProtocolError)]
    assert errors
    assert words in str(errors[0])


def test_a_wrong_digest_discards_at_both_ends() -> None:
    wrong = only(VerificationDigest, lambda m: (replace(m, digest=bytes(len(m.digest))),))
    told = distil(3_000, 0.01, 800, channel=wrong)
    for end in (told.alice, told.bob):
        assert isinstance(end, Discard)
        assert end.reason is DiscardReason.NOT_EQUAL
        assert "still differ" in end.advice


def test_a_wrong_estimate_costs_length_not_equality() -> None:
    """The expected rate is garbled from 1 % to 20 % for bob only: other plans, so other numbers of parities."""
    garbled = only(ReconciliationOpening, lambda m: (replace(m, error_rate_ppb=2 * 10**8),))
    told = distil(3_000, 0.01, 800, channel=garbled)
    assert isinstance(told.alice, RemoteProtocolError) or isinstance(told.bob, RemoteProtocolError)


def test_no_secret_in_what_is_told() -> None:
    told = distil(3_000, 0.01, 800)
    assert isinstance(told.alice, DistilledKey)
    content = told.alice.key.reveal()
    for record in (*told.emitted[0], *told.emitted[1], told.alice):
        assert content.hex() not in repr(record)
        assert repr(content) not in repr(record)


def fair(movable: Sequence[int]) -> int:
    return movable[-1]


def test_bob_first_is_as_good() -> None:
    assert isinstance(distil(3_000, 0.01, 800, schedule=fair, channel=faithful).alice, DistilledKey)
    assert in_turn([0, 1]) == 0
