"""Seals of one session: what a message may set off before all that was said until then is known to be the peer's.

Everything about photons, blocks and keys goes into the transcript. Most of it is worked on at once. What would conclude
something, at the commit of a key, leaves with a seal behind it, and is held back at its receiver until the seal was
found right. So a block costs one seal in each direction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.committing import Held, Offer, OpenBlocks, Verdicts
from qnoded.exchange.live_messages import Seal
from qnoded.exchange.messages import Message
from qnoded.exchange.wire import Frame
from qnoded.node.inbox import MOST_ITEMS
from qnoded.node.keys.sealed_talk import SealedTalk
from qnoded.node.tasks import background

CONCLUDING: Final = (OpenBlocks, Verdicts, Offer, Held)
"""Messages that nobody may act upon before a seal covers them."""


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
        self._held: list[tuple[int, Message]] = []

    async def begin(self) -> None:
        """Show the peer who speaks, before anything else is said.

        Raises
        ------
        KeysExhausted
            If no key is left to do so.
        AuthenticationFailed
            If the link was halted.
        """
        await self._seal()

    def sent(self, message: Message, frames: Sequence[Frame]) -> None:
        """Note what has just left, in the order of sending."""
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
                f"{MOST_ITEMS} messages wait for a seal to be struck off on disk; the disk hangs, or the peer floods"
            )
            raise RemoteProtocolError(problem)
        self._arrived.put_nowait((conversation, message, frames))

    async def run(self) -> None:
        """Seal and check until cancelled; errors as of ``SealedTalk``."""
        async with background(self._hear()):
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._seal()

    async def _seal(self) -> None:
        (seal,) = await self._talk.seal()
        # Nothing may leave in between: the seal covers what has left, neither more nor less.
        self._send(Seal(bytes(seal)))

    async def _hear(self) -> None:
        while True:
            conversation, message, frames = await self._arrived.get()
            if isinstance(message, Seal):
                await self._talk.open([message.seal])
                held, self._held = self._held, []
                for one in held:
                    self._deliver(*one)
                continue
            await self._talk.absorb_received(frames)
            if isinstance(message, CONCLUDING):
                self._held.append((conversation, message))
            else:
                self._deliver(conversation, message)
