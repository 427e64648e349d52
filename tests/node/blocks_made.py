"""Both ends of a link that makes keys, with sifted blocks made on demand, for the tests of the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ends_made import TERMS, End, connection, running
from keys_made import LINK, Ends, ends

from qnoded.exchange.bootstrapping import Signers
from qnoded.exchange.effects import Script, arrival, emit
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import Happening, KnownClock
from qnoded.exchange.reports import BlockDiscarded, BlockSifted, KeyMade, Tests
from qnoded.exchange.terms import LinkTerms
from qnoded.node.distillation import KeyMaking
from qnoded.node.keys.contents import StoreRules
from qnoded.node.pool import Pool
from qnoded.node.watchdog import Progress
from qnoded.records import SIDES, SiftedEpoch

KEYS_TERMS = replace(TERMS, makes_keys=True)
PATIENCE_S = 60.0
"""Only a test that fails waits so long."""
LOOK_S = 0.01


def sifted_block(number: int, side: str, bits: int = 20_000, rate: float = 0.02, test_bits: int = 4_000) -> BlockSifted:
    """Return one end's view of a block; the number gives its bits."""
    rng = np.random.default_rng(number)
    alice = rng.integers(0, 2, bits, np.uint8)
    bob = alice ^ (rng.random(bits) < rate).astype(np.uint8)
    tests = tuple(
        Tests(name, int(rng.binomial(test_bits // 2, rate)), test_bits // 2) for name in ("HV", "DA") if test_bits
    )
    basis = (np.arange(bits) % 2).astype(np.uint8)
    sifted = SiftedEpoch(alice if side == SIDES[0] else bob, basis, side)
    return BlockSifted(number, (10 * number, 10 * number + 1), sifted, tests, b"d" * 32)


@dataclass(frozen=True, slots=True)
class Closed(Happening):
    """A block is closed at this end."""

    block: BlockSifted


def closing(_session: Session, _known: KnownClock) -> Script[None]:
    """Make a script whose blocks are closed by the test."""
    while True:
        closed = yield from arrival()
        if isinstance(closed, Closed):
            yield from emit(closed.block)


@dataclass
class Side:
    """One end, and what came of its blocks."""

    end: End
    reports: list[object]

    def close(self, block: BlockSifted) -> None:
        """Close a block here."""
        conversation = self.end.link._conversation
        assert conversation is not None
        conversation.tell(Closed(block))

    def made(self) -> set[int]:
        return {one.block for one in self.reports if isinstance(one, KeyMade)}

    def discarded(self) -> dict[int, BlockDiscarded]:
        return {one.block: one for one in self.reports if isinstance(one, BlockDiscarded)}


@dataclass
class Link:
    """Both ends and their stores."""

    sides: dict[str, Side] = field(default_factory=dict)
    stores: Ends | None = None

    def close(self, number: int, **made: float) -> None:
        """Close a block at both ends, bob's first as on a real link."""
        for side in ("bob", "alice"):
            self.sides[side].close(sifted_block(number, side, **made))

    def sessions(self) -> set[str | None]:
        """Return the sessions of both ends, the same if they talk."""
        return {side.end.link.status().session for side in self.sides.values()}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, and look again and again: threads, disks and greetings take real time."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def making_keys(
    folder: Path,
    terms: LinkTerms = KEYS_TERMS,
    rules: StoreRules | None = None,
    signers: tuple[Signers, Signers] | None = None,
) -> AsyncIterator[Link]:
    """Run both ends of a link that makes keys; with signers there is no first secret."""
    link = Link()
    pools = [Pool(2), Pool(2)]
    one, other = connection()
    try:
        with ends(folder, rules, enrolled=signers is None) as stores:
            link.stores = stores
            store = {"alice": stores.alice, "bob": stores.bob}
            makings = {
                side: KeyMaking(store[side], terms, side, pool, Progress("keys"), signers=signs)
                for side, pool, signs in zip(SIDES, pools, signers or (None, None), strict=True)
            }
            reports: dict[str, list[object]] = {side: [] for side in SIDES}

            async with (
                running(
                    folder,
                    one,
                    terms=terms,
                    make_script=closing,
                    keys=makings["alice"],
                    watchers=[reports["alice"].append],
                ) as alice,
                running(
                    folder,
                    other,
                    terms=terms,
                    make_script=closing,
                    keys=makings["bob"],
                    watchers=[reports["bob"].append],
                ) as bob,
            ):
                for side, end in zip(SIDES, (alice, bob), strict=True):
                    link.sides[side] = Side(end, reports[side])
                # A first session may have ended already: who answers is not who is pinned, or has another ledger.
                await link.until(
                    lambda: (
                        (link.sessions() != {None} and len(link.sessions()) == 1)
                        or any(side.end.state == "STOPPED" for side in link.sides.values())
                        or all(one.withheld(LINK) for one in store.values())
                    )
                )
                yield link
    finally:
        for pool in pools:
            pool.close()


__all__ = ["KEYS_TERMS", "LINK", "Closed", "Link", "Side", "closing", "making_keys", "sifted_block"]
