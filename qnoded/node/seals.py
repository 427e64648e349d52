"""Seals of one session: what a message may set off before all that was said until then is known to be the peer's.

Everything about photons, blocks and keys goes into the transcript. Most of it is worked on at once. What would conclude
something, at the commit of a key, leaves with a seal behind it, and is held back at its receiver until the seal was
found right. So a block costs two seals of alice and one of bob, and a session its first ones.

A session that makes no key costs none: the first seal is made when something is to be concluded for the first time.
What was said before goes into the transcript as one SHA-256. Otherwise a link that breaks and mends would use up its
key for authentication without making any, and anybody who can cut a cable can do that. (Between the first seals and the
first commit he still can, at the price of the wait for a block: docs/keys.md.)
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.committing import Held, Offer, OpenBlocks, Settled, Verdicts
from qnoded.exchange.live_messages import Seal
from qnoded.exchange.messages import Message
from qnoded.exchange.wire import Frame
from qnoded.node.inbox import MOST_BYTES, MOST_ITEMS
from qnoded.node.keys.sealed_talk import SealedTalk
from qnoded.node.tasks import background

CONCLUDING: Final = (OpenBlocks, Verdicts, Offer, Held, Settled)
"""Messages that nobody may act upon before a seal covers them."""
LENGTH_BYTES: Final = 8


class Seals:
    """Both directions of one session.

    Parameters
    ----------
    talk
        Makes and checks seals, and keeps the books of their keys.
    send
        Sends a seal at once.
    deliver
        Takes a message that may be worked on: conversation and message.
    """

    def __init__(self, talk: SealedTalk, send: Callable[[Seal], None], deliver: Callable[[int, Message], None]) -> None:
        self._talk, self._send, self._deliver = talk, send, deliver
        self._wanted = asyncio.Event()
        self._arrived: asyncio.Queue[tuple[int, Message, Sequence[Frame]]] = asyncio.Queue()
        self._arrived_bytes = 0
        self._held: list[tuple[int, Message]] = []
        self._said: _Unsealed | None = _Unsealed()
        self._heard: _Unsealed | None = _Unsealed()

    def sent(self, message: Message, frames: Sequence[Frame]) -> None:
        """Note what has just left, in the order of sending."""
        if self._said is not None:
            self._said.add(frames)
        else:
            self._talk.absorb_sent(frames)
        if isinstance(message, CONCLUDING):
            self._wanted.set()

    def arrived(self, conversation: int, message: Message, frames: Sequence[Frame]) -> None:
        """Take what arrived, in the order of arrival.

        Raises
        ------
        RemoteProtocolError
            If so much waits for the disk that the conversation cannot be saved.
        """
        if self._arrived.qsize() >= MOST_ITEMS:
            problem = (
                f"{MOST_ITEMS} messages wait for a seal to be struck off on disk: the disk hangs, or a flood comes"
            )
            raise RemoteProtocolError(problem)
        size = sum(len(frame) for frame in frames)
        if self._arrived_bytes + size > MOST_BYTES:
            problem = f"{MOST_BYTES >> 20} MiB of messages wait for a seal: the disk hangs, or a flood comes"
            raise RemoteProtocolError(problem)
        self._arrived_bytes += size
        self._arrived.put_nowait((conversation, message, frames))

    async def run(self) -> None:
        """Seal and check until cancelled.

        Raises
        ------
        AuthenticationFailed
            If what arrived is not what the peer sent, or the link was halted before; it is then halted on disk.
        KeysExhausted
            If no key is left for a seal.
        """
        async with background(self._hear()):
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                if self._said is not None:
                    await self._seal()
                    self._talk.absorb_sent([self._said.digest()])
                    self._said = None
                await self._seal()

    async def _seal(self) -> None:
        (seal,) = await self._talk.seal()
        # Nothing may leave in between: the seal covers what has left, neither more nor less.
        self._send(Seal(bytes(seal)))

    async def _hear(self) -> None:
        while True:
            conversation, message, frames = await self._arrived.get()
            self._arrived_bytes -= sum(len(frame) for frame in frames)
            if isinstance(message, Seal):
                await self._sealed(message)
                continue
            if self._heard is not None:
                self._heard.add(frames)
            else:
                await self._talk.absorb_received(frames)
            if isinstance(message, CONCLUDING):
                self._held.append((conversation, message))
            else:
                self._deliver(conversation, message)

    async def _sealed(self, message: Seal) -> None:
        await self._talk.open([message.seal])
        if self._heard is not None:
            # The session's first seal covers nothing yet; what came before is the first thing that the next one covers.
            await self._talk.absorb_received([self._heard.digest()])
            self._heard = None
            return
        held, self._held = self._held, []
        for one in held:
            self._deliver(*one)


class _Unsealed:
    """What was said in one direction before the session's first seal."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._hash.update(len(frame).to_bytes(LENGTH_BYTES, "little"))
            self._hash.update(frame)

    def digest(self) -> bytes:
        return self._hash.digest()
