"""Coincidences of a live link, epoch by epoch: ``reveal`` and ``match`` side by side.

::

    revealer                                        matcher
    her epoch: RevealedEpoch ---------------------> his clicks of the same moments, the clock tracked
    her bits of them <----------------------------- Coincidences: which of hers met his, which are tests, his test bits
    sifted: Confirmation, her test bits ----------> sifted

Instead of ``RevealedEpoch`` she may say ``EpochSkipped``, instead of ``Coincidences`` he may say ``EpochRefused``; both
name the reason, and then neither end sifts the epoch. An epoch that is late, lost or garbled is discarded and never
repaired: each end reports each epoch once, as ``account`` has it.

The matcher keeps the clock. Before a lock he gathers her epochs and his own, searches when there may be enough, and
then tracks through all that was gathered. A script runs until its session ends; ``LinkMemory`` outlives it.
"""

from __future__ import annotations

import os
from fractions import Fraction

from qnoded.exchange.effects import Script, arrival
from qnoded.exchange.epoch_work import Randomness, Setup
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import KnownClock
from qnoded.exchange.link_memory import LinkMemory
from qnoded.exchange.matcher import Matcher
from qnoded.exchange.revealer import Revealer
from qnoded.exchange.terms import LinkTerms
from qnoded.mapping import Mapper
from qnoded.records import Receiver


def reveal(
    terms: LinkTerms,
    side: str,
    receiver: Receiver,
    session: Session,
    *,
    tick_ps: Fraction,
    memory: LinkMemory,
    randomness: Randomness = os.urandom,
) -> Script[None]:
    """Reveal times and bases of each epoch and sift what the matcher finds.

    Parameters
    ----------
    terms : of the link
    side : ``"alice"`` or ``"bob"``
    receiver : this end's detectors, as its epochs number them
    session : as agreed on
    tick_ps : ps, length of a tick of this end's tagger
    memory : of this end of the link
    randomness : secret random bytes

    Raises
    ------
    ProtocolError
        That ends the session; epochs in flight are reported as discarded first.
    """
    revealer = Revealer(Setup.of(terms, side, receiver, session.revealer, randomness, tick_ps), memory, randomness)
    yield from memory.begin(session)
    try:
        while True:
            yield from revealer.take((yield from arrival()))
    except Exception as error:
        yield from revealer.end(str(error))
        raise


def match(
    terms: LinkTerms,
    side: str,
    receiver: Receiver,
    session: Session,
    known: KnownClock,
    over: Mapper,
    *,
    memory: LinkMemory,
    randomness: Randomness = os.urandom,
) -> Script[None]:
    """Keep the clock, match what is revealed and sift it; parameters and errors as for ``reveal``.

    Parameters
    ----------
    known : what is known of the clock before the first epoch
    over : gives searches and matching more than one core
    """
    matcher = Matcher(Setup.of(terms, side, receiver, session.revealer, randomness), known, over, memory, randomness)
    yield from memory.begin(session)
    try:
        while True:
            yield from matcher.take((yield from arrival()))
    except Exception as error:
        yield from matcher.end(str(error))
        raise
