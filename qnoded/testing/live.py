"""Both ends of a live link in one process and in virtual time, with a network that may do its worst.

Messages travel as the frames that ``exchange.wire`` makes of them and are numbered as in a node: what is lost, doubled,
overtaken or garbled ends the session, and the next one begins a moment later, at both ends. Computing takes no time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from qnoded.errors import PeerSilent, ProtocolError
from qnoded.exchange import wire
from qnoded.exchange.effects import Compute, Effect, Emit, Receive, Script, Send, Wait
from qnoded.exchange.happenings import ControllerStands, Detected, DetectionLost, Happening
from qnoded.exchange.messages import Message
from qnoded.exchange.numbering import Numbering
from qnoded.exchange.reports import ControllerDue, EpochDiscarded, Reason
from qnoded.units import EPOCH_PS

RECONNECT_S: Final = 1.0
"""From the end of a session to the next one."""
TURNING_S: Final = 0.2
"""That a controller moves from one setting to another."""

Frames = Sequence[wire.Frame]
Network = Callable[[int, int, Frames], Iterable[tuple[float, Frames]]]
"""What arrives of one message: (sender, number of the sender's messages before, frames) -> (delay in s, frames) of
none, one or more."""
ScriptMaker = Callable[[int], Script[None]]
"""Makes an end's script of the n-th session."""
Event = tuple[float, int, Happening]
"""Moment in s, end (0 alice, 1 bob), what happens there."""


def prompt(_sender: int, _number: int, frames: Frames) -> Iterable[tuple[float, Frames]]:
    """Let each message arrive once, at once."""
    return ((0.0, frames),)


@dataclass(slots=True)
class LiveLink:
    """What came of it."""

    reports: tuple[list[tuple[float, Any]], list[tuple[float, Any]]] = field(default_factory=lambda: ([], []))
    """(moment in s, report) of alice and of bob; epochs between two sessions are among them as lost."""
    endings: list[ProtocolError] = field(default_factory=list)
    """Why each session ended."""
    sent: tuple[list[Message], list[Message]] = field(default_factory=lambda: ([], []))

    def of(self, end: int, kind: type[Any]) -> list[Any]:
        """Return an end's reports of one kind, in order."""
        return [report for _, report in self.reports[end] if isinstance(report, kind)]


@dataclass(frozen=True, slots=True)
class _Arrival:
    """Frames of a session on their way."""

    session: int
    frames: Frames


class _Ended(Exception):
    """A session ended."""

    def __init__(self, reason: ProtocolError) -> None:
        self.reason = reason
        super().__init__(str(reason))


def converse_live(
    makers: tuple[ScriptMaker, ScriptMaker],
    events: Iterable[Event],
    *,
    network: Network = prompt,
    partitions: Sequence[float] = (),
    reconnect_s: float = RECONNECT_S,
    turning_s: float | None = TURNING_S,
    watch: Callable[[int, object], None] = lambda _end, _report: None,
    run: Callable[[Callable[[], Any]], Any] = lambda work: work(),
) -> LiveLink:
    """Run a link until nothing more happens and nothing more is on its way.

    Parameters
    ----------
    makers : alice's and bob's
    events : what happens at the two ends, in any order
    network : decides what arrives, and when
    partitions : moments in s at which a session is cut from outside
    reconnect_s : s, from the end of a session to the next one
    turning_s : s, that a controller takes to a setting that is due; None: there is none
    watch : told of each report of an end, as a node that persists something
    run : runs what a script wants computed
    """
    link = _Link(makers, network, reconnect_s, turning_s, watch, run)
    order = count()
    agenda: list[tuple[float, int, int, Any]] = [(when, next(order), end, item) for when, end, item in events]
    agenda += [(when, next(order), 0, _Cut()) for when in partitions]
    heapq.heapify(agenda)
    link.agenda, link.order = agenda, order
    link.connect(0.0)
    while agenda:
        when, _, end, item = heapq.heappop(agenda)
        link.happen(when, end, item)
    link.close()
    return link.told


class _Cut:
    """The network goes away."""


class _Connect:
    """The ends find each other again."""


class _Link:
    def __init__(
        self,
        makers: tuple[ScriptMaker, ScriptMaker],
        network: Network,
        reconnect_s: float,
        turning_s: float | None,
        watch: Callable[[int, object], None],
        run: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self.told = LiveLink()
        self.agenda: list[tuple[float, int, int, Any]] = []
        self.order = count()
        self._makers, self._network, self._run = makers, network, run
        self._reconnect_s, self._turning_s, self._watch = reconnect_s, turning_s, watch
        self._session = -1
        self._scripts: list[Script[None]] = []
        self._numberings: list[Numbering] = []
        self._now_s = 0.0
        self._posted = [0, 0]
        self._moves = 0
        self._stands: dict[int, ControllerStands] = {}

    def connect(self, now_s: float) -> None:
        self._now_s = now_s
        self._session += 1
        identity = self._session.to_bytes(wire.SESSION_BYTES, "little")
        self._numberings = [Numbering(identity), Numbering(identity)]
        self._scripts = [maker(self._session) for maker in self._makers]
        try:
            for end, script in enumerate(self._scripts):
                self._go_on(end, next(script))
            for end, stands in self._stands.items():
                self._go_on(end, self._scripts[end].send(stands))
        except _Ended as ended:
            self._end(ended.reason)

    def happen(self, now_s: float, end: int, item: Any) -> None:
        self._now_s = now_s
        if isinstance(item, ControllerStands):
            self._stands[end] = item
        try:
            if isinstance(item, _Connect):
                self.connect(now_s)
            elif isinstance(item, _Cut):
                self._end(PeerSilent("the network was cut"))
            elif isinstance(item, _Arrival):
                if item.session == self._session and self._scripts:
                    self._arrived(end, item.frames)
            elif self._scripts:
                self._go_on(end, self._scripts[end].send(item))
            elif isinstance(item, (Detected, DetectionLost)):
                start_ps = item.epoch.start_ps if isinstance(item, Detected) else item.start_ps
                self._report(end, EpochDiscarded(start_ps // EPOCH_PS, Reason.PEER_LOST, "no session"))
        except _Ended as ended:
            self._end(ended.reason)
        except ProtocolError as error:
            self._end(error, fallen=end)

    def close(self) -> None:
        for script in self._scripts:
            script.close()

    def _arrived(self, end: int, frames: Frames) -> None:
        header = wire.read_header(frames[0])
        if not self._numberings[end].accepts(header):
            return
        _, message = wire.decode(frames)
        self._go_on(end, self._scripts[end].send(message))

    def _go_on(self, end: int, effect: Effect) -> None:
        """Perform what a script asks until it waits for something to arrive."""
        script = self._scripts[end]
        try:
            while not isinstance(effect, Receive):
                answer = None
                if isinstance(effect, Send):
                    self._post(end, effect.message)
                elif isinstance(effect, Compute):
                    try:
                        answer = self._run(effect.work)
                    except ProtocolError as error:
                        effect = script.throw(error)
                        continue
                elif isinstance(effect, Emit):
                    self._report(end, effect.record)
                else:
                    assert isinstance(effect, Wait)
                    self._now_s += effect.seconds
                effect = script.send(answer)
        except ProtocolError as error:
            self._scripts[end] = _nothing()
            raise _Ended(error) from None

    def _post(self, end: int, message: Message) -> None:
        self.told.sent[end].append(message)
        numbering = self._numberings[end]
        frames = wire.encode(message, numbering.session, wire.EPOCHS, numbering.next_number())
        for delay_s, arriving in self._network(end, self._posted[end], frames):
            entry = self._now_s + delay_s, next(self.order), 1 - end, _Arrival(self._session, arriving)
            heapq.heappush(self.agenda, entry)
        self._posted[end] += 1

    def _end(self, reason: ProtocolError, fallen: int | None = None) -> None:
        """End the session at both ends and begin the next one later."""
        if not self._scripts:
            return
        self.told.endings.append(reason)
        scripts, self._scripts = self._scripts, []
        for end, script in enumerate(scripts):
            error = reason if end == fallen else PeerSilent(f"the session ended: {reason}")
            try:
                effect = script.throw(error)
                while isinstance(effect, Emit):
                    self._report(end, effect.record)
                    effect = script.send(None)
            except (StopIteration, ProtocolError):
                continue
        heapq.heappush(self.agenda, (self._now_s + self._reconnect_s, next(self.order), 0, _Connect()))

    def _report(self, end: int, report: object) -> None:
        self.told.reports[end].append((self._now_s, report))
        self._watch(end, report)
        if isinstance(report, ControllerDue) and self._turning_s is not None:
            self._turn(end, report.setting, self._turning_s)

    def _turn(self, end: int, setting: str, seconds_long: float) -> None:
        """Let the controller of an end obey."""
        self._moves += 1
        for when, where in ((self._now_s, None), (self._now_s + seconds_long, setting)):
            heapq.heappush(self.agenda, (when, next(self.order), end, ControllerStands(where, self._moves)))


def _nothing() -> Script[None]:
    """Take the place of a script that has ended by itself."""
    yield Receive(Message)


def garbled(frames: Frames, frame: int, byte: int) -> Frames:
    """Return the frames with one bit of one byte turned over."""
    changed = bytearray(frames[frame])
    changed[byte % len(changed)] ^= 1 << byte % 8
    return [*frames[:frame], bytes(changed), *frames[frame + 1 :]]
