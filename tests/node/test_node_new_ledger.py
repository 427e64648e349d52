"""A link whose ends came to have different ledgers, or that was halted, or whose store cannot be written."""

from __future__ import annotations

import asyncio
import random
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from blocks_made import KEYS_TERMS, LINK, making_keys
from ends_made import connection, running
from keys_made import BACK, PAIR, Ends, ends
from nodes_made import free_address, link_of, node, settings_of, until, world

from qnoded.errors import KeysWithheld, UsageError
from qnoded.node import link as links
from qnoded.node.daemon import Daemon
from qnoded.node.disk import Disk
from qnoded.node.distillation import KeyMaking
from qnoded.node.keys import upkeep
from qnoded.node.keys.contents import Contents
from qnoded.node.keys.database import Work
from qnoded.node.keys.opening import open_store
from qnoded.node.keys.pools import DECLARED_LOST, PEER_DIFFERS
from qnoded.node.keys.secret_files import SEALING_KEY_BYTES, new_secret
from qnoded.node.keys.store import KeyStore
from qnoded.node.pool import Pool
from qnoded.node.watchdog import Progress
from qnoded.node_settings import KeysSettings, NodeSettings
from qnoded.records import SIDES
from qnoded.secret import Secret

SECOND_SECRET = random.Random(5).randbytes(8192)


def demand_withheld(stores: Ends, why: str) -> None:
    """Neither end hands a key out, to masters or to slaves."""
    names = [UUID(int=1)]
    for store, mine, theirs in ((stores.alice, PAIR, BACK), (stores.bob, BACK, PAIR)):
        assert (store.stock(LINK).own_keys, store.stock(LINK).peer_keys) == (0, 0)
        for asked in (store.take(mine, 1, 32), store.fetch(theirs, names)):
            with pytest.raises(KeysWithheld, match=why):
                asked.result()


def test_keys_that_one_end_alone_has_are_not_handed_out_until_both_began_with_one_secret(tmp_path: Path) -> None:
    """Alice begins anew with a second secret; bob has keys of the first, learns it, and keeps them back over a restart.

    Then his operator gives the ledger up, his next start takes the second secret, and the link makes keys.
    """
    with ends(tmp_path) as stores:
        stores.commit(1)
        assert stores.bob.stock(LINK).own_keys
        stores.alice.enrol(LINK, "alice", "secret file", Secret(SECOND_SECRET)).result()

    async def differ() -> None:
        async with making_keys(tmp_path) as link:
            for side in link.sides.values():
                await link.until(lambda end=side.end: any("qnodectl enrol" in text for _, text in end.told))
                assert "no key of the link is handed out" in side.end.link.status().keys.to_do
            await link.sides["bob"].end.link.enrol()
            assert link.stores is not None
            assert link.stores.bob.withheld(LINK) == DECLARED_LOST

    async def agree() -> None:
        async with making_keys(tmp_path) as link:
            assert link.stores is not None
            stores = link.stores
            await link.until(lambda: stores.alice.withheld(LINK) == stores.bob.withheld(LINK) == "")
            link.close(2)
            await link.until(lambda: all(2 in side.made() for side in link.sides.values()))
            assert stores.bob.stock(LINK).own_keys

    with ends(tmp_path) as stores:
        stores.bob.compared(LINK, equal=False).result()
        stores.alice.compared(LINK, equal=False).result()
        demand_withheld(stores, PEER_DIFFERS)
    with ends(tmp_path) as stores:
        demand_withheld(stores, PEER_DIFFERS)
    asyncio.run(differ())
    with ends(tmp_path) as stores:
        assert stores.bob.withheld(LINK) == DECLARED_LOST
        stores.bob.enrol(LINK, "bob", "secret file", Secret(SECOND_SECRET)).result()
    asyncio.run(agree())


def test_keys_are_handed_out_again_as_soon_as_the_peer_shows_the_same_ledger(tmp_path: Path) -> None:
    """For a store that was put back in its place; one that was given up stays so."""
    with ends(tmp_path) as stores:
        stores.commit(1)
        stores.bob.compared(LINK, equal=False).result()
        stores.bob.compared(LINK, equal=True).result()
        assert stores.bob.withheld(LINK) == ""
        assert len(stores.bob.take(BACK, 1, 32).result()) == 1
        stores.bob.declare_lost(LINK).result()
        stores.bob.compared(LINK, equal=False).result()
        assert stores.bob.withheld(LINK) == DECLARED_LOST


def test_a_halted_link_says_so_at_the_start_and_neither_pauses_nor_resumes(tmp_path: Path) -> None:
    async def run() -> None:
        pool, wire = Pool(1), connection()[0]
        with ends(tmp_path) as stores:
            halted = "a message came again"
            making = KeyMaking(stores.alice, KEYS_TERMS, "alice", pool, Progress("keys"), halted=halted)
            async with running(tmp_path, wire, terms=KEYS_TERMS, keys=making) as end:
                assert end.state == "STOPPED"
                assert end.told == [("error", f"STOPPED: halted before this start: {halted}")]
                for order in (end.link.pause, end.link.resume):
                    with pytest.raises(UsageError, match=r"has stopped, and .* does nothing to it: .* qnodectl enrol"):
                        order()
                await end.link.enrol()
                assert end.state == "ABSENT"
        pool.close()

    asyncio.run(run())


def with_keys(settings: NodeSettings, folder: Path) -> NodeSettings:
    """Return a node's settings with a key store; its first secret lies at NAME/first."""
    mine = folder / settings.node.name
    if not (mine / "kek").exists():
        mine.mkdir(exist_ok=True)
        new_secret(mine / "kek", SEALING_KEY_BYTES)
    keyed = {peer: link.model_copy(update={"first_secret": mine / "first"}) for peer, link in settings.links.items()}
    return settings.model_copy(update={"keys": KeysSettings(kek=mine / "kek"), "links": keyed})


@pytest.mark.slow
def test_a_halted_link_without_identities_comes_back_by_files_at_both_ends(tmp_path: Path) -> None:
    """Alice's store is halted: she starts dark and sifts nothing; enrol, a file and a restart at both bring keys."""

    def give_secret() -> None:
        new_secret(tmp_path / "secret", 4096)
        for name in SIDES:
            shutil.copy(tmp_path / "secret", tmp_path / name / "first")
        (tmp_path / "secret").unlink()

    def stock(daemon: Daemon) -> int:
        link = link_of(daemon)
        return link.keys.available if link and link.keys else 0

    async def run() -> None:
        async with world() as (_, place):
            address = free_address()
            alice, bob = (with_keys(settings_of(name, tmp_path, place, address), tmp_path) for name in SIDES)
            give_secret()
            async with node(alice) as one, node(bob) as other:
                await until(lambda: stock(one) > 0 and stock(other) > 0)
            assert alice.keys is not None
            store = open_store(alice.keys, alice.node.state_dir, simulation=True)
            await asyncio.wrap_future(store.halt(alice.terms("bob").link, "a seal was wrong"))
            store.close()
            async with node(alice) as one, node(bob) as other:
                await until(lambda: one.snapshot().node.state == other.snapshot().node.state == "running")
                link = link_of(one)
                assert link is not None
                assert (link.state, link.epochs) == ("STOPPED", 0)
                assert "a seal was wrong" in link.reason
                assert "every link of this node is halted" in str(one.snapshot().instruments["laser"].problem)
                with pytest.raises(UsageError, match="qnodectl enrol"):
                    await one.resume("bob")
                await one.enrol("bob")
                await other.enrol("alice")
                assert (stock(one), stock(other)) == (0, 0)
            give_secret()
            async with node(alice) as one, node(bob) as other:
                await until(lambda: stock(one) > 0 and stock(other) > 0)
                assert not any((tmp_path / name / "first").exists() for name in SIDES)

    asyncio.run(run())


def limit(store: KeyStore, pages: int) -> Future[Any]:
    """Let the store's file have no more pages, as on a full disk."""

    def job(work: Work, _contents: Contents) -> None:
        work.row(f"PRAGMA max_page_count = {pages}")

    return store._submit(job)


def test_no_session_begins_while_a_store_is_full_and_both_ends_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "UNWRITABLE_S", 0.05)

    async def run() -> None:
        pool, troubles = Pool(1), []
        async with making_keys(tmp_path) as link:
            assert link.stores is not None
            alice, bob = link.sides["alice"].end, link.sides["bob"].end
            keys = bob.link._keys
            assert keys is not None
            keys.disk = Disk(pool, lambda level, text: troubles.append((level, text)))
            link.close(0)
            await link.until(lambda: all(0 in side.made() for side in link.sides.values()))
            monkeypatch.setattr(upkeep, "ROOM_BYTES", 1 << 21)
            await asyncio.wrap_future(limit(link.stores.bob, 1))
            bob.link.axis_began()
            await link.until(lambda: bool(keys.disk.troubles))
            assert "the key store cannot be written" in keys.disk.troubles[0]
            assert "full" in bob.link.status().keys.to_do
            await link.until(lambda: any("the key store of bob cannot be written" in text for _, text in alice.told))
            await asyncio.wrap_future(limit(link.stores.bob, 1 << 30))
            await link.until(lambda: keys.disk.troubles == ())
            assert bob.link.status().keys.to_do == ""
            await link.until(lambda: len(link.sessions()) == 1 and None not in link.sessions())
            assert [level for level, _ in troubles] == ["warning", "info"]
        pool.close()

    asyncio.run(run())
