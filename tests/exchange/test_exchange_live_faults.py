"""A live link when something goes wrong: epochs are discarded with a reason, and never does an end sift on its own."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from live_streams import BRIGHT, EPOCH_S, TERMS, Ends, lost, photons
from test_exchange_live import agree, errors

from qnoded.errors import LocalProtocolError, PeerSilent, RemoteProtocolError
from qnoded.exchange import clock_search, own_epochs, wire
from qnoded.exchange.happenings import Detected, KnownClock
from qnoded.exchange.live_messages import Coincidences, Confirmation, EpochSkipped, RevealedEpoch
from qnoded.exchange.reports import (
    BlockSifted,
    ClockAcquired,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    EpochWithdrawn,
    LockLost,
    Reason,
)
from qnoded.records import Gap
from qnoded.testing.live import Event, Frames, LiveLink, converse_live, garbled
from qnoded.units import EPOCH_PS


def reasons(told: LiveLink, end: int) -> Counter[Reason]:
    return Counter(one.reason for one in told.of(end, EpochDiscarded))


def numbers(told: LiveLink, end: int, kind: type = EpochSifted) -> list[int]:
    return [one.epoch for one in told.of(end, kind)]


def every_epoch_is_accounted_for(told: LiveLink, end: int, epochs: Iterable[int]) -> None:
    """Sifted or discarded, once."""
    assert sorted(numbers(told, end) + numbers(told, end, EpochDiscarded)) == sorted(epochs)


def test_a_delay_of_200_ms_does_no_harm() -> None:
    events, _ = photons(8.0)
    told = converse_live(Ends().makers, events, network=lambda _end, _number, frames: ((0.2, frames),))
    agree(told)
    assert told.endings == []
    assert numbers(told, 0) == numbers(told, 1) == list(range(1, 14))


@pytest.mark.parametrize("seed", range(4))
def test_a_network_that_delays_at_random_without_overtaking(seed: int) -> None:
    """Up to 3 s late, in order: nothing is lost but time."""
    chance, free_at = random.Random(seed), [0.0, 0.0]
    events, _ = photons(8.0)

    def network(end: int, _number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
        delay = chance.choice([0.0, 0.3, 3.0])
        free_at[end] = max(free_at[end], delay)
        return ((free_at[end], frames),)

    told = converse_live(Ends().makers, events, network=network)
    agree(told)
    assert numbers(told, 0) == numbers(told, 1) == list(range(1, 14))


def once(end: int, kind: type, nth: int, change):
    """A network that does something once: to the n-th message of a kind that an end sends."""
    seen = [0]

    def network(sender: int, _number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
        if sender == end and wire.KINDS[wire.read_header(frames[0]).kind] is kind:
            seen[0] += 1
            if seen[0] == nth:
                return change(frames)
        return ((0.0, frames),)

    return network


FAULTS = {
    "lost": lambda frames: (),
    "doubled": lambda frames: ((0.0, frames), (0.0, frames)),
    "overtaken": lambda frames: ((1.2, frames),),
    "garbled header": lambda frames: ((0.0, garbled(frames, 0, 3)),),
    "cut short": lambda frames: ((0.0, frames[:-1]),),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("end", "kind"), [(0, RevealedEpoch), (1, Coincidences), (0, Confirmation)])
def test_a_message_that_is_lost_doubled_overtaken_or_cut_ends_the_session(fault: str, end: int, kind: type) -> None:
    """Once in 8 s: one session more, the lock taken up where it was, six epochs of fourteen lost at most."""
    events, _ = photons(8.0)
    ends = Ends(persist=True)
    told = converse_live(ends.makers, events, network=once(end, kind, 4, FAULTS[fault]), watch=ends.watch)
    agree(told)
    assert len(told.endings) == 1
    assert isinstance(told.endings[0], RemoteProtocolError)
    assert len(told.of(1, ClockAcquired)) == 1
    assert not told.of(1, LockLost)
    every_epoch_is_accounted_for(told, 0, range(14))
    assert len(numbers(told, 0)) >= 8
    assert set(reasons(told, 0)) <= {Reason.GAP, Reason.PEER_LOST}
    assert set(reasons(told, 1)) <= {Reason.REFUSED, Reason.PEER_LOST}


@pytest.mark.parametrize(("end", "kind", "frame"), [(0, RevealedEpoch, 3), (1, Coincidences, 3), (0, Confirmation, 2)])
@pytest.mark.parametrize("byte", [0, 77, 1501])
def test_a_wrong_bit_in_an_array_costs_its_epoch_at_most(end: int, kind: type, frame: int, byte: int) -> None:
    events, _ = photons(8.0)
    network = once(end, kind, 3, lambda frames: ((0.0, garbled(frames, frame, byte)),))
    ends = Ends(persist=True)
    told = converse_live(ends.makers, events, network=network, watch=ends.watch)
    agree(told)
    assert told.endings == []
    # A gap that is some ticks off is still a gap: those clicks meet nobody, and all else is as it was.
    if kind is not RevealedEpoch:
        assert reasons(told, 1)[Reason.GARBLED] == 1
    assert len(set(numbers(told, 0)) & set(numbers(told, 1))) >= 8


def test_a_lost_message_leaves_blocks_equal() -> None:
    """A lost confirmation: alice has sifted an epoch that bob has not; no block contains it."""
    events, _ = photons(8.0)
    ends = Ends(persist=True, terms=replace(TERMS, block_bits=5_000))
    told = converse_live(ends.makers, events, network=once(0, Confirmation, 4, lambda _: ()), watch=ends.watch)
    alone = set(numbers(told, 0)) - set(numbers(told, 1))
    mine, theirs = told.of(0, BlockSifted), told.of(1, BlockSifted)
    assert [block.public_digest for block in mine] == [block.public_digest for block in theirs]
    assert len(mine) >= 3
    assert len(alone) == 1
    assert not any(alone & set(block.epochs) for block in mine)
    assert alone <= {one.epoch for one in told.of(0, EpochWithdrawn)}


def test_sessions_that_end_again_and_again_leave_blocks_equal() -> None:
    """Every thirtieth message of either end is lost: blocks are proposed again until they are agreed on."""
    events, _ = photons(16.0)
    ends = Ends(persist=True, terms=replace(TERMS, block_bits=5_000))
    chance = random.Random(3)

    def network(_end: int, _number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
        return () if chance.random() < 1 / 30 else ((0.05, frames),)

    told = converse_live(ends.makers, events, network=network, watch=ends.watch)
    agree(told)
    mine, theirs = told.of(0, BlockSifted), told.of(1, BlockSifted)
    assert len(told.endings) >= 3
    assert len(mine) >= 2
    pairs = list(zip(mine, theirs, strict=False))
    assert [(one.block, one.epochs) for one, _ in pairs] == [(one.block, one.epochs) for _, one in pairs]
    # One block at most may be closed at one end alone when the record stops.
    assert abs(len(mine) - len(theirs)) <= 1


def test_where_keys_are_made_no_epoch_outlives_its_session() -> None:
    """A cut at 8 s, before a seal covered what was said: both ends throw away what no block had taken, and count it."""
    events, _ = photons(16.0)
    ends = Ends(persist=True, terms=replace(TERMS, block_bits=11_000, makes_keys=True))
    told = converse_live(ends.makers, events, partitions=[8.0], watch=ends.watch)
    agree(told)
    mine, theirs = told.of(0, BlockSifted), told.of(1, BlockSifted)
    assert [block.public_digest for block in mine] == [block.public_digest for block in theirs]
    cut = 8.0 / EPOCH_S
    assert [block for block in mine if min(block.epochs) > cut]
    for end in (0, 1):
        withdrawn = told.of(end, EpochWithdrawn)
        assert {one.reason for one in withdrawn} == {Reason.PEER_LOST}
        assert {one.numbers for one in withdrawn} == {"its session ended before a block was full"}
        # Every epoch before the cut is in a block that was closed before it, or in none.
        closed = [block.epochs for block in told.of(end, BlockSifted) if max(block.epochs) < cut]
        in_blocks = {number for block in closed for number in block}
        before = {number for number in numbers(told, end) if number < cut}
        assert before - in_blocks == {one.epoch for one in withdrawn}
        assert not any(min(block.epochs) < cut < max(block.epochs) for block in told.of(end, BlockSifted))


def test_lost_tags_and_overload_are_counted_at_both_ends() -> None:
    events, _ = photons(8.0)
    events = lost(lost(events, 0, [4], Reason.OVERLOAD.value), 1, [7], Reason.GAP.value)
    told = converse_live(Ends().makers, events)
    agree(told)
    assert reasons(told, 0)[Reason.OVERLOAD] == 1
    assert reasons(told, 1)[Reason.REFUSED] == 2  # the stream's beginning, and alice's overload
    # Bob's lost epoch reaches into two of alice's: their clocks are 0.3 s apart.
    assert reasons(told, 1)[Reason.GAP] == 2
    assert reasons(told, 0)[Reason.REFUSED] == 2
    every_epoch_is_accounted_for(told, 0, range(14))
    every_epoch_is_accounted_for(told, 1, range(14))
    assert numbers(told, 0) == numbers(told, 1)


def test_an_epoch_with_a_gap_is_skipped_and_a_dark_one_says_so() -> None:
    events, _ = photons(5.0)

    def changed(event: Event) -> Event:
        when, end, happened = event
        if end == 1 or not isinstance(happened, Detected):
            return event
        epoch, number = happened.epoch, happened.epoch.start_ps // EPOCH_PS
        if number == 4:
            epoch = replace(epoch, gaps=(Gap(epoch.start_ps + 5, epoch.start_ps + 9, 3, "overflow"),))
        elif number == 6:
            epoch = replace(epoch, detector=epoch.detector[:0].copy(), tag_ps=epoch.tag_ps[:0].copy())
        return when, end, Detected(epoch)

    told = converse_live(Ends().makers, map(changed, events))
    found = {one.epoch: one.reason for one in told.of(0, EpochDiscarded)}
    assert found == {0: Reason.GAP, 4: Reason.GAP, 6: Reason.NO_CLICKS}
    found = {one.epoch: one.reason for one in told.of(1, EpochDiscarded)}
    assert found == {0: Reason.REFUSED, 4: Reason.REFUSED, 6: Reason.NO_CLICKS}
    assert sum(isinstance(one, EpochSkipped) for one in told.sent[0]) == 3


def test_a_lost_lock_is_declared_within_three_epochs_and_found_again() -> None:
    """Bob's clock jumps by 3 ms at 5 s: the tags stay as bright, the peak is gone."""
    events, _ = photons(12.0)
    jumped = []
    for when, end, happened in events:
        if end == 1 and isinstance(happened, Detected) and when > 5.0:
            epoch = happened.epoch
            moved = epoch.tag_ps + 3_000_000_000
            inside = moved < epoch.stop_ps
            jumped.append((when, end, Detected(replace(epoch, detector=epoch.detector[inside], tag_ps=moved[inside]))))
        else:
            jumped.append((when, end, happened))
    told = converse_live(Ends().makers, jumped)
    agree(told)
    (loss,) = told.of(1, LockLost)
    good = [one.epoch for one in told.of(1, ClockTracked) if one.epoch < loss.epoch and one.report.reason is None]
    assert loss.epoch - max(good) == 3
    acquired = told.of(1, ClockAcquired)[1:]
    assert acquired[-1].acquisition.locked
    assert not acquired[-1].cold
    assert 2 <= reasons(told, 0)[Reason.LOCK_LOST] <= 4
    assert max(numbers(told, 0)) == max(numbers(told, 1)) >= 19


def test_relock_within_one_epoch_after_60_s_without_the_peer() -> None:
    """Away from 5 s to 65 s, bob's clock is a TCXO: the first whole epoch of the new session is sifted."""
    events, _ = photons(70.0, (*BRIGHT, "source.pair_rate_hz=1e5"))
    ends = Ends(persist=True)
    told = converse_live(ends.makers, events, partitions=[5.0], reconnect_s=60.0, watch=ends.watch)
    agree(told)
    assert len(told.of(1, ClockAcquired)) == 1
    assert not told.of(1, LockLost)
    late = [epoch for epoch in numbers(told, 1) if epoch * EPOCH_S > 64.0]
    # An epoch in which the session begins is told to one end only, or is not complete at bob's.
    assert min(late) * EPOCH_S <= 65.0 + 2 * EPOCH_S
    assert reasons(told, 0)[Reason.PEER_LOST] == pytest.approx(60.0 / EPOCH_S, abs=2)
    wrong, bits = errors(told)
    assert wrong / bits < 0.02


def test_a_clock_that_ran_free_for_too_long_is_searched_in_its_neighbourhood_first() -> None:
    events, _ = photons(4.0)
    first = converse_live(Ends().makers, events)
    state = first.of(1, ClockTracked)[0].state
    # As if it had been persisted three hours ago: 2 us are far exceeded.
    before_ps = state.reference_ps - 10**16
    old = replace(state, reference_ps=before_ps, offset_ps=state.clock.offset_at(before_ps))
    told = converse_live(Ends(known=KnownClock(old, True, state.offset_ps)).makers, events)
    found = told.of(1, ClockAcquired)
    assert found[0].acquisition.locked
    assert not found[0].cold
    assert len(numbers(told, 0)) >= 5


def test_a_clock_that_contradicts_the_hosts_is_not_trusted() -> None:
    """Persisted under the same name but an hour off: a cold search from the hosts' clocks finds the right one."""
    events, _ = photons(4.0)
    state = converse_live(Ends().makers, events).of(1, ClockTracked)[0].state
    wrong = replace(state, offset_ps=state.offset_ps + 3600 * 10**12, reference_ps=0)
    told = converse_live(Ends(known=KnownClock(wrong, True, state.offset_ps)).makers, events)
    (found,) = told.of(1, ClockAcquired)
    assert found.cold
    assert len(numbers(told, 0)) >= 5


def test_a_matcher_without_tags_refuses_what_is_too_old() -> None:
    """Bob's tagger is away for the whole time: alice's epochs wait and then go, each counted once."""
    events, _ = photons(50.0, (*BRIGHT, "source.pair_rate_hz=1e4"))
    told = converse_live(Ends().makers, [event for event in events if event[1] == 0])
    assert numbers(told, 0) == []
    revealed = sum(isinstance(message, RevealedEpoch) for message in told.sent[0])
    assert reasons(told, 0)[Reason.LATE] + reasons(told, 0)[Reason.NO_LOCK] == revealed - 64
    assert len(told.of(0, EpochDiscarded)) == len(set(numbers(told, 0, EpochDiscarded)))


NARROW = replace(TERMS, search_offset_ps=50_000_000_000, search_frequency=1e-7)
"""Searched in no time."""


def test_without_pairs_the_search_goes_on_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 s of dark counts: nothing is found, what was gathered goes when it is too much, each epoch once."""
    monkeypatch.setattr(clock_search, "MOST_EFFORT_POINTS", 1e7)
    monkeypatch.setattr(clock_search, "FIRST_EFFORT_POINTS", 1e7)
    events, _ = photons(50.0, (*BRIGHT, "source.pair_rate_hz=0", "alice.detectors.dark_hz=3000"))
    told = converse_live(Ends(NARROW).makers, events)
    searches = told.of(1, ClockAcquired)
    assert not any(one.acquisition.locked for one in searches)
    # At 1, 2, 3, 4, 6, 9, 13, 19, 28, 42 and 63 epochs.
    assert 8 <= len(searches) <= 12
    assert max(one.seconds_of_data for one in searches) <= 64 * EPOCH_S
    for end in (0, 1):
        assert numbers(told, end) == []
        found = numbers(told, end, EpochDiscarded)
        assert len(set(found)) == len(found) == 90 - 64


@pytest.mark.parametrize("hours", [-1, 1])
def test_hosts_whose_clocks_differ_by_hours_are_named(hours: int) -> None:
    """No search can find what lies beyond its range: the advice is to mend the hosts, not the taggers."""
    events, _ = photons(8.0)
    told = converse_live(Ends(NARROW, host_error_ns=hours * 3_600 * 10**9).makers, events)
    sentences = [one.acquisition.sentence for one in told.of(1, ClockAcquired)]
    assert sentences
    for sentence in sentences:
        assert sentence.startswith("the hosts' clocks differ")
        assert "check NTP" in sentence
        (away_s,) = re.findall(r"([+-]\d+) s away", sentence)
        assert int(away_s) == pytest.approx(hours * 3_600, abs=10)


@pytest.mark.parametrize("dark_h", [0.5, 2, 72])
def test_light_that_comes_back_after_hours_is_searched_within_half_a_minute(dark_h: float) -> None:
    """The fibre was cut: an epoch every 0.55 s gives nothing, and no search finds anything."""
    searching = clock_search.ClockSearch(TERMS, KnownClock(None, same_streams=False, offset_ps=0))
    tried = [0.0]
    for gathered in range(1, round(dark_h * 3600 / EPOCH_S) + 100):
        if searching.due(gathered):
            tried.append(gathered * EPOCH_S)
            searching.failed(gathered)
    assert max(late - early for early, late in pairwise(tried)) < 20.0
    # Each may take ten seconds of a core: it has more to do than to search.
    assert min(late - early for early, late in pairwise(tried[12:])) > 10.0


def test_own_clicks_that_are_too_many_take_revealed_epochs_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for six epochs of bob's clicks: revealed epochs that can meet none of them any more are refused."""
    monkeypatch.setattr(own_epochs, "MOST_CLICKS", 6 * 6_600)
    events, _ = photons(20.0, (*BRIGHT, "source.pair_rate_hz=0", "bob.detectors.dark_hz=3000"))
    told = converse_live(Ends(NARROW).makers, events)
    assert max(one.seconds_of_data for one in told.of(1, ClockAcquired)) < 10 * EPOCH_S
    assert reasons(told, 1)[Reason.NO_LOCK] == reasons(told, 0)[Reason.NO_LOCK] >= 20


def test_a_stream_that_starts_anew_within_a_session_is_the_nodes_mistake() -> None:
    events, _ = photons(4.0)
    again = [(when + 4.0, end, happened) for when, end, happened in events]
    told = converse_live(Ends().makers, [*events, *again])
    assert any(isinstance(ending, LocalProtocolError) for ending in told.endings)


def test_what_was_in_flight_when_the_peer_went_away_is_counted() -> None:
    events, _ = photons(4.0)
    told = converse_live(
        Ends().makers, events, partitions=[3.0], network=lambda _end, _number, frames: ((0.3, frames),)
    )
    assert isinstance(told.endings[0], PeerSilent)
    assert reasons(told, 0)[Reason.PEER_LOST] >= 1
    assert reasons(told, 1)[Reason.PEER_LOST] >= 1
