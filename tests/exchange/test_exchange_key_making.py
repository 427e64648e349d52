"""A sifted block whose test bits are known already: its key, what the ledger says of it, and why it may have none."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import hypergeom

from qnoded.exchange import distilling, key_making, reports, wire
from qnoded.exchange.blocks import Shelf
from qnoded.exchange.distilling import Discard, DistilledKey
from qnoded.exchange.reports import BlockSifted, EpochSifted, NoKey
from qnoded.exchange.terms import LinkTerms
from qnoded.records import SiftedEpoch
from qnoded.secret import Secret
from qnoded.stages.key_length.block import SiftedCounts, block_key_length
from qnoded.testing.pair import Conversation, converse

NAMES = ("H", "V", "D", "A")
TERMS = LinkTerms("alice-bob", True, NAMES, NAMES, makes_keys=True)

Ended = Conversation[DistilledKey | Discard, DistilledKey | Discard]


def blocks(bits: int, rate: float, tests: tuple[reports.Tests, ...]) -> tuple[BlockSifted, BlockSifted]:
    rng = np.random.default_rng(5)
    alice = rng.integers(0, 2, bits, np.uint8)
    bob = alice ^ (rng.random(bits) < rate).astype(np.uint8)
    basis = (np.arange(bits) % 2).astype(np.uint8)
    made = [
        BlockSifted(7, (30, 31, 34), SiftedEpoch(own, basis, side), tests, b"d" * 32)
        for own, side in ((alice, "alice"), (bob, "bob"))
    ]
    return made[0], made[1]


def distil(ends: tuple[BlockSifted, BlockSifted], terms: LinkTerms = TERMS) -> Ended:
    alice, bob = (key_making.tested(end, terms) for end in ends)
    agreed = key_making.agreement(terms, alice)
    assert agreed == key_making.agreement(terms, bob)
    return converse(
        distilling.alice_tested(alice, agreed, random.Random(1).randbytes), distilling.bob_tested(bob, agreed)
    )


@pytest.mark.parametrize("method", ["cascade", "ldpc"])
def test_the_length_is_the_bounds_for_the_tests_that_were_made(method: str) -> None:
    """60,000 bits at 2 %, 3,000 test bits in two bases of which 66 are wrong; no bit is spent on another sample."""
    terms = replace(TERMS, reconciliation=method)
    ends = blocks(60_000, 0.02, (reports.Tests("HV", 30, 1_500), reports.Tests("DA", 36, 1_500)))
    told = distil(ends, terms)
    assert isinstance(told.alice, DistilledKey)
    assert isinstance(told.bob, DistilledKey)
    assert told.alice.key == told.bob.key
    accounts = told.alice.accounts
    assert (accounts.block_bits, accounts.test_bits, accounts.test_errors) == (60_000, 3_000, 66)
    budget = key_making.agreement(terms, key_making.tested(ends[0], terms)).at_length(60_000).budget
    counts = SiftedCounts(60_000, 3_000, 66, accounts.leaked_bits, (31_500, 31_500))
    assert told.alice.length == block_key_length(counts, budget, tolerance=None)
    account = key_making.account(ends[0], terms, told.alice)
    assert account == key_making.account(ends[1], terms, told.bob)
    assert (account.outcome, account.epochs, account.last_epoch) == (key_making.KEY, 3, 34)
    assert (account.sifted_bits, account.key_bits) == (63_000, told.alice.length.bits)
    assert account.simulated


@pytest.mark.parametrize(
    ("bits", "tests", "reason", "words"),
    [
        (20_000, reports.Tests("HV", 111, 1_000), NoKey.QBER_LIMIT, "111 of 1,000 test bits are wrong, at most 11.0%"),
        (20_000, reports.Tests("HV", 0, 0), NoKey.NO_LENGTH, "0 test bits"),
        (63, reports.Tests("HV", 1, 100), NoKey.NO_LENGTH, "at least 64"),
        (5_000, reports.Tests("HV", 2, 100), NoKey.NO_LENGTH, "needs"),
    ],
)
def test_a_block_without_a_key_says_why_at_both_ends(
    bits: int, tests: reports.Tests, reason: NoKey, words: str
) -> None:
    told = distil(blocks(bits, 0.02, (tests,)))
    for end in (told.alice, told.bob):
        assert isinstance(end, Discard)
        assert key_making.why_not(end) is reason
        assert words in end.advice
    if reason is NoKey.QBER_LIMIT:
        assert told.transcript == []


def uneven_blocks(in_hv: float) -> tuple[BlockSifted, BlockSifted]:
    """60,000 bits at 2 %, a share of them in HV; tests alike."""
    tests = (
        reports.Tests("HV", round(66 * in_hv), round(3_000 * in_hv)),
        reports.Tests("DA", 30, round(3_000 * (1 - in_hv))),
    )
    ends = blocks(60_000, 0.02, tests)
    basis = (np.arange(60_000) >= 60_000 * in_hv).astype(np.uint8)
    return tuple(replace(end, sifted=replace(end.sifted, basis=basis)) for end in ends)  # type: ignore[return-value]


def test_unequal_shares_of_the_bases_shorten_the_key() -> None:
    """An eavesdropper who looks at one basis only shows fewer errors in the mix where that basis is the smaller one."""
    bits = []
    for in_hv in (0.5, 0.55, 0.59):
        told = distil(uneven_blocks(in_hv))
        assert isinstance(told.alice, DistilledKey)
        bits.append(told.alice.length.bits)
    assert bits[0] > 1.1 * bits[1] > 1.1**2 * bits[2] > 0


@pytest.mark.parametrize("in_hv", [0.39, 0.61, 1.0])
def test_a_block_of_which_one_basis_has_almost_all_is_discarded_before_anything_is_said(in_hv: float) -> None:
    told = distil(uneven_blocks(in_hv))
    for end in (told.alice, told.bob):
        assert isinstance(end, Discard)
        assert key_making.why_not(end) is NoKey.BASES_UNEVEN
        assert "sifted bits, at most 1.5 to 1 may be" in end.advice
    assert told.transcript == []


def test_more_errors_than_the_test_bits_tell_of_discard_the_block() -> None:
    """60,000 bits at 8 %, of 3,000 test bits none is wrong: nobody drew them by chance among these bits."""
    tests = reports.Tests("HV", 0, 1_500), reports.Tests("DA", 0, 1_500)
    told = distil(blocks(60_000, 0.08, tests))
    for end in (told.alice, told.bob):
        assert isinstance(end, Discard)
        assert key_making.why_not(end) is NoKey.TESTS_APART
        assert "no random sample" in end.advice


def test_the_limit_of_corrected_errors_is_serflings() -> None:
    """Scipy's hypergeometric distribution: of samples that are random, fewer than one in 1e10 are beyond it."""
    n, k = 20_000, 1_000
    for errors in (200, 1_000, 4_000):
        found = np.arange(0, min(k, errors) + 1)
        beyond = np.array([errors - one > distilling.most_errors(n, k, int(one)) for one in found])
        assert hypergeom(n + k, errors, k).pmf(found[beyond]).sum() < 1e-10


def test_only_whole_bytes_of_a_key_are_kept() -> None:
    """The bits beyond a key's length are zeros that everybody knows."""
    told = distil(blocks(60_001, 0.02, (reports.Tests("HV", 66, 3_000),)))
    assert isinstance(told.alice, DistilledKey)
    bits = told.alice.length.bits
    assert bits % 8
    expected = Secret(told.alice.key.view()[: bits // 8])
    assert key_making.whole_bytes(told.alice) == expected


def test_every_block_has_a_conversation_of_its_own() -> None:
    numbers = [key_making.conversation_of(block) for block in (0, 1, 2**32 - 5, 2**32 - 4, 2**62)]
    assert numbers[:2] == [wire.FIRST_BLOCK, wire.FIRST_BLOCK + 1]
    assert numbers[2] == wire.CONVERSATIONS - 1
    assert numbers[3] == wire.FIRST_BLOCK
    assert all(wire.FIRST_BLOCK <= number < wire.CONVERSATIONS for number in numbers)


@pytest.mark.parametrize("test_bits", [0, 30, 60])
def test_where_a_block_ends_does_not_depend_on_which_bits_are_tests(test_bits: int) -> None:
    """Epochs of 100 coincidences, of which some are tests: a block of 300 always has three of them."""
    shelf = Shelf(300)
    none = np.zeros(100 - test_bits, np.uint8)
    for number in range(5):
        epoch = EpochSifted(
            number,
            SiftedEpoch(none, none, "alice"),
            (reports.Tests("HV", 0, test_bits),),
            (500, 500),
            100,
            0.1,
            bytes(32),
        )
        shelf.put("stream", epoch)
    proposed = shelf.proposal("stream")
    assert proposed is not None
    assert proposed.epochs.tolist() == [0, 1, 2]
