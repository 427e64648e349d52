"""Both sides in one time: epoch by epoch alice's clicks, and bob's clicks of the same moments in link time.

Epochs go from border to border of link time, whether anybody clicks or not: time without light is measured time too.
The time that both sides have in common begins with the later of their first clicks and ends with the earlier of their
last ones; where one tagger serves both, its whole recording is common. Gaps of either side are taken off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from qnoded.analysis.clicks import ClickStream
from qnoded.analysis.gaps import without_gaps
from qnoded.mapping import Mapper
from qnoded.records import ClockModel, DetectionEpoch
from qnoded.stages.synchronization.acquisition import SearchRange, acquire
from qnoded.stages.synchronization.clock_map import ClockMap
from qnoded.stages.synchronization.clock_state import ClockState
from qnoded.stages.synchronization.lock import PEAKLESS_EPOCHS
from qnoded.stages.synchronization.tracking import LockLoss, TrackingReport, bob_span, track
from qnoded.units import EPOCH_PS, PS_PER_MS, PS_PER_S

RELOCK_OFFSET_PS: Final = 10 * PS_PER_MS
"""A lost lock is sought again this near to the old one: clock steps of a tagger are smaller, or a restart."""
RELOCK_FREQUENCY: Final = 1e-6
"""And at frequency errors this near: a crystal moves less between two epochs."""
BLUR: Final = 0.1
"""Share of the window to which the clock must be known, standard deviation, for an epoch without a peak of its own to
be handed on: a peak blurred by as much still has 99.6 % of its pairs in a window of three peak widths."""
LONGEST_WAIT: Final = 64
"""Steps between two searches in vain at most, half a minute and more; the wait doubles from 1, since a search may take
longer than all else that an epoch needs."""
TRACKED_PAIRS: Final = 20.0
"""Pairs that a step of the walk should hold: of dim links several epochs are tracked at once, or chance would now and
then show no peak in three single ones, and the lock would be given up."""
MOST_TOGETHER: Final = 16
"""Epochs that a step holds at most, 8.8 s: the tracking takes no more than 10 s."""
STEP_SIGMAS: Final = 6.0
"""Standard deviations of the prediction beyond which a clock that is found elsewhere has stepped, not wandered, ..."""
STEP_WINDOWS: Final = 0.5
"""... if it is as many windows away, so that coincidences were missed."""
MOST_WAITING: Final = 8
"""Steps without a peak that wait for the next one at most."""


@dataclass(frozen=True, slots=True)
class AlignedEpoch:
    """Clicks of both sides in alice's time, of one epoch or, where pairs are few, of some that follow each other."""

    alice: DetectionEpoch
    bob: DetectionEpoch
    """In link time."""
    live_ps: int
    """Its length less the gaps of either side, in which both sides' clicks are left out."""
    clock: ClockModel
    """Bob's clock from the start to the end of the epoch, as a line from the start."""
    tracking: TrackingReport | None
    """None with a shared clock, and where a side has no click."""
    stepped: bool = False
    """True where bob's clock jumped before or in this epoch: the lock was lost and found again, or the peak was found
    where the clock cannot have wandered."""


@dataclass(slots=True)
class Walk:
    """The walk through two streams; iterate it once, then read the counters."""

    alice: ClickStream
    bob: ClickStream
    state: ClockState | None
    """Where tracking begins, then where it has come; None with a shared clock."""
    over: Mapper
    window_ps: float
    """Full width of the coincidence window that the epochs are for."""
    discards: Counter[str] = field(default_factory=Counter)
    """Epochs left out, by reason."""
    relocks: int = 0
    """Times that the lock was lost and found again."""
    vain_searches: int = 0
    """Searches for a lost lock that found nothing."""
    _lost: bool = False
    _wait: int = 0
    """Steps until the next search."""
    _next_wait: int = 1

    def __iter__(self) -> Iterator[AlignedEpoch]:
        # What has no peak waits for the next one: it proves that the clock held, a lost lock that it did not.
        waiting: list[AlignedEpoch] = []
        for epoch, reason in self._steps():
            if self._lost or epoch.stepped:
                for unproven in waiting:
                    self._discard(unproven, LockLoss.PEAK_LOST)
                waiting.clear()
            blurred = epoch.tracking is not None and epoch.tracking.phase_sigma_ps > BLUR * self.window_ps
            if reason is not None and (self._lost or blurred):
                self._discard(epoch, reason)
                continue
            waiting.append(epoch)
            dark = reason is not None and reason is not LockLoss.PEAK_LOST
            if reason is None or (dark and len(waiting) == 1) or len(waiting) > MOST_WAITING:
                yield from waiting
                waiting.clear()
        yield from waiting

    def _discard(self, epoch: AlignedEpoch, reason: LockLoss) -> None:
        self.discards[reason.name.lower()] += -((epoch.alice.start_ps - epoch.alice.stop_ps) // EPOCH_PS)

    def _steps(self) -> Iterator[tuple[AlignedEpoch, LockLoss | None]]:
        """Go through common time from border to border; with each step why its clock is only held, if it is."""
        start_ps = self._begin_ps()
        if start_ps is None:
            return
        if self.state is not None and start_ps < self.state.reference_ps:
            # The search may have found the clock in the middle of the recording.
            self.state = self.state.moved_to(start_ps)
        while True:
            stop_ps = (start_ps // EPOCH_PS + self._together()) * EPOCH_PS
            alice, bob = self._clicks(start_ps, stop_ps)
            end_ps = self._end_ps()
            if end_ps is not None and end_ps < stop_ps:
                if end_ps <= start_ps:
                    return
                stop_ps = end_ps
                alice, bob = self._clicks(start_ps, stop_ps)
            elif not (len(alice) or len(bob)):
                stop_ps = max(stop_ps, self._quiet_until_ps() // EPOCH_PS * EPOCH_PS)
                alice, bob = self._clicks(start_ps, stop_ps)
            yield self._aligned(alice, bob)
            start_ps = stop_ps

    def _together(self) -> int:
        """Return how many epochs the next step holds."""
        if self.state is None:
            return 1
        # Without a first peak the pair rate is a guess: a step without one is followed by a longer one.
        together = 1 if any(self.state.singles_hz) else 2 ** min(self.state.peakless_epochs, PEAKLESS_EPOCHS)
        pairs = self.state.pair_rate_hz * EPOCH_PS / PS_PER_S
        while together < MOST_TOGETHER and together * pairs < TRACKED_PAIRS:
            together *= 2
        return min(together, MOST_TOGETHER)

    def _begin_ps(self) -> int | None:
        """Return where common time begins, link time; None where a side has no click at all."""
        if self.state is None:
            return self.alice.tape.next_ps()
        alice_ps, bob_ps = self.alice.next_ps(), self.bob.next_ps()
        if alice_ps is None or bob_ps is None:
            return None
        return max(alice_ps, _link_at(bob_ps, self.state.clock))

    def _end_ps(self) -> int | None:
        """Return where common time ends, link time, as soon as a recording has been read to its end."""
        if self.state is None:
            lasts_ps = [one.last_ps for one in (self.alice, self.bob) if one.finished and one.last_ps is not None]
            return max(lasts_ps) + 1 if lasts_ps else None
        ends_ps = [self.alice.last_ps] if self.alice.finished and self.alice.last_ps is not None else []
        if self.bob.finished and self.bob.last_ps is not None:
            ends_ps.append(_link_at(self.bob.last_ps, self.state.clock))
        return min(ends_ps) + 1 if ends_ps else None

    def _quiet_until_ps(self) -> int:
        """Return a moment of link time before which neither side clicks again."""
        bob_ps = self.bob.quiet_until_ps
        return min(self.alice.quiet_until_ps, bob_ps if self.state is None else _link_at(bob_ps, self.state.clock))

    def _clicks(self, start_ps: int, stop_ps: int) -> tuple[DetectionEpoch, DetectionEpoch]:
        """Return both sides' clicks of a stretch of link time, each in its own clock, and forget what came before."""
        self.alice.skip_to(start_ps)
        low_ps, high_ps, margin_ps = start_ps, stop_ps, 0
        if self.state is not None:
            low_ps, high_ps = bob_span(self.state, start_ps, stop_ps)
            margin_ps = RELOCK_OFFSET_PS
        self.bob.skip_to(low_ps - margin_ps)
        return self.alice.between(start_ps, stop_ps), self.bob.between(low_ps, high_ps)

    def _aligned(self, alice: DetectionEpoch, bob: DetectionEpoch) -> tuple[AlignedEpoch, LockLoss | None]:
        start_ps, stop_ps = alice.start_ps, alice.stop_ps
        if self.state is None:
            return AlignedEpoch(*without_gaps(alice, bob), ClockModel(start_ps, 0, 0.0), None), None
        if len(alice) and len(bob):
            return self._tracked(alice, bob, self.state)
        held = ClockMap.straight(self.state.clock, start_ps, stop_ps)
        link = _in_link_time(bob, held, start_ps, stop_ps)
        epoch = AlignedEpoch(*without_gaps(alice, link), _line(held, start_ps, stop_ps), None)
        return epoch, LockLoss.NO_TAGS_BOB if len(alice) else LockLoss.NO_TAGS_ALICE

    def _tracked(
        self, alice: DetectionEpoch, bob: DetectionEpoch, state: ClockState
    ) -> tuple[AlignedEpoch, LockLoss | None]:
        start_ps, stop_ps = alice.start_ps, alice.stop_ps
        tracked = track(alice.tag_ps, bob.tag_ps, state, start_ps, stop_ps)
        line = _line(tracked.clock_map, start_ps, stop_ps)
        stepped = tracked.report.reason is None and self._stepped(line, state)
        if not tracked.report.locked:
            found = self._relocked(alice, bob, tracked.state)
            if found is not None:
                self.relocks += 1
                stepped = True
                bob = self.bob.between(*bob_span(found, start_ps, stop_ps))
                tracked = track(alice.tag_ps, bob.tag_ps, found, start_ps, stop_ps)
                line = _line(tracked.clock_map, start_ps, stop_ps)
        if tracked.report.locked:
            self._wait, self._next_wait = 0, 1
        self.state, self._lost = tracked.state, not tracked.report.locked
        link = _in_link_time(bob, tracked.clock_map, start_ps, stop_ps)
        epoch = AlignedEpoch(*without_gaps(alice, link), line, tracked.report, stepped)
        return epoch, tracked.report.reason

    def _stepped(self, line: ClockModel, state: ClockState) -> bool:
        """Tell whether the clock was found where it cannot have wandered."""
        predicted = state.moved_to(line.reference_ps).clock
        jump_ps = abs(line.offset_ps - predicted.offset_ps)
        return jump_ps > max(STEP_SIGMAS * predicted.offset_sigma_ps, STEP_WINDOWS * self.window_ps)

    def _relocked(self, alice: DetectionEpoch, bob: DetectionEpoch, state: ClockState) -> ClockState | None:
        """Search the neighbourhood of a lost lock with the data of one step, if it is time to."""
        if self._wait:
            self._wait -= 1
            return None
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
            self.vain_searches += 1
            self._wait, self._next_wait = self._next_wait, min(2 * self._next_wait, LONGEST_WAIT)
            return None
        return state.reacquired(found.clock).moved_to(alice.start_ps)


def _link_at(bob_ps: int, clock: ClockModel) -> int:
    """Return the moment of link time at which bob's clock shows ``bob_ps``."""
    since_ps = bob_ps - clock.reference_ps - clock.offset_ps
    return clock.reference_ps + since_ps - round(since_ps * (clock.frequency_error / (1.0 + clock.frequency_error)))


def _in_link_time(bob: DetectionEpoch, clock: ClockMap, start_ps: int, stop_ps: int) -> DetectionEpoch:
    link_ps = clock.to_link(bob.tag_ps)
    first, last = np.searchsorted(link_ps, [start_ps, stop_ps])
    borders_ps = sorted({moment for gap in bob.gaps for moment in (gap.start_ps, gap.stop_ps)})
    link_of = dict(zip(borders_ps, clock.to_link(np.array(borders_ps, np.int64)).tolist(), strict=True))
    gaps = tuple(replace(gap, start_ps=link_of[gap.start_ps], stop_ps=link_of[gap.stop_ps]) for gap in bob.gaps)
    return DetectionEpoch(bob.detector[first:last], link_ps[first:last], start_ps, stop_ps, gaps)


def _line(clock: ClockMap, start_ps: int, stop_ps: int) -> ClockModel:
    """Return the straight line from the start to the end of an epoch of its map."""
    first_ps, last_ps = (int(offset) for offset in clock.offset_at(np.array([start_ps, stop_ps])))
    return ClockModel(start_ps, first_ps, (last_ps - first_ps) / (stop_ps - start_ps))
