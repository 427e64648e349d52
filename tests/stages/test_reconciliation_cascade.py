"""Cascade, both ends in one process: equal blocks, exact counts, efficiency, refusals, lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import UsageError
from qnoded.secret import Secret
from qnoded.stages.reconciliation.cascade import LONGEST_BLOCK, Cascade, cascade_plan
from qnoded.stages.reconciliation.reconciled import (
    Disclosure,
    LeakCount,
    Outcome,
    ReconciledBlock,
    efficiency,
)

Ends = tuple[tuple[ReconciledBlock, ...], tuple[ReconciledBlock, ...], list[int]]


def keys_with_errors(keys: int, bits: int, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, (keys, bits), np.uint8)
    wrong = (rng.random((keys, bits)) < rate).astype(np.uint8)
    return np.packbits(alice, axis=1), np.packbits(alice ^ wrong, axis=1), wrong.sum(axis=1)


def reconcile(alice: np.ndarray, bob: np.ndarray, bits: int, expected: float, seed: bytes = bytes(32)) -> Ends:
    """Return both ends' results and the sizes of all messages."""
    plan = cascade_plan(bits, expected, seed)
    ends = (Cascade(alice, plan, corrects=False), Cascade(bob, plan, corrects=True))
    sizes = []
    while not ends[0].done:
        said = [end.parities.copy() for end in ends]
        assert said[0].size == said[1].size
        sizes.append(said[0].size)
        ends[0].take(said[1])
        ends[1].take(said[0])
    assert ends[1].done
    return ends[0].reconciled(), ends[1].reconciled(), sizes


@given(st.integers(64, 5000), st.floats(0.0, 0.12), st.floats(0.0, 0.5), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_any_length_rate_and_estimate(bits: int, rate: float, expected: float, keys: int, seed: int) -> None:
    alice, bob, errors = keys_with_errors(keys, bits, rate, seed)
    at_alice, at_bob, sizes = reconcile(alice, bob, bits, expected, seed.to_bytes(32))
    for i in range(keys):
        assert at_alice[i].block == Secret(alice[i].tobytes())
        assert at_alice[i].disclosed == at_bob[i].disclosed
        assert at_alice[i].exchanges == at_bob[i].exchanges
        assert at_alice[i].errors == at_bob[i].errors
        assert at_bob[i].disclosed.alice_bits <= bits or at_bob[i].outcome is Outcome.CORRECTED
        if at_bob[i].block == at_alice[i].block:
            assert at_bob[i].errors == errors[i]
    assert sum(block.disclosed.alice_bits for block in at_alice) == sum(sizes)
    assert max(block.exchanges for block in at_alice) == len(sizes)


@pytest.mark.parametrize(
    ("rate", "most_f"),
    [(0.01, 1.05), (0.02, 1.05), (0.03, 1.05), (0.035, 1.06), (0.05, 1.05), (0.08, 1.08), (0.11, 1.08)],
)
def test_efficiency_at_100000_bits(rate: float, most_f: float) -> None:
    """8 keys: mean f within the limit, all equal, errors exact, fewer than 200 round trips on average."""
    bits = 100_000
    alice, bob, errors = keys_with_errors(8, bits, rate, 11)
    at_alice, at_bob, _ = reconcile(alice, bob, bits, rate, b"\x05" * 32)
    assert [block.errors for block in at_bob] == errors.tolist()
    assert all(a.block == b.block for a, b in zip(at_alice, at_bob, strict=True))
    f = [efficiency(block.disclosed.alice_bits, bits, block.errors) for block in at_bob]
    assert np.mean([value for value in f if value is not None]) <= most_f
    assert np.mean([block.round_trips for block in at_bob]) < 200


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.11])
def test_frame_errors_of_3000_blocks_of_10000_bits(rate: float) -> None:
    """The limit is 1e-3; with 3000 blocks up to 6 are within three sigma of it."""
    wrong = 0
    for seed in range(30):
        alice, bob, _ = keys_with_errors(100, 10_000, rate, seed)
        at_alice, at_bob, _ = reconcile(alice, bob, 10_000, rate, seed.to_bytes(32))
        wrong += sum(a.block != b.block for a, b in zip(at_alice, at_bob, strict=True))
    assert wrong <= 6


def test_burst_of_errors() -> None:
    """300 neighbouring bits all wrong, 3 % in all: f suffers but the blocks become equal."""
    alice, _, _ = keys_with_errors(1, 10_000, 0.0, 3)
    bits = np.unpackbits(alice, axis=1)
    bits[0, 4_000:4_300] ^= 1
    at_alice, at_bob, _ = reconcile(alice, np.packbits(bits, axis=1), 10_000, 0.03)
    assert at_bob[0].errors == 300
    assert at_bob[0].block == at_alice[0].block


def test_unrelated_blocks_are_given_up_by_both_ends_alike() -> None:
    """Half of the bits differ: no parity pays; each key stops before it tells more than its own length."""
    rng = np.random.default_rng(1)
    alice, bob = (rng.integers(0, 256, (3, 250), np.uint8) for _ in range(2))
    near, _, _ = keys_with_errors(1, 2000, 0.02, 5)
    bob[1], alice[1] = near[0], near[0]
    at_alice, at_bob, _ = reconcile(alice, bob, 2000, 0.02)
    assert [block.outcome for block in at_bob] == [Outcome.GIVEN_UP, Outcome.CORRECTED, Outcome.GIVEN_UP]
    assert [block.outcome for block in at_alice] == [block.outcome for block in at_bob]
    assert all(block.disclosed.alice_bits <= 2000 for block in at_bob)


@given(st.integers(0, 2**32 - 1))
def test_a_lying_peer_ends_in_bounded_time(seed: int) -> None:
    """Answers at random instead of parities: the search stops within as many messages as there are bits."""
    rng = np.random.default_rng(seed)
    bits = int(rng.integers(64, 1500))
    end = Cascade(
        rng.integers(0, 256, (1, bits // 8), np.uint8), cascade_plan(bits // 8 * 8, 0.02, bytes(32)), corrects=True
    )
    messages = 0
    while not end.done:
        end.take(rng.integers(0, 2, end.parities.size, np.uint8))
        messages += 1
        assert messages <= bits + 1
    (block,) = end.reconciled()
    assert block.disclosed.alice_bits <= bits or messages == 1


def test_identical_keys_need_one_message() -> None:
    alice, bob, _ = keys_with_errors(2, 4096, 0.0, 1)
    at_alice, at_bob, sizes = reconcile(alice, bob, 4096, 0.01)
    assert len(sizes) == 1
    assert [block.errors for block in (*at_alice, *at_bob)] == [0] * 4


def test_another_seed_asks_other_questions() -> None:
    alice, bob, _ = keys_with_errors(1, 5000, 0.03, 1)
    counts = {tuple(reconcile(alice, bob, 5000, 0.03, bytes([i]) * 32)[2]) for i in range(4)}
    assert len(counts) == 4


def test_what_counts_as_leaked() -> None:
    disclosed = Disclosure(alice_bits=120, bob_bits=110)
    assert disclosed.counted(LeakCount.ALICE) == 120
    assert disclosed.counted(LeakCount.TRANSCRIPT) == 230
    assert efficiency(0, 100, 0) is None
    assert efficiency(100, 100, 50) is None
    assert efficiency(100, 200, 22) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("bits", "rate", "seed", "words"),
    [
        (63, 0.1, bytes(32), "63 bits"),
        (LONGEST_BLOCK + 1, 0.1, bytes(32), "bits cannot"),
        (1000, -0.1, bytes(32), "-0.1"),
        (1000, float("nan"), bytes(32), "nan"),
        (1000, 0.6, bytes(32), "0.6"),
        (1000, 0.1, bytes(31), "31 bytes"),
    ],
)
def test_refused_plans(bits: int, rate: float, seed: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cascade_plan(bits, rate, seed)


def test_refused_keys_and_parities() -> None:
    plan = cascade_plan(1000, 0.03, bytes(32))
    for shape in [(1, 124), (1, 126), (0, 125), (125,)]:
        with pytest.raises(UsageError, match="shape"):
            Cascade(np.zeros(shape, np.uint8), plan, corrects=True)
    end = Cascade(np.zeros((1, 125), np.uint8), plan, corrects=True)
    with pytest.raises(UsageError, match="parities arrived"):
        end.take(np.zeros(end.parities.size + 1, np.uint8))
    end.take(end.parities.copy())
    assert end.done
    with pytest.raises(UsageError, match="parities arrived"):
        end.take(np.zeros(0, np.uint8))
