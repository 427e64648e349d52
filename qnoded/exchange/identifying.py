"""Coincidences of a live link, epoch by epoch: ``reveal`` and ``match`` side by side.

::

    revealer                                        matcher
    her epoch: RevealedEpoch ---------------------> his clicks of the same moments, the clock tracked
    her bits of them <----------------------------- Coincidences: which of hers met his, which are tests, his test bits
    sifted: Confirmation, her test bits ----------> sifted

Instead of ``RevealedEpoch`` she may say ``EpochSkipped``, instead of ``Coincidences`` he may say ``EpochRefused``; both
name the reason, and then neither end sifts the epoch. An epoch that is late, lost or garbled is discarded and never
repaired: each end reports each epoch once, as sifted or as discarded.

The matcher keeps the clock. Before a lock he gathers her epochs and his own, searches when there may be enough, and
then tracks through all that was gathered. A script runs until its session ends; ``LinkMemory`` outlives it.
"""

from __future__ import annotations

import math
import os
from collections import deque
from typing import Final

from qnoded.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from qnoded.exchange.clock_search import ClockSearch, search, trackable
from qnoded.exchange.effects import Script, arrival, compute, demand, emit, send
from qnoded.exchange.epoch_work import Prepared, Randomness, Setup, Told, confirm, identify, prepare, sift
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import Detected, DetectionLost, Happening, KnownClock
from qnoded.exchange.interlude import Phase
from qnoded.exchange.link_memory import LinkMemory, discarded
from qnoded.exchange.live_messages import (
    Coincidences,
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
from qnoded.exchange.reports import (
    ClockAcquired,
    ClockTracked,
    LockLost,
    Reason,
    ResolutionChosen,
    Revealed,
    ServiceMeasured,
)
from qnoded.exchange.terms import LinkTerms
from qnoded.mapping import Mapper
from qnoded.records import DetectionEpoch, Receiver
from qnoded.stages.revealing import (
    FIRST_RESOLUTION_PS,
    MOST_CLICKS,
    entropy_bits,
    other_resolution,
)
from qnoded.stages.synchronization.clock_state import ClockState
from qnoded.stages.synchronization.tracking import Tracked, bob_span
from qnoded.units import EPOCH_PS, seconds

MOST_IN_FLIGHT: Final = 64
"""Epochs of one end that wait for the peer's answer: 35 seconds, longer than a search for the clock takes."""
MOST_IN_FLIGHT_BYTES: Final = 1 << 27
MOST_LAG: Final = 8
"""Epochs for which a search waits until this end's own data have come as far as the revealed ones."""
OF_THE_PEER: Final = frozenset({Reason.GAP, Reason.OVERLOAD})
"""Reasons that lie at the peer's instruments: here they are told as ``REFUSED``."""


def reveal(
    terms: LinkTerms,
    side: str,
    receiver: Receiver,
    session: Session,
    *,
    memory: LinkMemory,
    randomness: Randomness = os.urandom,
) -> Script[None]:
    """Reveal times and bases of each epoch and sift what the matcher finds.

    Parameters
    ----------
    terms : of the link
    side : ``"alice"`` or ``"bob"``
    receiver : this end's detectors, as its epochs number them
    session : as agreed on
    memory : of this end of the link
    randomness : secret random bytes

    Raises
    ------
    ProtocolError
        That ends the session; epochs in flight are reported as discarded first.
    """
    revealer = _Revealer(Setup.of(terms, side, receiver, session.revealer), memory, randomness)
    yield from memory.begin(session)
    try:
        while True:
            yield from revealer.take((yield from arrival()))
    except ProtocolError as error:
        for epoch in revealer.in_flight:
            yield from discarded(epoch, Reason.PEER_LOST, str(error))
        raise


def match(
    terms: LinkTerms,
    side: str,
    receiver: Receiver,
    session: Session,
    known: KnownClock,
    over: Mapper,
    *,
    memory: LinkMemory,
    randomness: Randomness = os.urandom,
) -> Script[None]:
    """Keep the clock, match what is revealed and sift it; parameters and errors as for ``reveal``.

    Parameters
    ----------
    known : what is known of the clock before the first epoch
    over : gives searches and matching more than one core
    """
    matcher = _Matcher(Setup.of(terms, side, receiver, session.revealer), known, over, memory, randomness)
    yield from memory.begin(session)
    try:
        while True:
            yield from matcher.take((yield from arrival()))
    except ProtocolError as error:
        for epoch in sorted({*matcher.told, *(revealed.epoch for revealed in matcher.waiting)}):
            yield from discarded(epoch, Reason.PEER_LOST, str(error))
        raise


class _Revealer:
    """One session of the end that reveals."""

    def __init__(self, setup: Setup, memory: LinkMemory, randomness: Randomness) -> None:
        self.in_flight: dict[int, DetectionEpoch] = {}
        self._setup, self._memory, self._randomness = setup, memory, randomness
        self._resolution_ps = FIRST_RESOLUTION_PS
        self._newest: int | None = None

    def take(self, arrived: Message | Happening) -> Script[None]:
        if isinstance(arrived, Detected):
            yield from self._detected(arrived.epoch)
        elif isinstance(arrived, DetectionLost):
            yield from self._lost(arrived)
        elif isinstance(arrived, Coincidences):
            yield from self._told(arrived)
        elif isinstance(arrived, EpochRefused):
            if self._answered(arrived.epoch) is not None:
                yield from discarded(arrived.epoch, _at_peer(arrived.reason), f"the matcher: {arrived.reason.value}")
        elif isinstance(arrived, ServiceCounted):
            if self._answered(arrived.epoch) is not None:
                yield from emit(_measured(arrived, self._setup))
        elif isinstance(arrived, ResolutionWanted):
            self._resolution_ps = arrived.resolution_ps
            yield from emit(ResolutionChosen((self._newest or 0) + 1, arrived.resolution_ps))
        else:
            yield from self._memory.take(arrived, self._newest or 0)

    def _detected(self, epoch: DetectionEpoch) -> Script[None]:
        number = self._next(epoch.start_ps)
        yield from self._memory.running(number + 1)
        if epoch.gaps:
            yield from self._skip(number, Reason.GAP, f"{len(epoch.gaps)} gaps: {epoch.gaps[0].reason}")
        elif not len(epoch):
            yield from self._skip(number, Reason.NO_CLICKS, "")
        elif len(epoch) > MOST_CLICKS:
            yield from self._skip(number, Reason.OVERLOAD, f"{len(epoch)} clicks, at most {MOST_CLICKS} are revealed")
        else:
            phase = self._memory.interludes.phase(number)
            prepared = yield from compute(
                prepare,
                epoch,
                self._setup,
                self._resolution_ps,
                self._randomness,
                settling=phase is Phase.SETTLING,
                service=phase is Phase.SERVICE,
            )
            yield from self._reveal(number, prepared)

    def _reveal(self, number: int, prepared: Prepared) -> Script[None]:
        self.in_flight[number] = prepared.epoch
        yield from send(prepared.message)
        clicks, message = len(prepared.epoch), prepared.message
        rate_hz = clicks / seconds(message.duration_ps)
        labels = 1 << (self._setup.service_bits if isinstance(message, ServiceRevealed) else self._setup.label_bits)
        entropy = clicks * entropy_bits(rate_hz, message.resolution_ps, labels)
        yield from emit(Revealed(number, clicks, message.clicks.bits, entropy))
        while len(self.in_flight) > MOST_IN_FLIGHT or self._bytes_in_flight() > MOST_IN_FLIGHT_BYTES:
            oldest = next(iter(self.in_flight))
            del self.in_flight[oldest]
            yield from self._skip(oldest, Reason.LATE, f"{MOST_IN_FLIGHT} epochs later there is no answer")

    def _lost(self, lost: DetectionLost) -> Script[None]:
        for start_ps in range(lost.start_ps, lost.stop_ps, EPOCH_PS):
            yield from self._skip(self._next(start_ps), Reason(lost.reason), "")

    def _told(self, told: Coincidences) -> Script[None]:
        epoch = self._answered(told.epoch)
        if epoch is None:
            return
        demand(
            self._memory.interludes.phase(told.epoch) is Phase.KEY,
            f"coincidences of epoch {told.epoch} arrived, which belongs to an interlude; the two ends' plans differ",
        )
        try:
            sifted, confirmation = yield from compute(sift, epoch, told, self._setup)
        except RemoteProtocolError as error:
            yield from self._skip(told.epoch, Reason.GARBLED, str(error))
            return
        yield from send(confirmation)
        yield from self._memory.sifted(sifted)

    def _skip(self, number: int, reason: Reason, numbers: str) -> Script[None]:
        yield from send(EpochSkipped(number, reason))
        yield from discarded(number, reason, numbers)

    def _next(self, start_ps: int) -> int:
        number = start_ps // EPOCH_PS
        if self._newest is not None and number <= self._newest:
            problem = f"epoch {number} follows epoch {self._newest}; a stream that starts anew needs a new session"
            raise LocalProtocolError(problem)
        self._newest = number
        return number

    def _answered(self, number: int) -> DetectionEpoch | None:
        """Take an epoch out of flight; None for one that was given up meanwhile."""
        demand(
            self._newest is not None and number <= self._newest,
            f"an answer about epoch {number} arrived, which was not revealed yet; the peer runs ahead of the session",
        )
        return self.in_flight.pop(number, None)

    def _bytes_in_flight(self) -> int:
        return sum(epoch.tag_ps.nbytes + epoch.detector.nbytes for epoch in self.in_flight.values())


class _Matcher:
    """One session of the end that matches and keeps the clock."""

    def __init__(
        self, setup: Setup, known: KnownClock, over: Mapper, memory: LinkMemory, randomness: Randomness
    ) -> None:
        self.waiting: deque[RevealedEpoch | ServiceRevealed] = deque()
        """Revealed epochs that are not matched yet."""
        self.told: dict[int, Told] = {}
        """Matched epochs that the revealer has not confirmed yet."""
        self._setup, self._over, self._memory, self._randomness = setup, over, memory, randomness
        self._known: KnownClock | None = known
        self._search = ClockSearch(setup.terms, known)
        self._own = OwnEpochs()
        self._state: ClockState | None = None
        self._newest: int | None = None
        self._gathered = 0
        """Epochs that came since the search began."""
        self._resolution_ps = FIRST_RESOLUTION_PS

    def take(self, arrived: Message | Happening) -> Script[None]:
        if isinstance(arrived, (Detected, DetectionLost)):
            self._own.add(arrived)
            yield from self._proceed()
            yield from self._move_controller()
        elif isinstance(arrived, (RevealedEpoch, ServiceRevealed)):
            yield from self._revealed(arrived)
        elif isinstance(arrived, EpochSkipped):
            yield from self._skipped(arrived)
        elif isinstance(arrived, Confirmation):
            yield from self._confirmed(arrived)
        else:
            yield from self._memory.take(arrived, self._newest or 0)

    def _revealed(self, revealed: RevealedEpoch | ServiceRevealed) -> Script[None]:
        demand(
            revealed.epoch == revealed.start_ps // EPOCH_PS and (self._newest is None or revealed.epoch > self._newest),
            f"epoch {revealed.epoch} from {revealed.start_ps} ps follows epoch {self._newest}; the order is broken",
        )
        self._newest = revealed.epoch
        self._gathered += 1
        self.waiting.append(revealed)
        while len(self.waiting) > MOST_IN_FLIGHT or self._bytes_waiting() > MOST_IN_FLIGHT_BYTES:
            reason = Reason.NO_LOCK if self._state is None else Reason.LATE
            yield from self._refuse(self.waiting.popleft().epoch, reason)
        yield from self._proceed()

    def _skipped(self, skipped: EpochSkipped) -> Script[None]:
        number = skipped.epoch
        unsettled = self.told.pop(number, None) is not None or self._newest is None or number > self._newest
        for revealed in self.waiting:
            if revealed.epoch == number:
                self.waiting.remove(revealed)
                unsettled = True
                break
        self._newest = number if self._newest is None else max(self._newest, number)
        if unsettled:
            yield from discarded(number, _at_peer(skipped.reason), f"the revealer: {skipped.reason.value}")

    def _confirmed(self, confirmation: Confirmation) -> Script[None]:
        told = self.told.pop(confirmation.epoch, None)
        demand(told is not None, f"a confirmation of epoch {confirmation.epoch} arrived, which was not told")
        assert told is not None
        try:
            sifted = yield from compute(confirm, told, confirmation, self._setup)
        except RemoteProtocolError as error:
            yield from discarded(confirmation.epoch, Reason.GARBLED, str(error))
            return
        yield from self._memory.sifted(sifted)

    def _proceed(self) -> Script[None]:
        """Match what can be matched; without a lock, search when it may help."""
        while self.waiting and self._own.stop_ps is not None:
            first = self.waiting[0]
            if self._known is not None:
                # Asked once, when it is known how long the clock ran free.
                self._state, self._known = trackable(self._known, first.start_ps, self._setup.terms), None
            if self._state is None and not (yield from self._searched()):
                return
            assert self._state is not None
            low_ps, high_ps = bob_span(self._state, first.start_ps, first.start_ps + first.duration_ps)
            if high_ps > self._own.stop_ps:
                return
            self.waiting.popleft()
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
        phase = self._memory.interludes.phase(number)
        settling = isinstance(revealed, RevealedEpoch) and (revealed.settling or phase is not Phase.KEY)
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
            self.told[number] = identified.told
            if len(self.told) > MOST_IN_FLIGHT:
                oldest = next(iter(self.told))
                del self.told[oldest]
                yield from discarded(oldest, Reason.LATE, f"{MOST_IN_FLIGHT} epochs later it is not confirmed")
        yield from send(answer)
        if isinstance(answer, ServiceCounted):
            yield from emit(_measured(answer, self._setup))

    def _tracked(self, number: int, tracked: Tracked, resolution_ps: int) -> Script[None]:
        report = tracked.report
        self._state = tracked.state
        yield from emit(ClockTracked(number, tracked.state, report))
        if not report.locked:
            yield from emit(LockLost(number, report.sentence))
            self._search.lost(tracked.state)
            self._state, self._gathered = None, len(self.waiting)
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
        first, last = self.waiting[0], self.waiting[-1]
        at_ps = (first.start_ps + last.start_ps + last.duration_ps) // 2
        nearest_ps, _ = self._search.reach(at_ps)
        self._own.forget_before(first.start_ps + nearest_ps)
        where, cold = self._search.where(at_ps)
        lags = self._own.stop_ps < last.start_ps + last.duration_ps + where.offset_ps
        if not self._search.due(self._gathered) or (lags and len(self.waiting) < MOST_LAG):
            return False
        found = yield from compute(
            search,
            tuple(self.waiting),
            self._own.epochs,
            where,
            self._setup.label_bits,
            self._setup.service_bits,
            self._search.effort_points,
            self._search.learnt,
            self._over,
            cold=cold,
        )
        gathered_s = len(self.waiting) * seconds(EPOCH_PS)
        yield from emit(ClockAcquired(last.epoch, found.acquisition, gathered_s, found.cold))
        if found.state is None:
            self._search.failed(self._gathered)
            return False
        self._state = found.state
        return True

    def _refuse(self, number: int, reason: Reason, numbers: str = "") -> Script[None]:
        yield from send(EpochRefused(number, reason))
        yield from discarded(number, reason, numbers)

    def _move_controller(self) -> Script[None]:
        """Tell where the controller goes, by the revealer's clock as this end knows it."""
        if self._state is not None and self._own.stop_ps is not None:
            now_ps = self._own.stop_ps - self._state.offset_ps
            yield from self._memory.running(now_ps // EPOCH_PS)

    def _bytes_waiting(self) -> int:
        return sum(revealed.clicks.bits // 8 for revealed in self.waiting)


def _at_peer(reason: Reason) -> Reason:
    return Reason.REFUSED if reason in OF_THE_PEER else reason


def _measured(counted: ServiceCounted, setup: Setup) -> ServiceMeasured:
    """Return the counts as matrices; the message does not say their shape, the terms do."""
    shape = len(setup.terms.alice_detectors), len(setup.terms.bob_detectors)
    sized = counted.matrix.size == counted.accidentals.size == math.prod(shape)
    demand(sized, f"{counted.matrix.size} counts of epoch {counted.epoch} arrived, {shape[0]} x {shape[1]} are due")
    matrix, chance = counted.matrix.reshape(shape), counted.accidentals.reshape(shape)
    return ServiceMeasured(counted.epoch, matrix, chance, counted.displaced_windows)
