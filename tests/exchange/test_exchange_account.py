"""Every epoch counts once at each end, whatever the network and the taggers do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_streams import EPOCH_S, Ends, lost, photons, span
from test_exchange_live import agree
from test_exchange_live_faults import FAULTS

from qnoded.exchange.happenings import DetectionLost, KnownClock
from qnoded.exchange.matcher import MOST_UNHEARD
from qnoded.exchange.reports import (
    BlockSifted,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    EpochWithdrawn,
    Reason,
    ServiceMeasured,
)
from qnoded.testing.live import Event, Frames, LiveLink, converse_live
from qnoded.units import EPOCH_PS

SECONDS = 8.0
AT_LAST_S = 1000.0
"""The network goes away once more when all has been said: nothing is open then."""
BORDER_EPOCHS = 1
"""The matcher counts by the revealer's epochs in a session and by its own between two: where they change, one may be
cut in two."""


@cache
def clock() -> KnownClock:
    told = converse_live(Ends().makers, photons(SECONDS)[0])
    state = told.of(1, ClockTracked)[0].state
    return KnownClock(state, same_streams=True, offset_ps=state.offset_ps)


def counted(told: LiveLink, end: int) -> tuple[Counter[int], int]:
    """Return how often each epoch was counted in the sessions of an end, and how many between them."""
    reports = [one for kind in (EpochSifted, ServiceMeasured, EpochDiscarded) for one in told.of(end, kind)]
    between = [one for one in reports if isinstance(one, EpochDiscarded) and one.numbers == "no session"]
    return Counter(one.epoch for one in reports if one not in between), len(between)


faults = st.dictionaries(
    st.tuples(st.sampled_from([0, 1]), st.integers(0, 40)), st.sampled_from(sorted(FAULTS)), max_size=4
)
cuts = st.lists(st.floats(0.5, SECONDS), max_size=3)
holes = st.tuples(st.sampled_from([0, 1]), st.sets(st.integers(1, 13), max_size=4))
ways = st.sampled_from([Reason.GAP, Reason.OVERLOAD])


@settings(max_examples=20)
@given(faults, cuts, holes, ways, st.sampled_from([0.0, 0.2, 2.0]))
def test_every_epoch_counts_once(
    faults: dict[tuple[int, int], str], cuts: list[float], hole: tuple[int, set[int]], why: Reason, delay_s: float
) -> None:
    """8 s, up to four messages lost, doubled, overtaken or garbled, three cuts, some epochs without tags."""
    events = lost(photons(SECONDS)[0], hole[0], hole[1], why.value)

    def network(sender: int, number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
        fault = faults.get((sender, number))
        return [
            (delay_s + more_s, arrived) for more_s, arrived in (FAULTS[fault](frames) if fault else [(0.0, frames)])
        ]

    ends = Ends(persist=True, known=clock())
    told = converse_live(ends.makers, events, network=network, partitions=[*cuts, AT_LAST_S], watch=ends.watch)

    agree(told)
    own = [sum(event[1] == end for event in events) for end in (0, 1)]
    revealed, between = counted(told, 0)
    assert set(revealed.values()) <= {1}
    assert revealed.total() + between == own[0]
    matched, between = counted(told, 1)
    assert set(matched.values()) <= {1}
    assert abs(matched.total() + between - own[1]) <= BORDER_EPOCHS * len(told.endings)
    for end in (0, 1):
        in_blocks = [epoch for block in told.of(end, BlockSifted) for epoch in block.epochs]
        withdrawn = [one.epoch for one in told.of(end, EpochWithdrawn)]
        assert len(set(in_blocks + withdrawn)) == len(in_blocks + withdrawn)
        assert {*in_blocks, *withdrawn} <= {one.epoch for one in told.of(end, EpochSifted)}


@pytest.mark.parametrize("known", [True, False])
def test_a_matcher_that_hears_nothing_more_counts_what_it_saw_pass(known: bool) -> None:
    """Alice's messages are lost from the sixth on, with a lock or before there is one; both count the same 8 s."""
    events, _ = photons(SECONDS)

    def network(sender: int, number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
        return [] if sender == 0 and number >= (5 if known else 1) else [(0.0, frames)]

    ends = Ends(known=clock() if known else None)
    told = converse_live(ends.makers, events, network=network, partitions=[SECONDS])
    (alice, _), (bob, between) = (counted(told, end) for end in (0, 1))
    assert bool(told.of(1, ClockTracked)) is known
    assert between == 0
    assert abs(alice.total() - bob.total()) <= BORDER_EPOCHS
    assert alice.total() == sum(event[1] == 0 for event in events)


def going_on(events: tuple[Event, ...], end: int, epochs: int) -> list[Event]:
    """Let one end's clock run on without tags."""
    last = [event for event in events if event[1] == end][-1]
    moment_s, stop_ps = last[0], span(last)[1]
    starts = range(stop_ps, stop_ps + epochs * EPOCH_PS, EPOCH_PS)
    silence = [DetectionLost(start_ps, start_ps + EPOCH_PS, Reason.GAP.value) for start_ps in starts]
    return [*events, *((moment_s + EPOCH_S * number, end, one) for number, one in enumerate(silence, 1))]


@pytest.mark.parametrize("known", [True, False])
def test_what_is_unheard_of_for_long_is_counted_while_the_session_goes_on(known: bool) -> None:
    """Alice is silent from the sixth message on, or from the first; bob's clock runs on for 300 epochs."""
    events = going_on(photons(SECONDS)[0], 1, 300)

    def network(sender: int, number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
        return [] if sender == 0 and number >= (5 if known else 0) else [(0.0, frames)]

    told = converse_live(Ends(known=clock() if known else None).makers, events, network=network)
    assert told.endings == []
    own = sum(event[1] == 1 for event in events)
    counts, between = counted(told, 1)
    assert between == 0
    assert set(counts.values()) == {1}
    assert 0 <= own - MOST_UNHEARD - counts.total() <= 2 * BORDER_EPOCHS
    busiest = max(Counter(at_s for at_s, report in told.reports[1] if isinstance(report, EpochDiscarded)).values())
    assert busiest <= 2


def test_what_was_given_up_and_is_heard_of_after_all_is_counted_once() -> None:
    """From the sixth on, alice's messages come 80 epochs late: those that bob gave up meanwhile are refused as late."""
    events = going_on(photons(SECONDS)[0], 1, 200)

    def network(sender: int, number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
        return [(80 * EPOCH_S if sender == 0 and number >= 5 else 0.0, frames)]

    told = converse_live(Ends(known=clock()).makers, events, network=network)
    assert told.endings == []
    counts, _ = counted(told, 1)
    assert set(counts.values()) == {1}
    own = sum(event[1] == 1 for event in events)
    assert 0 <= own - MOST_UNHEARD - counts.total() <= 2 * BORDER_EPOCHS
