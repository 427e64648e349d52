"""Two ends with pinned identities agree on a secret; whoever changes a bit on its way, or is somebody else, fails."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import fields, replace

import pytest

from qnoded.errors import AuthenticationFailed, ConfigError, LocalProtocolError, PeerSilent, RemoteProtocolError
from qnoded.exchange import bootstrapping
from qnoded.exchange.bootstrapping import Done, Finish, Hello, Identity, Occasion, Reply
from qnoded.exchange.messages import Message
from qnoded.secret import Secret
from qnoded.testing.pair import Channel, Conversation, converse, faithful

OCCASION = Occasion("alice-bob", "first secret", 4096)
ALICE, BOB, EVE = (Identity(Secret(bytes([number]) * 32)) for number in (1, 2, 3))


def agree(
    alices: Occasion = OCCASION,
    bobs: Occasion = OCCASION,
    alice: Identity = ALICE,
    bob: Identity = BOB,
    channel: Channel = faithful,
) -> Conversation[Secret, Secret]:
    return converse(
        bootstrapping.alice(alices, alice, BOB.public, os.urandom),
        bootstrapping.bob(bobs, bob, ALICE.public, os.urandom),
        channel=channel,
    )


def test_both_ends_get_one_secret_and_another_each_time() -> None:
    told, again = agree(), agree()
    assert isinstance(told.alice, Secret)
    assert told.alice == told.bob
    assert len(told.alice) == 4096
    assert told.alice != again.alice
    assert [type(message) for _, message in told.transcript] == [Hello, Reply, Finish, Done]


CHANGES = [(kind, field.name) for kind in (Hello, Reply, Finish, Done) for field in fields(kind)]


@pytest.mark.parametrize(("kind", "name"), CHANGES)
def test_no_field_can_be_changed(kind: type[Message], name: str) -> None:
    """A random bit of each field of each message; neither end may end with a secret that the other has not."""

    def channel(sender: int, number: int, message: Message) -> Iterable[Message]:
        if not isinstance(message, kind):
            return faithful(sender, number, message)
        content = bytearray(getattr(message, name))
        bit = random.Random(name).randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        return (replace(message, **{name: bytes(content)}),)

    told = agree(channel=channel)
    assert isinstance(told.alice, AuthenticationFailed | PeerSilent)
    # Bob's last word is on its way when he ends: alice has refused it, and the node keeps nothing that she has not.
    assert isinstance(told.bob, Secret if kind is Done else AuthenticationFailed | PeerSilent)


def test_somebody_else_does_not_pass() -> None:
    assert isinstance(agree(bob=EVE).alice, AuthenticationFailed)
    told = agree(alice=EVE)
    assert isinstance(told.bob, AuthenticationFailed) or isinstance(told.alice, AuthenticationFailed)
    assert not isinstance(told.bob, Secret)


def test_another_occasion_does_not_pass() -> None:
    for other in (
        replace(OCCASION, link="alice-carol"),
        replace(OCCASION, purpose="agreement 1"),
        replace(OCCASION, size_bytes=4097),
    ):
        told = agree(bobs=other)
        assert isinstance(told.alice, AuthenticationFailed)
        assert not isinstance(told.bob, Secret)


def test_what_was_said_before_does_not_pass_again() -> None:
    before = agree().transcript

    def replay(sender: int, number: int, message: Message) -> Iterable[Message]:
        return (before[1][1],) if sender == 1 and number == 0 else faithful(sender, number, message)

    told = agree(channel=replay)
    assert isinstance(told.alice, AuthenticationFailed)
    assert not isinstance(told.bob, Secret)


def test_points_that_give_no_secret_are_refused() -> None:
    def channel(sender: int, number: int, message: Message) -> Iterable[Message]:
        return (replace(message, x25519=bytes(32)),) if isinstance(message, Hello) else (message,)

    assert isinstance(agree(channel=channel).bob, AuthenticationFailed)


def test_wrong_lengths_identities_and_sizes_are_refused() -> None:
    for make in (
        lambda: Hello(b"", bytes(32), bytes(1184)),
        lambda: Hello(bytes(32), bytes(31), bytes(1184)),
        lambda: Hello(bytes(32), bytes(32), bytes(1185)),
        lambda: Reply(bytes(32), bytes(32), bytes(1087), bytes(3309)),
        lambda: Finish(bytes(3308)),
        lambda: Done(b""),
    ):
        with pytest.raises(RemoteProtocolError):
            make()
    with pytest.raises(ConfigError, match="qnodectl pki identity"):
        Identity(Secret(b"short"))
    for size in (0, 255 * 48):
        with pytest.raises(LocalProtocolError):
            Occasion("link", "purpose", size)
    told = converse(
        bootstrapping.alice(OCCASION, ALICE, b"no key", os.urandom),
        bootstrapping.bob(OCCASION, BOB, ALICE.public, os.urandom),
    )
    assert isinstance(told.alice, ConfigError)
