"""From a sifted block of a live link to what distillation and the key store take, and back to an account of it.

Pure, and the same at both ends: what the terms and the public numbers of a block say.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from qnoded.exchange.committing import CHECK_BYTES, BlockAccount
from qnoded.exchange.distilling import Agreement, Discard, DistilledKey
from qnoded.exchange.messages import Message, Parities
from qnoded.exchange.reports import BlockSifted, NoKey
from qnoded.exchange.sampling import Sampled
from qnoded.exchange.syndromes import DisclosedBits, Syndromes
from qnoded.exchange.terms import LinkTerms
from qnoded.exchange.wire import CONVERSATIONS, FIRST_BLOCK
from qnoded.records import SIDES
from qnoded.secret import Secret
from qnoded.stages.key_length.budget import SecurityBudget
from qnoded.stages.sifting import bases

KEY: Final = "key"
"""Outcome of a block that gave one, as the ledger has it."""
IN_WORK: Final = "in work"
"""Outcome of a block that is begun."""


def conversation_of(block: int) -> int:
    """Return the number of the conversation in which a block is distilled."""
    return FIRST_BLOCK + block % (CONVERSATIONS - FIRST_BLOCK)


def tested(block: BlockSifted, terms: LinkTerms) -> Sampled:
    """Return what is left of a block, and what its test bits said.

    The matcher chose each coincidence as a test with the same probability, by secret randomness and before anything of
    it was known, and where a block ends does not depend on that choice; so, given their number, the test bits are a
    uniformly random sample of the block's sifted bits.
    """
    names = bases(*(terms.receiver(side) for side in SIDES))
    tests = Counter({test.basis: test.bits for test in block.tests})
    kept = np.bincount(block.sifted.basis, minlength=len(names)).tolist()
    return Sampled(
        np.ascontiguousarray(block.sifted.bits),
        sum(test.bits for test in block.tests),
        sum(test.errors for test in block.tests),
        tuple(bits + tests[name] for name, bits in zip(names, kept, strict=True)),
    )


def agreement(terms: LinkTerms, sampled: Sampled) -> Agreement:
    """Return what both ends settle on before a block is distilled."""
    return Agreement(
        sampled.test_bits,
        terms.reconciliation,
        budget=SecurityBudget(terms.eps_sec, terms.eps_cor),
        qber_limit=terms.qber_limit,
    )


def whole_bytes(distilled: DistilledKey) -> Secret:
    """Return the key without the bits beyond its last whole byte, since the rest of that byte is no secret."""
    with distilled.key as key:
        return Secret(key.view()[: distilled.length.bits // 8])


def too_short(key: Secret) -> bool:
    """Return whether a key is used up by the check at its commit."""
    return len(key) <= CHECK_BYTES


def account(block: BlockSifted, terms: LinkTerms, result: DistilledKey | Discard) -> BlockAccount:
    """Return what the ledger keeps of a block."""
    accounts = result.accounts
    return BlockAccount(
        outcome=KEY if isinstance(result, DistilledKey) else result.reason.value,
        first_epoch=block.epochs[0],
        last_epoch=block.epochs[-1],
        epochs=len(block.epochs),
        sifted_bits=accounts.sifted_bits,
        test_bits=accounts.test_bits,
        test_errors=accounts.test_errors,
        corrected_errors=accounts.corrected_errors,
        leaked_bits=accounts.leaked_bits,
        key_bits=result.length.bits if result.length else 0,
        eps_sec=terms.eps_sec,
        eps_cor=terms.eps_cor,
        method=terms.reconciliation,
        settings_digest=terms.digest().hex(),
        simulated=terms.simulation,
    )


def without_key(
    block: BlockSifted, terms: LinkTerms, outcome: str, *, leaked_bits: int = 0, corrected_errors: int = 0
) -> BlockAccount:
    """Return what the ledger keeps of a block that was not distilled to its end: what it is, and what became of it."""
    sampled = tested(block, terms)
    return BlockAccount(
        outcome=outcome,
        first_epoch=block.epochs[0],
        last_epoch=block.epochs[-1],
        epochs=len(block.epochs),
        sifted_bits=sampled.rest.size + sampled.test_bits,
        test_bits=sampled.test_bits,
        test_errors=sampled.test_errors,
        corrected_errors=corrected_errors,
        leaked_bits=leaked_bits,
        key_bits=0,
        eps_sec=terms.eps_sec,
        eps_cor=terms.eps_cor,
        method=terms.reconciliation,
        settings_digest=terms.digest().hex(),
        simulated=terms.simulation,
    )


def disclosed_bits(message: Message) -> int:
    """Return how many parities or bits of a block a message of reconciliation discloses; 0 for any other.

    Parities of LDPC codes that alice masks with coins are counted with the others: more than what is told, never less.
    """
    if isinstance(message, Parities):
        return message.parities.count
    if isinstance(message, Syndromes):
        return message.syndromes.count
    return message.bits.count if isinstance(message, DisclosedBits) else 0


def why_not(result: Discard) -> NoKey:
    """Return under which reason a discarded block is counted."""
    return NoKey[result.reason.name]
