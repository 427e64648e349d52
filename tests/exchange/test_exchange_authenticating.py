"""Seals over a session's frames: any change, loss, repeat, reordering, reflection or mix-up stops the link."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import AuthenticationFailed, LocalProtocolError
from qnoded.exchange.authenticating import HASH_KEYS_BYTES, Opener, Role, Sealer, TagKeys, TagPlace
from qnoded.secret import Octets, Secret

SESSION = bytes(range(16))
POOLS = {sender: random.Random(sender).randbytes(4096) for sender in ("alice", "bob")}


def place(number: int) -> TagPlace:
    return TagPlace(0, HASH_KEYS_BYTES + 8 * number, 8)


def keys(sender: Role, where: TagPlace) -> TagKeys:
    pool = POOLS[sender]
    return TagKeys(
        Secret(pool[where.hash_first : where.hash_first + HASH_KEYS_BYTES]),
        Secret(pool[where.mask_first : where.mask_first + where.mask_bytes]),
    )


def opened(opener: Opener, sender: Role, frames: Sequence[Octets]) -> list[Octets]:
    return opener.open(frames, keys(sender, opener.place(frames)))


def sealed(sealer: Sealer, sender: Role, number: int, frames: Sequence[Octets] = ()) -> list[Octets]:
    return sealer.seal(frames, place(number), keys(sender, place(number)))


def begun(role: Role = "alice", session: bytes = SESSION) -> tuple[Sealer, Opener]:
    sealer, opener = Sealer(role, session), Opener(role, SESSION)
    assert opened(opener, role, sealed(sealer, role, 0)) == []
    return sealer, opener


def test_batches_of_frames_pass_as_they_were_sent() -> None:
    sealer, opener = begun()
    for number in range(1, 20):
        absorbed = [bytes([number, k]) * k for k in range(number)]
        sealer.absorb(absorbed)
        opener.absorb(absorbed)
        assert opened(opener, "alice", sealed(sealer, "alice", number, [b"last", b""])) == [b"last", b""]


def test_a_seal_costs_its_tag_and_covers_100000_frames() -> None:
    sealer, opener = begun()
    frames = [k.to_bytes(4, "big") for k in range(100_000)]
    sealer.absorb(frames)
    opener.absorb(frames)
    (seal,) = sealed(sealer, "alice", 1)
    assert len(seal) == 28 + 8
    assert opened(opener, "alice", [seal]) == []


def inside(where: TagPlace) -> TagPlace:
    """Refuse places that the pool does not have, as the key store does."""
    if max(where.mask_first + 8, where.hash_first + HASH_KEYS_BYTES) > len(POOLS["alice"]):
        problem = "the pool has no such place"
        raise AuthenticationFailed(problem)
    return where


Change = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: [f[0], f[2], f[1], f[3]],
        lambda f: [f[0], f[1], f[3]],
        lambda f: [*f[:3], f[2], f[3]],
        lambda f: f[:3],
        lambda f: [f[0], f[1] + f[2], b"", f[3]],
        lambda f: [f[0], f[1][:-1], f[1][-1:] + f[2], f[3]],
        lambda f: [f[0], f[1], f[2] + b"\0", f[3]],
        lambda f: [f[0], f[1], f[2][:-1], f[3]],
        lambda f: [b"", *f],
        lambda f: [*f[:3], f[3][:-1]],
        lambda f: [*f[:3], f[3] + b"\0"],
        lambda f: [*f[:3], b""],
        lambda _: [],
    ],
)
def test_no_other_transcript_passes(change: Change) -> None:
    sealer, opener = begun()
    frames = [bytes(frame) for frame in sealed(sealer, "alice", 1, [b"one", b"two", b"three"])]
    with pytest.raises(AuthenticationFailed, match="the link stops"):
        opened(opener, "alice", change(frames))
    with pytest.raises(AuthenticationFailed, match="wrong before"):
        opened(opener, "alice", frames)
    with pytest.raises(AuthenticationFailed, match="wrong before"):
        opener.absorb([b"more"])


@given(st.data())
def test_no_bit_can_be_turned(data: st.DataObject) -> None:
    sealer, opener = begun()
    frames = [bytearray(frame) for frame in sealed(sealer, "alice", 1, [b"some words", b"and more"])]
    which = data.draw(st.integers(0, len(frames) - 1))
    bit = data.draw(st.integers(0, 8 * len(frames[which]) - 1))
    frames[which][bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationFailed):
        opener.open(frames, keys("alice", inside(opener.place(frames))))


def test_what_is_sent_back_to_its_sender_does_not_pass() -> None:
    """The same pool for both directions, which no link has: the tag still says who sent it."""
    sealer = Sealer("alice", SESSION)
    (seal,) = sealed(sealer, "alice", 0)
    opener = Opener("bob", SESSION)
    with pytest.raises(AuthenticationFailed):
        opener.open([seal], keys("alice", opener.place([seal])))


def test_another_session_does_not_pass() -> None:
    (seal,) = sealed(Sealer("alice", bytes(16)), "alice", 0)
    with pytest.raises(AuthenticationFailed):
        opened(Opener("alice", SESSION), "alice", [seal])


def test_a_repeated_seal_does_not_pass() -> None:
    sealer, opener = begun()
    frames = sealed(sealer, "alice", 1, [b"pay"])
    opened(opener, "alice", frames)
    with pytest.raises(AuthenticationFailed, match="seal 1 came where 2 is due"):
        opened(opener, "alice", frames)


def test_frames_lost_before_a_seal_are_noticed_by_it() -> None:
    sealer, opener = begun()
    sealer.absorb([b"one", b"two"])
    opener.absorb([b"one"])
    with pytest.raises(AuthenticationFailed, match="covers 2 frames, 1 arrived"):
        opened(opener, "alice", sealed(sealer, "alice", 1))


def test_a_shorter_tag_is_not_accepted() -> None:
    """The length is the opener's: an attacker who chooses it would choose 4 bytes, or none."""
    sealer = Sealer("alice", SESSION)
    short = TagPlace(0, HASH_KEYS_BYTES, 4)
    frames = sealer.seal([], short, keys("alice", short))
    with pytest.raises(AuthenticationFailed, match="no seal"):
        Opener("alice", SESSION).place(frames)


def test_a_session_begins_with_a_seal_and_keeps_its_hash_keys() -> None:
    sealer, opener = Sealer("alice", SESSION), Opener("alice", SESSION)
    with pytest.raises(LocalProtocolError, match="begins with a seal"):
        sealer.absorb([b"x"])
    with pytest.raises(AuthenticationFailed, match="before the session's first seal"):
        opener.absorb([b"x"])
    sealer, opener = begun()
    with pytest.raises(LocalProtocolError, match="do not change"):
        sealer.seal([], TagPlace(1000, 2000, 8), keys("alice", TagPlace(1000, 2000, 8)))
    other = Sealer("alice", SESSION)
    sealed(other, "alice", 0)
    (seal,) = sealed(other, "alice", 1)
    forged = bytes(seal)[:8] + (1000).to_bytes(8, "little") + bytes(seal)[16:]
    with pytest.raises(AuthenticationFailed, match="other hash keys"):
        opener.place([forged])
    with pytest.raises(LocalProtocolError, match="16 bytes"):
        Sealer("alice", b"short")
