"""Two key stores of one link and blocks that both ends distilled, for the tests of keys and delivery."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from qnoded.exchange import committing
from qnoded.exchange.committing import BlockAccount
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.handing import Pair
from qnoded.node.keys.store import KeyStore
from qnoded.secret import Secret
from qnoded.testing.pair import Conversation, converse

LINK = "alice-bob"
KEK = bytes(range(32))
FIRST_SECRET = random.Random(4).randbytes(8192)
PAIR = Pair(LINK, "sae-alice", "sae-bob")
BACK = Pair(LINK, "sae-bob", "sae-alice")

ACCOUNT = BlockAccount(
    outcome="key",
    first_epoch=10,
    last_epoch=20,
    epochs=11,
    sifted_bits=100_000,
    test_bits=5_000,
    test_errors=150,
    corrected_errors=2_900,
    leaked_bits=20_000,
    key_bits=40_000,
    eps_sec=1e-10,
    eps_cor=1e-15,
    method="cascade",
    settings_digest="00" * 32,
    simulated=True,
)


@dataclass
class Clock:
    """UTC that stands still until a test moves it."""

    utc_s: float = 1_000_000.0

    def __call__(self) -> float:
        return self.utc_s


@dataclass
class Ends:
    """The stores of both ends."""

    alice: KeyStore
    bob: KeyStore
    clock: Clock

    def commit(self, number: int, size_bytes: int = 32 * 20, *, simulated: bool = True) -> Conversation[bool, bool]:
        """Let both ends commit a block of which the number gives the bytes."""
        content = block_bytes(number, size_bytes)
        account = replace(ACCOUNT, key_bits=8 * size_bytes, simulated=simulated)
        return converse(
            committing.alice(Secret(content), account, self.alice.book(LINK), random.Random(number).randbytes),
            committing.bob(Secret(content), account, self.bob.book(LINK)),
        )


def block_bytes(number: int, size_bytes: int) -> bytes:
    """Return what both ends distilled: looks random, differs for each number."""
    return hashlib.shake_256(number.to_bytes(8, "big")).digest(size_bytes)


@contextmanager
def ends(
    folder: Path, rules: StoreRules | None = None, clock: Clock | None = None, *, enrolled: bool = True
) -> Iterator[Ends]:
    """Open both stores in a folder, enrolled with one secret if they are new and shall be."""
    rules = rules or StoreRules(simulation=True, pool_bytes=0)
    clock = clock or Clock()
    alice = KeyStore(folder / "alice.sqlite", Secret(KEK), rules, clock)
    try:
        bob = KeyStore(folder / "bob.sqlite", Secret(KEK), rules, clock)
        try:
            if enrolled and not alice.links():
                alice.enrol(LINK, "alice", "secret file", Secret(FIRST_SECRET)).result()
                bob.enrol(LINK, "bob", "secret file", Secret(FIRST_SECRET)).result()
            yield Ends(alice, bob, clock)
        finally:
            bob.close()
    finally:
        alice.close()
