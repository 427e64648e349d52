"""The keys of one link: each block that both ends hold is distilled and committed in a conversation of its own.

Blocks do not wait for each other, and photons do not wait for blocks: their work has threads of its own. Only the last
step goes one by one, in alice's order, since a commit gives away the next free numbers of the key store.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qnoded.exchange import committing, distilling, key_making, wire
from qnoded.exchange.distilling import Discard, DistilledKey
from qnoded.exchange.live_messages import BlockGivenUp
from qnoded.exchange.messages import Message
from qnoded.exchange.reports import BlockDiscarded, BlockSifted, KeyMade, NoKey
from qnoded.exchange.terms import LinkTerms
from qnoded.node.inbox import Inbox
from qnoded.node.keys.pools import PoolLevels
from qnoded.node.keys.sealed_talk import SealedTalk
from qnoded.node.keys.store import KeyStore
from qnoded.node.pool import Pool
from qnoded.node.script_runner import ScriptRunner
from qnoded.node.status import KeysStatus
from qnoded.node.tally import Tally
from qnoded.node.watchdog import Progress
from qnoded.records import SIDES

MOST_BLOCKS: Final = 32
"""In work at once: on a channel with 0.2 s of delay a block takes some 20 s of questions and answers."""

Say = Callable[[Message, int], None]
"""Sends a message in a conversation of the session."""


@dataclass(slots=True)
class KeyMaking:
    """What a link needs for keys, as long as it lives."""

    store: KeyStore
    terms: LinkTerms
    role: str
    pool: Pool
    """Not the one in which epochs are computed."""
    progress: Progress
    levels: PoolLevels | None = None
    """Key left for authentication, as of the last block."""

    @property
    def link(self) -> str:
        """Name of the link in the key stores of both ends."""
        return self.terms.link

    def talk(self, session: bytes) -> SealedTalk:
        """Return what seals a session."""
        return SealedTalk(self.store, self.link, session)

    def status(self, tally: Tally) -> KeysStatus:
        """Return what is known of the link's keys now."""
        stock, levels = self.store.stock(self.link), self.levels
        return KeysStatus(
            available=stock.own_keys,
            waiting=stock.peer_keys,
            key_bits=8 * stock.key_bytes,
            low=stock.low,
            blocks_distilled=tally.blocks_distilled,
            secret_bits=tally.secret_bits,
            discarded={reason.name: count for reason, count in tally.keyless.items()},
            authentication_bytes=(levels.sending_bytes, levels.receiving_bytes) if levels else None,
            authentication_low=levels is not None and levels.low,
        )

    async def look(self) -> None:
        """Look how much key is left for authentication."""
        self.levels = await asyncio.wrap_future(self.store.pool_levels(self.link))


@dataclass(slots=True)
class _Work:
    """A block in work."""

    block: BlockSifted
    inbox: Inbox = field(default_factory=Inbox)
    task: asyncio.Task[None] | None = None
    given_up: NoKey | None = None
    """By the peer."""


class Distillation:
    """One session of it.

    Parameters
    ----------
    keys
        Of the link.
    say
        Sends a message in one of the session's conversations.
    emit
        Takes ``KeyMade`` and ``BlockDiscarded``.
    """

    def __init__(self, keys: KeyMaking, say: Say, emit: Callable[[object], None]) -> None:
        self._keys, self._say, self._emit = keys, say, emit
        self._is_alice = keys.role == SIDES[0]
        self._book = keys.store.book(keys.link)
        self._begun: asyncio.Queue[int] = asyncio.Queue()
        self._works: dict[int, _Work] = {}
        self._recovering = Inbox()
        self._key_is_due, self._recovered = asyncio.Event(), asyncio.Event()
        self._committing = asyncio.Lock()

    def begin(self, block: BlockSifted) -> None:
        """Make a key of a block, which the peer holds too."""
        conversation = key_making.conversation_of(block.block)
        if self._is_alice and len(self._works) >= MOST_BLOCKS:
            self._say(BlockGivenUp(NoKey.OVERLOAD), conversation)
            numbers = f"{MOST_BLOCKS} blocks are in work; give the nodes more cores, or make the blocks larger"
            self._emit(BlockDiscarded(block.block, NoKey.OVERLOAD, numbers))
            return
        self._works[conversation] = _Work(block)
        self._begun.put_nowait(conversation)

    def take(self, conversation: int, message: Message) -> None:
        """Take a message that may be worked on.

        Raises
        ------
        RemoteProtocolError
            If the peer floods a block.
        """
        work = self._works.get(conversation)
        if conversation == wire.DISTILLATION:
            self._recovering.put(message)
        elif work is None:
            if not self._is_alice and not isinstance(message, BlockGivenUp):
                # The answer that closed the block got lost with the session before: here it is discarded already.
                self._say(BlockGivenUp(NoKey.SESSION_ENDED), conversation)
        elif isinstance(message, BlockGivenUp):
            work.given_up = message.reason
            if work.task is not None:
                work.task.cancel()
        else:
            work.inbox.put(message)

    async def run(self) -> None:
        """Work until cancelled; errors end the session.

        Raises
        ------
        ProtocolError
            If what the peer says does not fit.
        KeyStoreError
            If the key store cannot be used.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._recover())
                while True:
                    work = self._works[await self._begun.get()]
                    work.task = group.create_task(self._make(work))
        finally:
            for work in self._works.values():
                self._discarded(work.block, NoKey.SESSION_ENDED, NoKey.SESSION_ENDED.value)

    async def _recover(self) -> None:
        """Decide with the peer what earlier sessions left open, once there is a key to commit: it takes seals."""
        await self._keys.look()
        await self._key_is_due.wait()
        script = committing.recover_alice(self._book) if self._is_alice else committing.recover_bob(self._book)
        await self._runner(wire.DISTILLATION, self._recovering).run(script)
        self._recovered.set()

    async def _make(self, work: _Work) -> None:
        block = work.block
        conversation = key_making.conversation_of(block.block)
        try:
            if work.given_up is None:
                await self._distil(block, self._runner(conversation, work.inbox))
        except asyncio.CancelledError:
            if work.given_up is None:
                raise
        del self._works[conversation]
        if work.given_up is not None:
            self._discarded(block, work.given_up, f"the peer gave it up: {work.given_up.value}")
        await self._keys.look()

    async def _distil(self, block: BlockSifted, runner: ScriptRunner) -> None:
        terms, over = self._keys.terms, self._keys.pool.over
        sampled = key_making.tested(block)
        agreed = key_making.agreement(terms, sampled)
        result: DistilledKey | Discard
        if self._is_alice:
            result = await runner.run(distilling.alice_tested(sampled, agreed, os.urandom, over=over))
        else:
            result = await runner.run(distilling.bob_tested(sampled, agreed, over=over))
        account = key_making.account(block, terms, result)
        if isinstance(result, Discard):
            await asyncio.wrap_future(self._keys.store.note(self._keys.link, account))
            self._discarded(block, key_making.why_not(result), result.advice)
            return
        key = key_making.whole_bytes(result)
        if key_making.too_short(key):
            await asyncio.wrap_future(self._keys.store.note(self._keys.link, account))
            self._discarded(block, NoKey.NO_LENGTH, f"{len(key)} bytes of key are used up by their commit")
            return
        self._key_is_due.set()
        await self._recovered.wait()
        if self._is_alice:
            async with self._committing:
                both_hold = await runner.run(committing.alice(key, account, self._book, os.urandom))
        else:
            both_hold = await runner.run(committing.bob(key, account, self._book))
        # Not where the session ends meanwhile: the store's thread may be reading it then.
        key.wipe()
        if both_hold:
            self._emit(KeyMade(block.block, account))
        else:
            self._discarded(block, NoKey.NOT_COMMITTED, "report it with both ends' logs if it happens again")

    def _runner(self, conversation: int, inbox: Inbox) -> ScriptRunner:
        def say(message: Message) -> None:
            self._say(message, conversation)

        return ScriptRunner(inbox, self._keys.pool, self._keys.progress, say, lambda _: None)

    def _discarded(self, block: BlockSifted, reason: NoKey, numbers: str) -> None:
        self._emit(BlockDiscarded(block.block, reason, numbers))
