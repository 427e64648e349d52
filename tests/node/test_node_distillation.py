"""Sifted blocks to keys in both stores over a link: many at once, discards at both ends alike, sessions that end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blocks_made import KEYS_TERMS, LINK, PATIENCE_S, Link, making_keys, sifted_block
from keys_made import PAIR, ends

from qnoded.errors import LocalProtocolError
from qnoded.exchange import key_making, wire
from qnoded.exchange.authenticating import HASH_KEYS_BYTES, TAG_BYTES
from qnoded.exchange.block_worth import authentication_bits
from qnoded.exchange.committing import CHECK_BYTES, Held, Noted, Offer
from qnoded.exchange.distilling import DiscardReason
from qnoded.exchange.live_messages import Seal
from qnoded.exchange.messages import AmplificationSeed, Verdict, VerificationDigest
from qnoded.exchange.reports import NoKey
from qnoded.node import conversation
from qnoded.node.keys.blocks import NODE_ENDED
from qnoded.node.keys.contents import StoreRules
from qnoded.records import SIDES
from qnoded.secret import Secret


@pytest.fixture
def patient_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under load does not look like a peer that has gone: blocks take what they take."""
    monkeypatch.setattr(conversation, "SILENCE_S", PATIENCE_S)


@pytest.mark.usefixtures("patient_peers")
@pytest.mark.parametrize("method", ["cascade", "ldpc"])
def test_blocks_become_the_same_keys_at_both_ends(tmp_path: Path, method: str) -> None:
    """5 blocks of 50,000 bits at 2 %, all in work at once: each committed, and what alice hands out bob has."""

    async def run() -> None:
        async with making_keys(tmp_path, replace(KEYS_TERMS, reconciliation=method)) as link:
            for number in range(5):
                link.close(number, bits=50_000)
            await link.until(lambda: all(len(side.made()) == 5 for side in link.sides.values()))
            alice, bob = (side.end.link.status().keys for side in link.sides.values())
            assert alice is not None
            assert bob is not None
            assert (alice.available, alice.waiting) == (bob.waiting, bob.available)
            assert alice.blocks_distilled == bob.blocks_distilled == 5
            assert alice.secret_bits == bob.secret_bits > 5 * 10_000
            assert alice.discarded == bob.discarded == {}
            assert link.stores is not None
            handed = await asyncio.wrap_future(link.stores.alice.take(PAIR, 10, 32))
            fetched = await asyncio.wrap_future(link.stores.bob.fetch(PAIR, [one.name for one in handed]))
            assert [one.key for one in handed] == [one.key for one in fetched]
            assert all(one.simulated for one in handed)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"rate": 0.15}, NoKey.QBER_LIMIT),
        ({"bits": 2_000, "test_bits": 100}, NoKey.NO_LENGTH),
        ({"test_bits": 0}, NoKey.NO_LENGTH),
    ],
)
def test_a_block_without_a_key_is_counted_alike_and_the_next_one_has_one(
    tmp_path: Path, made: dict[str, float], reason: NoKey
) -> None:
    async def run() -> None:
        async with making_keys(tmp_path) as link:
            link.close(0, **made)
            link.close(1)
            await link.until(lambda: all(1 in side.made() for side in link.sides.values()))
            alice, bob = (side.discarded() for side in link.sides.values())
            assert alice == bob
            assert alice[0].reason is reason
            for side in link.sides.values():
                keys = side.end.link.status().keys
                assert keys is not None
                assert keys.discarded == {reason.name: 1}

    asyncio.run(run())


def test_key_for_authentication_is_refilled_and_costs_little(tmp_path: Path) -> None:
    """Filled up to 4 kB as a block is written: then alice makes two seals of 8 bytes for it, and bob one."""

    async def run() -> None:
        async with making_keys(tmp_path, rules=StoreRules(simulation=True, pool_bytes=4096)) as link:
            levels = []
            for number in range(3):
                link.close(number, bits=40_000)
                await link.until(lambda number=number: all(number in side.made() for side in link.sides.values()))
                assert link.stores is not None
                levels.append(await asyncio.wrap_future(link.stores.alice.pool_levels(LINK)))
            assert levels[-1].sending_bytes >= 4096 - 2 * TAG_BYTES
            assert levels[-1].receiving_bytes >= 4096 - TAG_BYTES

    asyncio.run(run())


def used_bytes(link: Link) -> int:
    """Return how much of both directions' key for authentication is behind the cursor at alice's end."""
    assert link.stores is not None
    sql = "SELECT sum(cursor) FROM pool WHERE link = ?"
    (used,) = link.stores.alice._submit(lambda work, _contents: work.row(sql, (LINK,))).result()
    return int(used)


def test_seals_cost_what_the_account_of_authentication_says(tmp_path: Path) -> None:
    """Three blocks one after the other in one session: hash keys once, four seals for the session, three for each."""

    async def run() -> None:
        async with making_keys(tmp_path) as link:
            for number in range(3):
                link.close(number)
                await link.until(lambda number=number: all(number in side.made() for side in link.sides.values()))
            assert used_bytes(link) == (
                2 * HASH_KEYS_BYTES + authentication_bits(blocks=3, sessions=1) // 8 - 3 * CHECK_BYTES
            )

    asyncio.run(run())


@pytest.mark.parametrize("lost", [Verdict, Held, Noted])
def test_blocks_of_a_session_that_ends_are_given_up_or_committed_alike(tmp_path: Path, lost: type) -> None:
    """The network swallows one message of a block: the session ends, and after the next one's recovery all is alike."""
    number = wire.NUMBERS[lost]

    async def run() -> None:
        async with making_keys(tmp_path) as link:
            swallowed: list[int] = []

            def swallow(frames: list[bytes]) -> Sequence[list[bytes]]:
                kind = wire.read_header(frames[0]).kind
                if kind == number and not swallowed:
                    swallowed.append(kind)
                    return ()
                return (frames,)

            link.sides["bob"].end.wire.meddle = swallow
            sessions = link.sessions()
            link.close(0)
            await link.until(lambda: not link.sessions() & (sessions | {None}))
            link.close(1)
            await link.until(lambda: all(1 in side.made() for side in link.sides.values()))
            stocks = [side.end.link.status().keys for side in link.sides.values()]
            assert stocks[0] is not None
            assert stocks[1] is not None
            assert (stocks[0].available, stocks[0].waiting) == (stocks[1].waiting, stocks[1].available)
            assert link.sides["alice"].discarded()[0].reason is NoKey.SESSION_ENDED

    asyncio.run(run())


def test_a_block_that_only_alice_closed_is_given_up_at_both_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with making_keys(tmp_path) as link:
            alice = link.sides["alice"]
            alice.close(sifted_block(0, "alice"))
            await link.until(lambda: 0 in alice.discarded())
            assert alice.discarded()[0].reason is NoKey.SESSION_ENDED
            link.close(1)
            await link.until(lambda: all(1 in side.made() for side in link.sides.values()))

    asyncio.run(run())


@pytest.mark.parametrize("good_blocks", [0, 1])
@pytest.mark.parametrize("kind", [AmplificationSeed, Offer, Seal])
def test_what_was_changed_on_its_way_stops_the_link_before_a_key_is_committed(
    tmp_path: Path, kind: type, good_blocks: int
) -> None:
    """One bit of what alice says, in a session's first block or a later one: bob stops, and nobody serves its key."""

    async def run() -> None:
        async with making_keys(tmp_path) as link:
            alice, bob = (link.sides[side] for side in SIDES)
            for number in range(good_blocks):
                link.close(number)
            await link.until(lambda: all(len(side.made()) == good_blocks for side in link.sides.values()))

            def tamper(frames: list[bytes]) -> Sequence[list[bytes]]:
                if wire.read_header(frames[0]).kind != wire.NUMBERS[kind]:
                    return (frames,)
                changed = bytearray(frames[-1])
                changed[-1] ^= 0x80
                return ([*frames[:-1], bytes(changed)],)

            alice.end.wire.meddle = tamper
            link.close(good_blocks)
            await link.until(lambda: bob.end.state == "STOPPED")
            assert any(level == "error" and "find out who did it" in text for level, text in bob.end.told)
            assert len(alice.made()) == len(bob.made()) == good_blocks

    asyncio.run(run())


def test_sessions_without_a_key_use_up_none(tmp_path: Path) -> None:
    """Five sessions that end before a block is closed: a link that flaps keeps what it needs to authenticate."""

    async def run() -> None:
        async with making_keys(tmp_path) as link:
            assert link.stores is not None
            before = await asyncio.wrap_future(link.stores.alice.pool_levels(LINK))
            for _ in range(5):
                sessions = link.sessions()
                link.sides["bob"].end.link.axis_began()
                await link.until(
                    lambda old=sessions: len(link.sessions()) == 1 and not link.sessions() & (old | {None})
                )
            assert await asyncio.wrap_future(link.stores.alice.pool_levels(LINK)) == before
            link.close(0)
            await link.until(lambda: all(0 in side.made() for side in link.sides.values()))
            after = await asyncio.wrap_future(link.stores.alice.pool_levels(LINK))
            assert before.sending_bytes - after.sending_bytes <= HASH_KEYS_BYTES + 4 * TAG_BYTES

    asyncio.run(run())


def accounts(link: Link, side: str) -> list[dict[str, Any]]:
    """Return the account of each block in one end's ledger, with its state."""
    assert link.stores is not None
    store = link.stores.alice if side == "alice" else link.stores.bob
    sql = "SELECT state, account FROM block WHERE account LIKE '{%' ORDER BY number"
    found = store._submit(lambda work, _contents: work.rows(sql)).result()
    return [{"state": state, **json.loads(account)} for state, account in found]


def rows(link: Link, side: str) -> list[tuple[str, str, int]]:
    """Return state, outcome and first epoch of each block in one end's ledger."""
    return sorted((one["state"], one["outcome"], one["first_epoch"]) for one in accounts(link, side))


def test_each_block_that_was_begun_has_one_row_with_its_outcome_at_each_end(tmp_path: Path) -> None:
    """Block 0 has a key, 1 too many errors, 2 loses its session, 3 was closed by alice alone."""

    async def run() -> None:
        async with making_keys(tmp_path) as link:
            link.close(0)
            link.close(1, rate=0.15)
            await link.until(lambda: all(0 in side.made() and 1 in side.discarded() for side in link.sides.values()))
            link.sides["alice"].end.wire.meddle = lambda _frames: ()
            link.close(2)
            await link.until(lambda: 2 in link.sides["bob"].discarded())
            await link.until(lambda: 2 in link.sides["alice"].discarded())
            link.sides["alice"].end.wire.meddle = lambda frames: (frames,)
            await link.until(lambda: len(link.sessions()) == 1 and None not in link.sessions())
            alice = link.sides["alice"]
            alice.close(sifted_block(3, "alice"))
            await link.until(lambda: 3 in alice.discarded())
            at_bob = {
                ("settled", "key", 0),
                ("no key", DiscardReason.QBER_LIMIT.value, 10),
                ("no key", NoKey.SESSION_ENDED.value, 20),
            }
            assert rows(link, "bob") == sorted(at_bob)
            assert rows(link, "alice") == sorted(at_bob | {("no key", NoKey.SESSION_ENDED.value, 30)})

    asyncio.run(run())


@pytest.mark.usefixtures("patient_peers")
@pytest.mark.parametrize("method", ["cascade", "ldpc"])
def test_a_block_that_is_given_up_leaves_what_was_told_of_it_in_the_ledger(tmp_path: Path, method: str) -> None:
    """The session ends between reconciliation and verification: both rows have the bits that alice disclosed."""

    async def run() -> None:
        async with making_keys(tmp_path, replace(KEYS_TERMS, reconciliation=method)) as link:
            number = wire.NUMBERS[VerificationDigest]

            def swallow(frames: list[bytes]) -> Sequence[list[bytes]]:
                return () if wire.read_header(frames[0]).kind == number else (frames,)

            link.sides["alice"].end.wire.meddle = swallow
            link.close(0, bits=50_000)
            await link.until(lambda: all(0 in side.discarded() for side in link.sides.values()))
            leaks = [one["leaked_bits"] for side in SIDES for one in accounts(link, side)]
            # 2 % of errors: 0.14 bits of each, and a tenth to a half more.
            assert len(leaks) == 2
            assert all(7_000 < leak < 12_500 for leak in leaks)

    asyncio.run(run())


def test_a_block_in_work_when_the_node_is_killed_has_its_row_after_the_restart(tmp_path: Path) -> None:
    account = key_making.without_key(sifted_block(4, "alice"), KEYS_TERMS, key_making.IN_WORK)
    with ends(tmp_path) as both:
        both.alice.begin(LINK, b"b" * 16, account).result()
    with ends(tmp_path) as both:
        link = Link(stores=both)
        assert rows(link, "alice") == [("no key", NODE_ENDED, 40)]
        both.alice.note(LINK, account, b"b" * 16).result()
        book = both.alice.book(LINK, b"b" * 16)
        with pytest.raises(LocalProtocolError, match="given up"):
            book.propose(b"c" * 16, Secret(bytes(1000)), account)
        assert rows(link, "alice") == [("no key", NODE_ENDED, 40)]


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_no_bit_of_a_key_is_in_what_the_link_wrote(tmp_path: Path) -> None:
    async def run() -> None:
        async with making_keys(tmp_path) as link:
            link.close(0)
            await link.until(lambda: all(0 in side.made() for side in link.sides.values()))
            assert link.stores is not None
            handed = await asyncio.wrap_future(link.stores.alice.take(PAIR, 10, 32))
            for side in link.sides.values():
                await side.end.link._story.dump("for the test")
            written = everything_in(tmp_path)
            told = repr([side.reports for side in link.sides.values()]).encode()
            for one in handed:
                key = one.key.reveal()
                for form in (key[:12], key[:12].hex().encode(), repr(list(key[:8]))[1:-1].encode()):
                    assert form not in written
                    assert form not in told

    asyncio.run(run())
