"""One link of the node: greets its peer, keeps a session as long as it lasts, and begins again without an operator.

Everything that happens to a link is an event of ``qnoded.exchange.lifecycle``; what is said is decided in
``qnoded.exchange.greeting`` and by the scripts. Here are only the clock on the wall, the socket and the order of
things.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from qnoded.errors import (
    AuthenticationFailed,
    KeysExhausted,
    KeyStoreBroken,
    LedgersDiffer,
    LocalProtocolError,
    PeerSilent,
    QnodedError,
    RemoteProtocolError,
    TermsMismatch,
    UsageError,
)
from qnoded.exchange import wire
from qnoded.exchange.effects import Script
from qnoded.exchange.greeting import Session, hear, restarted
from qnoded.exchange.happenings import ControllerStands, Detected, DetectionLost, InterludeWanted, KnownClock
from qnoded.exchange.lifecycle import Event, State
from qnoded.exchange.live_messages import Greeting, Light
from qnoded.exchange.reports import ClockTracked, EpochDiscarded, Reason
from qnoded.exchange.terms import LinkTerms
from qnoded.exchange.wire import Frame
from qnoded.node.acquisition import Acquisition
from qnoded.node.conversation import Conversation
from qnoded.node.distillation import STORE, KeyMaking
from qnoded.node.following import LOCKED, Following
from qnoded.node.introducing import Introducing
from qnoded.node.lock_file import LockFile, PersistedLock
from qnoded.node.pool import Pool
from qnoded.node.reaching import Reaching
from qnoded.node.sockets import Wire
from qnoded.node.standing import Standing
from qnoded.node.status import Level, LinkStatus
from qnoded.node.story import Story
from qnoded.node.tally import Tally
from qnoded.node.tasks import background
from qnoded.node.watchdog import Progress
from qnoded.records import SIDES
from qnoded.units import EPOCH_PS

GREETING_S: Final = 1.0
MISMATCH_GREETING_S: Final = 10.0
"""Slowly, so that mending one end heals the link and the log stays readable."""
LEDGERS_DIFFER_S: Final = 30.0
"""Between two sessions that begin without a common key for authentication."""
UNWRITABLE_S: Final = 10.0
"""Between two looks whether the key store can be written again."""
FLUSH_S: Final = 1.0
"""A disk that hangs must not hold the end of the node."""
UNLOCKED_S: Final = 600.0
"""A session that has no lock for so long ends: the next one looks anew at the hosts' clocks, from which a tagger's runs
away by half a second a day."""

_SILENT: Final = (State.PAUSED, State.STOPPED)
_SEARCHING: Final = (State.ACQUIRING, State.RELOCKING)

log = logging.getLogger(__name__)


ScriptMaker = Callable[[Session, KnownClock], Script[None]]
"""Makes this end's script of a session: ``reveal`` or ``match``."""


class Link:
    """One end of one link.

    Parameters
    ----------
    name
        Of the peer's node, as in the config.
    role
        ``"alice"`` or ``"bob"``.
    software
        Name and version, for the peer's people.
    make_script
        Makes the script of a session.
    watchers
        Called with every report of the script.
    tell
        Takes events for people: level and text.
    keys
        Where blocks become keys; None: they do not.
    light
        What this node's laser does.
    """

    def __init__(
        self,
        name: str,
        role: str,
        terms: LinkTerms,
        *,
        software: str,
        socket: Wire,
        acquisition: Acquisition,
        pool: Pool,
        progress: Progress,
        lock_file: LockFile,
        story: Story,
        make_script: ScriptMaker,
        watchers: Sequence[Callable[[object], None]] = (),
        tell: Callable[[Level, str], None],
        keys: KeyMaking | None = None,
        light: Callable[[], Light] = lambda: Light.NONE,
    ) -> None:
        self.name, self.role, self.terms = name, role, terms
        self._socket, self._acquisition = socket, acquisition
        self._pool, self._progress, self._lock_file, self._story = pool, progress, lock_file, story
        self._make_script, self._watchers, self._tell = make_script, tuple(watchers), tell
        self._keys, self._light = keys, light
        self._standing = Standing(story, tell)
        self._following = Following(self._standing, tell)
        self._introducing = Introducing(role, software, terms, acquisition)
        self._tally = Tally(terms, role)
        self._lock: PersistedLock | None = None
        self._conversation: Conversation | None = None
        self._settled: asyncio.Queue[tuple[Conversation, Script[None]]] = asyncio.Queue()
        self._controller: ControllerStands | None = None
        self._reaching = Reaching(socket, self._standing, tell)
        self._wake = asyncio.Event()
        if keys is not None and keys.halted:
            self._standing.happened(Event.STOP, f"halted before this start: {keys.halted}", "error")

    # What the daemon asks of a link

    async def run(self) -> None:
        """Keep the link until cancelled."""
        self._lock = await self._lock_file.load()
        try:
            beside = self._socket.watch(self._wake.set), self._lock_file.run(), self._story.run()
            async with background(*beside, self._hear(), self._greet()):
                await self._talk()
        finally:
            self.stop()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lock_file.flush(), FLUSH_S)

    def stop(self) -> None:
        """Say goodbye and talk no more; may be called again."""
        if self._standing.state is not State.STOPPED:
            self._say_goodbye(Event.STOP, "the node stops")

    def pause(self) -> None:
        """Say goodbye and talk no more until ``resume``.

        Raises
        ------
        UsageError
            If the link has stopped.
        """
        self._demand_going("pause")
        if self._standing.state is State.PAUSED:
            return
        self._say_goodbye(Event.PAUSE, "paused by the operator")

    def resume(self) -> None:
        """Go on after ``pause``; nothing happens where the link is not paused.

        Raises
        ------
        UsageError
            If the link has stopped.
        """
        self._demand_going("resume")
        if self._standing.state is State.PAUSED:
            self._standing.happened(Event.RESUME, "resumed by the operator")
            self._wake.set()

    def _demand_going(self, order: str) -> None:
        if self._standing.state is State.STOPPED:
            remedy = "qnodectl enrol if it was halted or its key is used up, else a restart"
            problem = f"the link has stopped, and {order} does nothing to it: {self._standing.reason}; now: {remedy}"
            raise UsageError(problem)

    async def enrol(self) -> None:
        """Declare the ledger of authentication key lost: a signed exchange makes a new one, or the next start does.

        A link that has stopped is there again.

        Raises
        ------
        UsageError
            If there is none.
        """
        if self._keys is None:
            problem = "this node makes no keys: it has no [keys] table"
            raise UsageError(problem)
        await self._keys.declare_lost()
        self._introducing.rest(0.0)
        reason = "the operator has declared the ledger lost"
        self._leave(Event.SESSION_ENDED, reason)
        self._standing.enter(Event.ENROL, reason)

    def interlude(self) -> None:
        """Ask for a CHSH interlude as soon as possible.

        Raises
        ------
        UsageError
            If the link does not sift, or this end is not the one that may ask.
        """
        if self.role != SIDES[0]:
            problem = "only alice's end proposes an interlude; ask there"
            raise UsageError(problem)
        if self._conversation is None or self._standing.state is not State.SIFTING:
            problem = f"the link is {self._standing.state.name} and must be SIFTING for an interlude; wait for it"
            raise UsageError(problem)
        self._conversation.tell(InterludeWanted())

    def status(self) -> LinkStatus:
        """Return all that is known of the link now."""
        now_s, tally, conversation = self._now_s(), self._tally, self._conversation
        return LinkStatus(
            role=self.role,
            peer=self.name,
            state=self._standing.state.name,
            since_s=now_s - self._standing.since_s,
            reason=self._standing.reason,
            session=conversation.session.identity.hex()[:8] if conversation else None,
            clock=tally.clock(now_s, locked=self._standing.state in LOCKED or self._following.clock_held),
            rates=tally.rates(now_s),
            qber=tally.qber(now_s),
            chsh=tally.chsh,
            sifted_bits=tally.sifted_bits,
            epochs=tally.epochs,
            sifted_age_s=None if tally.sifted_loop_s is None else now_s - tally.sifted_loop_s,
            discards={reason.name: count for reason, count in tally.discards.items()},
            withdrawn={reason.name: count for reason, count in tally.withdrawn.items()},
            withdrawn_bits=tally.withdrawn_bits,
            bits_per_detection=tally.bits_per_detection,
            blocks=tally.blocks,
            peer_age_s=self._reaching.age_s,
            peer_light=conversation.peer_light.name if conversation and conversation.peer_light else None,
            refused_keys=self._socket.refused,
            keys=self._keys.status(tally) if self._keys else None,
        )

    # What the acquisition and the controller tell a link

    def controller_stands(self, stands: ControllerStands) -> None:
        """Hand on where the polarization controller stands; the next session is told as well."""
        self._controller = stands
        if self._conversation is not None:
            self._conversation.tell(stands)

    def axis_began(self) -> None:
        """Begin anew: all that was agreed upon was about another time axis."""
        self._leave(Event.SESSION_ENDED, "this node's tagger has begun a new time axis")

    def detected(self, epoch: Detected | DetectionLost) -> None:
        """Hand an epoch to the script, or count it where there is none."""
        if isinstance(epoch, Detected):
            self._tally.detected(len(epoch.epoch), self._now_s())
        if self._conversation is None:
            self._count_unused(epoch)
            if self._introducing.current is None:
                self._wake.set()
            return
        self._conversation.newest_detected = _number(epoch)
        self._conversation.tell(epoch)

    def _count_unused(self, epoch: Detected | DetectionLost) -> None:
        reason = Reason.PEER_LOST if isinstance(epoch, Detected) else Reason(epoch.reason)
        self._tally.add(EpochDiscarded(_number(epoch), reason, "no session"), self._now_s())

    # Hearing

    async def _hear(self) -> None:
        while True:
            self._take(await self._socket.receive())

    def _take(self, frames: Sequence[Frame]) -> None:
        if self._standing.state in _SILENT:
            return
        try:
            header = wire.read_header(frames[0])
            if header.conversation != wire.CONTROL or wire.KINDS[header.kind] is not Greeting:
                if self._conversation is not None:
                    self._reaching.heard()
                    self._conversation.take(header, frames)
                return
            _, greeting = wire.decode(frames)
            assert isinstance(greeting, Greeting)
            self._reaching.heard()
            self._story.tell("received", message=greeting)
            self._greeted(greeting)
        except TermsMismatch as error:
            if self._standing.state is not State.MISMATCH:
                self._standing.enter(Event.HEARD, "")
            self._standing.happened(Event.DIFFERED, str(error), "error")
        except RemoteProtocolError as error:
            self._reaching.garbled(error, alone=self._conversation is None)

    def _greeted(self, greeting: Greeting) -> None:
        if self._conversation is not None:
            if not restarted(self._conversation.session, self.role, greeting):
                return
            self._leave(Event.SESSION_ENDED, "the peer has begun anew")
        mine = self._introducing.introduction()
        if mine is None:
            self._standing.enter(Event.HEARD, self._introducing.unready)
            return
        heard = hear(mine, greeting)
        self._introducing.current = heard.introduction
        self._standing.enter(Event.HEARD, "")
        if heard.answer or heard.session:
            # Always before the first message of a session, so that the peer has settled when that one arrives.
            self._say_greeting()
        if heard.session is not None:
            self._settle(heard.session)

    # Speaking

    async def _greet(self) -> None:
        while True:
            if self._conversation is None and self._standing.state not in _SILENT:
                self._reaching.look()
                if self._introducing.renewed() is not None:
                    self._say_greeting()
            elif self._searches_in_vain:
                self._leave(Event.SESSION_ENDED, f"no lock within {UNLOCKED_S:g} s: the hosts' clocks are asked anew")
                continue
            self._following.look()
            self._wake.clear()
            slow = self._standing.state is State.MISMATCH
            with suppress(TimeoutError):
                async with asyncio.timeout(MISMATCH_GREETING_S if slow else GREETING_S):
                    await self._wake.wait()

    @property
    def _searches_in_vain(self) -> bool:
        return (
            self._standing.state in _SEARCHING
            and not self._following.clock_held
            and self._now_s() >= self._standing.since_s + UNLOCKED_S
        )

    def _say_greeting(self) -> None:
        assert self._introducing.current is not None
        greeting = self._introducing.current.greeting()
        try:
            frames = wire.encode(greeting, wire.NO_SESSION, wire.CONTROL, 0)
        except LocalProtocolError as error:
            # Nothing that it says will be shorter next time.
            self._say_goodbye(Event.STOP, f"this end cannot introduce itself: {error}")
            return
        problem = self._socket.send(frames)
        self._story.tell("sent", message=greeting, problem=problem)

    # Sessions

    def _settle(self, session: Session) -> None:
        self._following.begin(matches=session.matcher == self.role)
        self._standing.happened(Event.SETTLED, f"session {session.identity.hex()[:8]}, {session.revealer} reveals")
        streams = dict(zip(SIDES, session.stream_ids, strict=True))
        known = KnownClock(None, False, session.host_offset_ps)
        if self._lock is not None:
            known = self._lock.known(session.matcher, streams, session.host_offset_ps)
        self._conversation = Conversation(
            session, self._pool, self._progress, self._story, self._socket.send, self._reported, self._keys, self._light
        )
        if self._controller is not None:
            self._conversation.tell(self._controller)
        self._settled.put_nowait((self._conversation, self._make_script(session, known)))

    async def _talk(self) -> None:
        while True:
            await self._converse(*await self._settled.get())

    async def _converse(self, conversation: Conversation, script: Script[None]) -> None:
        reason: QnodedError
        try:
            await conversation.run(script)
        except QnodedError as error:
            reason = error
        except Exception as bug:
            log.exception("link %s: a mistake in qnoded ends the session", self.name)
            reason = LocalProtocolError(f"a mistake in qnoded: {bug!r}; please report it with the log")
        if isinstance(reason, (AuthenticationFailed, KeysExhausted)):
            # Another session would only be another guess for a forger, or fail the same way.
            self._tell("error", str(reason))
            self._say_goodbye(Event.STOP, str(reason))
        if isinstance(reason, KeyStoreBroken):
            assert self._keys is not None
            self._keys.broke(reason)
            conversation.say_goodbye(f"{STORE} of {self.role} cannot be written")
        if conversation is self._conversation:
            lost = isinstance(reason, PeerSilent)
            level: Level = "error" if isinstance(reason, (LedgersDiffer, KeyStoreBroken)) else "info"
            self._leave(Event.PEER_LOST if lost else Event.SESSION_ENDED, str(reason), level)
        if isinstance(reason, LedgersDiffer):
            # For people at both ends to mend: until then once in a while is enough, and no story tells more.
            self._introducing.rest(LEDGERS_DIFFER_S)
        elif isinstance(reason, KeyStoreBroken):
            self._introducing.rest(UNWRITABLE_S)
        elif not isinstance(reason, PeerSilent):
            self._introducing.rest()
            self._story.fault(str(reason))

    def _say_goodbye(self, event: Event, reason: str) -> None:
        if self._conversation is not None:
            self._conversation.say_goodbye(reason)
        self._leave(event, reason)

    def _leave(self, event: Event, reason: str, level: Level = "info") -> None:
        """Give the session up, if there is one, and begin again with another nonce."""
        conversation, self._conversation = self._conversation, None
        self._introducing.forget()
        self._following.begin(matches=False)
        self._wake.set()
        self._tally.forget_clock()
        if conversation is not None:
            conversation.end(PeerSilent(reason))
            for waiting in conversation.inbox.leftovers():
                self._count_unused(waiting)
        self._standing.enter(event, reason, level)

    def _reported(self, report: object) -> None:
        self._tally.add(report, self._now_s())
        self._story.tell("report", report=report)
        if isinstance(report, ClockTracked) and report.report.locked and self._conversation is not None:
            session = self._conversation.session
            self._lock = PersistedLock(session.matcher, dict(zip(SIDES, session.stream_ids, strict=True)), report.state)
            self._lock_file.keep(self._lock)
        self._following.take(report)
        for watcher in self._watchers:
            watcher(report)

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def _number(epoch: Detected | DetectionLost) -> int:
    return (epoch.epoch.start_ps if isinstance(epoch, Detected) else epoch.start_ps) // EPOCH_PS
