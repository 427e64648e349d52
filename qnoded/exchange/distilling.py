"""One block of sifted bits to a secret key at both ends, or to a discard that says why.

The corridor of a block: sample, reconcile, verify, compute the length from public numbers, amplify. What each step
discloses is counted: test bits are thrown away, parities and the verification hash are subtracted. What a discarded
block disclosed is lost with it, and whether it is discarded depends on nothing that stays secret.

A live link has compared its test bits already when a block is closed: ``alice_tested`` and ``bob_tested`` begin there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

import numpy as np

from qnoded.exchange import amplifying, reconciling, sampling, verifying
from qnoded.exchange.effects import Script, emit
from qnoded.exchange.messages import SEED_BYTES
from qnoded.exchange.sampling import Randomness, Sampled
from qnoded.records import U8
from qnoded.secret import Secret
from qnoded.stages.key_length.bases import uneven
from qnoded.stages.key_length.block import KeyLength, SiftedCounts, block_key_length
from qnoded.stages.key_length.budget import SecurityBudget
from qnoded.stages.reconciliation.reconciled import LeakCount, Outcome, ReconciledBlock
from qnoded.stages.verification import SEED_BYTES as VERIFICATION_SEED_BYTES
from qnoded.stages.verification import shortest_digest

Mapper = Callable[..., Iterable[Any]]

CHANCE_APART: Final = 1e-10
"""With this probability at most a block is discarded although its test bits are a random sample. It costs blocks, never
secrecy, and so is no part of a budget: what is discarded follows from public numbers."""


class DiscardReason(Enum):
    """Why a block gives no key."""

    QBER_LIMIT = "the test bits have more errors than the link allows"
    NOT_CORRECTED = "reconciliation disclosed more than the block holds before it ended"
    NOT_EQUAL = "the verification hashes differ"
    NO_LENGTH = "the bound on the key's length is not positive"
    BASES_UNEVEN = "a basis has too large a share of the bits"
    TESTS_APART = "more errors were corrected than the test bits tell of"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both ends must have settled before the block, the same at both."""

    test_bits: int
    """Sifted bits that are revealed to estimate the error rate."""
    method: str = "cascade"
    leak_count: LeakCount = LeakCount.ALICE
    budget: SecurityBudget = field(default_factory=SecurityBudget)
    qber_limit: float = 1.0
    """A block with a larger share of wrong test bits is discarded before anything else of it is disclosed."""

    @property
    def ends_counted(self) -> int:
        """How many ends' disclosures privacy amplification pays for."""
        two = self.leak_count is LeakCount.TRANSCRIPT and reconciling.METHODS[self.method].two_way
        return 2 if two else 1

    def at_length(self, block_bits: int) -> Agreement:
        """Return the same with the verification hash as long as ``eps_cor`` takes at this block length."""
        digest_bytes = shortest_digest(block_bits, self.budget.eps_cor)
        return replace(self, budget=replace(self.budget, verification_bits=8 * digest_bytes))


@dataclass(frozen=True, slots=True)
class SampleEstimate:
    """What the sample says; emitted before reconciliation starts."""

    test_bits: int
    test_errors: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """What became public of a block; the same at both ends."""

    sifted_bits: int
    test_bits: int
    test_errors: int
    block_bits: int
    """Sifted bits less test bits."""
    corrected_errors: int
    leaked_bits: int
    """Counted as agreed; without the verification hash, which ``length.hash_bits`` holds."""
    exchanges: int
    round_trips: int

    @property
    def errors(self) -> int:
        """All errors of the sifted bits, in the sample and outside."""
        return self.test_errors + self.corrected_errors


@dataclass(frozen=True, slots=True)
class DistilledKey:
    """A secret key that both ends hold."""

    key: Secret
    """ceil(length.bits / 8) bytes, first bit highest."""
    length: KeyLength
    accounts: Accounts


@dataclass(frozen=True, slots=True)
class Discard:
    """A block without a key."""

    reason: DiscardReason
    advice: str
    """One line with numbers."""
    accounts: Accounts
    length: KeyLength | None
    """What the bound says, where the block came that far."""


def alice(
    bits: U8, agreement: Agreement, randomness: Randomness, *, over: Mapper = map
) -> Script[DistilledKey | Discard]:
    """Distil a block at alice's end.

    Parameters
    ----------
    bits : uint8[n], sifted, 0 or 1
    agreement : the same at both ends
    randomness : true random bytes; each seed is drawn when it is due, none before
    over : gives privacy amplification more than one core
    """
    sampled = yield from sampling.alice(bits, agreement.test_bits, randomness)
    yield from emit(SampleEstimate(sampled.test_bits, sampled.test_errors))
    return (yield from alice_tested(sampled, agreement, randomness, over=over))


def bob(bits: U8, agreement: Agreement, *, over: Mapper = map) -> Script[DistilledKey | Discard]:
    """Distil a block at bob's end; parameters as for alice, whose randomness serves both."""
    sampled = yield from sampling.bob(bits, agreement.test_bits)
    yield from emit(SampleEstimate(sampled.test_bits, sampled.test_errors))
    return (yield from bob_tested(sampled, agreement, over=over))


def alice_tested(
    sampled: Sampled, agreement: Agreement, randomness: Randomness, *, over: Mapper = map
) -> Script[DistilledKey | Discard]:
    """Distil at alice's end what is left of a block when its test bits are gone; see ``alice``.

    Parameters
    ----------
    sampled : the same numbers at both ends; the test bits were chosen uniformly at random among all bits of the block
    """
    agreement = agreement.at_length(sampled.rest.size)
    refused = _refused(sampled, agreement)
    if refused is not None:
        return refused
    (reconciled,) = yield from reconciling.alice(
        [np.packbits(sampled.rest)], sampled.rest.size, expected_rate(sampled), agreement.method, randomness(SEED_BYTES)
    )
    equal = False
    if reconciled.outcome is Outcome.CORRECTED:
        seed = randomness(VERIFICATION_SEED_BYTES)
        equal = yield from verifying.alice(reconciled, seed, agreement.budget.hash_bits // 8)
    accounts = _accounts(sampled, reconciled, agreement)
    yield from emit(accounts)
    with reconciled.block as block:
        judged = _judge(accounts, reconciled.outcome, agreement, sampled.basis_bits, equal=equal)
        if isinstance(judged, Discard):
            return judged
        key = yield from amplifying.alice(block, reconciled.block_bits, judged.bits, randomness, over=over)
    return DistilledKey(key, judged, accounts)


def bob_tested(sampled: Sampled, agreement: Agreement, *, over: Mapper = map) -> Script[DistilledKey | Discard]:
    """Distil at bob's end what is left of a block when its test bits are gone; as ``alice_tested``."""
    agreement = agreement.at_length(sampled.rest.size)
    refused = _refused(sampled, agreement)
    if refused is not None:
        return refused
    (reconciled,) = yield from reconciling.bob([np.packbits(sampled.rest)], sampled.rest.size, method=agreement.method)
    equal = False
    if reconciled.outcome is Outcome.CORRECTED:
        equal = yield from verifying.bob(reconciled, agreement.budget.hash_bits // 8)
    accounts = _accounts(sampled, reconciled, agreement)
    yield from emit(accounts)
    with reconciled.block as block:
        judged = _judge(accounts, reconciled.outcome, agreement, sampled.basis_bits, equal=equal)
        if isinstance(judged, Discard):
            return judged
        key = yield from amplifying.bob(block, reconciled.block_bits, judged.bits, over=over)
    return DistilledKey(key, judged, accounts)


def expected_rate(sampled: Sampled) -> float:
    """Return the error rate to expect outside of the sample: half an error more, so that it is never zero."""
    return min(0.5, (sampled.test_errors + 0.5) / (sampled.test_bits + 1))


def _refused(sampled: Sampled, agreement: Agreement) -> Discard | None:
    """Return why a block is not worth reconciling, from what both ends know; None if it is."""
    accounts = Accounts(sampled.test_bits + sampled.rest.size, sampled.test_bits, sampled.test_errors, 0, 0, 0, 0, 0)
    fewest = reconciling.METHODS[agreement.method].fewest_bits
    if not sampled.test_bits or sampled.rest.size < fewest:
        advice = (
            f"{sampled.test_bits:,} test bits and {sampled.rest.size:,} others are too few, {agreement.method} takes "
            f"at least {fewest:,}; lengthen the block or raise the share of test bits"
        )
        return Discard(DiscardReason.NO_LENGTH, advice, accounts, None)
    if sampled.test_errors > agreement.qber_limit * sampled.test_bits:
        advice = (
            f"{sampled.test_errors:,} of {sampled.test_bits:,} test bits are wrong, at most "
            f"{agreement.qber_limit:.1%} may be: check polarization and fibres; without a cause suspect an eavesdropper"
        )
        return Discard(DiscardReason.QBER_LIMIT, advice, accounts, None)
    if sampled.basis_bits and (unevenness := uneven(sampled.basis_bits)):
        advice = f"{unevenness}: check splitters, polarization and detectors; without a cause suspect an eavesdropper"
        return Discard(DiscardReason.BASES_UNEVEN, advice, accounts, None)
    return None


def _accounts(sampled: Sampled, reconciled: ReconciledBlock, agreement: Agreement) -> Accounts:
    return Accounts(
        sifted_bits=sampled.test_bits + reconciled.block_bits,
        test_bits=sampled.test_bits,
        test_errors=sampled.test_errors,
        block_bits=reconciled.block_bits,
        corrected_errors=reconciled.errors,
        leaked_bits=reconciled.disclosed.counted(agreement.leak_count),
        exchanges=reconciled.exchanges,
        round_trips=reconciled.round_trips,
    )


def most_errors(block_bits: int, test_bits: int, test_errors: int) -> float:
    """Return how many errors the key bits have at most if the test bits are a random sample, but for ``CHANCE_APART``.

    Serfling's bound, as the key's length has it: exp(-2 nu^2 n k^2 / ((n + k)(k + 1))) is the probability that a rate
    of errors outside of the sample is more than nu above that of the sample.
    """
    n, k = block_bits, test_bits
    nu = math.sqrt(-math.log(CHANCE_APART) * (n + k) * (k + 1) / (2 * n * k * k))
    return n * (test_errors / k + nu)


def _judge(
    accounts: Accounts, outcome: Outcome, agreement: Agreement, basis_bits: tuple[int, ...], *, equal: bool
) -> KeyLength | Discard:
    """Return the length of the key, or why there is none."""
    rate = f"{accounts.test_errors} of {accounts.test_bits:,} test bits are wrong"
    if outcome is Outcome.GIVEN_UP:
        advice = f"{outcome.value}, at {accounts.block_bits:,} bits; {rate}: check that both files are of one link"
        return Discard(DiscardReason.NOT_CORRECTED, advice, accounts, None)
    if not equal:
        advice = (
            f"after {accounts.corrected_errors:,} corrections the blocks still differ ({rate}); discard the block and "
            "go on, and look at the channel if it happens again"
        )
        return Discard(DiscardReason.NOT_EQUAL, advice, accounts, None)
    most = most_errors(accounts.block_bits, accounts.test_bits, accounts.test_errors)
    if accounts.corrected_errors > most:
        advice = (
            f"{accounts.corrected_errors:,} of {accounts.block_bits:,} bits were corrected, {math.floor(most):,} at "
            f"most fit the test bits ({rate}): they were no random sample; suspect an eavesdropper"
        )
        return Discard(DiscardReason.TESTS_APART, advice, accounts, None)
    counts = SiftedCounts(
        accounts.block_bits, accounts.test_bits, accounts.test_errors, accounts.leaked_bits, basis_bits
    )
    length = block_key_length(counts, agreement.budget, tolerance=None)
    if length.bits == 0:
        return Discard(DiscardReason.NO_LENGTH, length.advice, accounts, length)
    return length
