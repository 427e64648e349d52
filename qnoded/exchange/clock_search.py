"""When and where the matcher searches for the revealer's clock, and with how much effort.

A search takes what both ends have gathered so far. What is near a known clock is searched first, which is cheap; then
wide ranges and near ones by turns, each time with half as much data more until half a minute, so that the work stays in
proportion to the time that has passed. Data that have been searched are kept, and tracked once the clock is found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.happenings import KnownClock
from qnoded.exchange.live_messages import RevealedEpoch, ServiceRevealed
from qnoded.exchange.own_epochs import between
from qnoded.exchange.terms import LinkTerms
from qnoded.mapping import Mapper
from qnoded.records import DetectionEpoch
from qnoded.stages import revealing
from qnoded.stages.synchronization.acquisition import Acquisition, SearchRange, acquire
from qnoded.stages.synchronization.clock_state import ClockState, start
from qnoded.stages.synchronization.lock import WIDEST_PS
from qnoded.stages.synchronization.outcome import AcquisitionFailure
from qnoded.units import PS_PER_MS, seconds

NEAR_OFFSET_PS: Final = 10 * PS_PER_MS
"""A lost lock is sought again this near to the old one: a tagger's clock steps by less."""
NEAR_FREQUENCY: Final = 1e-6
"""And at frequency errors this near: a crystal moves less while a daemon restarts."""
SIGMAS: Final = 8.0
"""A clock that ran free is sought within this many of its standard deviations."""
WIDE_EVERY: Final = 3
"""One search in so many is wide, once near ones have failed."""
FIRST_EFFORT_POINTS: Final = 3e8
"""Points of transforms that the first search may take, two seconds of one core."""
MOST_EFFORT_POINTS: Final = 1.5e9
"""Ten seconds of one core: this end's epochs wait meanwhile."""
GROWTH: Final = 2
"""The next search waits for one part in so many more of the data, and may take this times the effort."""
LONGEST_WAIT_EPOCHS: Final = 32
"""Half of what is kept: light that comes back after hours is found with data of its own half a minute later."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave."""

    acquisition: Acquisition
    state: ClockState | None
    """Where tracking begins; None without a lock."""
    cold: bool
    """True if the wide range was searched."""


class ClockSearch:
    """Plans searches; begins anew with each lock that is lost."""

    def __init__(self, terms: LinkTerms, known: KnownClock) -> None:
        self._terms = terms
        self._known = known
        self._near: ClockState | None = known.state if known.same_streams else None
        self._tries = 0
        self._next_at = 1
        self._effort_points = FIRST_EFFORT_POINTS

    def lost(self, state: ClockState) -> None:
        """Begin anew, near a lock that was lost."""
        self._near, self._tries, self._next_at, self._effort_points = state, 0, 1, FIRST_EFFORT_POINTS

    def due(self, gathered: int) -> bool:
        """Return whether enough epochs have been gathered since the search began for the next try."""
        return gathered >= self._next_at

    def failed(self, gathered: int) -> None:
        """Wait for more data before the next try."""
        self._tries += 1
        self._next_at = gathered + min(max(gathered // GROWTH, 1), LONGEST_WAIT_EPOCHS)
        self._effort_points = min(self._effort_points * GROWTH, MOST_EFFORT_POINTS)

    @property
    def effort_points(self) -> float:
        """Work that the next try may take."""
        return self._effort_points

    @property
    def learnt(self) -> ClockState | None:
        """The last state of these two clocks, whatever their offset: noise, frequency, peak."""
        return self._near or self._known.state

    def reach(self, at_ps: int) -> tuple[int, int]:
        """Return the smallest and largest offset that any try may look for, at a moment of the revealer's clock."""
        ranges, near = [self._wide(at_ps)], self._near_at(at_ps)
        if near is not None:
            ranges.append(self._nearby(near, at_ps))
        return (
            min(one.offset_ps - one.offset_range_ps for one in ranges),
            max(one.offset_ps + one.offset_range_ps for one in ranges),
        )

    def where(self, at_ps: int) -> tuple[SearchRange, bool]:
        """Return the range of the next try at a moment of the revealer's clock, and whether it is the wide one."""
        near = self._near_at(at_ps)
        if near is not None and self._tries % WIDE_EVERY != WIDE_EVERY - 1:
            return self._nearby(near, at_ps), False
        return self._wide(at_ps), True

    def _near_at(self, at_ps: int) -> ClockState | None:
        """Return the state to search near to: what an earlier session knew must fit to the hosts' clocks."""
        stale = self._near is self._known.state and not _plausible(self._known, self._terms, at_ps)
        return None if stale else self._near

    def _nearby(self, near: ClockState, at_ps: int) -> SearchRange:
        moved = near.clock if at_ps == near.reference_ps else near.moved_to(at_ps).clock
        return SearchRange(
            moved.offset_ps,
            math.ceil(max(NEAR_OFFSET_PS, SIGMAS * moved.offset_sigma_ps)),
            moved.frequency_error,
            max(NEAR_FREQUENCY, SIGMAS * moved.frequency_sigma),
        )

    def _wide(self, at_ps: int) -> SearchRange:
        terms, learnt = self._terms, self.learnt
        near = self._near_at(at_ps)
        centre_ps = self._known.offset_ps if near is None else near.clock.offset_at(at_ps)
        if learnt is not None and self._tries % WIDE_EVERY != WIDE_EVERY - 1:
            return SearchRange(centre_ps, terms.search_offset_ps, learnt.frequency_error, NEAR_FREQUENCY)
        return SearchRange(centre_ps, terms.search_offset_ps, 0.0, terms.search_frequency)


def _apart(found: Acquisition, away_ps: int) -> Acquisition:
    """Return a search that had nothing to search in, since the hosts' clocks point where this end has no clicks."""
    sentence = (
        f"the hosts' clocks differ: by them this end's newest clicks are {seconds(away_ps):+.0f} s away from the "
        "revealed ones; check NTP on both hosts"
    )
    return replace(found, reason=AcquisitionFailure.NO_OVERLAP, sentence=sentence)


def trackable(known: KnownClock, at_ps: int, terms: LinkTerms) -> ClockState | None:
    """Return the known state if tracking can go on from it at a moment of the revealer's clock, else None."""
    state = known.state
    if state is None or not known.same_streams or at_ps < state.reference_ps or not _plausible(known, terms, at_ps):
        return None
    sigma_ps = math.sqrt(state.moved_to(at_ps).phase_variance_ps2)
    return state if SIGMAS * sigma_ps < WIDEST_PS else None


def _plausible(known: KnownClock, terms: LinkTerms, at_ps: int) -> bool:
    """Return whether the hosts' clocks allow the known offset: else tracking would wait for data of another day.

    What was known is carried on to now: at 4 ppm two days move a clock by more than half a second.
    """
    if known.state is None:
        return False
    return abs(known.state.clock.offset_at(at_ps) - known.offset_ps) <= terms.search_offset_ps


def search(
    revealed: Sequence[RevealedEpoch | ServiceRevealed],
    own: Sequence[DetectionEpoch],
    where: SearchRange,
    label_bits: int,
    service_bits: int,
    effort_points: float,
    learnt: ClockState | None,
    over: Mapper,
    *,
    cold: bool,
) -> Found:
    """Search for the clock in what was gathered.

    Parameters
    ----------
    revealed : coded epochs of the revealer, in order
    own : epochs of the matcher, in order
    where : offsets and frequency errors to search
    label_bits, service_bits : of the labels of a revealed epoch, and of one of an interlude
    effort_points : limit of the work
    learnt : what was known of these clocks before
    over : gives the work more than one core
    cold : whether ``where`` is the wide range
    """
    theirs = []
    for epoch in revealed:
        bits = service_bits if isinstance(epoch, ServiceRevealed) else label_bits
        stop_ps = epoch.start_ps + epoch.duration_ps
        try:
            theirs.append(revealing.decode(epoch.clicks, epoch.start_ps, stop_ps, bits, epoch.resolution_ps).tag_ps)
        except RemoteProtocolError:
            continue  # its own turn will name it
    early, late = revealed[0].start_ps, revealed[-1].start_ps + revealed[-1].duration_ps
    low_ps = early + where.offset_ps - where.offset_range_ps
    high_ps = late + where.offset_ps + where.offset_range_ps
    mine = between(own, low_ps, high_ps).tag_ps
    found = acquire(
        np.concatenate([np.empty(0, np.int64), *theirs]), mine, where, effort_points=effort_points, over=over
    )
    if found.clock is None or not found.locked:
        if cold and own and not mine.size:
            found = _apart(found, own[-1].stop_ps - late - where.offset_ps)
        return Found(found, None, cold)
    if learnt is not None:
        return Found(found, learnt.reacquired(found.clock), cold)
    return Found(found, start(found.clock, found.peak_sigma_ps, found.pair_rate_hz), cold)
