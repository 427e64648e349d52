"""CHSH interludes and blocks: both ends change mode at the same epochs, and no epoch of an interlude becomes key."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from live_streams import BRIGHT, EPOCH_S, TERMS, Ends, photons
from test_exchange_live import agree

from qnoded.errors import RemoteProtocolError
from qnoded.exchange import reports as reports_of_an_end
from qnoded.exchange.blocks import Shelf
from qnoded.exchange.happenings import ControllerStands, InterludeWanted
from qnoded.exchange.interlude import Interludes, Phase
from qnoded.exchange.live_messages import BlockAnswered, BlockProposed, InterludeAnswered, InterludeProposed
from qnoded.exchange.reports import (
    BlockSifted,
    ControllerDue,
    EpochDiscarded,
    EpochSifted,
    EpochWithdrawn,
    InterludePlanned,
    Reason,
    ServiceMeasured,
)
from qnoded.exchange.whereabouts import Whereabouts
from qnoded.records import SiftedEpoch
from qnoded.testing.live import LiveLink, converse_live
from qnoded.units import EPOCH_PS


@pytest.mark.parametrize(("revealer", "chsh_side"), [("alice", "bob"), ("bob", "bob"), ("alice", "alice")])
def test_an_interlude_is_never_key(revealer: str, chsh_side: str) -> None:
    """Asked for at 3 s: 2 epochs settle, 3 are service, 2 settle again; the rest is key at both ends."""
    events, _ = photons(12.0)
    terms = replace(TERMS, revealer=revealer, chsh_side=chsh_side, chsh_epochs=3)
    told = converse_live(Ends(terms).makers, [*events, (3.0, 0, InterludeWanted())])
    agree(told)
    assert told.endings == []
    plans = [told.of(end, InterludePlanned) for end in (0, 1)]
    assert plans[0] == plans[1]
    (plan,) = plans[0]
    measured = [told.of(end, ServiceMeasured) for end in (0, 1)]
    service = [one.epoch for one in measured[0]]
    assert service == [one.epoch for one in measured[1]]
    # A matcher's controller is due by his own clock's epochs, whose borders lie elsewhere: that may cost one.
    late = plan.service_epoch + (revealer != chsh_side)
    assert list(range(late, plan.return_epoch)) == service[-(plan.return_epoch - late) :]
    for mine, theirs in zip(*measured, strict=True):
        np.testing.assert_array_equal(mine.matrix, theirs.matrix)
        np.testing.assert_array_equal(mine.accidentals, theirs.accidentals)
        # Rows are alice's: hers are as efficient as bob's, but the pair rate is the same; the diagonal rules.
        assert mine.matrix.trace() > 10 * (mine.matrix[0, 1] + mine.matrix[1, 0])
    settling = set(range(plan.settle_epoch, plan.key_epoch)) - set(service)
    for end in (0, 1):
        discards = [one.epoch for one in told.of(end, EpochDiscarded) if one.reason is Reason.SETTLING]
        assert settling <= set(discards)
        assert len(discards) <= len(settling) + 1
        sifted = [one.epoch for one in told.of(end, EpochSifted)]
        assert not set(sifted) & set(range(plan.settle_epoch, plan.key_epoch))
        assert max(sifted) > plan.key_epoch
    turned = [told.of(end, ControllerDue) for end in (0, 1)]
    turning = 0 if chsh_side == "alice" else 1
    assert turned[1 - turning] == []
    assert [one.setting for one in turned[turning]] == ["chsh", "key"]
    assert plan.settle_epoch <= turned[turning][0].epoch < plan.service_epoch
    assert plan.return_epoch <= turned[turning][1].epoch < plan.key_epoch


def test_the_schedule_asks_by_itself() -> None:
    events, _ = photons(16.0)
    told = converse_live(Ends(replace(TERMS, chsh_every_epochs=12, chsh_epochs=2)).makers, events)
    plans = told.of(0, InterludePlanned)
    assert len(plans) == 1
    # The first epoch that is sifted is number 1: asked for 12 later, it begins 4 after the newest one.
    assert plans[0].settle_epoch in (1 + 12 + 4, 1 + 12 + 5)


def test_the_plan_of_an_interlude_outlives_its_session_and_the_controller_turns_back() -> None:
    """The network is away while the controller stands at the CHSH setting: no epoch of the plan becomes key."""
    events, _ = photons(14.0)
    terms = replace(TERMS, chsh_epochs=8)
    ends = Ends(terms, persist=True)
    told = converse_live(
        ends.makers, [*events, (3.0, 0, InterludeWanted())], partitions=[7.5], reconnect_s=0.5, watch=ends.watch
    )
    (plan,) = told.of(0, InterludePlanned)
    for end in (0, 1):
        sifted = [one.epoch for one in told.of(end, EpochSifted)]
        assert not set(sifted) & set(range(plan.settle_epoch, plan.key_epoch))
        assert max(sifted) > plan.key_epoch
    due = [(when, one.setting) for when, one in told.reports[1] if isinstance(one, ControllerDue)]
    assert due[1:] == [(7.5, "key")]
    assert all(one.epoch * EPOCH_S < 7.5 for one in told.of(0, ServiceMeasured))


def stands_at_chsh(told: LiveLink, end: int, turning_s: float) -> list[tuple[float, float]]:
    """Return when a controller was away from the key setting, s of the simulated world."""
    due = [(when, one.setting) for when, one in told.reports[end] if isinstance(one, ControllerDue)]
    assert [setting for _, setting in due] == ["chsh", "key"]
    return [(due[0][0], due[1][0] + turning_s)]


@pytest.mark.parametrize(
    ("revealer", "chsh_side", "new_clock"),
    [("alice", "bob", False), ("bob", "bob", False), ("alice", "alice", False), ("alice", "bob", True)],
)
@pytest.mark.parametrize("turning_s", [0.2, 5.0])
def test_what_was_taken_at_the_chsh_setting_is_never_key(
    revealer: str, chsh_side: str, new_clock: bool, turning_s: float
) -> None:
    """The session ends in the interlude, and is back after it or with another clock of the revealer.

    A slow controller is still on its way when the next session begins: no epoch until it rests is key at either end.
    """
    events, _ = photons(20.0)
    ends = Ends(replace(TERMS, chsh_epochs=4, revealer=revealer, chsh_side=chsh_side), persist=not new_clock)
    if new_clock:
        later = replace(ends.session(1), stream_ids=("another stream", ends.session(1).stream_ids[1]))
        ends.sessions[1] = later
    told = converse_live(
        ends.makers,
        [*events, (3.0, 0, InterludeWanted())],
        partitions=[7.0],
        reconnect_s=0.5 if new_clock else 4.0,
        turning_s=turning_s,
        watch=ends.watch,
    )
    turning = 0 if chsh_side == "alice" else 1
    ((away_s, back_s),) = stands_at_chsh(told, turning, turning_s)
    for end in (0, 1):
        sifted = [one.epoch for one in told.of(end, EpochSifted)]
        assert not any(epoch * EPOCH_S < back_s and (epoch + 1) * EPOCH_S > away_s for epoch in sifted)
        assert max(sifted) > (back_s + 4.0) / EPOCH_S


@pytest.mark.parametrize("turning_s", [None, math.inf])
def test_a_controller_that_does_not_arrive_measures_nothing(turning_s: float | None) -> None:
    """It is not there, or stuck on its way: no S is told from a setting that nobody turned to.

    One that is not there has not moved either, and key goes on afterwards.
    """
    events, _ = photons(14.0)
    ends = Ends(replace(TERMS, chsh_epochs=3))
    told = converse_live(ends.makers, [*events, (3.0, 0, InterludeWanted())], turning_s=turning_s)
    (plan,) = told.of(0, InterludePlanned)
    for end in (0, 1):
        assert told.of(end, ServiceMeasured) == []
        epochs = {one.epoch for one in told.of(end, EpochSifted)}
        assert not epochs & set(range(plan.settle_epoch, plan.key_epoch))
        assert (max(epochs) > plan.key_epoch) == (turning_s is None)


@pytest.mark.parametrize(("revealer", "delay_s"), [("alice", 1.2), ("bob", 1.2), ("bob", 2.5)])
def test_a_peer_that_is_far_behind_agrees_in_the_end(revealer: str, delay_s: float) -> None:
    """Each refusal lets alice look further ahead."""
    events, _ = photons(30.0)
    ends = Ends(replace(TERMS, revealer=revealer, chsh_epochs=2))
    told = converse_live(
        ends.makers, [*events, (3.0, 0, InterludeWanted())], network=lambda _end, _number, frames: ((delay_s, frames),)
    )
    assert len(told.of(0, InterludePlanned)) == len(told.of(1, InterludePlanned)) == 1


def test_whereabouts_are_known_to_the_epoch_and_on_the_safe_side() -> None:
    """Epochs of 2**39 ps: it leaves in epoch 3, rests at chsh in epoch 5 and leaves again in epoch 9."""
    where = Whereabouts(0)

    def stood(setting: str) -> list[int]:
        return [epoch for epoch in range(20) if where.stood(setting, epoch * EPOCH_PS, (epoch + 1) * EPOCH_PS)]

    for epoch in range(14):
        news = {3: (None, 1), 5: ("chsh", 1), 9: (None, 2)}.get(epoch)
        if news is not None:
            where.tell(ControllerStands(*news))
        where.advance(epoch * EPOCH_PS, (epoch + 1) * EPOCH_PS)
    assert stood("chsh") == [7, 8]
    assert stood("key") == [0, 1, 2]
    # Back in epoch 14, in which the session ends; it is told anew, and has not moved since.
    where.tell(ControllerStands("key", 2))
    where.begin(same_clock=True)
    where.tell(ControllerStands("key", 2))
    where.advance(15 * EPOCH_PS, 16 * EPOCH_PS)
    assert stood("key") == [0, 1, 2, 17, 18, 19]
    # Another clock begins: it still stands, but whether since the beginning of that clock nobody knows.
    where.begin(same_clock=False)
    assert stood("key") == []
    where.advance(0, EPOCH_PS)
    assert stood("key") == list(range(2, 20))
    # Moved meanwhile, where no session was told.
    where.begin(same_clock=True)
    where.tell(ControllerStands("key", 5))
    where.advance(4 * EPOCH_PS, 5 * EPOCH_PS)
    assert stood("key") == list(range(6, 20))


def test_a_restarted_end_takes_no_key_from_the_other_ends_interlude() -> None:
    """Either end forgets the plan: the other one's mode of each epoch rules."""
    for forgetful in (0, 1):
        events, _ = photons(14.0)
        ends = Ends(replace(TERMS, chsh_epochs=8), persist=True)
        seen: list[InterludePlanned] = []

        def watch(end: int, report: object, ends: Ends = ends, seen: list[InterludePlanned] = seen) -> None:
            ends.watch(end, report)
            if isinstance(report, InterludePlanned):
                seen.append(report)

        def forget(number: int, ends: Ends = ends, forgetful: int = forgetful):
            if number == 1:
                ends.memories[forgetful].interludes.planned = None
            return ends.makers[0](number)

        told = converse_live(
            (forget, ends.makers[1]),
            [*events, (3.0, 0, InterludeWanted())],
            partitions=[7.5],
            reconnect_s=0.5,
            watch=watch,
        )
        plan = seen[0]
        for end in (0, 1):
            sifted = {one.epoch for one in told.of(end, EpochSifted)}
            assert not sifted & set(range(plan.settle_epoch, plan.key_epoch)), forgetful


def test_bob_refuses_an_interlude_that_is_too_near_or_of_other_lengths() -> None:
    terms = replace(TERMS, chsh_epochs=3)
    bob = Interludes.of(terms, "bob")
    assert not bob.answer(InterludeProposed(11, 13, 16, 18), 10).accepted
    assert not bob.answer(InterludeProposed(14, 16, 20, 22), 10).accepted
    assert bob.planned is None
    assert bob.answer(InterludeProposed(14, 16, 19, 21), 10).accepted
    assert [bob.planned_phase(epoch) for epoch in (13, 14, 16, 18, 19, 21)] == [
        Phase.KEY,
        Phase.SETTLING,
        Phase.SERVICE,
        Phase.SERVICE,
        Phase.SETTLING,
        Phase.KEY,
    ]
    # One at a time.
    assert not bob.answer(InterludeProposed(18, 20, 23, 25), 14).accepted
    assert bob.answer(InterludeProposed(30, 32, 35, 37), 21).accepted


def test_alice_asks_again_when_bob_refuses_and_never_without_a_controller() -> None:
    alice = Interludes.of(TERMS, "alice")
    assert alice.proposal(5, 5) is None
    alice.wanted = True
    first = alice.proposal(5, 5)
    assert first is not None
    assert alice.proposal(6, 6) is None
    assert alice.answered(InterludeAnswered(first.settle_epoch, accepted=False)) is None
    second = alice.proposal(7, 9)
    assert second is not None
    # Four further ahead than the first time.
    assert second.settle_epoch == 9 + 8
    assert alice.answered(InterludeAnswered(99, accepted=True)) is None
    without = Interludes.of(replace(TERMS, chsh_side="none"), "alice")
    without.wanted = True
    assert without.proposal(5, 5) is None


def epoch(number: int, bits: int, basis: int = 0) -> EpochSifted:
    sifted = SiftedEpoch(np.zeros(bits, np.uint8), np.full(bits, basis, np.uint8), "alice")
    tests = (reports_of_an_end.Tests("HV", 1, 10),)
    return EpochSifted(number, sifted, tests, (100, 100), bits + 10, 0.0, bytes([basis]))


def filled(*numbers: int) -> Shelf:
    shelf = Shelf(100)
    for number in numbers:
        assert shelf.put("s", epoch(number, 60)) == []
    return shelf


def test_a_block_is_proposed_until_it_is_answered_and_answering_twice_does_no_harm() -> None:
    alice, bob = filled(1, 2, 3), filled(1, 2, 3)
    proposed = alice.proposal("s")
    assert proposed is not None
    assert proposed.epochs.tolist() == [1, 2]
    assert alice.proposal("s") is None
    answer, reports = bob.answer(proposed, "s")
    assert isinstance(reports[0], BlockSifted)
    # The answer is lost with the session; alice proposes again.
    again, nothing = bob.answer(alice.unanswered(), "s")  # type: ignore[arg-type]
    assert nothing == []
    assert again.missing.size == answer.missing.size == 0
    (block,) = alice.answered(again)
    assert isinstance(block, BlockSifted)
    assert (block.block, block.public_digest, block.tests) == (
        0,
        reports[0].public_digest,
        (reports_of_an_end.Tests("HV", 2, 20),),
    )
    assert alice.answered(again) == []
    assert alice.unanswered() is None


def test_epochs_that_one_end_holds_alone_are_in_no_block() -> None:
    alice, bob = filled(1, 2, 3, 5), filled(2, 3, 4, 5)
    first = alice.proposal("s")
    answer, reports = bob.answer(first, "s")  # type: ignore[arg-type]
    assert answer.missing.tolist() == [1]
    assert reports == []
    assert [one.epoch for one in alice.answered(answer)] == [1]  # type: ignore[union-attr]
    second = alice.proposal("s")
    assert second is not None
    assert second.epochs.tolist() == [2, 3]
    answer, reports = bob.answer(second, "s")
    assert isinstance(reports[-1], BlockSifted)
    assert isinstance(alice.answered(answer)[0], BlockSifted)
    alice.put("s", epoch(6, 60))
    bob.put("s", epoch(6, 60))
    third = alice.proposal("s")
    answer, reports = bob.answer(third, "s")  # type: ignore[arg-type]
    assert [type(one) for one in reports] == [EpochWithdrawn, BlockSifted]
    assert reports[0].epoch == 4


def test_epochs_that_differ_are_in_no_block() -> None:
    alice, bob = filled(1, 2), Shelf(100)
    bob.put("s", epoch(1, 60))
    bob.put("s", epoch(2, 60, basis=1))
    answer, reports = bob.answer(alice.proposal("s"), "s")  # type: ignore[arg-type]
    assert answer.missing.tolist() == [1, 2]
    assert {one.reason for one in reports} == {Reason.PEER_LOST}  # type: ignore[union-attr]
    assert len(alice.answered(answer)) == 2
    assert alice.bits == bob.bits == 0


def test_another_clock_ends_what_was_counted_by_the_old_one_but_for_an_open_proposal() -> None:
    alice, bob = filled(1, 2, 3), filled(1, 2, 3)
    proposed = alice.proposal("s")
    assert [one.epoch for one in alice.forget_other_streams("t")] == [3]
    for shelf in (alice, bob):
        shelf.put("t", epoch(1, 60))
        shelf.put("t", epoch(2, 60))
    answer, reports = bob.answer(proposed, "t")  # type: ignore[arg-type]
    assert [type(one) for one in reports] == [BlockSifted]
    assert isinstance(alice.answered(answer)[0], BlockSifted)
    later = alice.proposal("t")
    _, reports = bob.answer(later, "t")  # type: ignore[arg-type]
    assert [type(one) for one in reports] == [EpochWithdrawn, BlockSifted]


def test_impossible_blocks_are_refused() -> None:
    shelf = filled(1, 2)
    for numbers in ([], [2, 1], [1, 1]):
        with pytest.raises(RemoteProtocolError, match="not in order"):
            shelf.answer(BlockProposed(0, "s", np.array(numbers, np.int64), bytes(32)), "s")
    assert shelf.answered(BlockAnswered(7, np.empty(0, np.int64))) == []


def test_a_source_that_is_hardly_there_gives_no_interlude_without_a_lock() -> None:
    events, _ = photons(4.0, (*BRIGHT, "source.pair_rate_hz=10"))
    told = converse_live(Ends().makers, [*events, (1.0, 0, InterludeWanted())])
    assert told.of(0, InterludePlanned) == []
    assert told.of(0, EpochSifted) == []
