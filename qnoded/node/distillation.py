"""The keys of one link: each block that both ends hold is distilled and committed in a conversation of its own.

Blocks do not wait for each other, and photons do not wait for blocks: their work has threads of its own. Only the last
step goes one by one, in alice's order, since a commit gives away the next free numbers of the key store.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Final

from qnoded.errors import KeyStoreBroken
from qnoded.exchange import committing, distilling, key_making, wire
from qnoded.exchange.bootstrapping import Signers
from qnoded.exchange.distilling import Accounts, Discard, DistilledKey
from qnoded.exchange.live_messages import BlockGivenUp
from qnoded.exchange.messages import Message
from qnoded.exchange.reports import BlockDiscarded, BlockSifted, KeyMade, NoKey
from qnoded.exchange.terms import LinkTerms
from qnoded.node.disk import Disk
from qnoded.node.inbox import Inbox
from qnoded.node.keys.contents import Role
from qnoded.node.keys.pools import PoolLevels
from qnoded.node.keys.sealed_talk import SealedTalk
from qnoded.node.keys.store import KeyStore
from qnoded.node.pool import Pool
from qnoded.node.script_runner import ScriptRunner
from qnoded.node.status import KeysStatus, Level
from qnoded.node.tally import Tally
from qnoded.node.watchdog import Progress
from qnoded.records import SIDES

MOST_BLOCKS: Final = 32
"""In work at once: on a channel with 0.2 s of delay a block takes some 20 s of questions and answers."""

STORE: Final = "the key store"
"""Under which name the node's people see it."""

Say = Callable[[Message, int], None]
"""Sends a message in a conversation of the session."""
Tell = Callable[[Level, str], None]


@dataclass(slots=True)
class KeyMaking:
    """What a link needs for keys, as long as it lives."""

    store: KeyStore
    terms: LinkTerms
    role: Role
    pool: Pool
    """Not the one in which epochs are computed."""
    progress: Progress
    levels: PoolLevels | None = None
    """Key left for authentication, as of the last block."""
    signers: Signers | None = None
    """Identities of this node and of the peer; None: no signed exchange."""
    halted: str = ""
    """Why the link was halted before the daemon started; empty: it was not, or its operator has given the ledger up."""
    disk: Disk | None = None
    """Shows the node's people that the store cannot be written."""
    agreed_loop_s: float | None = None
    """When this end last made an agreement; None: it has not since the daemon started."""
    tell: Tell = lambda _level, _text: None
    """Takes events for people."""
    _unwritable: str = ""
    """Why the store could not be written last; empty: it could."""

    @property
    def link(self) -> str:
        """Name of the link in the key stores of both ends."""
        return self.terms.link

    def talk(self, session: bytes) -> SealedTalk:
        """Return what seals a session."""
        return SealedTalk(self.store, self.link, self.role, session)

    def status(self, tally: Tally) -> KeysStatus:
        """Return what is known of the link's keys now."""
        levels = self.levels
        stock = self.store.stock(self.link)
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
            to_do=self._to_do(),
        )

    def _to_do(self) -> str:
        if self._unwritable:
            return f"the key store cannot be written, no key is made until it can: {self._unwritable}"
        if not (withheld := self.store.withheld(self.link)):
            return ""
        begin = "" if self.signers else ", and one new first_secret at both, then restart both"
        return (
            f"no key of the link is handed out: {withheld}; find out why, then qnodectl enrol at each end that has a "
            f"ledger{begin} (docs/keys.md, To begin a link anew)"
        )

    async def declare_lost(self) -> None:
        """Let a signed exchange take the place of the link's ledger, or the next start a new first secret.

        Raises
        ------
        UsageError
            If there is no ledger.
        """
        await asyncio.wrap_future(self.store.declare_lost(self.link))
        self.levels, self.halted = None, ""

    async def demand_room(self) -> None:
        """Begin no session that could not keep its first key.

        Raises
        ------
        KeyStoreBroken
            If the store cannot be written.
        """
        await asyncio.wrap_future(self.store.demand_room())
        self._unwritable = ""
        if self.disk is not None:
            self.disk.works(STORE)

    def broke(self, error: KeyStoreBroken) -> None:
        """Take note that the store could not be written."""
        self._unwritable = str(error)
        if self.disk is not None:
            self.disk.fails(STORE, f"{STORE} cannot be written, no key is made until it can: {error}")

    async def look(self) -> None:
        """Look how much key is left for authentication."""
        self.levels = await asyncio.wrap_future(self.store.pool_levels(self.link))


@dataclass(slots=True)
class _Work:
    """A block in work."""

    block: BlockSifted
    begun: Future[None]
    """Done when its row in the ledger is on disk."""
    row: bytes
    """Name of the row until the block is committed."""
    inbox: Inbox = field(default_factory=Inbox)
    task: asyncio.Task[None] | None = None
    given_up: NoKey | None = None
    """By the peer."""
    leaked_bits: int = 0
    """What alice has told of it until now."""
    corrected_errors: int = 0

    def told(self, message: Message) -> None:
        """Count what a message of alice's discloses."""
        self.leaked_bits += key_making.disclosed_bits(message)

    def reconciled(self, record: object) -> None:
        """Take the exact numbers once they are known."""
        if isinstance(record, Accounts):
            self.leaked_bits, self.corrected_errors = record.leaked_bits, record.corrected_errors


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
        conversation, terms = key_making.conversation_of(block.block), self._keys.terms
        if self._is_alice and len(self._works) >= MOST_BLOCKS:
            self._say(BlockGivenUp(NoKey.OVERLOAD), conversation)
            numbers = f"{MOST_BLOCKS} blocks are in work; give the nodes more cores, or make the blocks larger"
            self._keys.store.note(self._keys.link, key_making.without_key(block, terms, NoKey.OVERLOAD.value))
            self._emit(BlockDiscarded(block.block, NoKey.OVERLOAD, numbers))
            return
        row = os.urandom(committing.BLOCK_ID_BYTES)
        begun = self._keys.store.begin(self._keys.link, row, key_making.without_key(block, terms, key_making.IN_WORK))
        self._works[conversation] = _Work(block, begun, row)
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
            if not self._is_alice:
                work.told(message)
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
                self._give_up(work, NoKey.SESSION_ENDED, NoKey.SESSION_ENDED.value)

    async def _recover(self) -> None:
        """Decide with the peer what earlier sessions left open, once there is a key to commit: it takes seals."""
        await self._keys.look()
        await self._key_is_due.wait()
        script = committing.recover_alice(self._book) if self._is_alice else committing.recover_bob(self._book)
        await self._runner(wire.DISTILLATION, self._recovering).run(script)
        self._recovered.set()

    async def _make(self, work: _Work) -> None:
        conversation = key_making.conversation_of(work.block.block)
        try:
            # Shielded, since a job that is cancelled while it waits leaves no row.
            await asyncio.shield(asyncio.wrap_future(work.begun))
            if work.given_up is None:
                await self._distil(work, self._runner(conversation, work.inbox, work))
        except asyncio.CancelledError:
            if work.given_up is None:
                raise
        del self._works[conversation]
        if work.given_up is not None:
            self._give_up(work, work.given_up, f"the peer gave it up: {work.given_up.value}")
        await self._keys.look()

    async def _distil(self, work: _Work, runner: ScriptRunner) -> None:
        block, terms, over = work.block, self._keys.terms, self._keys.pool.over
        sampled = key_making.tested(block, terms)
        agreed = key_making.agreement(terms, sampled)
        result: DistilledKey | Discard
        if self._is_alice:
            result = await runner.run(distilling.alice_tested(sampled, agreed, os.urandom, over=over))
        else:
            result = await runner.run(distilling.bob_tested(sampled, agreed, over=over))
        account = key_making.account(block, terms, result)
        if isinstance(result, Discard):
            await asyncio.wrap_future(self._keys.store.note(self._keys.link, account, work.row))
            self._discarded(block, key_making.why_not(result), result.advice)
            return
        key = key_making.whole_bytes(result)
        if key_making.too_short(key):
            self._keys.store.note(self._keys.link, replace(account, outcome=NoKey.NO_LENGTH.value), work.row)
            self._discarded(block, NoKey.NO_LENGTH, f"{len(key)} bytes of key are used up by their commit")
            return
        book = self._keys.store.book(self._keys.link, work.row)
        self._key_is_due.set()
        await self._recovered.wait()
        if self._is_alice:
            async with self._committing:
                both_hold = await runner.run(committing.alice(key, account, book, os.urandom))
        else:
            both_hold = await runner.run(committing.bob(key, account, book))
        # Not where the session ends meanwhile: the store's thread may be reading it then.
        key.wipe()
        if both_hold:
            self._emit(KeyMade(block.block, account))
        else:
            self._give_up(work, NoKey.NOT_COMMITTED, "report it with both ends' logs if it happens again")

    def _runner(self, conversation: int, inbox: Inbox, work: _Work | None = None) -> ScriptRunner:
        def say(message: Message) -> None:
            if work is not None and self._is_alice:
                work.told(message)
            self._say(message, conversation)

        def emitted(record: object) -> None:
            if work is not None:
                work.reconciled(record)

        return ScriptRunner(inbox, self._keys.pool, self._keys.progress, say, emitted)

    def _give_up(self, work: _Work, reason: NoKey, numbers: str) -> None:
        """Close a block's row unless it is settled with the peer, and tell."""
        account = key_making.without_key(
            work.block,
            self._keys.terms,
            reason.value,
            leaked_bits=work.leaked_bits,
            corrected_errors=work.corrected_errors,
        )
        # Not waited for: the store does one after the other, and a session may be ending here.
        self._keys.store.note(self._keys.link, account, work.row)
        self._discarded(work.block, reason, numbers)

    def _discarded(self, block: BlockSifted, reason: NoKey, numbers: str) -> None:
        self._emit(BlockDiscarded(block.block, reason, numbers))
