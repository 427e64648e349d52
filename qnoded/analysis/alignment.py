"""Both sides in one time: epoch by epoch alice's clicks, and bob's clicks of the same moments in link time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from qnoded.analysis.clicks import ClickStream
from qnoded.mapping import Mapper
from qnoded.records import ClockModel, DetectionEpoch
from qnoded.stages.synchronization.acquisition import SearchRange, acquire
from qnoded.stages.synchronization.clock_map import ClockMap
from qnoded.stages.synchronization.clock_state import ClockState
from qnoded.stages.synchronization.tracking import TrackingReport, bob_span, track
from qnoded.units import EPOCH_PS, PS_PER_MS

RELOCK_OFFSET_PS: Final = 10 * PS_PER_MS
"""A lost lock is sought again this near to the old one: clock steps of a tagger are smaller, or a restart."""
RELOCK_FREQUENCY: Final = 1e-6
"""And at frequency errors this near: a crystal moves less between two epochs."""


@dataclass(frozen=True, slots=True)
class AlignedEpoch:
    """Clicks of both sides in alice's time."""

    alice: DetectionEpoch
    bob: DetectionEpoch
    """In link time."""
    clock: ClockModel
    """Bob's clock from the start to the end of the epoch, as a line from the start."""
    tracking: TrackingReport | None
    """None with a shared clock."""
    relocked: bool = False
    """True where the lock was lost before and found again for this epoch."""


@dataclass(slots=True)
class Walk:
    """The walk through two streams; iterate it once, then read the counters."""

    alice: ClickStream
    bob: ClickStream
    state: ClockState | None
    """Where tracking begins, then where it has come; None with a shared clock."""
    over: Mapper
    discards: Counter[str] = field(default_factory=Counter)
    """Epochs left out, by reason."""
    relocks: int = 0
    """Times that the lock was lost and found again."""

    def __iter__(self) -> Iterator[AlignedEpoch]:
        begun = False
        while (first_ps := self.alice.next_ps()) is not None:
            edge_ps = first_ps // EPOCH_PS * EPOCH_PS
            # Only the first epoch begins with a click: later ones begin where the one before ended.
            start_ps, stop_ps = edge_ps if begun else first_ps, edge_ps + EPOCH_PS
            if self.state is not None:
                begins_ps = self._bob_begins(self.state)
                if begins_ps is None:
                    return
                if begins_ps >= stop_ps:
                    # Nothing can be learnt before bob's clicks begin.
                    self.alice.forget(begins_ps)
                    if begun:
                        self.discards["no_tags_bob"] += 1
                    continue
                start_ps = start_ps if begun else max(start_ps, begins_ps)
            begun = True
            alice = self.alice.between(start_ps, stop_ps)
            self.alice.forget(stop_ps)
            if self.alice.next_ps() is None and len(alice):
                # The recording ends within this epoch.
                alice = replace(alice, stop_ps=int(alice.tag_ps[-1]) + 1)
            aligned = self._shared(alice) if self.state is None else self._tracked(alice, self.state)
            if aligned is not None:
                yield aligned

    def _bob_begins(self, state: ClockState) -> int | None:
        first_ps = self.bob.next_ps()
        if first_ps is None:
            return None
        clock = state.clock
        return first_ps - clock.offset_at(first_ps - clock.offset_ps)

    def _shared(self, alice: DetectionEpoch) -> AlignedEpoch:
        bob = self.bob.between(alice.start_ps, alice.stop_ps)
        self.bob.forget(alice.stop_ps)
        return AlignedEpoch(alice, bob, ClockModel(alice.start_ps, 0, 0.0), None)

    def _tracked(self, alice: DetectionEpoch, state: ClockState) -> AlignedEpoch | None:
        start_ps, stop_ps = alice.start_ps, alice.stop_ps
        # The search may have found the clock in the middle of the recording.
        state = state.moved_to(start_ps) if start_ps < state.reference_ps else state
        low_ps, high_ps = bob_span(state, start_ps, stop_ps)
        bob = self.bob.between(low_ps, high_ps)
        tracked = track(alice.tag_ps, bob.tag_ps, state, start_ps, stop_ps)
        relocked = False
        if not tracked.report.locked:
            found = self._relocked(alice, bob, tracked.state)
            if found is not None:
                self.relocks += 1
                relocked = True
                low_ps, high_ps = bob_span(found, start_ps, stop_ps)
                bob = self.bob.between(low_ps, high_ps)
                tracked = track(alice.tag_ps, bob.tag_ps, found, start_ps, stop_ps)
        self.state = tracked.state
        if tracked.report.reason is not None:
            self.discards[tracked.report.reason.name.lower()] += 1
            self.bob.forget(low_ps)
            return None
        link = _in_link_time(bob, tracked.clock_map, start_ps, stop_ps)
        self.bob.forget(tracked.state.clock.bob_at(stop_ps) - PS_PER_MS)
        line = _line(tracked.clock_map, start_ps, stop_ps)
        return AlignedEpoch(alice, link, line, tracked.report, relocked)

    def _relocked(self, alice: DetectionEpoch, bob: DetectionEpoch, state: ClockState) -> ClockState | None:
        """Search the neighbourhood of a lost lock with the data of one epoch."""
        clock = state.clock.moved_to(alice.start_ps)
        search = SearchRange(
            offset_ps=clock.offset_ps,
            offset_range_ps=RELOCK_OFFSET_PS,
            frequency_error=clock.frequency_error,
            frequency_range=RELOCK_FREQUENCY,
        )
        wide = self.bob.between(bob.start_ps - RELOCK_OFFSET_PS, bob.stop_ps + RELOCK_OFFSET_PS)
        found = acquire(alice.tag_ps, wide.tag_ps, search, over=self.over)
        if found.clock is None or not found.locked:
            return None
        return state.reacquired(found.clock).moved_to(alice.start_ps)


def _in_link_time(bob: DetectionEpoch, clock: ClockMap, start_ps: int, stop_ps: int) -> DetectionEpoch:
    link_ps = clock.to_link(bob.tag_ps)
    first, last = np.searchsorted(link_ps, [start_ps, stop_ps])
    return DetectionEpoch(bob.detector[first:last], link_ps[first:last], start_ps, stop_ps, bob.gaps)


def _line(clock: ClockMap, start_ps: int, stop_ps: int) -> ClockModel:
    """Return the straight line from the start to the end of an epoch of its map."""
    first_ps, last_ps = (int(offset) for offset in clock.offset_at(np.array([start_ps, stop_ps])))
    return ClockModel(start_ps, first_ps, (last_ps - first_ps) / (stop_ps - start_ps))
