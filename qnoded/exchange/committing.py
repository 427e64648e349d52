"""Two-sided commit of a block's key: both ends have it on disk, or neither ever serves it.

Alice decides. An end that has written the block (PREPARED) may neither serve nor forget it on its own; alice makes it
servable (SETTLED) once she knows that bob has it too, bob once he knows that alice has. Whatever is left PREPARED by a
crash or a broken connection is decided by ``recover`` at the start of the next session, the same way at both ends:

    at alice      at bob        verdict
    PREPARED      PREPARED      abandoned: no seal ever told alice that bob heard what she said
    SETTLED       PREPARED      settled: alice may have served it already
    PREPARED      nothing       abandoned: bob never said that he has it
    nothing       PREPARED      abandoned: alice crashed before hers was on disk, or abandoned it

So a block is settled only if its own session's seals covered all that was said for it, both ways. Alice settles
at once when the seal behind ``Held`` was found right; a block that is still PREPARED at her end has had none, and bob,
who waits for her, has served nothing of it.

Before anything is written the ends compare a hash of the key under a one-time mask that is cut off the key itself, so
that the comparison tells nobody anything. It guards against faults of memory and of programs; that the key is the same
up to eps_cor is verification's work, and that nobody altered the messages is authentication's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.messages import Message
from qnoded.secret import Secret
from qnoded.stages.universal_hash import POINT_BYTES, Purpose, universal_hash

BLOCK_ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32
CHECK_BYTES: Final = 8
"""Of the key's hash, and of the key that masks it."""
LARGEST_KEY_BYTES: Final = 1 << 27
LARGEST_NUMBER: Final = 1 << 40
"""Serial numbers and positions stay below: at 100 keys a second it lasts for 350 years."""
MOST_OPEN_BLOCKS: Final = 1024
"""Blocks that may be left PREPARED; a healthy link leaves one."""

Randomness = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class BlockAccount:
    """What the ledger keeps of a block, key or not: public facts, the same at both ends."""

    outcome: str
    """``key``, or why there is none."""
    first_epoch: int
    last_epoch: int
    epochs: int
    """How many there are from the first to the last."""
    sifted_bits: int
    test_bits: int
    test_errors: int
    corrected_errors: int
    leaked_bits: int
    key_bits: int
    """Length that the finite-key bound allows."""
    eps_sec: float
    eps_cor: float
    method: str
    """Of reconciliation."""
    settings_digest: str
    """SHA-256 of the link's terms, hexadecimal."""
    simulated: bool
    """True if any instrument at either end was simulated or replayed; stays with each key for life."""

    def text(self) -> str:
        """Return canonical JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def digest(self) -> bytes:
        """Return the SHA-256 of ``text``: what both ends compare."""
        return hashlib.sha256(self.text().encode()).digest()


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive numbers: serial numbers of keys, or positions of bytes in a pool."""

    first: int
    count: int

    def __post_init__(self) -> None:
        if not (0 <= self.first <= LARGEST_NUMBER and 0 <= self.count <= LARGEST_KEY_BYTES):
            problem = f"a run of {self.count} from {self.first} is impossible; both ends must run one version"
            raise RemoteProtocolError(problem)

    @property
    def stop(self) -> int:
        """The number after the last."""
        return self.first + self.count


@dataclass(frozen=True, slots=True)
class Allotment:
    """Which byte of a block's key becomes what, in this order after the check's mask; alice decides.

    Each key belongs to one end, which alone hands it out first; so neither has to ask the other before it does.
    """

    key_bytes: int
    """Length of one stored key."""
    alice_keys: Run
    """Serial numbers of keys that alice's node hands out to masters."""
    bob_keys: Run
    alice_tags: Run
    """Positions in the pool that authenticates what alice sends."""
    bob_tags: Run

    def __post_init__(self) -> None:
        if not 0 < self.key_bytes <= LARGEST_KEY_BYTES:
            problem = f"keys of {self.key_bytes} bytes are impossible; both ends must run one version"
            raise RemoteProtocolError(problem)

    @property
    def total_bytes(self) -> int:
        """Bytes of the block's key that are allotted, the mask included."""
        keys = self.alice_keys.count + self.bob_keys.count
        return CHECK_BYTES + keys * self.key_bytes + self.alice_tags.count + self.bob_tags.count


@dataclass(frozen=True, slots=True)
class Offer(Message):
    """Alice to bob: she has this block on disk."""

    block: bytes
    """16 random bytes that name it."""
    account_digest: bytes
    allotment: Allotment
    point: bytes
    """Where the hash of the key is taken, drawn after the key was made."""
    check: bytes

    def __post_init__(self) -> None:
        _demand_bytes("block's name", self.block, BLOCK_ID_BYTES)
        _demand_bytes("account's digest", self.account_digest, DIGEST_BYTES)
        _demand_bytes("hash point", self.point, POINT_BYTES)
        _demand_bytes("key check", self.check, CHECK_BYTES)


@dataclass(frozen=True, slots=True)
class Held(Message):
    """Bob to alice: he has the same block on disk; or he has not, and never will."""

    block: bytes
    held: bool

    def __post_init__(self) -> None:
        _demand_bytes("block's name", self.block, BLOCK_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Settled(Message):
    """Alice to bob: the block is servable here; a seal follows, since bob serves it because of that."""

    block: bytes

    def __post_init__(self) -> None:
        _demand_bytes("block's name", self.block, BLOCK_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Noted(Message):
    """Bob to alice: here as well; the next block may come. Nothing follows from it, so it takes no seal of its own."""

    block: bytes

    def __post_init__(self) -> None:
        _demand_bytes("block's name", self.block, BLOCK_ID_BYTES)


@dataclass(frozen=True, slots=True)
class OpenBlocks(Message):
    """Bob to alice at the start of a session: blocks that are PREPARED at his end."""

    blocks: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _demand_names(self.blocks)


@dataclass(frozen=True, slots=True)
class Verdicts(Message):
    """Alice to bob: which of his open blocks are settled; the others are abandoned."""

    settled: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _demand_names(self.settled)


class Book(Protocol):
    """What the conversation needs of the key store of one link; each call is on disk when it returns."""

    def propose(self, block: bytes, key: Secret, account: BlockAccount) -> Allotment:
        """Write a block as PREPARED at alice's end, and decide what becomes of its bytes."""

    def accept(self, block: bytes, key: Secret, account: BlockAccount, allotment: Allotment) -> None:
        """Write a block as PREPARED at bob's end."""

    def settle(self, block: bytes) -> None:
        """Make a PREPARED block servable."""

    def abandon(self, block: bytes) -> None:
        """Erase a PREPARED block."""

    def prepared(self) -> Sequence[bytes]:
        """Return the names of all PREPARED blocks."""

    def is_settled(self, block: bytes) -> bool:
        """Tell whether a block is, or once was, servable."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the blocks that were open at this end."""

    settled: tuple[bytes, ...]
    abandoned: tuple[bytes, ...]


def alice(key: Secret, account: BlockAccount, book: Book, randomness: Randomness) -> Script[bool]:
    """Commit a block at alice's end; return whether both ends have it.

    Parameters
    ----------
    key : what privacy amplification gave, longer than the check's mask
    account : the same at both ends
    book : the link's key store
    randomness : names the block and draws the hash point
    """
    block = randomness(BLOCK_ID_BYTES)
    allotment = yield from compute(book.propose, block, key, account)
    point = randomness(POINT_BYTES)
    yield from send(Offer(block, account.digest(), allotment, point, key_check(key, point)))
    answer = yield from receive(Held)
    _demand_block(answer.block, block)
    if not answer.held:
        yield from compute(book.abandon, block)
        return False
    yield from compute(book.settle, block)
    yield from send(Settled(block))
    _demand_block((yield from receive(Noted)).block, block)
    return True


def bob(key: Secret, account: BlockAccount, book: Book) -> Script[bool]:
    """Commit a block at bob's end; as for alice."""
    offer = yield from receive(Offer)
    demand(
        offer.allotment.total_bytes <= len(key),
        f"alice allots {offer.allotment.total_bytes} bytes of a key of {len(key)}; both ends must run one version",
    )
    same = hmac.compare_digest(offer.check, key_check(key, offer.point)) and offer.account_digest == account.digest()
    if same:
        yield from compute(book.accept, offer.block, key, account, offer.allotment)
    yield from send(Held(offer.block, same))
    if same:
        _demand_block((yield from receive(Settled)).block, offer.block)
        yield from compute(book.settle, offer.block)
        yield from send(Noted(offer.block))
    return same


def recover_alice(book: Book) -> Script[Recovered]:
    """Decide what a crash left open, at alice's end; before the session's first commit."""
    theirs = (yield from receive(OpenBlocks)).blocks
    mine = yield from compute(book.prepared)
    for block in mine:
        yield from compute(book.abandon, block)
    verdicts = yield from compute(lambda: tuple(block for block in theirs if book.is_settled(block)))
    yield from send(Verdicts(verdicts))
    return Recovered((), tuple(mine))


def recover_bob(book: Book) -> Script[Recovered]:
    """Tell alice what is open here, and do as she says."""
    mine = tuple((yield from compute(book.prepared)))
    yield from send(OpenBlocks(mine))
    verdicts = (yield from receive(Verdicts)).settled
    demand(
        set(verdicts) <= set(mine), "alice decides on blocks that are not open here; both ends need one link's store"
    )
    for block in mine:
        yield from compute(book.settle if block in verdicts else book.abandon, block)
    return Recovered(verdicts, tuple(block for block in mine if block not in verdicts))


def key_check(key: Secret, point: bytes) -> bytes:
    """Return the hash of all but the first 8 bytes of a key, masked by those 8, which serve nothing else."""
    view = key.view()
    hashed = universal_hash(view[CHECK_BYTES:], point, Purpose.VERIFICATION)
    return bytes(a ^ b for a, b in zip(hashed, view[:CHECK_BYTES], strict=False))


def _demand_block(named: bytes, expected: bytes) -> None:
    demand(named == expected, "the peer speaks of another block than the one in work; the session starts anew")


def _demand_names(blocks: tuple[bytes, ...]) -> None:
    demand(len(blocks) <= MOST_OPEN_BLOCKS, f"{len(blocks)} open blocks, at most {MOST_OPEN_BLOCKS} can be")
    for block in blocks:
        _demand_bytes("block's name", block, BLOCK_ID_BYTES)


def _demand_bytes(what: str, content: bytes, length: int) -> None:
    demand(len(content) == length, f"a {what} of {len(content)} bytes, {length} are due; the message is garbled")
