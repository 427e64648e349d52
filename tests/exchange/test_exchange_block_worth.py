"""What authentication costs beside the key that slow links make, and when a block that fills slowly is closed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from qnoded.exchange import distilling, key_making, reports
from qnoded.exchange.block_worth import MOST_SHARE, authentication_bits, worth_bits
from qnoded.exchange.blocks import PATIENCE_EPOCHS, Shelf
from qnoded.exchange.distilling import DistilledKey
from qnoded.exchange.in_memory import run_both
from qnoded.exchange.reports import BlockSifted, EpochSifted
from qnoded.exchange.terms import LinkTerms
from qnoded.records import SiftedEpoch
from qnoded.units import EPOCH_PS, PS_PER_S

NAMES = ("H", "V", "D", "A")
TERMS = LinkTerms("alice-bob", True, NAMES, NAMES, makes_keys=True)
QBER = 0.03
STREAM = "tagger/1"


def epochs(coincidences_hz: float, seconds: float, every: int) -> Iterator[tuple[EpochSifted, EpochSifted]]:
    """Yield every so-many-th epoch as alice and as bob has it, with all coincidences; tests are not in the bits."""
    rng = np.random.default_rng(3)
    epoch_s = EPOCH_PS / PS_PER_S
    for number in range(0, round(seconds / epoch_s), every):
        coincidences = int(rng.poisson(every * coincidences_hz * epoch_s))
        tests = int(rng.binomial(coincidences, TERMS.test_share))
        halves = {"HV": tests // 2, "DA": tests - tests // 2}
        told = tuple(reports.Tests(basis, int(rng.binomial(count, QBER)), count) for basis, count in halves.items())
        alice = rng.integers(0, 2, coincidences - tests, np.uint8)
        bob = alice ^ (rng.random(alice.size) < QBER).astype(np.uint8)
        basis = (np.arange(alice.size) % 2).astype(np.uint8)
        ends = [
            EpochSifted(number, SiftedEpoch(own, basis, side), told, (0, 0), coincidences, 0.0, b"d" * 32)
            for own, side in ((alice, "alice"), (bob, "bob"))
        ]
        yield ends[0], ends[1]


def blocks(
    terms: LinkTerms, coincidences_hz: float, seconds: float, every: int = 1
) -> Iterator[tuple[BlockSifted, BlockSifted]]:
    """Yield each block that a link closes, as alice and as bob has it."""
    alice, bob = (Shelf(terms.block_bits, worth_bits(terms)) for _ in range(2))
    for ours, theirs in epochs(coincidences_hz, seconds, every):
        alice.put(STREAM, ours)
        bob.put(STREAM, theirs)
        proposed = alice.proposal(STREAM)
        if proposed is not None:
            answer, reports = bob.answer(proposed, STREAM)
            closed = [*alice.answered(answer), *reports]
            assert isinstance(closed[0], BlockSifted)
            assert isinstance(closed[1], BlockSifted)
            yield closed[0], closed[1]


def distilled(ends: tuple[BlockSifted, BlockSifted], terms: LinkTerms) -> DistilledKey:
    sampled = [key_making.tested(end, terms) for end in ends]
    agreed = key_making.agreement(terms, sampled[0])
    key, same = run_both(
        distilling.alice_tested(sampled[0], agreed, random.Random(1).randbytes),
        distilling.bob_tested(sampled[1], agreed),
    )
    assert isinstance(key, DistilledKey)
    assert isinstance(same, DistilledKey)
    assert key.key == same.key
    return key


def test_authentication_is_below_a_twentieth_of_the_key_at_100_bits_a_second() -> None:
    """Two hours at 350 sifted bits/s and 3 %: each block has a key, 100 bit/s in all, even if each had its session."""
    made = [distilled(ends, TERMS) for ends in blocks(TERMS, coincidences_hz=350.0, seconds=7200.0, every=4)]
    used = authentication_bits(len(made), sessions=len(made)) + sum(one.length.hash_bits for one in made)
    key_bits = sum(one.length.bits for one in made)
    assert len(made) == 25
    assert 95 < key_bits / 7200 < 115
    assert used < 0.025 * key_bits
    in_one_session = authentication_bits(len(made), sessions=1) + sum(one.length.hash_bits for one in made)
    assert in_one_session < 0.015 * key_bits


def test_a_block_that_fills_slowly_is_closed_once_it_is_old_and_worth_it() -> None:
    """1e6 bits would take eight hours at 35 bit/s: after one there is a block whose authentication is a twentieth."""
    terms = replace(TERMS, block_bits=10**6)
    first = next(blocks(terms, coincidences_hz=35.0, seconds=7200.0, every=4))
    sampled = key_making.tested(first[0], terms)
    assert first[0].epochs[-1] - first[0].epochs[0] == PATIENCE_EPOCHS
    assert sampled.rest.size + sampled.test_bits > worth_bits(terms) > 50_000
    key = distilled(first, terms)
    assert authentication_bits(1, sessions=1) + key.length.hash_bits < MOST_SHARE * key.length.bits


def test_patience_never_closes_a_block_that_is_worth_nothing() -> None:
    """At 5 bit/s there are 36,000 bits after two hours, a third of what makes a key at 5 % of errors."""
    assert not list(blocks(replace(TERMS, block_bits=10**6), coincidences_hz=5.0, seconds=7200.0, every=40))


def test_a_block_is_worth_as_many_bits_as_its_method_takes() -> None:
    """LDPC codes take 40,000 bits; what is never worth it is as long as the terms say."""
    few = replace(TERMS, reconciliation="ldpc", eps_sec=1e-3, test_share=0.2, block_bits=10**6)
    assert worth_bits(few) > 50_000
    assert worth_bits(replace(TERMS, block_bits=5_000)) == 5_000
