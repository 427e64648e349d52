"""The matching end of a session, which keeps the clock; the conversation as a whole is told in ``identifying``."""

from __future__ import annotations

from collections import deque
from typing import Final

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.account import Account
from qnoded.exchange.clock_search import ClockSearch, search, trackable
from qnoded.exchange.effects import Script, compute, demand, emit, send
from qnoded.exchange.epoch_work import Randomness, Setup, Told, confirm, identify
from qnoded.exchange.happenings import Detected, DetectionLost, Happening, KnownClock
from qnoded.exchange.interlude import Phase
from qnoded.exchange.link_memory import MOST_IN_FLIGHT, MOST_IN_FLIGHT_BYTES, LinkMemory, at_peer
from qnoded.exchange.live_messages import (
    Confirmation,
    EpochRefused,
    EpochSkipped,
    ResolutionWanted,
    RevealedEpoch,
    ServiceCounted,
    ServiceRevealed,
)
from qnoded.exchange.messages import Message
from qnoded.exchange.own_epochs import OwnEpochs
from qnoded.exchange.reports import ClockAcquired, ClockTracked, LockLost, Reason
from qnoded.mapping import Mapper
from qnoded.stages.revealing import FIRST_RESOLUTION_PS, other_resolution
from qnoded.stages.synchronization.clock_state import ClockState
from qnoded.stages.synchronization.tracking import Tracked, bob_span
from qnoded.units import EPOCH_PS, seconds

MOST_LAG: Final = 8
"""Epochs for which a search waits until this end's own data have come as far as the revealed ones."""

MOST_UNHEARD: Final = MOST_IN_FLIGHT
"""Epochs that may be over without a word of the revealer's, before the oldest is given up and counted."""


class Matcher:
    """What the matcher knows, and what it does about each thing that arrives."""

    def __init__(
        self, setup: Setup, known: KnownClock, over: Mapper, memory: LinkMemory, randomness: Randomness
    ) -> None:
        self.account = Account()
        """Of the revealer's epochs."""
        self._waiting: deque[RevealedEpoch | ServiceRevealed] = deque()
        """Revealed epochs that are not matched yet."""
        self._told: dict[int, Told] = {}
        """Matched epochs that the revealer has not confirmed yet."""
        self._unconfirmed: int | None = None
        """Newest of those that were given up since nobody confirmed them."""
        self._setup, self._over, self._memory, self._randomness = setup, over, memory, randomness
        self._known: KnownClock | None = known
        self._search = ClockSearch(setup.terms, known)
        self._own = OwnEpochs()
        self._own_unheard = 0
        """Own epochs that have come since the newest of the revealer's was heard of or given up."""
        self._state: ClockState | None = None
        self._newest: int | None = None
        """Of the revealer's epochs, that was heard of."""
        self._given_up: int | None = None
        """Newest after it that was given up unheard."""
        self._gathered = 0
        """Epochs that came since the search began."""
        self._resolution_ps = FIRST_RESOLUTION_PS

    def take(self, arrived: Message | Happening) -> Script[None]:
        """Act upon what has arrived."""
        if isinstance(arrived, (Detected, DetectionLost)):
            self._own_unheard += self._own.add(arrived)
            self._memory.detected(arrived)
            yield from self._proceed()
            yield from self._give_up_unheard()
            yield from self._move_controller()
        elif isinstance(arrived, (RevealedEpoch, ServiceRevealed)):
            yield from self._revealed(arrived)
        elif isinstance(arrived, EpochSkipped):
            yield from self._skipped(arrived)
        elif isinstance(arrived, Confirmation):
            yield from self._confirmed(arrived)
        else:
            yield from self._memory.take(arrived, self._newest or 0)

    def end(self, why: str) -> Script[None]:
        """Tell what becomes of the epochs that this end has in its hands, now that the session has ended."""
        yield from self._memory.turn_back()
        for number in self._unheard():
            self.account.see(number)
        yield from self.account.close(why)

    def _give_up_unheard(self) -> Script[None]:
        """Count what is over for so long that nobody waits for it any more; the end of a session finds few to count."""
        for number in self._unheard()[:-MOST_UNHEARD]:
            self.account.see(number)
            yield from self.account.discard(number, Reason.PEER_LOST, f"{MOST_UNHEARD} epochs later it is unheard of")
            if self._newest is not None:
                self._given_up = number
        self._own_unheard = min(self._own_unheard, MOST_UNHEARD)

    def _unheard(self) -> range:
        """Return the revealer's epochs that are over, by the clock, though nothing was heard of them."""
        stop_ps, newest = self._own.stop_ps, self._newest if self._given_up is None else self._given_up
        if stop_ps is None:
            return range(0)
        if self._state is not None and newest is not None:
            now_ps = stop_ps - self._state.offset_ps
            after = (stop_ps - self._state.clock.offset_at(now_ps)) // EPOCH_PS
            # A revealer whose numbers begin far back does not make this end count what it has not seen pass.
            return range(max(newest + 1, after - MOST_UNHEARD - self._own_unheard), after)
        # Without a lock nobody knows which they are, but how many.
        first = stop_ps // EPOCH_PS - self._own_unheard if newest is None else newest + 1
        return range(first, first + self._own_unheard)

    def _revealed(self, revealed: RevealedEpoch | ServiceRevealed) -> Script[None]:
        demand(
            revealed.epoch == revealed.start_ps // EPOCH_PS and (self._newest is None or revealed.epoch > self._newest),
            f"epoch {revealed.epoch} from {revealed.start_ps} ps follows epoch {self._newest}; the order is broken",
        )
        if not self._hear(revealed.epoch):
            yield from self._refuse(revealed.epoch, Reason.LATE)
            return
        self._gathered += 1
        self._waiting.append(revealed)
        while len(self._waiting) > MOST_IN_FLIGHT or self._bytes_waiting() > MOST_IN_FLIGHT_BYTES:
            reason = Reason.NO_LOCK if self._state is None else Reason.LATE
            yield from self._refuse(self._waiting.popleft().epoch, reason)
        yield from self._proceed()

    def _skipped(self, skipped: EpochSkipped) -> Script[None]:
        number = skipped.epoch
        self._told.pop(number, None)
        self._waiting = deque(revealed for revealed in self._waiting if revealed.epoch != number)
        if self._newest is None or number > self._newest:
            self._hear(number)
        yield from self.account.discard(number, at_peer(skipped.reason), f"the revealer: {skipped.reason.value}")

    def _hear(self, number: int) -> bool:
        """Take an epoch on that is heard of for the first time; return False if it was given up already."""
        self._newest = number
        if self._given_up is not None and number <= self._given_up:
            return False
        self._own_unheard, self._given_up = 0, None
        self.account.see(number)
        return True

    def _confirmed(self, confirmation: Confirmation) -> Script[None]:
        told, number = self._told.pop(confirmation.epoch, None), confirmation.epoch
        if told is None:
            late = self._unconfirmed is not None and number <= self._unconfirmed
            demand(late, f"a confirmation of epoch {number} arrived, which was not told")
            return
        try:
            sifted = yield from compute(confirm, told, confirmation, self._setup)
        except RemoteProtocolError as error:
            yield from self.account.discard(number, Reason.GARBLED, str(error))
        else:
            yield from self.account.gives(sifted)
            yield from self._memory.sifted(sifted, self._newest or 0)

    def _proceed(self) -> Script[None]:
        """Match what can be matched; without a lock, search when it may help."""
        while self._waiting and self._own.stop_ps is not None:
            if self._known is not None:
                # Asked once, when it is known how long the clock ran free.
                self._state, self._known = trackable(self._known, self._waiting[0].start_ps, self._setup.terms), None
            if self._state is None and not (yield from self._searched()):
                return
            assert self._state is not None
            first = self._waiting[0]
            low_ps, high_ps = bob_span(self._state, first.start_ps, first.start_ps + first.duration_ps)
            if high_ps > self._own.stop_ps:
                return
            self._waiting.popleft()
            yield from self._match(first, low_ps, high_ps)
            self._own.forget_before(low_ps)

    def _match(self, revealed: RevealedEpoch | ServiceRevealed, low_ps: int, high_ps: int) -> Script[None]:
        assert self._state is not None
        number, state = revealed.epoch, self._state
        fault = self._own.fault(low_ps, high_ps)
        if state.last_seen_ps is not None and revealed.start_ps < state.reference_ps - EPOCH_PS:
            fault = Reason.LATE
        if fault is not None:
            yield from self._refuse(number, fault)
            return
        interludes = self._memory.interludes
        if isinstance(revealed, RevealedEpoch):
            settling = revealed.settling or interludes.phase(number, low_ps, high_ps) is not Phase.KEY
        else:
            # The revealer's plan rules, which this end may have lost; where its own controller stood, it knows.
            settling = not interludes.stood(Phase.SERVICE, low_ps, high_ps)
        identified = yield from compute(
            identify,
            revealed,
            self._own.overlapping(low_ps, high_ps),
            state,
            self._setup,
            self._randomness,
            self._over,
            settling=settling,
        )
        if identified.tracked is not None:
            yield from self._tracked(number, identified.tracked, revealed.resolution_ps)
        answer = identified.answer
        if isinstance(answer, EpochRefused):
            told_by = identified.tracked.report.sentence if identified.tracked is not None else ""
            yield from self._refuse(number, answer.reason, "" if settling else told_by)
            return
        if identified.told is not None:
            self._told[number] = identified.told
            if len(self._told) > MOST_IN_FLIGHT:
                oldest = next(iter(self._told))
                del self._told[oldest]
                self._unconfirmed = oldest
                numbers = f"{MOST_IN_FLIGHT} epochs later it is not confirmed"
                yield from self.account.discard(oldest, Reason.LATE, numbers)
        yield from send(answer)
        if isinstance(answer, ServiceCounted):
            yield from self.account.gives(self._setup.measured(answer))

    def _tracked(self, number: int, tracked: Tracked, resolution_ps: int) -> Script[None]:
        report = tracked.report
        self._state = tracked.state
        yield from emit(ClockTracked(number, tracked.state, report))
        if not report.locked:
            yield from emit(LockLost(number, report.sentence))
            self._search.lost(tracked.state)
            self._state, self._gathered = None, len(self._waiting)
            yield from self._memory.turn_back()
            return
        if report.reason is not None or resolution_ps != self._resolution_ps:
            # Nothing to learn, or revealed before the last change.
            return
        wanted = other_resolution(tracked.state.peak_sigma_ps, self._setup.terms.window_ps, resolution_ps)
        if wanted is not None:
            self._resolution_ps = wanted
            yield from send(ResolutionWanted(wanted))

    def _searched(self) -> Script[bool]:
        """Search for the clock if that is due; return whether there is a lock now."""
        assert self._own.stop_ps is not None
        first, last = self._waiting[0], self._waiting[-1]
        at_ps = (first.start_ps + last.start_ps + last.duration_ps) // 2
        nearest_ps, farthest_ps = self._search.reach(at_ps)
        self._own.forget_before(first.start_ps + nearest_ps)
        while self._waiting and self._own.outruns(self._waiting[0].start_ps + EPOCH_PS + farthest_ps):
            # What it met has gone already, so it cannot help the search either.
            yield from self._refuse(self._waiting.popleft().epoch, Reason.NO_LOCK)
        if not self._waiting:
            return False
        where, cold = self._search.where(at_ps)
        lags = self._own.stop_ps < last.start_ps + last.duration_ps + where.offset_ps
        if not self._search.due(self._gathered) or (lags and len(self._waiting) < MOST_LAG):
            return False
        found = yield from compute(
            search,
            tuple(self._waiting),
            self._own.epochs,
            where,
            self._setup.label_bits,
            self._setup.service_bits,
            self._search.effort_points,
            self._search.learnt,
            self._over,
            cold=cold,
        )
        gathered_s = len(self._waiting) * seconds(EPOCH_PS)
        yield from emit(ClockAcquired(last.epoch, found.acquisition, gathered_s, found.cold))
        if found.state is None:
            self._search.failed(self._gathered)
            return False
        self._state = found.state
        return True

    def _refuse(self, number: int, reason: Reason, numbers: str = "") -> Script[None]:
        yield from self.account.discard(number, reason, numbers)
        yield from send(EpochRefused(number, reason))

    def _move_controller(self) -> Script[None]:
        """Tell where the controller goes, by the revealer's clock as this end knows it."""
        if self._state is not None and self._own.stop_ps is not None:
            now_ps = self._own.stop_ps - self._state.offset_ps
            yield from self._memory.running(now_ps // EPOCH_PS)

    def _bytes_waiting(self) -> int:
        return sum(revealed.clicks.bits // 8 for revealed in self._waiting)
