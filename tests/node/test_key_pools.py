"""Key for authentication on disk: never twice, in step at both ends, halted by a forgery, refilled by blocks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from keys_made import ACCOUNT, FIRST_SECRET, LINK, Ends, block_bytes, ends

from qnoded.errors import AuthenticationFailed, KeysExhausted
from qnoded.exchange.authenticating import HASH_KEYS_BYTES, Opener, Sealer, TagPlace
from qnoded.node.keys.contents import StoreRules
from qnoded.secret import Octets, Secret

SESSION = bytes(16)
POOL_BYTES = (len(FIRST_SECRET) - 32) // 2
RULES = StoreRules(simulation=True, pool_bytes=1000, low_pool_bytes=100)


def say(both: Ends, sealer: Sealer, frames: list[Octets], *, opening: bool = False) -> list[Octets]:
    place, keys = both.alice.reserve_tag(LINK, opening=opening).result()
    return sealer.seal(frames, place, keys)


def hear(both: Ends, opener: Opener, frames: list[Octets]) -> list[Octets]:
    place = opener.place(frames)
    body = opener.open(frames, both.bob.look_up_tag(LINK, place).result())
    both.bob.accept_tag(LINK, place).result()
    return body


def test_what_one_end_seals_the_other_opens(tmp_path: Path) -> None:
    with ends(tmp_path, RULES) as both:
        sealer, opener = Sealer("alice", SESSION), Opener("alice", SESSION)
        for number in range(20):
            frames: list[Octets] = [bytes([number])]
            assert hear(both, opener, say(both, sealer, frames, opening=number == 0)) == frames
        levels = both.alice.pool_levels(LINK).result()
        assert levels.sending_bytes == POOL_BYTES - HASH_KEYS_BYTES - 20 * 8
        assert levels == both.alice.pool_levels(LINK).result()
        theirs = both.bob.pool_levels(LINK).result()
        assert (theirs.receiving_bytes, theirs.sending_bytes) == (levels.sending_bytes, POOL_BYTES)
        assert not levels.low
        assert levels.halted is None


def test_what_was_reserved_is_never_reserved_again_whatever_happens(tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(5):
        with ends(tmp_path, RULES) as both:
            for _ in range(3):
                place, _ = both.alice.reserve_tag(LINK, opening=True).result()
                seen += range(place.mask_first, place.mask_first + place.mask_bytes)
                assert place.hash_first == 0
    assert len(seen) == len(set(seen)) == 5 * 3 * 8


def test_a_seal_that_comes_again_in_a_later_session_is_refused(tmp_path: Path) -> None:
    """Even one of the same name, which no two sessions have: its key is behind what was used."""
    with ends(tmp_path, RULES) as both:
        frames = say(both, Sealer("alice", SESSION), [b"once"], opening=True)
        hear(both, Opener("alice", SESSION), frames)
    with ends(tmp_path, RULES) as both:
        opener = Opener("alice", SESSION)
        with pytest.raises(AuthenticationFailed, match="came again"):
            both.bob.look_up_tag(LINK, opener.place(frames)).result()


def test_messages_that_were_sealed_and_lost_do_not_bring_the_ends_out_of_step(tmp_path: Path) -> None:
    with ends(tmp_path, RULES) as both:
        for _ in range(10):
            say(both, Sealer("alice", SESSION), [b"lost"], opening=True)
        frames = say(both, Sealer("alice", b"another session."), [b"heard"], opening=True)
        assert hear(both, Opener("alice", b"another session."), frames) == [b"heard"]


def test_places_that_overlap_or_lie_outside_are_refused(tmp_path: Path) -> None:
    with ends(tmp_path, RULES) as both:
        for place in (TagPlace(0, 31, 8), TagPlace(40, 39, 8), TagPlace(100, 96, 8), TagPlace(100, 100, 8)):
            with pytest.raises(AuthenticationFailed):
                both.bob.look_up_tag(LINK, place).result()
        for place in (TagPlace(0, POOL_BYTES - 7, 8), TagPlace(1 << 50, 32, 8)):
            with pytest.raises(KeysExhausted):
                both.bob.look_up_tag(LINK, place).result()


def test_a_halted_link_stays_so_until_it_is_enrolled_anew(tmp_path: Path) -> None:
    with ends(tmp_path, RULES) as both:
        both.bob.halt(LINK, "a seal does not fit what arrived").result()
        both.bob.halt(LINK, "and again").result()
    with ends(tmp_path, RULES) as both:
        assert both.bob.pool_levels(LINK).result().halted == "a seal does not fit what arrived"
        with pytest.raises(AuthenticationFailed, match="enrol the link anew"):
            both.bob.reserve_tag(LINK, opening=True).result()
        with pytest.raises(AuthenticationFailed, match="a seal does not fit"):
            both.bob.look_up_tag(LINK, TagPlace(0, 32, 8)).result()
        fresh = os.urandom(2000)
        both.bob.enrol(LINK, "bob", "secret file", Secret(fresh)).result()
        assert both.bob.reserve_tag(LINK, opening=True).result()


def test_blocks_refill_what_was_used_and_an_empty_pool_says_so(tmp_path: Path) -> None:
    """600 reservations of 8 bytes empty a pool of 4080; a block then brings 1000 bytes again."""
    with ends(tmp_path, RULES) as both:
        reserved = [both.alice.reserve_tag(LINK, opening=number == 0) for number in range(600)]
        errors = [one.exception() for one in reserved]
        assert errors.index(next(filter(None, errors))) == (POOL_BYTES - HASH_KEYS_BYTES) // 8
        with pytest.raises(KeysExhausted, match="with a new first secret"):
            reserved[-1].result()
        assert both.alice.pool_levels(LINK).result().low
        both.commit(1, 8 + 8000)
        left = both.alice.pool_levels(LINK).result().sending_bytes
        assert 1000 <= left < 1000 + 32
        sealer, opener = Sealer("alice", SESSION), Opener("alice", SESSION)
        for number in range(50):
            hear(both, opener, say(both, sealer, [], opening=number == 0))
    with ends(tmp_path, RULES) as both:
        assert hear(both, Opener("alice", SESSION), say(both, Sealer("alice", SESSION), [], opening=True)) == []


def test_authentication_costs_below_5_percent_of_key_at_100_bit_per_second(tmp_path: Path) -> None:
    """An hour of blocks of 30 s, one seal per block and direction, in one session: at most 2250 of 45 000 bytes."""
    with ends(tmp_path, RULES) as both:
        for store in (both.alice, both.bob):
            for reserved in [store.reserve_tag(LINK, opening=number == 0) for number in range(3600 // 30)]:
                reserved.result()
        used = [POOL_BYTES - store.pool_levels(LINK).result().sending_bytes for store in (both.alice, both.bob)]
        assert sum(used) <= 0.05 * 100 * 3600 / 8


def test_small_parts_of_many_blocks_are_used_as_one(tmp_path: Path) -> None:
    """Blocks of 100 bytes bring some 30 bytes to each direction; none of them is wasted."""
    rules = StoreRules(simulation=True, pool_bytes=100_000)
    with ends(tmp_path, rules) as both:
        for number in range(10):
            assert both.commit(number, 100).bob is True
        before = both.alice.pool_levels(LINK).result().sending_bytes
        assert before > POOL_BYTES + 10 * 23
        reserved = [both.alice.reserve_tag(LINK, opening=k == 0) for k in range((before - HASH_KEYS_BYTES) // 8)]
        place, keys = reserved[-1].result()
        assert place.mask_first > POOL_BYTES
        frames = Sealer("alice", SESSION).seal([b"last"], place, keys)
        assert hear(both, Opener("alice", SESSION), frames) == [b"last"]
        assert both.alice.pool_levels(LINK).result().sending_bytes < 8


def test_hash_keys_of_the_first_secret_go_with_it(tmp_path: Path) -> None:
    with ends(tmp_path, RULES) as both:
        first, _ = both.alice.reserve_tag(LINK, opening=True).result()
        for one in [both.alice.reserve_tag(LINK, opening=False) for _ in range(POOL_BYTES // 8 - 10)]:
            one.result()
        both.commit(1, 8 + 8000)
        for one in [both.alice.reserve_tag(LINK, opening=False) for _ in range(10)]:
            one.result()
        same, _ = both.alice.reserve_tag(LINK, opening=False).result()
        new, keys = both.alice.reserve_tag(LINK, opening=True).result()
        assert first.hash_first == same.hash_first == 0
        assert new.hash_first > POOL_BYTES
        assert hear(both, Opener("alice", SESSION), Sealer("alice", SESSION).seal([b"x"], new, keys)) == [b"x"]


def test_what_alice_seals_with_a_block_that_bob_has_not_settled_yet_can_be_read(tmp_path: Path) -> None:
    """Her pool is empty but for the block's own bytes: her word that it is settled is sealed with those."""
    with ends(tmp_path, RULES) as both:
        for one in [both.alice.reserve_tag(LINK, opening=False) for _ in range((POOL_BYTES - HASH_KEYS_BYTES) // 8)]:
            one.result()
        key, name = Secret(block_bytes(1, 8008)), b"n" * 16
        allotment = both.alice.book(LINK).propose(name, key, ACCOUNT)
        both.bob.book(LINK).accept(name, key, ACCOUNT, allotment)
        both.alice.book(LINK).settle(name)
        frames = say(both, Sealer("alice", SESSION), [b"settled"], opening=True)
        assert hear(both, Opener("alice", SESSION), frames) == [b"settled"]
        both.bob.book(LINK).settle(name)
        assert hear(both, Opener("alice", bytes(range(16))), say(both, Sealer("alice", bytes(range(16))), [])) == []
        assert both.alice.stock(LINK).own_keys == both.bob.stock(LINK).peer_keys > 0


def test_an_abandoned_block_takes_its_bytes_with_it(tmp_path: Path) -> None:
    with ends(tmp_path, StoreRules(simulation=True, pool_bytes=100_000)) as both:
        before = both.bob.pool_levels(LINK).result()
        key, name = Secret(block_bytes(1, 8008)), b"n" * 16
        both.bob.book(LINK).accept(name, key, ACCOUNT, both.alice.book(LINK).propose(name, key, ACCOUNT))
        assert both.bob.pool_levels(LINK).result().receiving_bytes == before.receiving_bytes + 2000
        both.bob.book(LINK).abandon(name)
        assert both.bob.pool_levels(LINK).result() == before
