"""Effects, messages, the sample, the runners, and several blocks in one reconciliation."""

from __future__ import annotations

import random

import numpy as np
import pytest

from qnoded.errors import LocalProtocolError, PeerSilent, RemoteProtocolError
from qnoded.exchange import reconciling, sampling
from qnoded.exchange.effects import Script, compute, emit, receive, send, wait
from qnoded.exchange.in_memory import run_both
from qnoded.exchange.messages import (
    MOST_BITS,
    AmplificationSeed,
    PackedBits,
    ReconciliationOpening,
    Verdict,
    VerificationDigest,
)
from qnoded.testing.pair import converse


def asking(values: list[int]) -> Script[int]:
    yield from emit("started")
    yield from wait(1.5)
    yield from send(Verdict(True))
    answer = yield from receive(Verdict)
    total = yield from compute(sum, values)
    return total if answer.equal else -1


def answering() -> Script[str]:
    verdict = yield from receive(Verdict)
    yield from send(Verdict(verdict.equal))
    return "answered"


def test_the_five_effects() -> None:
    told = converse(asking([1, 2, 3]), answering())
    assert (told.alice, told.bob) == (6, "answered")
    assert told.emitted == (["started"], [])
    assert told.elapsed_s == 1.5
    assert [sender for sender, _ in told.transcript] == [0, 1]
    assert run_both(asking([4]), answering()) == (4, "answered")


def test_two_that_wait_for_each_other() -> None:
    told = converse(answering(), answering())
    assert isinstance(told.alice, PeerSilent)
    assert isinstance(told.bob, PeerSilent)
    with pytest.raises(LocalProtocolError, match="wait for a message"):
        run_both(answering(), answering())


def failing() -> Script[None]:
    yield from compute(lambda: 1 // 0)


def test_a_bug_in_a_computation_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        run_both(failing(), answering())
    with pytest.raises(ZeroDivisionError):
        converse(failing(), answering())


def test_packed_bits_are_checked_and_read_only() -> None:
    bits = PackedBits.of(np.array([1, 0, 1], np.uint8))
    assert bits.packed.tolist() == [0b10100000]
    assert bits.unpacked().tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="read-only"):
        bits.packed[0] = 0
    for packed, count in [
        (np.zeros(2, np.uint8), 3),
        (np.zeros(1, np.int8), 3),
        (np.zeros((1, 1), np.uint8), 3),
        (np.full(1, 0b1, np.uint8), 3),
        (np.zeros(0, np.uint8), -1),
        (np.zeros(0, np.uint8), MOST_BITS + 1),
    ]:
        with pytest.raises(RemoteProtocolError):
            PackedBits(packed, count)


@pytest.mark.parametrize(
    "fields",
    [
        ("", 1, 100, 0, bytes(32)),
        ("x" * 17, 1, 100, 0, bytes(32)),
        ("cascade", 0, 100, 0, bytes(32)),
        ("cascade", 1, 0, 0, bytes(32)),
        ("cascade", 1, 100, 5 * 10**8 + 1, bytes(32)),
        ("cascade", 1, 100, -1, bytes(32)),
        ("cascade", 1, 100, 0, bytes(31)),
    ],
)
def test_impossible_openings(fields: tuple[str, int, int, int, bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        ReconciliationOpening(*fields)


def test_impossible_digests() -> None:
    with pytest.raises(RemoteProtocolError):
        VerificationDigest(bytes(15), bytes(8))
    with pytest.raises(RemoteProtocolError):
        VerificationDigest(bytes(16), b"")
    assert AmplificationSeed(1, PackedBits.of(np.ones(1, np.uint8))).length == 1


def test_sample_is_removed_and_counted() -> None:
    """1,000 bits, 30 test bits: the rest in order, errors of the sample exact, sample of full size at both ends."""
    rng = np.random.default_rng(2)
    alice = rng.integers(0, 2, 1_000, np.uint8)
    bob = alice ^ (rng.random(1_000) < 0.2)
    told = converse(sampling.alice(alice, 30, random.Random(3).randbytes), sampling.bob(bob, 30))
    assert isinstance(told.alice, sampling.Sampled)
    assert isinstance(told.bob, sampling.Sampled)
    assert told.alice.rest.size == told.bob.rest.size == 970
    assert told.alice.test_errors == told.bob.test_errors
    assert int((told.alice.rest != told.bob.rest).sum()) + told.alice.test_errors == int((alice != bob).sum())


def test_sample_is_uniform() -> None:
    """Each of 20 places in 2,000 samples of 5: 500 expected, sigma 19.4; all within 4 sigma."""
    source = random.Random(5)
    counts = np.zeros(20, np.int64)
    for _ in range(2_000):
        told = converse(
            sampling.alice(np.zeros(20, np.uint8), 5, source.randbytes), sampling.bob(np.zeros(20, np.uint8), 5)
        )
        (_, sample), *_ = told.transcript
        assert isinstance(sample, sampling.Sample)
        counts += sample.chosen.unpacked()
    assert np.abs(counts - 500).max() < 4 * 19.4


def test_many_blocks_share_the_messages() -> None:
    """6 blocks of 5,000 bits: as many messages as the slowest block takes alone, each block as if alone."""
    rng = np.random.default_rng(4)
    alice = rng.integers(0, 256, (6, 625), np.uint8)
    wrong = np.packbits(rng.random((6, 5_000)) < 0.03, axis=1)
    together = converse(
        reconciling.alice(list(alice), 5_000, 0.03, "cascade", bytes(32)), reconciling.bob(list(alice ^ wrong), 5_000)
    )
    assert isinstance(together.alice, tuple)
    assert isinstance(together.bob, tuple)
    slowest = max(block.exchanges for block in together.bob)
    assert len(together.transcript) == 1 + 2 * slowest
    for i, block in enumerate(together.bob):
        alone = converse(
            reconciling.alice([alice[i]], 5_000, 0.03, "cascade", bytes(32)),
            reconciling.bob([alice[i] ^ wrong[i]], 5_000),
        )
        assert isinstance(alone.bob, tuple)
        assert alone.bob[0].disclosed == block.disclosed
        assert alone.bob[0].block == block.block == together.alice[i].block


def test_wrong_calls_are_this_ends_fault() -> None:
    block = np.zeros(125, np.uint8)
    for script in (
        reconciling.alice([block], 1_000, 0.03, "magic", bytes(32)),
        reconciling.alice([block], 1_001, 0.03, "cascade", bytes(32)),
        reconciling.alice([], 1_000, 0.03, "cascade", bytes(32)),
    ):
        told = converse(script, reconciling.bob([block], 1_000))
        assert isinstance(told.alice, LocalProtocolError | RemoteProtocolError)
