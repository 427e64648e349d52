"""Two-sided commit with memory in place of a disk: whatever is lost, both ends serve a block or neither does."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from qnoded.errors import PeerSilent, RemoteProtocolError
from qnoded.exchange import committing
from qnoded.exchange.committing import (
    CHECK_BYTES,
    Allotment,
    BlockAccount,
    Held,
    Noted,
    Offer,
    OpenBlocks,
    Recovered,
    Run,
    Settled,
    Verdicts,
    key_check,
)
from qnoded.exchange.effects import Script
from qnoded.exchange.messages import Message
from qnoded.secret import Secret
from qnoded.testing.pair import Conversation, converse, faithful

ACCOUNT = BlockAccount("key", 1, 2, 2, 1000, 50, 1, 20, 200, 512, 1e-10, 1e-15, "cascade", "", simulated=False)
KEY = bytes(range(CHECK_BYTES + 64))
MESSAGES = 4


class Memory:
    """A book that remembers; ``dies_at`` steps it fails, before or after the step took hold."""

    def __init__(self) -> None:
        self.states: dict[bytes, str] = {}
        self.dies_at = -1
        self.after = False
        self._steps = 0

    def _step(self, block: bytes, state: str, allowed: set[str | None]) -> None:
        self._steps += 1
        dies = self._steps == self.dies_at
        if dies and not self.after:
            raise KeyboardInterrupt
        assert self.states.get(block) in allowed
        self.states[block] = state
        if dies:
            raise KeyboardInterrupt

    def propose(self, block: bytes, key: Secret, account: BlockAccount) -> Allotment:
        self._step(block, "prepared", {None})
        return Allotment(32, Run(0, 1), Run(0, 1), Run(0, 0), Run(0, 0))

    def accept(self, block: bytes, key: Secret, account: BlockAccount, allotment: Allotment) -> None:
        self._step(block, "prepared", {None})

    def settle(self, block: bytes) -> None:
        self._step(block, "settled", {"prepared", "settled"})

    def abandon(self, block: bytes) -> None:
        self._step(block, "abandoned", {"prepared"})

    def prepared(self) -> list[bytes]:
        return [block for block, state in self.states.items() if state == "prepared"]

    def is_settled(self, block: bytes) -> bool:
        return self.states.get(block) == "settled"

    def served(self) -> list[bytes]:
        return [block for block, state in self.states.items() if state == "settled"]


def scripts(
    alice: Memory, bob: Memory, bobs_key: bytes = KEY, bobs_account: BlockAccount = ACCOUNT
) -> tuple[Script[bool], Script[bool]]:
    return (
        committing.alice(Secret(KEY), ACCOUNT, alice, random.Random(1).randbytes),
        committing.bob(Secret(bobs_key), bobs_account, bob),
    )


def commit(alice: Memory, bob: Memory, **how: Any) -> Conversation[bool, bool]:
    return converse(*scripts(alice, bob), **how)


def recover(alice: Memory, bob: Memory) -> None:
    alice.dies_at = bob.dies_at = -1
    told = converse(committing.recover_alice(alice), committing.recover_bob(bob))
    assert isinstance(told.alice, Recovered)
    assert isinstance(told.bob, Recovered)
    assert alice.prepared() == bob.prepared() == []
    assert alice.served() == bob.served()


def test_a_block_is_served_by_both() -> None:
    alice, bob = Memory(), Memory()
    told = converse(*scripts(alice, bob))
    assert told.alice is told.bob is True
    assert alice.served() == bob.served() == [random.Random(1).randbytes(16)]
    assert [type(message) for _, message in told.transcript] == [Offer, Held, Settled, Noted]


@pytest.mark.parametrize("lost", range(MESSAGES))
def test_whatever_message_is_lost_recovery_decides_the_same(lost: int) -> None:
    """Each of the four messages in turn: the block is served once alice has heard that bob has it, and not before."""
    alice, bob = Memory(), Memory()
    sent = 0

    def channel(sender: int, number: int, message: Message) -> Iterable[Message]:
        nonlocal sent
        sent += 1
        return () if sent == lost + 1 else faithful(sender, number, message)

    told = converse(*scripts(alice, bob), channel=channel)
    assert isinstance(told.alice, PeerSilent) or told.alice is True
    recover(alice, bob)
    assert len(alice.served()) == (0 if lost <= 1 else 1)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_wherever_an_end_dies_recovery_decides_the_same(who: str, step: int, after: bool) -> None:
    alice, bob = Memory(), Memory()
    victim = alice if who == "alice" else bob
    victim.dies_at, victim.after = step, after
    with pytest.raises(KeyboardInterrupt):
        commit(alice, bob)
    recover(alice, bob)
    # It counts from alice's second step on, which is to make it servable.
    settled = step == 2 and (who == "bob" or after)
    assert len(alice.served()) == settled


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("lost", range(1, MESSAGES))
def test_death_during_recovery_is_recovered_from(lost: int, who: str, after: bool) -> None:
    alice, bob = Memory(), Memory()
    sent = 0

    def channel(sender: int, number: int, message: Message) -> Iterable[Message]:
        nonlocal sent
        sent += 1
        return () if sent == lost + 1 else faithful(sender, number, message)

    commit(alice, bob, channel=channel)
    victim = alice if who == "alice" else bob
    victim._steps, victim.dies_at, victim.after = 0, 1, after
    try:
        recover_once(alice, bob)
    except KeyboardInterrupt:
        recover(alice, bob)
    assert alice.served() == bob.served()
    assert len(alice.served()) == (0 if lost == 1 else 1)


def test_a_block_of_which_alice_never_heard_that_bob_has_it_is_served_by_nobody() -> None:
    """Bob's ``Held`` was cut off with its seal: whether it would have been right, the next session cannot tell."""
    alice, bob = Memory(), Memory()

    def channel(sender: int, number: int, message: Message) -> Iterable[Message]:
        return () if isinstance(message, Held) else faithful(sender, number, message)

    commit(alice, bob, channel=channel)
    assert len(alice.prepared()) == len(bob.prepared()) == 1
    told = converse(committing.recover_alice(alice), committing.recover_bob(bob))
    assert told.alice == told.bob == Recovered((), tuple(alice.states))
    assert set(alice.states.values()) == set(bob.states.values()) == {"abandoned"}


def recover_once(alice: Memory, bob: Memory) -> None:
    converse(committing.recover_alice(alice), committing.recover_bob(bob))


@pytest.mark.parametrize("place", [0, CHECK_BYTES, len(KEY) - 1])
def test_a_key_that_differs_is_written_by_nobody(place: int) -> None:
    alice, bob = Memory(), Memory()
    theirs = bytearray(KEY)
    theirs[place] ^= 1
    told = converse(*scripts(alice, bob, bytes(theirs)))
    assert told.alice is told.bob is False
    assert (set(alice.states.values()), bob.states) == ({"abandoned"}, {})


def test_accounts_that_differ_are_written_by_nobody() -> None:
    alice, bob = Memory(), Memory()
    told = converse(*scripts(alice, bob, KEY, replace(ACCOUNT, leaked_bits=201)))
    assert told.alice is told.bob is False
    assert bob.states == {}


def test_the_check_says_nothing_of_the_key_without_its_mask() -> None:
    """With every mask equally likely every check is: masks 0 to 255 in one byte give 256 different checks."""
    point = bytes(range(16))
    checks = {key_check(Secret(bytes([mask]) + bytes(7) + KEY), point) for mask in range(256)}
    assert len(checks) == 256


def test_impossible_messages_are_refused() -> None:
    name, run = b"n" * 16, Run(0, 1)
    allotment = Allotment(32, run, run, run, run)
    for make in (
        lambda: Offer(b"", b"d" * 32, allotment, b"p" * 16, b"c" * 8),
        lambda: Offer(name, b"", allotment, b"p" * 16, b"c" * 8),
        lambda: Offer(name, b"d" * 32, allotment, b"", b"c" * 8),
        lambda: Offer(name, b"d" * 32, allotment, b"p" * 16, b"c" * 9),
        lambda: Held(b"", True),
        lambda: Settled(b"x"),
        lambda: Noted(b"x"),
        lambda: OpenBlocks((name,) * 1025),
        lambda: Verdicts((b"x",)),
        lambda: Run(-1, 0),
        lambda: Run(0, 1 << 40),
        lambda: Allotment(0, run, run, run, run),
    ):
        with pytest.raises(RemoteProtocolError):
            make()


def test_alice_cannot_allot_more_than_there_is() -> None:
    class Generous(Memory):
        def propose(self, block: bytes, key: Secret, account: BlockAccount) -> Allotment:
            return Allotment(32, Run(0, 2), Run(0, 1), Run(0, 0), Run(0, 0))

    bob = Memory()
    told = converse(*scripts(Generous(), bob))
    assert isinstance(told.bob, RemoteProtocolError)
    assert bob.states == {}


def test_verdicts_on_blocks_that_are_not_open_are_refused() -> None:
    def alice() -> Script[None]:
        yield from committing.receive(OpenBlocks)
        yield from committing.send(Verdicts((b"n" * 16,)))

    told = converse(alice(), committing.recover_bob(Memory()))
    assert isinstance(told.bob, RemoteProtocolError)
