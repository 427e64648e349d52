"""What one end of a link remembers from one session to the next, and what both kinds of scripts do alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.block_worth import worth_bits
from qnoded.exchange.blocks import Shelf
from qnoded.exchange.effects import Script, emit, send
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import ControllerStands, Detected, DetectionLost, Happening, InterludeWanted
from qnoded.exchange.interlude import Interludes
from qnoded.exchange.live_messages import BlockAnswered, BlockProposed, InterludeAnswered, InterludeProposed
from qnoded.exchange.messages import Message
from qnoded.exchange.reports import BlockSifted, EpochSifted, EpochWithdrawn, Reason
from qnoded.exchange.terms import LinkTerms
from qnoded.records import SIDES

ALICE: Final = SIDES[0]
"""Who proposes blocks and interludes."""
MOST_IN_FLIGHT: Final = 64
"""Epochs of one end that wait for the peer's answer: 35 seconds, longer than a search for the clock takes."""
MOST_IN_FLIGHT_BYTES: Final = 1 << 27
OF_THE_PEER: Final = frozenset({Reason.GAP, Reason.OVERLOAD})
"""Reasons that lie at the peer's instruments: here they are told as ``REFUSED``."""


@dataclass(slots=True)
class LinkMemory:
    """Lives as long as the link does; each session's script is given it."""

    side: str
    shelf: Shelf
    interludes: Interludes
    makes_keys: bool = False
    """Then every epoch lives in one session, whose seals vouch for all that was said of it."""
    stream: str = ""
    """Of the revealer in the last session."""
    own_stream: str = ""
    """Of this end in the last session."""

    @classmethod
    def of(cls, terms: LinkTerms, side: str) -> LinkMemory:
        """Return the memory of a link that begins."""
        worth = worth_bits(terms) if terms.makes_keys else None
        return cls(side, Shelf(terms.block_bits, worth), Interludes.of(terms, side), terms.makes_keys)

    def begin(self, session: Session) -> Script[None]:
        """Begin a session: what another clock counted is thrown away, what was not answered is asked again.

        Where keys are made nothing is left of the last session: it may have ended before a seal covered what was said,
        so nobody knows who told of those epochs, nor who chose them by cutting the line.
        """
        own_stream = session.stream_ids[SIDES.index(self.side)]
        self.interludes.begin(
            same_clock=session.revealed_stream == self.stream, same_own_clock=own_stream == self.own_stream
        )
        self.stream, self.own_stream = session.revealed_stream, own_stream
        if self.makes_keys:
            yield from emit_all(self.shelf.forget_all())
        elif self.side == ALICE:
            yield from emit_all(self.shelf.forget_other_streams(self.stream))
            unanswered = self.shelf.unanswered()
            if unanswered is not None:
                yield from send(unanswered)

    def sifted(self, epoch: EpochSifted, newest_epoch: int) -> Script[None]:
        """Keep a sifted epoch for a block, and propose a block or an interlude where one is due.

        Parameters
        ----------
        epoch : sifted
        newest_epoch : newest epoch that was revealed
        """
        yield from emit_all(self.shelf.put(self.stream, epoch))
        if self.side == ALICE:
            yield from self._propose_block()
            proposed = self.interludes.proposal(epoch.epoch, newest_epoch)
            if proposed is not None:
                yield from send(proposed)

    def take(self, arrived: Message | Happening, newest_epoch: int) -> Script[None]:
        """Take what concerns blocks, interludes and the controller.

        Parameters
        ----------
        arrived : a message of the peer or a happening
        newest_epoch : newest epoch that was revealed

        Raises
        ------
        RemoteProtocolError
            If it is nothing that may come.
        """
        alice = self.side == ALICE
        if isinstance(arrived, ControllerStands):
            self.interludes.whereabouts.tell(arrived)
        elif isinstance(arrived, InterludeWanted) and alice:
            self.interludes.wanted = True
        elif isinstance(arrived, InterludeProposed) and not alice:
            answer = self.interludes.answer(arrived, newest_epoch)
            yield from send(answer)
            if answer.accepted and self.interludes.planned is not None:
                yield from emit(self.interludes.planned)
        elif isinstance(arrived, InterludeAnswered) and alice:
            planned = self.interludes.answered(arrived)
            if planned is not None:
                yield from emit(planned)
        elif isinstance(arrived, BlockProposed) and not alice:
            block_answer, reports = self.shelf.answer(arrived, self.stream)
            yield from send(block_answer)
            yield from emit_all(reports)
        elif isinstance(arrived, BlockAnswered) and alice:
            yield from emit_all(self.shelf.answered(arrived))
            yield from self._propose_block()
        else:
            problem = f"{type(arrived).__name__} arrived at {self.side}'s end, where it has no place; update one end"
            raise RemoteProtocolError(problem)

    def detected(self, happened: Detected | DetectionLost) -> None:
        """Take note that an epoch of this node's clock has ended."""
        piece = happened.epoch if isinstance(happened, Detected) else happened
        self.interludes.whereabouts.advance(piece.start_ps, piece.stop_ps)

    def running(self, epoch: int) -> Script[None]:
        """Tell where the controller of this end has to go, now that an epoch has begun."""
        due = self.interludes.controller_due(epoch)
        if due is not None:
            yield from emit(due)

    def turn_back(self) -> Script[None]:
        """Send the controller of this end back: nobody knows which epoch runs."""
        due = self.interludes.give_up()
        if due is not None:
            yield from emit(due)

    def _propose_block(self) -> Script[None]:
        proposed = self.shelf.proposal(self.stream)
        if proposed is not None:
            yield from send(proposed)


def emit_all(reports: Iterable[BlockSifted | EpochWithdrawn]) -> Script[None]:
    """Tell one after the other."""
    for report in reports:
        yield from emit(report)


def at_peer(reason: Reason) -> Reason:
    """Return as what this end counts an epoch that the peer discarded."""
    return Reason.REFUSED if reason in OF_THE_PEER else reason
