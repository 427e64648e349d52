"""A peer that breaks the protocol: each script refuses it by name, and counts what it had in its hands."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from live_streams import TERMS, Ends, photons, receiver

from qnoded.errors import LocalProtocolError, PeerSilent, ProtocolError, RemoteProtocolError
from qnoded.exchange.effects import Compute, Emit, Receive, Script, Send
from qnoded.exchange.epoch_work import Setup, identify
from qnoded.exchange.happenings import Detected, DetectionLost, KnownClock
from qnoded.exchange.identifying import match, reveal
from qnoded.exchange.interlude import Phase
from qnoded.exchange.link_memory import MOST_IN_FLIGHT, LinkMemory
from qnoded.exchange.live_messages import (
    BlockProposed,
    Coincidences,
    Confirmation,
    EpochRefused,
    EpochSkipped,
    InterludeProposed,
    ResolutionWanted,
    RevealedEpoch,
    ServiceCounted,
    ServiceRevealed,
)
from qnoded.exchange.messages import Message, PackedBits, Verdict
from qnoded.exchange.own_epochs import OwnEpochs
from qnoded.exchange.reports import EpochDiscarded, InterludePlanned, Reason, ResolutionChosen
from qnoded.exchange.terms import LinkTerms
from qnoded.records import ClockModel, DetectionEpoch
from qnoded.stages.revealing import encode, encode_indices
from qnoded.stages.synchronization.clock_state import start
from qnoded.testing.live import converse_live
from qnoded.units import EPOCH_PS

NO_INDICES = encode_indices(np.empty(0, np.int64))
NO_BITS = PackedBits.of(np.empty(0, np.uint8))


class Alone:
    """One script, told by hand what arrives."""

    def __init__(self, script: Script[None]) -> None:
        self.script = script
        self.sent: list[Message] = []
        self.reports: list[object] = []
        self._perform(next(script))

    def tell(self, arrived: object) -> None:
        self._perform(self.script.send(arrived))

    def fail(self, error: ProtocolError) -> None:
        self._perform(self.script.throw(error))

    def discarded(self) -> dict[int, Reason]:
        return {one.epoch: one.reason for one in self.reports if isinstance(one, EpochDiscarded)}

    def _perform(self, effect: object) -> None:
        while not isinstance(effect, Receive):
            answer = None
            if isinstance(effect, Send):
                self.sent.append(effect.message)
            elif isinstance(effect, Compute):
                try:
                    answer = effect.work()
                except ProtocolError as error:
                    effect = self.script.throw(error)
                    continue
            else:
                assert isinstance(effect, Emit)
                self.reports.append(effect.record)
            effect = self.script.send(answer)


def revealer(memory: LinkMemory | None = None, terms: LinkTerms = TERMS) -> Alone:
    memory = memory or LinkMemory.of(terms, "alice")
    chance = random.Random(1).randbytes
    session, tick_ps = Ends().session(0), Fraction(1)
    return Alone(reveal(terms, "alice", receiver("alice"), session, tick_ps=tick_ps, memory=memory, randomness=chance))


def matcher() -> Alone:
    session, memory = Ends().session(0), LinkMemory.of(TERMS, "bob")
    known = KnownClock(None, same_streams=False, offset_ps=session.host_offset_ps)
    return Alone(match(TERMS, "bob", receiver("bob"), session, known, map, memory=memory))


def epochs(end: int) -> list[Detected]:
    events, _ = photons(4.0)
    return [event[2] for event in events if event[1] == end and isinstance(event[2], Detected)]


def number(detected: Detected) -> int:
    return detected.epoch.start_ps // EPOCH_PS


def told(epoch: int) -> Coincidences:
    return Coincidences(epoch, 0, 0.0, NO_INDICES, NO_INDICES, NO_BITS, bytes(32))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (told(9), "not revealed yet"),
        (EpochRefused(9, Reason.LATE), "not revealed yet"),
        (ServiceCounted(1, np.zeros(3, np.int64), np.zeros(3, np.int64), 2), "3 counts"),
        (Confirmation(1, NO_BITS, bytes(32)), "Confirmation arrived at alice"),
        (Verdict(True), "Verdict arrived at alice"),
        (BlockProposed(0, "s", np.ones(1, np.int64), bytes(32)), "BlockProposed arrived at alice"),
        (InterludeProposed(9, 11, 19, 21), "InterludeProposed arrived at alice"),
    ],
)
def test_a_revealer_refuses_what_has_no_place(message: Message, words: str) -> None:
    alone = revealer()
    first = epochs(0)[0]
    alone.tell(first)
    with pytest.raises(RemoteProtocolError, match=words):
        alone.tell(message)
    assert alone.discarded() == {number(first): Reason.PEER_LOST}


def test_an_answer_that_fits_nothing_is_garbled_and_one_that_comes_too_late_is_left_out() -> None:
    alone = revealer()
    first = epochs(0)[0]
    alone.tell(first)
    alone.tell(told(number(first)))
    assert alone.discarded() == {number(first): Reason.GARBLED}
    assert alone.sent[-1] == EpochSkipped(number(first), Reason.GARBLED)
    alone.tell(told(number(first)))
    alone.tell(EpochRefused(number(first), Reason.LATE))
    assert len(alone.reports) == 2  # what revealing cost, and the discard


def test_coincidences_of_an_interlude_are_refused() -> None:
    memory = LinkMemory.of(TERMS, "alice")
    alone = revealer(memory)
    first = epochs(0)[0]
    alone.tell(first)
    memory.interludes.planned = InterludePlanned(0, 1, 50, 60)
    assert memory.interludes.planned_phase(number(first)) is Phase.SERVICE
    with pytest.raises(RemoteProtocolError, match="belongs to an interlude"):
        alone.tell(told(number(first)))


def test_an_epoch_whose_outcomes_were_told_is_never_key_though_its_plan_is_forgotten() -> None:
    """Its coincidences come late, when the next interlude has taken the place of the one it belongs to."""
    memory = LinkMemory.of(TERMS, "alice")
    alone = revealer(memory)
    first = epochs(0)[0]
    memory.interludes.planned = InterludePlanned(0, 1, 50, 60)
    alone.tell(first)
    assert isinstance(alone.sent[-1], ServiceRevealed)
    memory.interludes.planned = InterludePlanned(100, 101, 150, 160)
    assert memory.interludes.planned_phase(number(first)) is Phase.KEY
    with pytest.raises(RemoteProtocolError, match="not revealed as key"):
        alone.tell(told(number(first)))


def test_a_revealer_gives_up_what_nobody_answers() -> None:
    alone = revealer()
    first = epochs(0)[0].epoch
    short = DetectionEpoch(first.detector[:50].copy(), first.tag_ps[:50] - first.start_ps, 0, EPOCH_PS)
    for place in range(MOST_IN_FLIGHT + 3):
        start_ps = place * EPOCH_PS
        moved = DetectionEpoch(short.detector, short.tag_ps + start_ps, start_ps, start_ps + EPOCH_PS)
        alone.tell(Detected(moved))
    assert alone.discarded() == {0: Reason.LATE, 1: Reason.LATE, 2: Reason.LATE}
    assert [one.epoch for one in alone.sent if isinstance(one, EpochSkipped)] == [0, 1, 2]
    alone.tell(told(1))
    with pytest.raises(LocalProtocolError, match="new session"):
        alone.tell(DetectionLost(0, EPOCH_PS, Reason.GAP.value))


def test_an_epoch_of_which_nothing_may_be_revealed_is_skipped() -> None:
    """Two clicks 10 ps apart, and clicks at once are discarded: nothing is left."""
    alone = revealer(terms=replace(TERMS, multi_click="discard"))
    tag_ps = np.array([10, 20], np.int64) + 5 * EPOCH_PS
    both = DetectionEpoch(np.array([0, 1], np.uint8), tag_ps, 5 * EPOCH_PS, 6 * EPOCH_PS)
    alone.tell(Detected(both))
    assert alone.sent == [EpochSkipped(5, Reason.NO_CLICKS)]
    assert alone.discarded() == {5: Reason.NO_CLICKS}


def test_the_resolution_is_the_matchers_to_choose() -> None:
    alone = revealer()
    first, second = epochs(0)[:2]
    alone.tell(first)
    alone.tell(ResolutionWanted(32))
    assert ResolutionChosen(number(first) + 1, 32) in alone.reports
    alone.tell(second)
    assert [one.resolution_ps for one in alone.sent if isinstance(one, RevealedEpoch)] == [128, 32]


def revealed() -> list[RevealedEpoch]:
    alone = revealer()
    for one in epochs(0):
        alone.tell(one)
    return [message for message in alone.sent if isinstance(message, RevealedEpoch)]


def test_a_matcher_refuses_what_has_no_place() -> None:
    first, second, *_ = revealed()
    for messages, words in [
        ([second, first], "the order is broken"),
        ([replace(first, epoch=first.epoch + 1)], "the order is broken"),
        ([Confirmation(1, NO_BITS, bytes(32))], "was not told"),
        ([told(1)], "Coincidences arrived at bob"),
        ([Verdict(True)], "Verdict arrived at bob"),
    ]:
        alone = matcher()
        *good, bad = messages
        for message in good:
            alone.tell(message)
        with pytest.raises(RemoteProtocolError, match=words):
            alone.tell(bad)
        assert set(alone.discarded().values()) <= {Reason.PEER_LOST}
        assert len(alone.discarded()) == len(good)


def test_a_label_that_is_no_basis_is_garbled() -> None:
    """Three bases take two bits, and the fourth label means nothing."""
    terms = replace(TERMS, alice_detectors=("H", "D", "R"), bob_detectors=("H", "D", "R"))
    setup = Setup.of(terms, "bob", terms.receiver("bob"), "alice", os.urandom)
    first = epochs(0)[0].epoch
    labels = np.full(256, 3, np.uint8)
    coded = encode(first, labels, setup.label_bits, 128)
    message = RevealedEpoch(number(Detected(first)), first.start_ps, EPOCH_PS, 128, False, coded)
    state = start(ClockModel(first.start_ps, 0, 0.0), 150.0, 1e4)
    found = identify(message, (), state, setup, random.Random(1).randbytes, map, settling=False)
    assert found.answer == EpochRefused(message.epoch, Reason.GARBLED)
    assert found.tracked is None


def test_an_epoch_in_the_hands_of_a_computation_is_counted_when_the_session_ends() -> None:
    """The session ends while the revealer codes it: neither sent nor answered, but counted."""
    first = epochs(0)[0]
    session, memory = Ends().session(0), LinkMemory.of(TERMS, "alice")
    script = reveal(TERMS, "alice", receiver("alice"), session, tick_ps=Fraction(1), memory=memory)
    next(script)
    assert isinstance(script.send(first), Compute)
    reported = script.throw(PeerSilent("gone"))
    assert isinstance(reported, Emit)
    assert (reported.record.epoch, reported.record.reason) == (number(first), Reason.PEER_LOST)  # type: ignore[attr-defined]
    with pytest.raises(PeerSilent):
        script.send(None)


def test_a_confirmation_that_comes_after_all_patience_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two epochs that wait for it; the third one's answer throws the first one out."""
    monkeypatch.setattr("qnoded.exchange.matcher.MOST_IN_FLIGHT", 2)
    events, _ = photons(8.0)
    slow = converse_live(
        Ends().makers, events, network=lambda end, _number, frames: ((2.5 if end == 0 else 0.0, frames),)
    )
    assert slow.endings == []
    assert Reason.LATE in {one.reason for one in slow.of(1, EpochDiscarded)}


def test_skipping_twice_or_after_an_answer_counts_once() -> None:
    alone = matcher()
    first, *_ = revealed()
    alone.tell(first)
    for _ in range(2):
        alone.tell(EpochSkipped(first.epoch, Reason.LATE))
    alone.tell(EpochSkipped(first.epoch + 1, Reason.GAP))
    assert [one.epoch for one in alone.reports if isinstance(one, EpochDiscarded)] == [first.epoch, first.epoch + 1]
    assert alone.discarded() == {first.epoch: Reason.LATE, first.epoch + 1: Reason.REFUSED}


def epoch(start: int, clicks: int = 1) -> Detected:
    start_ps = start * EPOCH_PS
    tag_ps = np.full(clicks, start_ps + 5, np.int64)
    return Detected(DetectionEpoch(np.zeros(clicks, np.uint8), tag_ps, start_ps, start_ps + EPOCH_PS))


def test_own_epochs_know_their_holes_and_their_bounds() -> None:
    own = OwnEpochs()
    assert own.fault(0, 1) is Reason.PEER_LOST
    own.add(epoch(3))
    own.add(epoch(5))
    own.add(DetectionLost(6 * EPOCH_PS, 7 * EPOCH_PS, Reason.OVERLOAD.value))
    assert (own.start_ps, own.stop_ps, len(own)) == (3 * EPOCH_PS, 7 * EPOCH_PS, 4)
    faults = [own.fault(place * EPOCH_PS, (place + 1) * EPOCH_PS) for place in (2, 3, 4, 5, 6)]
    assert faults == [Reason.PEER_LOST, None, Reason.GAP, None, Reason.OVERLOAD]
    with pytest.raises(LocalProtocolError, match="new session"):
        own.add(epoch(6))
    own.forget_before(100 * EPOCH_PS)
    assert len(own) == 1
    assert own.fault(3 * EPOCH_PS, 4 * EPOCH_PS) is Reason.LATE
    for place in range(7, 80):
        own.add(epoch(place))
    assert own.start_ps == 16 * EPOCH_PS
