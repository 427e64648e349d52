"""The key store of a node: what the link puts in, what applications get, what operators see.

Each call returns a future that is done when its outcome is on disk: ``.result()`` waits in a thread,
``asyncio.wrap_future`` in the event loop. Nothing here blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from qnoded.exchange.agreeing import LedgerShown
from qnoded.exchange.authenticating import TAG_BYTES, TagKeys, TagPlace
from qnoded.exchange.committing import Allotment, BlockAccount
from qnoded.node.keys import blocks, handing, ledgers, pools, schema, upkeep
from qnoded.node.keys.contents import Contents, Role, StoreRules
from qnoded.node.keys.database import Database, Work
from qnoded.node.keys.handing import HandedKey, Pair
from qnoded.node.keys.key_ids import Mode
from qnoded.node.keys.ledgers import LinkLedger
from qnoded.node.keys.pools import PoolLevels
from qnoded.node.keys.sealing import Keyring
from qnoded.secret import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stock:
    """Keys of one link that wait, from memory."""

    own_keys: int
    """That this end hands out to masters."""
    peer_keys: int
    """That wait here for slaves to fetch."""
    most_keys: int
    key_bytes: int
    """Length of one."""
    low: bool
    """True if fewer own keys are left than the alarm level."""


class KeyStore:
    """One file of keys.

    Parameters
    ----------
    path
        The file; made if it is not there.
    kek
        32 bytes that seal it; may be wiped afterwards.
    rules
        How it is run.
    clock
        UTC, s.

    Raises
    ------
    ConfigError
        If the file cannot be used, is in use, or was sealed with another key.
    """

    def __init__(
        self, path: Path, kek: Secret, rules: StoreRules | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._contents, self._clock = Contents(Keyring(kek), rules or StoreRules()), clock

        def prepare(work: Work) -> None:
            schema.prepare(work, self._contents.keyring, str(path))
            upkeep.load(work, self._contents)

        self._database = Database(path, prepare, self._contents.forget_block_keys)

    @property
    def rules(self) -> StoreRules:
        """How the store is run."""
        return self._contents.rules

    def links(self) -> tuple[str, ...]:
        """Return the links that were enrolled."""
        return tuple(self._contents.links)

    def stock(self, link: str) -> Stock:
        """Return what waits on a link; nothing where it has not begun, or where its keys are withheld."""
        known, rules = self._contents.links.get(link), self.rules
        own, peer = (known.stock[known.role], known.stock[known.peer]) if known and not known.withheld else (0, 0)
        return Stock(own, peer, rules.most_keys, rules.key_bytes, own < rules.low_keys)

    def withheld(self, link: str) -> str:
        """Return why a link's keys are not handed out; empty: they are."""
        known = self._contents.links.get(link)
        return known.withheld if known else ""

    def agreed_keys(self, link: str) -> int:
        """Return how many keys the newest agreement of a link has served for here, since the node began at most."""
        known = self._contents.links.get(link)
        return known.agreed_keys if known else 0

    def enrol(self, link: str, role: Role, origin: str, secret: Secret) -> Future[None]:
        """Begin a link, or begin it anew, with a secret that both ends share; see ``upkeep.enrol``."""
        return self._submit(upkeep.enrol, link, role, origin, secret, self._clock())

    def keep_agreement(self, link: str, number: int, secret: Secret) -> Future[None]:
        """Keep the outcome of a post-quantum exchange; see ``upkeep.keep_agreement``."""
        return self._submit(upkeep.keep_agreement, link, number, secret, self._clock())

    def ledger(self, link: str, role: Role) -> LinkLedger:
        """Return the store as the conversation that begins a session of one link sees it."""
        return LinkLedger(self._submit, link, role, self._clock)

    def shown(self, link: str) -> Future[LedgerShown]:
        """Return how a link's ledger stands."""
        return self._submit(ledgers.shown, link)

    def declare_lost(self, link: str) -> Future[None]:
        """Let a new first secret take the place of a link's ledger; see ``ledgers.declare_lost``."""
        return self._submit(ledgers.declare_lost, link)

    def compared(self, link: str, *, equal: bool) -> Future[None]:
        """Hand a link's keys out or not, as the peer's ledger was found; see ``ledgers.compared``."""
        return self._submit(partial(ledgers.compared, equal=equal), link)

    def demand_room(self) -> Future[None]:
        """Write as much as a block's keys take, and take it back: fails as they would."""
        return self._submit(upkeep.demand_room)

    def begin(self, link: str, begun: bytes, account: BlockAccount) -> Future[None]:
        """Write down under a new name of 16 bytes that a block is in work; see ``blocks.begin``."""
        return self._submit(blocks.begin, link, begun, account, self._clock())

    def book(self, link: str, begun: bytes | None = None) -> LinkBook:
        """Return the store as a commit conversation of one link sees it; ``begun`` as given to ``begin``."""
        return LinkBook(self._submit, link, self._clock, begun)

    def note(self, link: str, account: BlockAccount, begun: bytes | None = None) -> Future[None]:
        """Write down that a block gave no key; ``begun`` as given to ``begin``."""
        return self._submit(blocks.note, link, account, begun, self._clock())

    def agreement_age(self, link: str) -> Future[float | None]:
        """Return the seconds since a link's newest agreement; None without one, or if the clock was set back."""
        return self._submit(ledgers.agreement_age, link, self._clock())

    def was_used(self, secret: Secret) -> Future[bool]:
        """Tell whether any link ever began with a secret."""
        return self._submit(upkeep.was_used, secret)

    def take(
        self, pair: Pair, number: int, key_bytes: int, mode: Mode = Mode.QKD, kept: int = 0
    ) -> Future[list[HandedKey]]:
        """Hand new keys to a master at this end; see ``handing.take``."""
        return self._submit(handing.take, pair, number, key_bytes, mode, kept, self._clock())

    def fetch(self, pair: Pair, names: Sequence[UUID], modes: Sequence[Mode] = tuple(Mode)) -> Future[list[HandedKey]]:
        """Hand a slave at this end its keys by name; see ``handing.fetch``."""
        return self._submit(handing.fetch, pair, names, modes, self._clock())

    def reserve_tag(self, link: str, *, opening: bool, tag_bytes: int = TAG_BYTES) -> Future[tuple[TagPlace, TagKeys]]:
        """Take the keys of one tag for what this end says; see ``pools.reserve``."""
        return self._submit(partial(pools.reserve, opening=opening), link, tag_bytes)

    def look_up_tag(self, link: str, place: TagPlace) -> Future[TagKeys]:
        """Return the keys of a tag that the peer made; see ``pools.look_up``."""
        return self._submit(pools.look_up, link, place)

    def accept_tag(self, link: str, place: TagPlace) -> Future[None]:
        """Strike off the keys of a tag that was right; see ``pools.accept``."""
        return self._submit(pools.accept, link, place)

    def halt(self, link: str, reason: str) -> Future[None]:
        """Let nothing be said or accepted on a link until it is enrolled anew."""
        return self._submit(pools.halt, link, reason)

    def pool_levels(self, link: str) -> Future[PoolLevels]:
        """Return how much is left to authenticate with."""
        return self._submit(pools.levels, link)

    def tidy(self) -> Future[int]:
        """Erase what has expired; return how many keys have. For the node to call each minute or so."""
        tidied = self._submit(upkeep.tidy, self._clock())
        self._database.fold()
        return tidied

    def close(self) -> None:
        """Finish what is under way and close the file; waits for the disk."""
        self._database.close()

    def _submit(self, job: Callable[..., T], *args: object) -> Future[T]:
        return self._database.submit(lambda work: job(work, self._contents, *args))


class LinkBook:
    """One link's ``exchange.committing.Book``: each call waits until its step is on disk."""

    def __init__(
        self, submit: Callable[..., Future[Any]], link: str, clock: Callable[[], float], begun: bytes | None
    ) -> None:
        self._submit, self._link, self._utc, self._begun = submit, link, clock, begun

    def propose(self, block: bytes, key: Secret, account: BlockAccount) -> Allotment:
        """Write a block as PREPARED at alice's end."""
        return self._run(blocks.propose, block, key, account, self._begun, self._utc())

    def accept(self, block: bytes, key: Secret, account: BlockAccount, allotment: Allotment) -> None:
        """Write a block as PREPARED at bob's end."""
        self._run(blocks.accept, block, key, account, allotment, self._begun, self._utc())

    def settle(self, block: bytes) -> None:
        """Make a PREPARED block servable."""
        self._run(blocks.settle, block, self._utc())

    def abandon(self, block: bytes) -> None:
        """Erase a PREPARED block."""
        self._run(blocks.abandon, block)

    def prepared(self) -> Sequence[bytes]:
        """Return the names of all PREPARED blocks."""
        return self._run(blocks.prepared)

    def is_settled(self, block: bytes) -> bool:
        """Tell whether a block is, or once was, servable."""
        return self._run(blocks.is_settled, block)

    def _run(self, job: Callable[..., T], *args: object) -> T:
        result: T = self._submit(job, self._link, *args).result()
        return result
