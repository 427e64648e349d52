"""The key store from a block at two ends to keys handed out: equal, once, in time, and only where allowed."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from keys_made import ACCOUNT, BACK, FIRST_SECRET, KEK, LINK, PAIR, Ends, block_bytes, ends

from qnoded.errors import (
    ConfigError,
    KeyNotForCaller,
    KeyNotFound,
    KeysExhausted,
    KeyStoreBroken,
    LedgersDiffer,
    LocalProtocolError,
    RemoteProtocolError,
    UsageError,
)
from qnoded.exchange import agreeing
from qnoded.exchange.bootstrapping import Occasion
from qnoded.exchange.committing import CHECK_BYTES, Run
from qnoded.exchange.effects import Script
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.handing import HandedKey, Pair
from qnoded.node.keys.key_ids import Mode
from qnoded.node.keys.store import KeyStore
from qnoded.node.keys.upkeep import AGREEMENTS_KEPT
from qnoded.secret import Secret
from qnoded.testing.pair import converse


def names(keys: list[HandedKey]) -> list[UUID]:
    return [key.name for key in keys]


def rows_of(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def contents(keys: list[HandedKey]) -> list[bytes]:
    return [key.key.reveal() for key in keys]


def test_keys_are_the_blocks_bytes_equal_at_both_ends_in_both_directions(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        told = both.commit(1, CHECK_BYTES + 32 * 20)
        assert told.alice is told.bob is True
        assert both.alice.stock(LINK).own_keys == both.bob.stock(LINK).peer_keys == 10
        mine = both.alice.take(PAIR, 3, 32).result()
        theirs = both.bob.fetch(PAIR, names(mine)).result()
        assert contents(mine) == contents(theirs)
        assert contents(mine) == [block_bytes(1, 9999)[8 + 32 * k : 40 + 32 * k] for k in range(3)]
        back = both.bob.take(BACK, 10, 32).result()
        assert contents(both.alice.fetch(BACK, names(back)).result()) == contents(back)
        assert not set(contents(back)) & set(contents(mine))
        assert both.alice.stock(LINK).own_keys == both.bob.stock(LINK).peer_keys == 7
        assert both.bob.stock(LINK).own_keys == both.alice.stock(LINK).peer_keys == 0
        assert all(key.simulated for key in mine)


@pytest.mark.parametrize("key_bytes", [1, 16, 31, 32, 33, 64, 100, 1024])
def test_any_length_is_served_and_fetched(tmp_path: Path, key_bytes: int) -> None:
    with ends(tmp_path) as both:
        both.commit(1, CHECK_BYTES + 32 * 200)
        mine = both.alice.take(PAIR, 2, key_bytes).result()
        assert [len(key.key) for key in mine] == [key_bytes] * 2
        assert contents(both.bob.fetch(PAIR, names(mine)).result()) == contents(mine)
        stored = 2 * -(-key_bytes // 32)
        assert both.alice.stock(LINK).own_keys == both.bob.stock(LINK).peer_keys == 100 - stored


def test_no_key_is_handed_out_twice_at_either_end(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        taken = [both.alice.take(PAIR, 1, 32).result()[0] for _ in range(9)]
        assert len(set(contents(taken))) == 9
        both.bob.fetch(PAIR, names(taken)).result()
        for name in names(taken):
            with pytest.raises(KeyNotFound):
                both.bob.fetch(PAIR, [name]).result()
            with pytest.raises(KeyNotFound):
                both.alice.fetch(PAIR, [name]).result()
        with pytest.raises(KeysExhausted, match="ask for fewer"):
            both.alice.take(PAIR, 1, 32).result()


def test_a_refused_request_takes_nothing(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        with pytest.raises(KeysExhausted):
            both.alice.take(PAIR, 11, 32).result()
        (key,) = both.alice.take(PAIR, 1, 32).result()
        with pytest.raises(KeyNotFound):
            both.bob.fetch(PAIR, [key.name, uuid4()]).result()
        with pytest.raises(KeyNotFound):
            both.bob.fetch(PAIR, [key.name, key.name]).result()
        with pytest.raises(KeyNotForCaller):
            both.bob.fetch(Pair(LINK, PAIR.master, "sae-eve"), [key.name]).result()
        with pytest.raises(KeyNotFound):
            both.bob.fetch(Pair(LINK, "sae-mallory", PAIR.slave), [key.name]).result()
        assert contents(both.bob.fetch(PAIR, [key.name]).result()) == contents([key])


def test_requests_of_one_batch_fail_alone(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        waiting: list[Future[list[HandedKey]]] = [both.alice.take(PAIR, 3, 32) for _ in range(5)]
        done = [one for one in waiting if one.exception() is None]
        failed = [one for one in waiting if one.exception() is not None]
        assert (len(done), len(failed)) == (3, 2)
        assert all(isinstance(one.exception(), KeysExhausted) for one in failed)
        assert len({key for one in done for key in contents(one.result())}) == 9
        assert both.alice.stock(LINK).own_keys == 0


def test_keys_reserved_for_others_stay(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        assert both.alice.stock(LINK).own_keys == 9
        with pytest.raises(KeysExhausted, match="5 of them reserved"):
            both.alice.take(PAIR, 5, 32, kept=5).result()
        assert len(both.alice.take(PAIR, 4, 32, kept=5).result()) == 4
        assert len(both.alice.take(PAIR, 5, 32).result()) == 5


def test_stock_and_memory_survive_a_restart(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        before = both.alice.take(PAIR, 2, 32).result()
        stocks = (both.alice.stock(LINK), both.bob.stock(LINK))
    with ends(tmp_path) as both:
        assert (both.alice.stock(LINK), both.bob.stock(LINK)) == stocks
        assert contents(both.bob.fetch(PAIR, names(before)).result()) == contents(before)
        after = both.alice.take(PAIR, 7, 32).result()
        assert not set(contents(after)) & set(contents(before))


def test_keys_expire_first_where_they_are_handed_out_first(tmp_path: Path) -> None:
    """Lifetime 100 s; the other end keeps them an hour longer."""
    rules = StoreRules(simulation=True, pool_bytes=0, lifetime_s=100.0)
    with ends(tmp_path, rules) as both:
        both.commit(1)
        mine = both.alice.take(PAIR, 2, 32).result()
        both.clock.utc_s += 101.0
        with pytest.raises(KeysExhausted):
            both.alice.take(PAIR, 1, 32).result()
        assert both.alice.tidy().result() == 7
        assert both.alice.stock(LINK).own_keys == 0
        assert both.bob.fetch(PAIR, names(mine[:1])).result()
        both.clock.utc_s += 3600.0
        with pytest.raises(KeyNotFound):
            both.bob.fetch(PAIR, names(mine[1:])).result()
        both.alice.tidy().result()
        assert both.bob.tidy().result() == 9 - 1 + 10
        assert both.bob.stock(LINK).peer_keys == both.bob.stock(LINK).own_keys == 0


def test_an_emptied_block_loses_its_key_and_the_store_goes_on(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1, CHECK_BYTES + 32 * 20)
        both.alice.take(PAIR, 10, 32).result()
        both.alice.tidy().result()
        assert both.alice.stock(LINK).peer_keys == 10
        both.bob.take(BACK, 10, 32).result()
        both.commit(2, CHECK_BYTES + 32 * 20)
        assert both.alice.take(PAIR, 1, 32).result()
    rows = rows_of(tmp_path / "alice.sqlite", "SELECT block_key IS NULL FROM block")
    assert rows == [(0,), (0,), (0,)]
    with ends(tmp_path) as both:
        left = both.bob.stock(LINK).peer_keys
        assert left > 0
        both.clock.utc_s += 31 * 86400.0
        both.alice.tidy().result()
    rows = rows_of(tmp_path / "alice.sqlite", "SELECT block_key IS NULL FROM block")
    assert rows == [(0,), (1,), (1,)]


def test_serial_numbers_go_to_the_end_with_fewer_keys(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1, CHECK_BYTES + 32 * 20)
        both.alice.take(PAIR, 10, 32).result()
        both.commit(2, CHECK_BYTES + 32 * 6)
        assert (both.alice.stock(LINK).own_keys, both.alice.stock(LINK).peer_keys) == (6, 10)


def test_a_full_store_takes_no_more(tmp_path: Path) -> None:
    rules = StoreRules(simulation=True, pool_bytes=0, most_keys=8)
    with ends(tmp_path, rules) as both:
        both.commit(1)
        assert (both.alice.stock(LINK).own_keys, both.alice.stock(LINK).peer_keys) == (8, 8)
        both.commit(2)
        assert (both.alice.stock(LINK).own_keys, both.alice.stock(LINK).peer_keys) == (8, 8)


def test_low_stock_is_said(tmp_path: Path) -> None:
    with ends(tmp_path, StoreRules(simulation=True, pool_bytes=0, low_keys=5)) as both:
        both.commit(1)
        assert not both.alice.stock(LINK).low
        both.alice.take(PAIR, 5, 32).result()
        assert both.alice.stock(LINK).low


def test_simulated_keys_need_a_node_that_says_simulation(tmp_path: Path) -> None:
    with ends(tmp_path, StoreRules(pool_bytes=0)) as both:
        refused = both.commit(1, simulated=True).alice
        assert isinstance(refused, UsageError)
        assert "simulation = true" in str(refused)
        assert both.commit(2, simulated=False).alice is True
        assert not both.alice.take(PAIR, 1, 32).result()[0].simulated


def test_simulated_keys_are_not_handed_out_after_the_config_changed(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1, simulated=True)
        mine = both.alice.take(PAIR, 1, 32).result()
    with ends(tmp_path, StoreRules(pool_bytes=0)) as both:
        assert both.alice.stock(LINK).own_keys == 0
        with pytest.raises(KeysExhausted):
            both.alice.take(PAIR, 1, 32).result()
        with pytest.raises(KeyNotFound):
            both.bob.fetch(PAIR, names(mine)).result()


def test_a_mark_of_simulation_cannot_be_wiped_off_in_the_file(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1, simulated=True)
    with closing(sqlite3.connect(tmp_path / "alice.sqlite")) as connection, connection:
        connection.execute("UPDATE stored SET simulated = 0")
    with ends(tmp_path, StoreRules(pool_bytes=0)) as both, pytest.raises(KeyStoreBroken, match="not what was written"):
        both.alice.take(PAIR, 1, 32).result()


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE stored SET sealed = (SELECT sealed FROM stored WHERE owner = 'alice' AND serial = 1) WHERE serial = 0",
        "UPDATE stored SET owner = 'x' WHERE owner = 'alice'; UPDATE stored SET owner = 'alice' WHERE owner = 'bob'",
        "UPDATE stored SET sealed = zeroblob(48)",
        "UPDATE block SET block_key = zeroblob(60) WHERE state = 'settled' AND allotment NOT NULL",
    ],
)
def test_rows_that_were_moved_or_changed_do_not_open(tmp_path: Path, tampering: str) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
    with closing(sqlite3.connect(tmp_path / "alice.sqlite")) as connection:
        connection.executescript(tampering)
    with ends(tmp_path) as both, pytest.raises(KeyStoreBroken, match="not what was written"):
        both.alice.take(PAIR, 1, 32).result()


def test_another_kek_and_a_second_process_are_refused(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        assert both.alice.links() == (LINK,)
        with pytest.raises(ConfigError, match="open in another process"):
            KeyStore(tmp_path / "alice.sqlite", Secret(KEK))
    with pytest.raises(ConfigError, match="did not write the store"):
        KeyStore(tmp_path / "alice.sqlite", Secret(bytes(32)))
    (tmp_path / "text").write_text("no database, but long enough to be looked at by whoever opens it" * 20)
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(ConfigError, match="not a database"):
        KeyStore(tmp_path / "text", Secret(KEK))
    assert (tmp_path / "alice.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_first_secret_is_used_once(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        with pytest.raises(ConfigError, match="used before"):
            both.alice.enrol(LINK, "alice", "secret file", Secret(FIRST_SECRET)).result()
        with pytest.raises(ConfigError, match="at least"):
            both.alice.enrol(LINK, "alice", "secret file", Secret(b"short")).result()
        assert both.alice.stock(LINK).own_keys == 9
        fresh = os.urandom(8192)
        both.alice.enrol(LINK, "alice", "secret file", Secret(fresh)).result()
        both.bob.enrol(LINK, "bob", "secret file", Secret(fresh)).result()
        assert both.alice.stock(LINK).own_keys == 0
        assert both.commit(2).bob is True


def test_an_unknown_link_is_a_matter_of_config(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        with pytest.raises(ConfigError, match="known: alice-bob"):
            both.alice.take(Pair("x", "a", "b"), 1, 32).result()
        assert both.alice.stock("x").own_keys == 0


def test_the_ledger_names_each_block_key_or_not(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        discard = dataclasses.replace(ACCOUNT, outcome="the bound is not positive", key_bits=0)
        both.alice.note(LINK, discard).result()
    rows = rows_of(tmp_path / "alice.sqlite", "SELECT state, account FROM block")
    assert [state for state, _ in rows] == ["settled", "settled", "no key"]
    assert rows[2][1] == discard.text()


def test_a_bad_allotment_is_the_peers_fault(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
        key = Secret(block_bytes(2, 640))
        allotment = both.alice.book(LINK).propose(b"b" * 16, key, ACCOUNT)
        book = both.bob.book(LINK)
        for change in (
            {"alice_keys": Run(0, 1)},
            {"bob_keys": Run(0, 1)},
            {"alice_tags": Run(0, 1)},
            {"bob_keys": Run(10, 1000)},
            {"key_bytes": 4096},
        ):
            with pytest.raises(RemoteProtocolError, match="enrol both anew"):
                book.accept(b"b" * 16, key, ACCOUNT, dataclasses.replace(allotment, **change))
        book.accept(b"b" * 16, key, ACCOUNT, allotment)
        book.abandon(b"b" * 16)
        with pytest.raises(LocalProtocolError, match="abandoned"):
            book.settle(b"b" * 16)


def test_hybrid_and_post_quantum_keys_are_equal_bound_and_never_pass_for_qkd(tmp_path: Path) -> None:
    agreed = bytes(range(48))
    with ends(tmp_path) as both:
        both.commit(1)
        with pytest.raises(KeysExhausted, match="no post-quantum agreement"):
            both.alice.take(PAIR, 1, 32, Mode.PQC).result()
        for store in (both.alice, both.bob):
            store.keep_agreement(LINK, 1, Secret(agreed)).result()
        hybrid = both.alice.take(PAIR, 2, 32, Mode.HYBRID).result()
        alone = both.alice.take(PAIR, 3, 32, Mode.PQC).result()
        assert both.alice.stock(LINK).own_keys == 7
        assert len(set(contents(hybrid) + contents(alone))) == 5
        assert {key.mode for key in hybrid} == {Mode.HYBRID}
        theirs = both.bob.fetch(PAIR, names(alone) + names(hybrid)).result()
        assert contents(theirs) == contents(alone) + contents(hybrid)
        assert [key.mode for key in theirs] == [Mode.PQC] * 3 + [Mode.HYBRID] * 2
        for name in names(alone):
            with pytest.raises(KeyNotFound):
                both.bob.fetch(PAIR, [name]).result()


def test_keys_of_an_agreement_wait_until_it_is_outdated(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        for number in (1, 2):
            for store in (both.alice, both.bob):
                store.keep_agreement(LINK, number, Secret(bytes([number]) * 48)).result()
            if number == 1:
                old = both.alice.take(PAIR, 2, 32, Mode.PQC).result()
        assert contents(both.bob.fetch(PAIR, names(old[:1])).result()) == contents(old[:1])
        newest = 1 + AGREEMENTS_KEPT
        for number in range(3, newest + 1):
            both.bob.keep_agreement(LINK, number, Secret(bytes(48))).result()
        with pytest.raises(KeyNotFound):
            both.bob.fetch(PAIR, names(old[1:])).result()
        with pytest.raises(ConfigError, match="upwards"):
            both.bob.keep_agreement(LINK, newest, Secret(bytes(48))).result()
    with ends(tmp_path) as both:
        assert both.alice.take(PAIR, 1, 32, Mode.PQC).result()


def test_two_agreements_never_share_the_names_of_their_keys(tmp_path: Path) -> None:
    """Names have 8 bits of an agreement's number: whoever makes numbers leap takes keys away, and mixes up none."""
    with ends(tmp_path) as both:
        for number in (1, 257):
            for store in (both.alice, both.bob):
                store.keep_agreement(LINK, number, Secret(bytes([number % 251]) * 48)).result()
            if number == 1:
                old = both.alice.take(PAIR, 1, 32, Mode.PQC).result()
        new = both.alice.take(PAIR, 1, 32, Mode.PQC).result()
        assert contents(both.bob.fetch(PAIR, names(new)).result()) == contents(new)
        with pytest.raises(KeyNotFound):
            both.bob.fetch(PAIR, names(old)).result()


def test_an_older_copy_of_a_store_is_told_from_its_cursors(tmp_path: Path) -> None:
    """Alice's store is put back from before a seal that bob has heard: the session ends before anything is sealed."""
    with ends(tmp_path) as both:
        both.commit(1)
    copy = (tmp_path / "alice.sqlite").read_bytes()
    with ends(tmp_path) as both:
        place, keys = both.alice.reserve_tag(LINK, opening=True).result()
        keys.wipe()
        both.bob.accept_tag(LINK, place).result()
        assert converse(*beginning(both)).alice == 0
    (tmp_path / "alice.sqlite").write_bytes(copy)
    with ends(tmp_path) as both:
        told = converse(*beginning(both))
    for end in (told.alice, told.bob):
        assert isinstance(end, LedgersDiffer)
        assert "is an older copy" in str(end)


def beginning(both: Ends) -> tuple[Script[int], Script[int]]:
    occasion = Occasion(LINK, bytes(32), 0)
    return (
        agreeing.begin("alice", occasion, both.alice.ledger(LINK, "alice"), None, os.urandom),
        agreeing.begin("bob", occasion, both.bob.ledger(LINK, "bob"), None, os.urandom),
    )


def test_bob_makes_no_key_of_an_agreement_before_alice_is_known_to_have_it(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        ledger = both.bob.ledger(LINK, "bob")
        ledger.keep_agreement(1, Secret(bytes(48)))
        with pytest.raises(KeysExhausted, match="no post-quantum agreement"):
            both.bob.take(BACK, 1, 32, Mode.PQC).result()
        ledger.share(1)
        first = both.bob.take(BACK, 1, 32, Mode.PQC).result()
        ledger.keep_agreement(2, Secret(bytes(range(48))))
        both.alice.keep_agreement(LINK, 1, Secret(bytes(48))).result()
        both.bob.take(BACK, 1, 32, Mode.PQC).result()
    with ends(tmp_path) as both:
        second = both.bob.take(BACK, 1, 32, Mode.PQC).result()
        assert contents(both.alice.fetch(BACK, names(first + second)).result()) == contents(first + second)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        both.commit(1)
    with pytest.raises(KeyStoreBroken, match="closed"):
        both.alice.take(PAIR, 1, 32).result()
