"""Links that begin without a secret file: signed, cut at every message, declared lost; agreements for hybrid keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from blocks_made import KEYS_TERMS, LINK, Link, making_keys
from keys_made import BACK, PAIR, ends

from qnoded.exchange import wire
from qnoded.exchange.agreeing import LedgerShown, LedgerState
from qnoded.exchange.bootstrapping import Done, Finish, Hello, Identity, Kept, Reply, Signers
from qnoded.exchange.live_messages import Seal
from qnoded.node import agreeing
from qnoded.node.keys.contents import LinkKeys
from qnoded.node.keys.key_ids import Mode
from qnoded.node.keys.ledgers import SIGNED_EXCHANGE
from qnoded.records import SIDES
from qnoded.secret import Secret

TERMS = replace(KEYS_TERMS, signed_exchange=True)
ALICE, BOB, EVE = (Identity(Secret(bytes([number]) * 32)) for number in (1, 2, 3))
SIGNERS = Signers(ALICE, BOB.public), Signers(BOB, ALICE.public)


async def shown(link: Link) -> list[LedgerShown]:
    assert link.stores is not None
    return [await asyncio.wrap_future(one.shown(LINK)) for one in (link.stores.alice, link.stores.bob)]


def ledgers(link: Link) -> list[LinkKeys | None]:
    """Return what both stores have in memory of the link: another object for another ledger."""
    assert link.stores is not None
    return [one._contents.links.get(LINK) for one in (link.stores.alice, link.stores.bob)]


async def agreed(link: Link, before: Sequence[LinkKeys | None] = (None, None)) -> None:
    """Wait until both ends have a ledger, not that of before, and use an agreement."""
    await link.until(
        lambda: all(
            now is not None and now is not old and now.shared >= 1
            for now, old in zip(ledgers(link), before, strict=True)
        )
    )


def test_a_link_begins_without_a_file_and_makes_keys_of_all_three_modes(tmp_path: Path) -> None:
    async def run() -> None:
        async with making_keys(tmp_path, TERMS, signers=SIGNERS) as link:
            await agreed(link)
            link.close(0)
            await link.until(lambda: all(0 in side.made() for side in link.sides.values()))
            assert link.stores is not None
            alice, bob = link.stores.alice, link.stores.bob
            assert alice._contents.links[LINK].origin == SIGNED_EXCHANGE
            assert [one.state for one in await shown(link)] == [LedgerState.KEPT] * 2
            for mode in Mode:
                for pair, master, slave in ((PAIR, alice, bob), (BACK, bob, alice)):
                    handed = await asyncio.wrap_future(master.take(pair, 3, 32, mode))
                    fetched = await asyncio.wrap_future(slave.fetch(pair, [one.name for one in handed]))
                    assert [one.key for one in handed] == [one.key for one in fetched]
                    assert {one.mode for one in handed + fetched} == {mode}

    asyncio.run(run())


def test_an_agreement_is_renewed_once_it_has_served_for_many_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three keys that alice made and two of bob's that she fetched; what was made before is still found."""
    monkeypatch.setattr(agreeing, "RENEWAL_KEYS", 5)
    monkeypatch.setattr(agreeing, "LOOK_S", 0.01)

    async def run() -> None:
        async with making_keys(tmp_path, TERMS, signers=SIGNERS) as link:
            await agreed(link)
            assert link.stores is not None
            alice, bob = link.stores.alice, link.stores.bob
            before = (await shown(link))[0].agreement
            names = {}
            for pair, master, number in ((PAIR, alice, 3), (BACK, bob, 2)):
                made = await asyncio.wrap_future(master.take(pair, number, 32, Mode.PQC))
                names[pair] = [one.name for one in made]
            assert (await shown(link))[0].agreement == before
            await asyncio.wrap_future(alice.fetch(BACK, names[BACK]))
            await link.until(lambda: all(now is not None and now.shared > before for now in ledgers(link)))
            assert len(await asyncio.wrap_future(bob.fetch(PAIR, names[PAIR]))) == 3
            assert (await shown(link))[0].agreement == before + 1

    asyncio.run(run())


@pytest.mark.parametrize("lost", [LedgerShown, Hello, Reply, Finish, Done, Kept])
def test_whichever_message_is_lost_the_link_begins_in_the_next_session(tmp_path: Path, lost: type) -> None:
    number = wire.NUMBERS[lost]

    async def run() -> None:
        async with making_keys(tmp_path, TERMS, signers=SIGNERS) as link:
            await agreed(link)
            before, old = (await shown(link))[0].name, ledgers(link)
            swallowed: list[int] = []

            def swallow(frames: list[bytes]) -> Sequence[list[bytes]]:
                kind = wire.read_header(frames[0]).kind
                if kind == number and not swallowed:
                    swallowed.append(kind)
                    return ()
                return (frames,)

            for side in link.sides.values():
                side.end.wire.meddle = swallow
                await side.end.link.enrol()
            await agreed(link, old)
            assert swallowed
            link.close(0)
            await link.until(lambda: all(0 in side.made() for side in link.sides.values()))
            after = await shown(link)
            assert after[0].name == after[1].name != before

    asyncio.run(run())


def test_a_ledger_in_use_stays_until_both_operators_give_it_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with making_keys(tmp_path, TERMS, signers=SIGNERS) as link:
            await agreed(link)
            link.close(0)
            await link.until(lambda: all(0 in side.made() for side in link.sides.values()))
            before = await shown(link)
            alice, bob = (link.sides[side].end for side in SIDES)
            await alice.link.enrol()
            for end in (alice, bob):
                await link.until(
                    lambda end=end: any(level == "error" and "qnodectl enrol" in text for level, text in end.told)
                )
            assert [one.name for one in await shown(link)] == [one.name for one in before]
            assert link.stores is not None
            bob_keeps = link.stores.bob._contents.links[LINK].stock
            assert bob_keeps["bob"]
            assert link.stores.bob.stock(LINK).own_keys == 0
            old = ledgers(link)
            await bob.link.enrol()
            await alice.link.enrol()
            await agreed(link, old)
            after = await shown(link)
            assert after[0].name == after[1].name != before[0].name

    asyncio.run(run())


def test_a_link_that_a_wrong_seal_stopped_is_there_again_when_both_operators_say_so(tmp_path: Path) -> None:
    """One bit of alice's first seal: bob halts on disk and stops; no restart, and the next block has a key."""

    async def run() -> None:
        async with making_keys(tmp_path, TERMS, signers=SIGNERS) as link:
            await agreed(link)
            old, (alice, bob) = ledgers(link), (link.sides[side].end for side in SIDES)

            def tamper(frames: list[bytes]) -> Sequence[list[bytes]]:
                if wire.read_header(frames[0]).kind != wire.NUMBERS[Seal]:
                    return (frames,)
                return ([*frames[:-1], frames[-1][:-1] + bytes([frames[-1][-1] ^ 1])],)

            faithful, alice.wire.meddle = alice.wire.meddle, tamper
            link.close(0)
            await link.until(lambda: bob.state == "STOPPED")
            alice.wire.meddle = faithful
            for end in (bob, alice):
                await end.link.enrol()
            assert bob.state != "STOPPED"
            await agreed(link, old)
            link.close(1)
            await link.until(lambda: all(1 in side.made() for side in link.sides.values()))

    asyncio.run(run())


def test_a_stranger_s_signature_stops_the_link_and_both_ends_say_why(tmp_path: Path) -> None:
    async def run() -> None:
        async with making_keys(tmp_path, TERMS, signers=(SIGNERS[0], Signers(EVE, ALICE.public))) as link:
            ends_of_link = [side.end for side in link.sides.values()]
            await link.until(lambda: all(end.state == "STOPPED" for end in ends_of_link))
            for end in ends_of_link:
                assert any(level == "error" and "pinned identity" in text for level, text in end.told)
            assert [one.state for one in await shown(link)] == [LedgerState.NONE] * 2

    asyncio.run(run())


def test_what_a_killed_exchange_left_at_bob_is_no_ledger_in_use(tmp_path: Path) -> None:
    """Bob wrote a first secret, alice was killed before she did: the link begins anew, and goes on over a restart."""
    with ends(tmp_path, enrolled=False) as stores:
        stores.bob.ledger(LINK, "bob").enrol(Secret(bytes(8192)))

    async def run() -> list[LedgerShown]:
        async with making_keys(tmp_path, TERMS, signers=SIGNERS) as link:
            await agreed(link)
            return await shown(link)

    first, again = asyncio.run(run()), asyncio.run(run())
    assert {one.name for one in first + again} == {first[0].name}
