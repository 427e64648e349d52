"""The revealing end of a session; the conversation as a whole is told in ``identifying``."""

from __future__ import annotations

from qnoded.errors import LocalProtocolError, RemoteProtocolError
from qnoded.exchange.account import Account
from qnoded.exchange.effects import Script, compute, demand, emit, send
from qnoded.exchange.epoch_work import Prepared, Randomness, Setup, prepare, sift
from qnoded.exchange.happenings import Detected, DetectionLost, Happening
from qnoded.exchange.interlude import Phase
from qnoded.exchange.link_memory import MOST_IN_FLIGHT, MOST_IN_FLIGHT_BYTES, LinkMemory, at_peer
from qnoded.exchange.live_messages import (
    Coincidences,
    EpochRefused,
    EpochSkipped,
    ResolutionWanted,
    RevealedEpoch,
    ServiceCounted,
    ServiceRevealed,
)
from qnoded.exchange.messages import Message
from qnoded.exchange.reports import Reason, ResolutionChosen, Revealed
from qnoded.records import DetectionEpoch
from qnoded.stages.revealing import FIRST_RESOLUTION_PS, MOST_CLICKS, entropy_bits
from qnoded.units import EPOCH_PS, seconds


class Revealer:
    """What the revealer knows, and what it does about each thing that arrives."""

    def __init__(self, setup: Setup, memory: LinkMemory, randomness: Randomness) -> None:
        self.account = Account()
        """Of the epochs of this end's clock."""
        self._in_flight: dict[int, Prepared] = {}
        """Revealed epochs that the matcher has not answered yet."""
        self._setup, self._memory, self._randomness = setup, memory, randomness
        self._resolution_ps = FIRST_RESOLUTION_PS
        self._newest: int | None = None

    def take(self, arrived: Message | Happening) -> Script[None]:
        """Act upon what has arrived."""
        if isinstance(arrived, Detected):
            self._memory.detected(arrived)
            yield from self._detected(arrived.epoch)
        elif isinstance(arrived, DetectionLost):
            self._memory.detected(arrived)
            yield from self._lost(arrived)
        elif isinstance(arrived, Coincidences):
            yield from self._told(arrived)
        elif isinstance(arrived, EpochRefused):
            if self._answered(arrived.epoch) is not None:
                numbers = f"the matcher: {arrived.reason.value}"
                yield from self.account.discard(arrived.epoch, at_peer(arrived.reason), numbers)
        elif isinstance(arrived, ServiceCounted):
            measured = self._setup.measured(arrived)
            if self._answered(arrived.epoch) is not None:
                yield from self.account.gives(measured)
        elif isinstance(arrived, ResolutionWanted):
            self._resolution_ps = arrived.resolution_ps
            yield from emit(ResolutionChosen((self._newest or 0) + 1, arrived.resolution_ps))
        else:
            yield from self._memory.take(arrived, self._newest or 0)

    def end(self, why: str) -> Script[None]:
        """Tell what becomes of the epochs that this end has in its hands, now that the session has ended."""
        yield from self._memory.turn_back()
        yield from self.account.close(why)

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
            phase = self._memory.interludes.phase(number, epoch.start_ps, epoch.stop_ps)
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
        if not len(prepared.epoch):
            yield from self._skip(number, Reason.NO_CLICKS, "all clicks met others of this side and were left out")
            return
        self._in_flight[number] = prepared
        yield from send(prepared.message)
        clicks, message = len(prepared.epoch), prepared.message
        rate_hz = clicks / seconds(message.duration_ps)
        labels = 1 << (self._setup.service_bits if isinstance(message, ServiceRevealed) else self._setup.label_bits)
        entropy = clicks * entropy_bits(rate_hz, message.resolution_ps, labels)
        yield from emit(Revealed(number, clicks, message.clicks.bits, entropy))
        while len(self._in_flight) > MOST_IN_FLIGHT or self._bytes_in_flight() > MOST_IN_FLIGHT_BYTES:
            oldest = next(iter(self._in_flight))
            del self._in_flight[oldest]
            yield from self._skip(oldest, Reason.LATE, f"{MOST_IN_FLIGHT} epochs later there is no answer")

    def _lost(self, lost: DetectionLost) -> Script[None]:
        for start_ps in range(lost.start_ps, lost.stop_ps, EPOCH_PS):
            yield from self._skip(self._next(start_ps), Reason(lost.reason), "")

    def _told(self, told: Coincidences) -> Script[None]:
        demand(
            self._memory.interludes.planned_phase(told.epoch) is Phase.KEY,
            f"coincidences of epoch {told.epoch} arrived, which belongs to an interlude; the two ends' plans differ",
        )
        prepared = self._answered(told.epoch)
        if prepared is None:
            return
        epoch, message = prepared.epoch, prepared.message
        # What was told to everybody is never key, whatever became of the plan since.
        demand(
            isinstance(message, RevealedEpoch) and not message.settling,
            f"coincidences of epoch {told.epoch} arrived, which was not revealed as key; the two ends' plans differ",
        )
        demand(
            self._memory.interludes.stood(Phase.KEY, epoch.start_ps, epoch.stop_ps),
            f"coincidences of epoch {told.epoch} arrived, which was revealed for the clock alone; update the peer",
        )
        try:
            sifted, confirmation = yield from compute(sift, epoch, told, self._setup)
        except RemoteProtocolError as error:
            yield from self._skip(told.epoch, Reason.GARBLED, str(error))
        else:
            yield from send(confirmation)
            yield from self.account.gives(sifted)
            yield from self._memory.sifted(sifted, self._newest or 0)

    def _skip(self, number: int, reason: Reason, numbers: str) -> Script[None]:
        yield from self.account.discard(number, reason, numbers)
        yield from send(EpochSkipped(number, reason))

    def _next(self, start_ps: int) -> int:
        number = start_ps // EPOCH_PS
        if self._newest is not None and number <= self._newest:
            problem = f"epoch {number} follows epoch {self._newest}; a stream that starts anew needs a new session"
            raise LocalProtocolError(problem)
        self._newest = number
        self.account.see(number)
        return number

    def _answered(self, number: int) -> Prepared | None:
        """Take an epoch out of flight; None for one that was given up meanwhile."""
        demand(
            self._newest is not None and number <= self._newest,
            f"an answer about epoch {number} arrived, which was not revealed yet; the peer runs ahead of the session",
        )
        return self._in_flight.pop(number, None)

    def _bytes_in_flight(self) -> int:
        epochs = (prepared.epoch for prepared in self._in_flight.values())
        return sum(epoch.tag_ps.nbytes + epoch.detector.nbytes for epoch in epochs)
