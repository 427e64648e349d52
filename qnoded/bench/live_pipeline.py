"""Both ends of a live link in one process, one thread each: tags in, blocks out, messages through memory.

Everything is what a node runs (cutting, scripts, wire) but for sockets and the event loop. A short record is replayed
as often as it takes, each time later on both clocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from queue import SimpleQueue
from threading import Semaphore
from typing import Any, Final

import numpy as np

from qnoded.bench.clicks import Link, epochs, receiver
from qnoded.errors import PeerSilent
from qnoded.exchange import wire
from qnoded.exchange.effects import Compute, Emit, Receive, Script, Send
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import KnownClock
from qnoded.exchange.identifying import match, reveal
from qnoded.exchange.link_memory import LinkMemory
from qnoded.exchange.live_messages import Goodbye
from qnoded.exchange.reports import BlockSifted, EpochDiscarded, EpochSifted, Revealed
from qnoded.exchange.terms import LinkTerms
from qnoded.node.cutting import Cutter
from qnoded.records import I64, SIDES, U8, TagBlock
from qnoded.units import EPOCH_PS, PS_PER_S

NAMES: Final = ("H", "V", "D", "A")
RECORD_EPOCHS: Final = 8
TICK_PS: Final = Fraction(80)
"""Of a usual tagger: hiding it is part of the revealer's work."""
OFFSET_PS: Final = 123_456_789_012
FREQUENCY_ERROR: Final = 2e-6
RECORD_BLOCKS: Final = 44
"""A tagger hands over some ten blocks a second."""
AHEAD: Final = 12
"""Blocks that an end may be ahead of the other, two epochs: photons come at the same time at both."""

Tags = tuple[U8, I64]


@dataclass(frozen=True, slots=True)
class Replay:
    """A short record of both ends."""

    link: Link
    sides: tuple[Tags, Tags]
    """Labels and times of each end in its own clock."""

    @classmethod
    def of(cls, link: Link) -> Replay:
        """Make the record."""
        clicks = round(link.rate_hz * RECORD_EPOCHS * EPOCH_PS / PS_PER_S)
        alice, bob = epochs(link, clicks, 1)
        moved_ps = bob.tag_ps + OFFSET_PS + np.rint(FREQUENCY_ERROR * bob.tag_ps).astype(np.int64)
        return cls(link, ((alice.detector, alice.tag_ps), (bob.detector, moved_ps)))

    def blocks(self, end: int, times: int) -> Iterator[TagBlock]:
        """Yield the tags of one end, the record so many times over."""
        detector, tag_ps = self.sides[end]
        period_ps = RECORD_EPOCHS * EPOCH_PS
        if end:
            period_ps += round(FREQUENCY_ERROR * period_ps)
        cuts = [number * tag_ps.size // RECORD_BLOCKS for number in range(RECORD_BLOCKS + 1)]
        for number in range(times):
            for first, last in pairwise(cuts):
                yield TagBlock(detector[first:last].copy(), tag_ps[first:last] + number * period_ps)


@dataclass(slots=True)
class Outcome:
    """What one end has to show."""

    tags: int = 0
    sifted: int = 0
    discarded: int = 0
    blocks: int = 0
    payload_bits: int = 0
    detections: int = 0

    def note(self, report: object) -> None:
        """Add up a report of the script."""
        if isinstance(report, EpochSifted):
            self.sifted += 1
        elif isinstance(report, EpochDiscarded):
            self.discarded += 1
        elif isinstance(report, BlockSifted):
            self.blocks += 1
        elif isinstance(report, Revealed):
            self.payload_bits += report.payload_bits
            self.detections += report.detections


def run(replay: Replay, times: int) -> tuple[Outcome, Outcome]:
    """Run both ends through the record, so many times over; the clock is searched for at the start."""
    terms = LinkTerms("bench", True, NAMES, NAMES, revealer="alice")
    nonces = bytes(range(16)), bytes(range(16, 32))
    identity = hashlib.sha256(nonces[0] + nonces[1]).digest()[: wire.SESSION_BYTES]
    session = Session(identity, nonces, "alice", ("a", "b"), (0, 0), (replay.link.rate_hz,) * 2)
    inboxes: tuple[SimpleQueue[Any], SimpleQueue[Any]] = SimpleQueue(), SimpleQueue()
    ahead = Semaphore(AHEAD), Semaphore(AHEAD)

    def script(end: int) -> Script[None]:
        memory = LinkMemory.of(terms, SIDES[end])
        if end == 0:
            return reveal(terms, "alice", receiver("alice"), session, tick_ps=TICK_PS, memory=memory)
        known = KnownClock(None, same_streams=False, offset_ps=OFFSET_PS)
        return match(terms, "bob", receiver("bob"), session, known, map, memory=memory)

    def work(end: int) -> Outcome:
        one = _End(script(end), inboxes[end], inboxes[1 - end], identity)
        try:
            return one.run(Cutter(receiver(SIDES[end])), replay.blocks(end, times), ahead[end], ahead[1 - end])
        finally:
            # Whatever ends this end, the other one must not wait for it.
            one.say_goodbye()
            ahead[1 - end].release(times * RECORD_BLOCKS)

    with ThreadPoolExecutor(2) as pool:
        alice, bob = pool.map(work, (0, 1))
    return alice, bob


class _End:
    """One end: takes what has arrived between two of its own blocks."""

    def __init__(self, script: Script[None], inbox: SimpleQueue[Any], outbox: SimpleQueue[Any], session: bytes) -> None:
        self._script, self._inbox, self._outbox, self._session = script, inbox, outbox, session
        self._sent = 0
        self._left_alone = False
        self._told = Outcome()

    def run(self, cutter: Cutter, blocks: Iterator[TagBlock], mine: Semaphore, theirs: Semaphore) -> Outcome:
        """Push all blocks through, then listen until the peer has said goodbye as well."""
        self._perform(next(self._script))
        for block in blocks:
            mine.acquire()
            self._told.tags += len(block)
            for happened in cutter.push(block):
                self._perform(self._script.send(happened))
            theirs.release()
            while not self._inbox.empty():
                self._take(self._inbox.get())
        self.say_goodbye()
        while not self._left_alone:
            self._take(self._inbox.get())
        try:
            self._perform(self._script.throw(PeerSilent("the record ends")))
        except PeerSilent:
            return self._told
        return self._told

    def say_goodbye(self) -> None:
        """Tell the peer that nothing more comes."""
        self._post(Goodbye("the record ends"))

    def _take(self, frames: list[wire.Frame]) -> None:
        _, message = wire.decode(frames)
        if isinstance(message, Goodbye):
            self._left_alone = True
        else:
            self._perform(self._script.send(message))

    def _post(self, message: Any) -> None:
        self._outbox.put(wire.encode(message, self._session, wire.EPOCHS, self._sent))
        self._sent += 1

    def _perform(self, effect: object) -> None:
        while not isinstance(effect, Receive):
            answer = None
            if isinstance(effect, Send):
                self._post(effect.message)
            elif isinstance(effect, Compute):
                answer = effect.work()
            elif isinstance(effect, Emit):
                self._told.note(effect.record)
            effect = self._script.send(answer)
