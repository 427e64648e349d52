"""Reconciliation of one or more blocks of equal length, by the method that alice names.

A method is a pair of scripts; ``METHODS`` lists them by name. Cascade's two scripts are one: both ends send their
parities and then read the other's, and each message serves all blocks that are still open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.errors import LocalProtocolError
from qnoded.exchange import syndromes
from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.messages import PPB, PackedBits, Parities, ReconciliationOpening
from qnoded.records import U8
from qnoded.stages.reconciliation.cascade import SHORTEST_BLOCK, Cascade, cascade_plan
from qnoded.stages.reconciliation.ldpc import FEWEST_PAYLOAD_BITS
from qnoded.stages.reconciliation.reconciled import ReconciledBlock

Half = Callable[[U8, ReconciliationOpening], Script[tuple[ReconciledBlock, ...]]]
"""One end of a method, from uint8[blocks, ceil(block_bits / 8)] and what alice opened with."""


@dataclass(frozen=True, slots=True)
class Method:
    """Both ends of a way to reconcile."""

    alice: Half
    bob: Half
    two_way: bool
    """Whether bob discloses anything, see ``LeakCount``."""
    fewest_bits: int
    """Of a block; a shorter one is not worth its work."""


def alice(
    blocks: Sequence[U8], block_bits: int, error_rate: float, method: str, seed: bytes
) -> Script[tuple[ReconciledBlock, ...]]:
    """Open the reconciliation and take alice's part in it.

    Parameters
    ----------
    blocks : packed bits, uint8[ceil(block_bits / 8)] each
    block_bits : length of each block
    error_rate : expected, see ``cascade_plan``
    method : a name in ``METHODS``
    seed : 32 public random bytes

    Raises
    ------
    LocalProtocolError
        If there is no such method, or a block has another length.
    """
    if method not in METHODS:
        problem = f"there is no reconciliation method {method!r}; use {' or '.join(METHODS)}"
        raise LocalProtocolError(problem)
    opening = ReconciliationOpening(method, len(blocks), block_bits, round(min(error_rate, 0.5) * PPB), seed)
    yield from send(opening)
    return (yield from METHODS[method].alice(_stacked(blocks, block_bits), opening))


def bob(blocks: Sequence[U8], block_bits: int, *, method: str | None = None) -> Script[tuple[ReconciledBlock, ...]]:
    """Follow alice's opening; parameters and errors as for alice.

    Parameters
    ----------
    method : the only one that was agreed on; None leaves it to alice
    """
    opening = yield from receive(ReconciliationOpening)
    demand(
        opening.method in ([method] if method else METHODS),
        f"alice asks for the reconciliation method {opening.method!r}; here it is {method or ' or '.join(METHODS)}",
    )
    demand(
        (opening.blocks, opening.block_bits) == (len(blocks), block_bits),
        f"alice has {opening.blocks} blocks of {opening.block_bits} bits, here are {len(blocks)} of {block_bits}; "
        "both ends need the same sifted blocks",
    )
    return (yield from METHODS[opening.method].bob(_stacked(blocks, block_bits), opening))


def cascade(blocks: U8, opening: ReconciliationOpening, *, corrects: bool) -> Script[tuple[ReconciledBlock, ...]]:
    """Run one end of Cascade.

    Raises
    ------
    RemoteProtocolError
        If a message has another number than this end's, or not as many parities as are due.
    """
    plan = cascade_plan(opening.block_bits, opening.error_rate_ppb / PPB, opening.seed)
    ours = yield from compute(Cascade, blocks, plan, corrects=corrects)
    number = 0
    while not ours.done:
        due = ours.parities.size
        yield from send(Parities(number, PackedBits.of(ours.parities)))
        theirs = yield from receive(Parities)
        demand(
            theirs.number == number and theirs.parities.count == due,
            f"message {theirs.number} with {theirs.parities.count} parities arrived, number {number} with {due} is "
            "due; messages were lost or repeated, discard the blocks",
        )
        yield from compute(ours.take, theirs.parities.unpacked())
        number += 1
    return (yield from compute(ours.reconciled))


def _cascade_alice(blocks: U8, opening: ReconciliationOpening) -> Script[tuple[ReconciledBlock, ...]]:
    return cascade(blocks, opening, corrects=False)


def _cascade_bob(blocks: U8, opening: ReconciliationOpening) -> Script[tuple[ReconciledBlock, ...]]:
    return cascade(blocks, opening, corrects=True)


def _stacked(blocks: Sequence[U8], block_bits: int) -> U8:
    width = -(-block_bits // 8)
    if not blocks or any(block.shape != (width,) or block.dtype != np.uint8 for block in blocks):
        problem = (
            f"{len(blocks)} blocks do not all hold {block_bits} packed bits; give one block or more of that length"
        )
        raise LocalProtocolError(problem)
    return np.stack(blocks)


METHODS: Final[dict[str, Method]] = {
    "cascade": Method(_cascade_alice, _cascade_bob, two_way=True, fewest_bits=SHORTEST_BLOCK),
    "ldpc": Method(syndromes.alice, syndromes.bob, two_way=True, fewest_bits=FEWEST_PAYLOAD_BITS),
}
