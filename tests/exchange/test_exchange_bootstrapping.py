"""Two ends with pinned identities agree on a secret; whoever changes a bit on its way, or is somebody else, fails."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import fields, replace

import pytest

from qnoded.errors import AuthenticationFailed, ConfigError, KeyStoreBroken, PeerSilent, RemoteProtocolError
from qnoded.exchange import bootstrapping
from qnoded.exchange.bootstrapping import (
    AGREED_BYTES,
    FIRST_SECRET_BYTES,
    Done,
    Finish,
    Hello,
    Identity,
    Keep,
    Kept,
    Occasion,
    Refused,
    Reply,
    Signers,
)
from qnoded.exchange.effects import Script, receive
from qnoded.exchange.messages import Message
from qnoded.secret import Secret
from qnoded.testing.pair import Channel, Conversation, converse, faithful

OCCASION = Occasion("alice-bob", bytes(32), 0)
ALICE, BOB, EVE = (Identity(Secret(bytes([number]) * 32)) for number in (1, 2, 3))


class Shelf:
    """What one end has written down."""

    def __init__(self) -> None:
        self.secrets: list[bytes] = []

    def keep(self, secret: Secret) -> None:
        self.secrets.append(secret.reveal())


def bobs(occasion: Occasion, signers: Signers, keep: Keep) -> Script[None]:
    hello = yield from receive(Hello)
    yield from bootstrapping.bob(hello, occasion, signers, os.urandom, keep)


def agree(
    alices: Occasion = OCCASION,
    bobs_occasion: Occasion | None = None,
    alice: Identity = ALICE,
    bob: Identity = BOB,
    channel: Channel = faithful,
    keeps: tuple[Keep, Keep] | None = None,
) -> tuple[Conversation[None, None], list[bytes], list[bytes]]:
    shelves = Shelf(), Shelf()
    keep = keeps or (shelves[0].keep, shelves[1].keep)
    told = converse(
        bootstrapping.alice(alices, Signers(alice, BOB.public), os.urandom, keep[0]),
        bobs(bobs_occasion or alices, Signers(bob, ALICE.public), keep[1]),
        channel=channel,
    )
    return told, shelves[0].secrets, shelves[1].secrets


@pytest.mark.parametrize(("number", "size_bytes"), [(0, FIRST_SECRET_BYTES), (7, AGREED_BYTES)])
def test_both_ends_get_one_secret_and_another_each_time(number: int, size_bytes: int) -> None:
    told, alices, bobs_secrets = agree(replace(OCCASION, number=number))
    assert told.alice is told.bob is None
    assert alices == bobs_secrets
    assert [len(one) for one in alices] == [size_bytes]
    assert agree(replace(OCCASION, number=number))[1] != alices
    assert [type(message) for _, message in told.transcript] == [Hello, Reply, Finish, Done, Kept]


CHANGES = [
    (kind, field.name) for kind in (Hello, Reply, Finish, Done) for field in fields(kind) if field.name != "number"
]


@pytest.mark.parametrize(("kind", "name"), CHANGES)
def test_no_field_can_be_changed(kind: type[Message], name: str) -> None:
    """A random bit of each field of each message: alice keeps nothing, both ends say that it failed."""

    def channel(sender: int, number: int, message: Message) -> Iterable[Message]:
        if not isinstance(message, kind):
            return faithful(sender, number, message)
        content = bytearray(getattr(message, name))
        bit = random.Random(name).randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        return (replace(message, **{name: bytes(content)}),)

    told, alices, bobs_secrets = agree(channel=channel)
    assert isinstance(told.alice, AuthenticationFailed)
    assert isinstance(told.bob, AuthenticationFailed)
    assert alices == []
    # Bob has written his before he says done: the node uses none that alice has not confirmed.
    assert len(bobs_secrets) == (kind is Done)


def test_somebody_else_does_not_pass() -> None:
    for made in (agree(bob=EVE), agree(alice=EVE)):
        told, alices, bobs_secrets = made
        assert isinstance(told.alice, AuthenticationFailed)
        assert isinstance(told.bob, AuthenticationFailed)
        assert alices == bobs_secrets == []
        assert "pinned" in str(told.alice)
        assert "pinned" in str(told.bob)


def test_another_occasion_does_not_pass() -> None:
    """Another link, other settings, another number."""
    for other in (
        replace(OCCASION, link="alice-carol"),
        replace(OCCASION, terms_digest=bytes(31) + b"x"),
        replace(OCCASION, number=1),
    ):
        told, alices, bobs_secrets = agree(bobs_occasion=other)
        assert isinstance(told.alice, AuthenticationFailed)
        assert isinstance(told.bob, AuthenticationFailed)
        assert alices == bobs_secrets == []


def test_what_was_said_before_does_not_pass_again() -> None:
    before = agree()[0].transcript

    def replay(sender: int, number: int, message: Message) -> Iterable[Message]:
        return (before[1][1],) if sender == 1 and number == 0 else faithful(sender, number, message)

    told, alices, bobs_secrets = agree(channel=replay)
    assert isinstance(told.alice, AuthenticationFailed)
    assert alices == bobs_secrets == []


def test_bob_believes_nobody_that_alice_has_the_secret_but_who_has_it() -> None:
    """No signature covers ``Kept``; he serves keys of an agreement because of it."""

    def channel(_sender: int, _number: int, message: Message) -> Iterable[Message]:
        return (replace(message, confirmation=bytes(48)),) if isinstance(message, Kept) else (message,)

    assert isinstance(agree(channel=channel)[0].bob, AuthenticationFailed)


def test_points_that_give_no_secret_are_refused() -> None:
    def channel(sender: int, number: int, message: Message) -> Iterable[Message]:
        return (replace(message, x25519=bytes(32)),) if isinstance(message, Hello) else (message,)

    assert isinstance(agree(channel=channel)[0].bob, AuthenticationFailed)


@pytest.mark.parametrize("who", [0, 1])
def test_a_disk_that_fails_is_named_at_both_ends(who: int) -> None:
    def fails(_secret: Secret) -> None:
        problem = "the disk of this node is full"
        raise KeyStoreBroken(problem)

    shelf = Shelf()
    told, *_ = agree(keeps=(fails, shelf.keep) if who == 0 else (shelf.keep, fails))
    ends = told.alice, told.bob
    assert isinstance(ends[who], KeyStoreBroken)
    # What exactly fails is that node's own business, and the next session may do better.
    assert str(ends[1 - who]) == "the peer gives up the signed exchange: its key store fails"
    assert not isinstance(ends[1 - who], AuthenticationFailed)
    assert len(shelf.secrets) == (who == 0)


@pytest.mark.parametrize("lost", range(5))
def test_whatever_is_lost_alice_has_nothing_that_bob_has_not(lost: int) -> None:
    sent: list[Message] = []

    def channel(_sender: int, _number: int, message: Message) -> Iterable[Message]:
        sent.append(message)
        return () if len(sent) == lost + 1 else (message,)

    told, alices, bobs_secrets = agree(channel=channel)
    assert isinstance(told.bob, PeerSilent)
    assert len(bobs_secrets) == (lost >= 3)
    assert alices == (bobs_secrets if lost == 4 else [])


def test_wrong_lengths_and_identities_are_refused() -> None:
    for make in (
        lambda: Hello(0, b"", bytes(32), bytes(1184)),
        lambda: Hello(0, bytes(32), bytes(31), bytes(1184)),
        lambda: Hello(0, bytes(32), bytes(32), bytes(1185)),
        lambda: Reply(bytes(32), bytes(32), bytes(1087), bytes(3309)),
        lambda: Finish(bytes(3308)),
        lambda: Done(b""),
    ):
        with pytest.raises(RemoteProtocolError):
            make()
    with pytest.raises(ConfigError, match="qnodectl pki identity"):
        Identity(Secret(b"short"))
    told = converse(
        bootstrapping.alice(OCCASION, Signers(ALICE, b"no key"), os.urandom, Shelf().keep),
        bobs(OCCASION, Signers(BOB, ALICE.public), Shelf().keep),
    )
    assert isinstance(told.alice, ConfigError)
    assert isinstance(told.transcript[-1][1], Refused)
