"""One settled session of a link: its messages in order, its heartbeats, the script that identifies photons, keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from qnoded.errors import PeerSilent, ProtocolError, RemoteProtocolError
from qnoded.exchange import wire
from qnoded.exchange.effects import Script
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import Happening
from qnoded.exchange.live_messages import Goodbye, Heartbeat, Light, Seal
from qnoded.exchange.messages import Message
from qnoded.exchange.numbering import Numbering
from qnoded.exchange.reports import BlockSifted, EpochDiscarded, EpochSifted
from qnoded.node.agreeing import Agreeing
from qnoded.node.distillation import Distillation, KeyMaking
from qnoded.node.inbox import Inbox
from qnoded.node.pool import Pool
from qnoded.node.script_runner import ScriptRunner
from qnoded.node.seals import Seals
from qnoded.node.status import GOODBYE
from qnoded.node.story import Story
from qnoded.node.tasks import background
from qnoded.node.watchdog import Progress

HEARTBEAT_S: Final = 1.0
SILENCE_S: Final = 5.0
"""Five heartbeats in a row are no accident of the network."""


class Conversation:
    """What is said between a greeting and the next one; ends by a ``ProtocolError``, never by itself.

    Parameters
    ----------
    session
        As both ends agreed.
    transmit
        Hands frames to the network; returns why it could not, or nothing.
    emit
        Takes the script's reports.
    keys
        Where blocks become keys; None: they do not, and nothing is sealed.
    light
        What this node's laser does, for the peer's people.
    """

    def __init__(
        self,
        session: Session,
        pool: Pool,
        progress: Progress,
        story: Story,
        transmit: Callable[[Sequence[wire.Frame]], str],
        emit: Callable[[object], None],
        keys: KeyMaking | None = None,
        light: Callable[[], Light] = lambda: Light.NONE,
    ) -> None:
        self.session = session
        self.inbox = Inbox()
        self.newest_detected = 0
        """Number of this node's newest epoch, its own clock."""
        self.peer_light: Light | None = None
        """None until the peer's first heartbeat."""
        self._numbering = Numbering(session.identity)
        self._story, self._transmit, self._emit, self._light = story, transmit, emit, light
        self._runner = ScriptRunner(self.inbox, pool, progress, self.send, self._report)
        self._distillation = Distillation(keys, self._send, emit) if keys else None
        self._seals = Seals(keys.talk(session.identity), self._send_seal, self._deliver) if keys else None
        self._agreeing = Agreeing(keys, lambda message: self._send(message, wire.AGREEMENT)) if keys else None
        self._newest_settled = 0
        self._heard = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self, script: Script[None]) -> None:
        """Talk until the session ends, which is always an error.

        Raises
        ------
        QnodedError
            The reason: a ``ProtocolError``, or the key store cannot go on.
        """
        async with background(self._beat(), self._listen(), self._work(script)):
            await self._ended.wait()
            raise self._runner.ending

    def end(self, reason: ProtocolError) -> None:
        """End the session for a reason; the script tells what becomes of the epochs in its hands."""
        if not self._ended.is_set():
            self._runner.ending = reason
            self._ended.set()

    def tell(self, happening: Happening) -> None:
        """Let the script know what happened at this end."""
        self._put(happening)

    def take(self, header: wire.Header, frames: Sequence[wire.Frame]) -> None:
        """Take a message that arrived; what is wrong with it ends the session."""
        try:
            if not self._numbering.accepts(header):
                return
            header, message = wire.decode(frames)
        except RemoteProtocolError as error:
            self.end(error)
            return
        self._heard.set()
        self._story.tell("received", message=message, number=header.number)
        if isinstance(message, Heartbeat):
            self.peer_light = message.light
        elif isinstance(message, Goodbye):
            self.end(PeerSilent(f"{GOODBYE}: {message.reason}"))
        elif header.conversation != wire.CONTROL or isinstance(message, Seal):
            try:
                if header.conversation == wire.AGREEMENT and self._agreeing is not None:
                    self._agreeing.take(message)
                elif self._seals is not None:
                    self._seals.arrived(header.conversation, message, frames)
                else:
                    self._deliver(header.conversation, message)
            except RemoteProtocolError as error:
                self.end(error)

    def send(self, message: Message) -> None:
        """Send a message of the conversation about epochs.

        Raises
        ------
        PeerSilent
            If it could not be handed to the network: the session is over.
        """
        self._send(message, wire.EPOCHS)

    def say_goodbye(self, reason: str) -> None:
        """Tell the peer, if it can be reached, that this end stops."""
        goodbye = Goodbye(reason[:100])
        self._transmit(wire.encode(goodbye, self.session.identity, wire.CONTROL, self._numbering.next_number()))

    def _send(self, message: Message, conversation: int) -> None:
        number = self._numbering.next_number()
        frames = wire.encode(message, self.session.identity, conversation, number)
        problem = self._transmit(frames)
        self._story.tell("sent", message=message, number=number, problem=problem)
        if problem:
            reason = f"{problem}; message {number} was dropped, and the session ends"
            raise PeerSilent(reason)
        if self._seals is not None and conversation not in (wire.CONTROL, wire.AGREEMENT):
            self._seals.sent(message, frames)

    def _send_seal(self, seal: Seal) -> None:
        self._send(seal, wire.CONTROL)

    async def _work(self, script: Script[None]) -> None:
        if self._seals is None or self._distillation is None or self._agreeing is None:
            await self._runner.run(script)
            return
        await self._agreeing.begin()
        async with background(self._seals.run(), self._distillation.run(), self._agreeing.run()):
            await self._runner.run(script)

    def _deliver(self, conversation: int, message: Message) -> None:
        """Hand a message to whoever it is for; what is for nobody is left out."""
        if conversation == wire.EPOCHS:
            self._put(message)
        elif self._distillation is not None:
            self._distillation.take(conversation, message)

    def _put(self, item: Message | Happening) -> None:
        try:
            self.inbox.put(item)
        except RemoteProtocolError as error:
            self.end(error)

    def _report(self, report: object) -> None:
        if isinstance(report, (EpochSifted, EpochDiscarded)):
            self._newest_settled = report.epoch
        self._emit(report)
        if isinstance(report, BlockSifted) and self._distillation is not None:
            self._distillation.begin(report)

    async def _beat(self) -> None:
        while True:
            beat = Heartbeat(self.newest_detected, self._newest_settled, self.inbox.epochs, self._light())
            try:
                self._send(beat, wire.CONTROL)
            except PeerSilent as error:
                self.end(error)
            await asyncio.sleep(HEARTBEAT_S)

    async def _listen(self) -> None:
        while True:
            self._heard.clear()
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._heard.wait()
            except TimeoutError:
                self.end(PeerSilent(f"nothing was heard from the peer for {SILENCE_S:g} s"))
                return
