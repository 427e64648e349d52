"""One link through everything that a peer and a network can do, in virtual time: its states, and what it says."""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
from ends_made import TERMS, End, Meddler, Sightings, both, connection, listening, replace, running

from qnoded.errors import UsageError
from qnoded.exchange import wire
from qnoded.exchange.effects import Script, arrival, emit, wait
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import ControllerStands, Detected, KnownClock
from qnoded.exchange.live_messages import Greeting
from qnoded.exchange.reports import EpochDiscarded, EpochSifted, Reason
from qnoded.node.introducing import INTRODUCTION_S, RESPITE_S
from qnoded.node.link import GREETING_S, UNLOCKED_S
from qnoded.node.reaching import UNHEARD_S
from qnoded.node.replaying import replay
from qnoded.node.story import Story
from qnoded.node.story_file import read_story
from qnoded.records import DetectionEpoch, SiftedEpoch
from qnoded.testing import virtual_time
from qnoded.units import EPOCH_PS, seconds


def epoch(number: int) -> Detected:
    none = np.empty(0, np.uint8), np.empty(0, np.int64)
    return Detected(DetectionEpoch(*none, number * EPOCH_PS, (number + 1) * EPOCH_PS))


def sessions(*ends: End) -> set[str | None]:
    return {end.link.status().session for end in ends}


def locking(_session: Session, _known: KnownClock) -> Script[None]:
    """Make a script that reports sifted epochs without end."""
    none = np.empty(0, np.uint8)
    for number in itertools.count():
        yield from emit(EpochSifted(number, SiftedEpoch(none, none, "alice"), (), (1, 1), 0, 1.0, bytes(32)))
        yield from wait(seconds(EPOCH_PS))


def test_what_stands_in_the_way_of_a_connection_is_the_reason(tmp_path: Path) -> None:
    async def obstructed() -> None:
        one, _ = connection()
        async with running(tmp_path, one) as end:
            one.obstacle = "a tunnel without a peer"
            await asyncio.sleep(2 * GREETING_S)
            assert (end.state, end.link.status().reason) == ("ABSENT", "a tunnel without a peer")
            one.refused, one.obstacle = 1, "the peer ends the handshake"
            await asyncio.sleep(2 * GREETING_S)
            assert (end.state, end.link.status().reason) == ("REFUSED", "the peer ends the handshake")

    virtual_time.run(obstructed())


def test_two_ends_settle_at_once_and_stay_together(tmp_path: Path) -> None:
    async def an_hour() -> None:
        async with both(tmp_path, make_script=locking) as (alice, bob):
            await asyncio.sleep(0.1)
            (session,) = sessions(alice, bob)
            assert session is not None
            await asyncio.sleep(3600)
            assert sessions(alice, bob) == {session}
            assert alice.state == bob.state == "SIFTING"
            assert bob.wire.renewed == 0

    virtual_time.run(an_hour())


def test_a_session_without_a_lock_ends_and_the_next_one_asks_the_hosts_clocks_anew(tmp_path: Path) -> None:
    asked: list[int] = []

    def noted(session: Session, known: KnownClock) -> Script[None]:
        asked.append(session.host_offset_ps)
        return listening(session, known)

    async def a_dark_hour() -> None:
        one, other = connection()
        seen = Sightings("tagger/bob")
        async with running(tmp_path, one, make_script=noted) as alice, running(tmp_path, other, sightings=seen) as bob:
            for _ in range(6):
                await asyncio.sleep(UNLOCKED_S)
                assert seen.utc_minus_tag_ns is not None
                seen.utc_minus_tag_ns -= 3_000_000
            await asyncio.sleep(2 * GREETING_S)
            assert alice.state == bob.state == "ACQUIRING"
            assert len(sessions(alice, bob)) == 1

    virtual_time.run(a_dark_hour())
    assert len(asked) >= 5
    assert len(set(asked)) >= 5


def test_an_end_that_nobody_hears_introduces_itself_anew(tmp_path: Path) -> None:
    said: list[Greeting] = []

    def unheard(frames: list[bytes]) -> tuple[()]:
        _, message = wire.decode(frames)
        assert isinstance(message, Greeting)
        said.append(message)
        return ()

    async def ten_minutes() -> Sightings:
        one, _ = connection()
        one.meddle = unheard
        seen = Sightings("tagger/alice")
        async with running(tmp_path, one, sightings=seen):
            for _ in range(10):
                await asyncio.sleep(INTRODUCTION_S)
                assert seen.utc_minus_tag_ns is not None
                seen.utc_minus_tag_ns -= 300_000
            await asyncio.sleep(INTRODUCTION_S + GREETING_S)
        return seen

    seen = virtual_time.run(ten_minutes())
    assert said[-1].utc_minus_tag_ns == seen.utc_minus_tag_ns
    assert len({one.nonce for one in said}) >= 10


def test_an_end_that_cannot_introduce_itself_stops_by_name(tmp_path: Path) -> None:
    async def try_to() -> None:
        one, _ = connection()
        async with running(tmp_path, one, sightings=Sightings("x" * 65)) as alice:
            await asyncio.sleep(5)
            assert alice.state == "STOPPED"
            assert "this end cannot introduce itself" in alice.link.status().reason

    virtual_time.run(try_to())


def test_a_disk_that_hangs_holds_up_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dumps: list[str] = []

    async def hang(_story: Story, why: str) -> None:
        dumps.append(why)
        await asyncio.Event().wait()

    monkeypatch.setattr(Story, "dump", hang)

    async def break_often() -> None:
        one, other = connection()
        async with running(tmp_path, one, make_script=breaking) as alice, running(tmp_path, other):
            for _ in range(3):
                await asyncio.sleep(0.1)
                assert alice.state == "ACQUIRING"
                alice.link.detected(epoch(3))
                await asyncio.sleep(RESPITE_S + GREETING_S + 0.1)

    virtual_time.run(break_often())
    assert len(dumps) == 1


def test_an_end_without_detections_is_heard_but_does_not_settle(tmp_path: Path) -> None:
    async def wait_for_light() -> None:
        one, other = connection()
        dark = Sightings("tagger/bob", None, 0.0)
        async with running(tmp_path, one) as alice, running(tmp_path, other, sightings=dark) as bob:
            await asyncio.sleep(3)
            assert (alice.state, bob.state) == ("ABSENT", "GREETING")
            assert bob.link.status().reason == "this node has no detections yet"
            dark.utc_minus_tag_ns, dark.detections_hz = 0, 50_000.0
            bob.link.detected(epoch(7))
            await asyncio.sleep(0.1)
            assert (alice.state, bob.state) == ("ACQUIRING", "ACQUIRING")
            assert bob.link.status().discards == {"PEER_LOST": 1}

    virtual_time.run(wait_for_light())


def test_terms_that_differ_are_named_at_both_ends_and_mending_one_heals(tmp_path: Path) -> None:
    async def differ() -> None:
        one, other = connection()
        async with running(tmp_path, one) as alice:
            async with running(tmp_path, other, terms=replace(TERMS, window_ps=2000)) as bob:
                await asyncio.sleep(30)
                for end, values in ((alice, "1000 here, 2000"), (bob, "2000 here, 1000")):
                    assert end.state == "MISMATCH"
                    assert end.link.status().reason.startswith(f"the link's terms differ in window_ps: {values}")
                    assert len([text for level, text in end.told if level == "error"]) == 1
            async with running(tmp_path, other) as bob:
                await asyncio.sleep(2 * GREETING_S)
                assert alice.state == bob.state == "ACQUIRING"

    virtual_time.run(differ())


@pytest.mark.parametrize("window_ps", [1000, 2000])
def test_a_peer_that_falls_silent_before_there_is_a_session_is_absent(tmp_path: Path, window_ps: int) -> None:
    state, axis = ("GREETING", None) if window_ps == TERMS.window_ps else ("MISMATCH", "tagger/1")

    async def silent() -> None:
        one, other = connection()
        async with running(tmp_path, one, sightings=Sightings(axis)) as alice:
            async with running(tmp_path, other, terms=replace(TERMS, window_ps=window_ps)):
                await asyncio.sleep(5 * GREETING_S)
                assert alice.state == state
            await asyncio.sleep(2 * UNHEARD_S)
            assert (alice.state, alice.link.status().reason) == ("ABSENT", "nothing was heard for 45 s")

    virtual_time.run(silent())


def test_a_peer_that_starts_anew_gets_a_new_session(tmp_path: Path) -> None:
    async def restart() -> None:
        one, other = connection()
        async with running(tmp_path, one) as alice:
            async with running(tmp_path, other):
                await asyncio.sleep(5)
                before = alice.link.status().session
                other.up = False  # so that no goodbye arrives, as after SIGKILL
            other.up = True
            async with running(tmp_path, other) as bob:
                await asyncio.sleep(0.1)
                assert sessions(alice) == sessions(bob) != {before}
                assert ("info", "GREETING: the peer has begun anew") in alice.told

    virtual_time.run(restart())


def test_a_goodbye_is_heard_and_the_link_waits_for_the_return(tmp_path: Path) -> None:
    async def leave() -> None:
        one, other = connection()
        async with running(tmp_path, one) as alice:
            async with running(tmp_path, other):
                await asyncio.sleep(1)
            await asyncio.sleep(0.1)
            assert alice.state == "ABSENT"
            assert alice.link.status().reason == "the peer said goodbye: the node stops"
            async with running(tmp_path, other):
                await asyncio.sleep(0.1)
                assert alice.state == "ACQUIRING"

    virtual_time.run(leave())


def test_a_network_that_is_gone_ends_the_session_in_five_seconds_and_heals_in_one(tmp_path: Path) -> None:
    async def partition() -> None:
        async with both(tmp_path) as (alice, bob):
            await asyncio.sleep(10)
            alice.wire.up = bob.wire.up = False
            await asyncio.sleep(4)
            assert alice.state == bob.state == "ACQUIRING"
            await asyncio.sleep(3)
            assert alice.state == bob.state == "ABSENT"
            assert alice.link.status().reason == "nothing was heard from the peer for 5 s"
            await asyncio.sleep(60)
            assert bob.wire.renewed > 8
            assert alice.wire.renewed == 0
            alice.wire.up = bob.wire.up = True
            await asyncio.sleep(GREETING_S + 0.1)
            assert alice.state == bob.state == "ACQUIRING"

    virtual_time.run(partition())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda frames: (), "one was lost"),
        (lambda frames: (frames, frames), "one was repeated"),
        (lambda frames: ([*frames[:1], frames[1][:-1]],), "Heartbeat is garbled"),
    ],
)
def test_a_message_lost_doubled_or_garbled_ends_the_session_by_name(
    tmp_path: Path, fault: Meddler, reason: str
) -> None:
    async def spoil() -> None:
        async with both(tmp_path) as (alice, bob):
            await asyncio.sleep(1.5)
            bob.wire.meddle = fault
            await asyncio.sleep(1)
            bob.wire.meddle = lambda frames: (frames,)
            await asyncio.sleep(RESPITE_S + 2 * GREETING_S)
            assert any(reason in text for _, text in alice.told)
            assert alice.state == bob.state == "ACQUIRING"
            assert len(sessions(alice, bob)) == 1

    virtual_time.run(spoil())


def test_garbage_is_told_once_and_leaves_a_good_session_alone(tmp_path: Path) -> None:
    async def shout() -> None:
        async with both(tmp_path) as (alice, bob):
            await asyncio.sleep(1)
            before = sessions(alice, bob)
            for rubbish in ([b""], [b"hello", b"world"], [b"x" * 44] * 3) * 50:
                alice.wire.arrived.put_nowait(rubbish)
            await asyncio.sleep(2)
            assert sessions(alice, bob) == before
            assert len([text for level, text in alice.told if level == "error"]) == 1

    virtual_time.run(shout())


def test_a_peer_that_is_too_slow_ends_the_session(tmp_path: Path) -> None:
    async def clog() -> None:
        async with both(tmp_path) as (alice, _):
            await asyncio.sleep(1)
            alice.wire.problem = "the peer is too slow"
            await asyncio.sleep(1.5)
            assert alice.state == "ABSENT"
            assert alice.link.status().reason.startswith("the peer is too slow; message")

    virtual_time.run(clog())


def test_refused_keys_are_shown_until_the_right_one_comes(tmp_path: Path) -> None:
    async def knock() -> None:
        one, other = connection()
        async with running(tmp_path, one) as alice:
            one.refused = 3
            await asyncio.sleep(2)
            assert (alice.state, alice.link.status().refused_keys) == ("REFUSED", 3)
            async with running(tmp_path, other):
                await asyncio.sleep(0.1)
                assert alice.state == "ACQUIRING"

    virtual_time.run(knock())


def test_pause_silences_both_ends_until_resume(tmp_path: Path) -> None:
    async def rest() -> None:
        async with both(tmp_path) as (alice, bob):
            await asyncio.sleep(1)
            alice.link.pause()
            alice.link.pause()
            await asyncio.sleep(30)
            assert (alice.state, bob.state) == ("PAUSED", "ABSENT")
            assert bob.link.status().reason == "the peer said goodbye: paused by the operator"
            alice.link.resume()
            await asyncio.sleep(0.1)
            assert alice.state == bob.state == "ACQUIRING"

    virtual_time.run(rest())


def test_another_time_axis_begins_another_session(tmp_path: Path) -> None:
    async def power_cycle() -> None:
        async with both(tmp_path) as (alice, bob):
            await asyncio.sleep(1)
            before = sessions(alice, bob)
            alice.link.axis_began()
            await asyncio.sleep(GREETING_S + 0.1)
            assert len(sessions(alice, bob)) == 1
            assert sessions(alice, bob) != before

    virtual_time.run(power_cycle())


def test_an_interlude_is_refused_where_it_cannot_be(tmp_path: Path) -> None:
    async def ask() -> None:
        async with both(tmp_path) as (alice, bob):
            with pytest.raises(UsageError, match="only alice's end"):
                bob.link.interlude()
            with pytest.raises(UsageError, match="must be SIFTING"):
                alice.link.interlude()

    virtual_time.run(ask())


def breaking(_session: Session, _known: KnownClock) -> Script[None]:
    yield from arrival()
    problem = "a mistake"
    raise ZeroDivisionError(problem)


def test_a_mistake_ends_sessions_one_by_one_and_leaves_a_story_that_can_be_replayed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_twice() -> None:
        one, other = connection()
        async with running(tmp_path, one, make_script=breaking) as alice, running(tmp_path, other):
            for _ in range(2):
                await asyncio.sleep(0.1)
                assert alice.state == "ACQUIRING"
                alice.link.detected(epoch(3))
                await asyncio.sleep(0.1)
                assert alice.state in ("GREETING", "ABSENT")
                assert "ZeroDivisionError" in "".join(text for _, text in alice.told)
                await asyncio.sleep(RESPITE_S + GREETING_S)

    with caplog.at_level(logging.ERROR):
        virtual_time.run(break_twice())
    assert "a mistake in qnoded ends the session" in caplog.text
    stories = sorted((tmp_path / "alice").glob("story-*.jsonl"))
    assert len(stories) == 2
    for path in stories:
        story = read_story(path)
        assert story.link == "alice"
        assert [step for step in replay(story) if step.differs] == []
        assert [step.event for step in replay(story)][:3] == ["HEARD", "SETTLED", "SESSION_ENDED"]
    assert "nonce" in stories[-1].read_text()


@pytest.mark.parametrize("reason", [Reason.LOCK_LOST, Reason.NO_LOCK])
def test_the_revealer_says_that_the_matcher_has_lost_the_clock(tmp_path: Path, reason: Reason) -> None:
    """Bob reveals, alice matches: of a single epoch without a peak she knows more than he does."""
    none = np.empty(0, np.uint8)

    def sifting(_session: Session, _known: KnownClock) -> Script[None]:
        yield from emit(EpochSifted(1, SiftedEpoch(none, none.copy(), "alice"), (), (1, 1), 1, 0.0, bytes(32)))
        yield from emit(EpochDiscarded(2, reason, "the matcher: nothing found"))
        while True:
            yield from arrival()

    async def lose() -> None:
        async with both(tmp_path, make_script=sifting) as (alice, bob):
            await asyncio.sleep(1)
            assert (alice.state, bob.state) == ("SIFTING", "RELOCKING")
            status = bob.link.status()
            assert status.reason == "the matcher: nothing found"
            assert status.clock is None or not status.clock.locked

    virtual_time.run(lose())


def test_each_session_is_told_where_the_controller_stands(tmp_path: Path) -> None:
    seen: list[object] = []

    def noting(_session: Session, _known: KnownClock) -> Script[None]:
        while True:
            seen.append((yield from arrival()))

    async def turn() -> None:
        one, other = connection()
        async with running(tmp_path, one, make_script=noting) as alice:
            alice.link.controller_stands(ControllerStands("key", 1))
            async with running(tmp_path, other):
                await asyncio.sleep(1)
                alice.link.controller_stands(ControllerStands(None, 2))
                await asyncio.sleep(1)
            alice.link.controller_stands(ControllerStands("chsh", 2))
            async with running(tmp_path, other):
                await asyncio.sleep(3)
        assert seen == [ControllerStands("key", 1), ControllerStands(None, 2), ControllerStands("chsh", 2)]

    virtual_time.run(turn())
