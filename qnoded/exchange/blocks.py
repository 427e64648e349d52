"""Blocks: sifted epochs that both ends hold, gathered until there are enough of them for distillation.

The two ends may differ by the epochs that were in flight when a session ended. So alice names the epochs of a block,
bob says which of them he does not hold, and only a block without such epochs is closed; what one end holds alone is
thrown away and counted. Where the link makes keys, epochs of an ended session are thrown away. Elsewhere they wait, and
a proposal is repeated after a reconnect until it is answered; answering it twice does no harm.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np

from qnoded.exchange.effects import demand
from qnoded.exchange.live_messages import MOST_EPOCHS, BlockAnswered, BlockProposed
from qnoded.exchange.reports import BlockSifted, EpochSifted, EpochWithdrawn, Reason, Tests
from qnoded.records import SiftedEpoch

MOST_BITS_HELD: Final = 1 << 26
"""Sifted bits that wait, 128 MB with their bases: beyond it the oldest epochs go, since nobody settles them."""

PATIENCE_EPOCHS: Final = 6548
"""An hour of epochs: on a slow link keys come about as often, though longer blocks would give some more."""

Key = tuple[str, int]
"""Stream of the revealer, whose clock counts the epochs, and epoch."""


class Shelf:
    """Sifted epochs of one end that no block has taken yet; lives as long as the link, also where sessions end.

    Parameters
    ----------
    block_bits
        Sifted bits at which a block is closed.
    worth_bits
        And at which it is closed once it has gathered for ``PATIENCE_EPOCHS``; None: patience has no end.
    """

    def __init__(self, block_bits: int, worth_bits: int | None = None) -> None:
        self._block_bits = block_bits
        self._worth_bits = block_bits if worth_bits is None else worth_bits
        self._held: dict[Key, EpochSifted] = {}
        self._proposed: BlockProposed | None = None
        self._closed: BlockProposed | None = None
        self._next_block = 0

    @property
    def bits(self) -> int:
        """Sifted bits that wait."""
        return sum(epoch.sifted.bits.size for epoch in self._held.values())

    def put(self, stream: str, epoch: EpochSifted) -> list[EpochWithdrawn]:
        """Add a sifted epoch; return those that had to go."""
        self._held[stream, epoch.epoch] = epoch
        waiting = set(_places(self._proposed)) if self._proposed else set()
        bits = self.bits
        oldest: list[Key] = []
        for place, held in self._held.items():
            if bits <= MOST_BITS_HELD and len(self._held) - len(oldest) <= MOST_EPOCHS:
                break
            if place not in waiting:
                bits -= held.sifted.bits.size
                oldest.append(place)
        return self._thrown_away(oldest, Reason.OVERLOAD, "no block took it")

    def proposal(self, stream: str) -> BlockProposed | None:
        """Return alice's next proposal, or None while a block is neither full nor old, or one is not answered yet."""
        if self._proposed is not None:
            return None
        chosen, bits = [], 0
        for place, epoch in self._held.items():
            if place[0] == stream and bits < self._block_bits:
                chosen.append(place)
                # Test bits included: where a block ends must not depend on which of its bits were chosen as tests, or
                # they would be no uniformly random sample of it.
                bits += epoch.coincidences
        # Nor must it depend on their errors: epochs and coincidences alone decide.
        patient = not chosen or chosen[-1][1] - chosen[0][1] < PATIENCE_EPOCHS
        if bits < (self._block_bits if patient else self._worth_bits):
            return None
        numbers = np.array([number for _, number in chosen], np.int64)
        self._proposed = BlockProposed(self._next_block, stream, numbers, self._digest(self._next_block, chosen))
        return self._proposed

    def unanswered(self) -> BlockProposed | None:
        """Return what alice has to propose again after a reconnect."""
        return self._proposed

    def answer(self, proposed: BlockProposed, stream: str) -> tuple[BlockAnswered, list[BlockSifted | EpochWithdrawn]]:
        """Return bob's answer to a proposal, and what follows from it at his end.

        Parameters
        ----------
        proposed : what alice proposes
        stream : the revealer's of this session; a proposal may be of an earlier one

        Raises
        ------
        RemoteProtocolError
            If the epochs are none, or not in order.
        """
        demand(
            proposed.epochs.size > 0 and bool(np.all(np.diff(proposed.epochs) > 0)),
            f"block {proposed.block} is proposed with {proposed.epochs.size} epochs that are none or not in order",
        )
        if self._closed is not None and (self._closed.block, self._closed.digest) == (proposed.block, proposed.digest):
            return BlockAnswered(proposed.block, np.empty(0, np.int64)), []
        places = _places(proposed)
        missing = [place for place in places if place not in self._held]
        if not missing and self._digest(proposed.block, places) != proposed.digest:
            missing = places
        # What alice did not name although it is older, she does not hold.
        named, newest = set(places), places[-1][1]
        alone = [place for place in missing if place in self._held]
        for place in self._held:
            older = place[1] < newest if place[0] == proposed.stream_id else place[0] != stream
            if older and place not in named:
                alone.append(place)
        reports: list[BlockSifted | EpochWithdrawn] = [
            *self._thrown_away(alone, Reason.PEER_LOST, "the peer does not hold it")
        ]
        if not missing:
            reports.append(self._close(proposed))
        return BlockAnswered(proposed.block, np.array([number for _, number in missing], np.int64)), reports

    def answered(self, answer: BlockAnswered) -> list[BlockSifted | EpochWithdrawn]:
        """Return what follows from bob's answer at alice's end; an answer that nobody asked for is left out."""
        proposed, self._proposed = self._proposed, None
        if proposed is None or answer.block != proposed.block:
            self._proposed = proposed
            return []
        if not answer.missing.size:
            return [self._close(proposed)]
        gone = set(answer.missing.tolist())
        alone = [place for place in _places(proposed) if place[1] in gone]
        return [*self._thrown_away(alone, Reason.PEER_LOST, "the peer does not hold it")]

    def forget_other_streams(self, stream: str) -> list[EpochWithdrawn]:
        """Throw away what was counted by a clock that has stopped, except for a proposal that waits for its answer."""
        waiting = set(_places(self._proposed)) if self._proposed else set()
        old = [place for place in self._held if place[0] != stream and place not in waiting]
        return self._thrown_away(old, Reason.PEER_LOST, "the tagger's clock has started anew before a block was full")

    def forget_all(self) -> list[EpochWithdrawn]:
        """Throw away all that no block has taken, a proposal included: its session has ended."""
        self._proposed = None
        return self._thrown_away(list(self._held), Reason.PEER_LOST, "its session ended before a block was full")

    def _digest(self, block: int, places: list[Key]) -> bytes:
        return public_digest(block, places[0][0], [self._held[place] for place in places])

    def _close(self, proposed: BlockProposed) -> BlockSifted:
        epochs = [self._held.pop(place) for place in _places(proposed)]
        self._closed, self._next_block = proposed, proposed.block + 1
        return BlockSifted(
            proposed.block,
            tuple(epoch.epoch for epoch in epochs),
            SiftedEpoch(
                np.concatenate([epoch.sifted.bits for epoch in epochs]),
                np.concatenate([epoch.sifted.basis for epoch in epochs]),
                epochs[0].sifted.side,
            ),
            _added(epochs),
            proposed.digest,
        )

    def _thrown_away(self, places: Iterable[Key], reason: Reason, why: str) -> list[EpochWithdrawn]:
        gone = [self._held.pop(place) for place in places]
        return [EpochWithdrawn(epoch.epoch, reason, epoch.sifted.bits.size, why) for epoch in gone]


def public_digest(block: int, stream: str, epochs: Iterable[EpochSifted]) -> bytes:
    """Return the SHA-256 of what is public of a block: number, epochs, and all that their digests cover.

    It finds what the two ends hold differently; that it was the peer who said so, the seals of the session show, in
    which all of a block was said where the link makes keys.
    """
    digest = hashlib.sha256(f"{block} {stream} ".encode())
    for epoch in epochs:
        digest.update(b"%d %d " % (epoch.epoch, epoch.sifted.basis.size))
        digest.update(epoch.digest)
    return digest.digest()


def _places(proposed: BlockProposed) -> list[Key]:
    return [(proposed.stream_id, int(number)) for number in proposed.epochs]


def _added(epochs: Iterable[EpochSifted]) -> tuple[Tests, ...]:
    errors: Counter[str] = Counter()
    bits: Counter[str] = Counter()
    for test in (test for epoch in epochs for test in epoch.tests):
        errors[test.basis] += test.errors
        bits[test.basis] += test.bits
    return tuple(Tests(basis, errors[basis], bits[basis]) for basis in bits)
