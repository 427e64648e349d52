"""How a session begins: one ledger at both ends or none, whatever was lost or killed before."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from qnoded.errors import AuthenticationFailed, KeyStoreBroken, LedgersDiffer, QnodedError, RemoteProtocolError
from qnoded.exchange import agreeing
from qnoded.exchange.agreeing import NO_NAME, LedgerShown, LedgerState
from qnoded.exchange.bootstrapping import Hello, Identity, Occasion, Signers
from qnoded.exchange.messages import Message
from qnoded.secret import Secret
from qnoded.testing.pair import Conversation, converse

ALICE, BOB = (Identity(Secret(bytes([number]) * 32)) for number in (1, 2))
SIGNERS = Signers(ALICE, BOB.public), Signers(BOB, ALICE.public)
OCCASION = Occasion("alice-bob", bytes(32), 0)
KILLED = "killed"


@dataclass
class Memory:
    """A ledger that may die before or after any of its writes."""

    state: LedgerState = LedgerState.NONE
    name: bytes = NO_NAME
    agreements: dict[int, bytes] = field(default_factory=dict)
    shared: int = 0
    dies_before: bool = False
    dies_after: bool = False
    role: str = field(default="alice", compare=False)
    sent: int = 0
    heard: int = 0

    def shown(self) -> LedgerShown:
        number = max(self.agreements, default=0)
        return LedgerShown(self.name, self.state, number, self.proof(number, self.role), self.sent, self.heard)

    def proof(self, number: int, role: str) -> bytes:
        return hashlib.sha256(self.agreements.get(number, b"") + role.encode()).digest()[:16]

    def enrol(self, secret: Secret) -> None:
        self._write(lambda: self._begin(secret.reveal()[:16]))

    def keep_agreement(self, number: int, secret: Secret) -> None:
        assert number > max(self.agreements, default=0)
        self._write(lambda: self.agreements.__setitem__(number, secret.reveal()))

    def share(self, number: int) -> None:
        self.shared = number

    def share_proven(self, theirs: LedgerShown) -> None:
        peer = "bob" if self.role == "alice" else "alice"
        if theirs.agreement in self.agreements and theirs.proof == self.proof(theirs.agreement, peer):
            self.shared = max(theirs.agreement, self.shared)

    def _begin(self, name: bytes) -> None:
        self.state, self.name, self.agreements = LedgerState.FRESH, name, {}

    def _write(self, effect: object) -> None:
        if self.dies_before:
            raise KeyStoreBroken(KILLED)
        effect()  # type: ignore[operator]  # a closure of this class
        if self.dies_after:
            raise KeyStoreBroken(KILLED)

    def reborn(self) -> None:
        self.dies_before = self.dies_after = False


def begin(
    alice: Memory, bob: Memory, *, signed: bool = True, lost: int | None = None, changed: Message | None = None
) -> Conversation[int, int]:
    sent = itertools.count()

    def channel(_sender: int, _number: int, message: Message) -> Iterable[Message]:
        if next(sent) == lost:
            return ()
        return (changed,) if changed is not None and type(message) is type(changed) else (message,)

    signers = SIGNERS if signed else (None, None)
    bob.role = "bob"
    return converse(
        agreeing.begin("alice", OCCASION, alice, signers[0], os.urandom),
        agreeing.begin("bob", OCCASION, bob, signers[1], os.urandom),
        channel=channel,
    )


def renew(number: int, alice: Memory, bob: Memory, lost: int | None = None) -> Conversation[None, int]:
    sent = itertools.count()
    return converse(
        agreeing.renew(replace(OCCASION, number=number), alice, SIGNERS[0], os.urandom),
        agreeing.answer(OCCASION.link, OCCASION.terms_digest, bob, SIGNERS[1], os.urandom),
        channel=lambda _sender, _number, message: () if next(sent) == lost else (message,),
    )


def test_two_empty_ledgers_begin_and_go_on() -> None:
    alice, bob = Memory(), Memory()
    told = begin(alice, bob)
    assert told.alice == told.bob == 0
    assert alice.name == bob.name != NO_NAME
    name = alice.name
    told = begin(alice, bob)
    assert len(told.transcript) == 2
    assert alice.name == name


LEDGERS = {
    "none": Memory(),
    "lost": Memory(LedgerState.LOST, b"L" * 16),
    "fresh": Memory(LedgerState.FRESH, b"F" * 16),
    "kept": Memory(LedgerState.KEPT, b"K" * 16),
    "other": Memory(LedgerState.KEPT, b"O" * 16),
}


@pytest.mark.parametrize(("one", "other"), list(itertools.product(LEDGERS, repeat=2)))
def test_every_pair_of_ledgers_ends_alike_at_both_ends(one: str, other: str) -> None:
    """No ledger in use is ever replaced, and never do the ends go on with two."""
    alice, bob = replace(LEDGERS[one]), replace(LEDGERS[other])
    told = begin(alice, bob)
    in_use = {"kept", "other"}
    if one == other in {"kept", "other", "fresh"}:
        assert told.alice == told.bob == 0
        assert alice.name == LEDGERS[one].name
    elif in_use & {one, other}:
        assert isinstance(told.alice, LedgersDiffer)
        assert isinstance(told.bob, LedgersDiffer)
        assert "qnodectl enrol" in str(told.alice)
        assert (alice, bob) == (LEDGERS[one], LEDGERS[other])
    else:
        assert told.alice == told.bob == 0
        assert alice.name == bob.name not in {LEDGERS[one].name, LEDGERS[other].name}


def test_without_identities_nothing_begins() -> None:
    told = begin(Memory(), Memory(), signed=False)
    for end in (told.alice, told.bob):
        assert isinstance(end, LedgersDiffer)
        assert "first_secret" in str(end)


@pytest.mark.parametrize("lost", range(7))
def test_an_exchange_that_is_cut_anywhere_is_made_again(lost: int) -> None:
    """Each of the seven messages lost in turn, then a faultless session: one ledger at both ends."""
    alice, bob = Memory(), Memory()
    told = begin(alice, bob, lost=lost)
    assert isinstance(told.alice, QnodedError) or isinstance(told.bob, QnodedError)
    told = begin(alice, bob)
    assert told.alice == told.bob == 0
    assert alice.name == bob.name != NO_NAME


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("who", [0, 1])
def test_whoever_dies_at_its_write_the_next_session_begins_with_one_ledger(who: int, after: bool) -> None:
    ends = Memory(), Memory()
    setattr(ends[who], "dies_after" if after else "dies_before", True)
    assert isinstance(begin(*ends).alice, QnodedError)
    ends[who].reborn()
    told = begin(*ends)
    assert told.alice == told.bob == 0
    assert ends[0].name == ends[1].name != NO_NAME


def test_any_run_of_faults_leaves_one_ledger_and_no_number_with_two_secrets() -> None:
    """200 histories of 12 sessions, each with a random fault in beginning and renewals."""
    for seed in range(200):
        chance = random.Random(seed)
        alice, bob = Memory(), Memory()
        for _ in range(12):
            for end in (alice, bob):
                end.dies_before, end.dies_after = chance.random() < 0.1, chance.random() < 0.1
            told = begin(alice, bob, lost=chance.choice([None, *range(7)]))
            for end in (alice, bob):
                end.reborn()
            if isinstance(told.alice, int) and isinstance(told.bob, int):
                assert alice.name == bob.name
                renew(told.alice + 1, alice, bob, lost=chance.choice([None, *range(5)]))
            both = alice.agreements.keys() & bob.agreements.keys() if alice.name == bob.name else ()
            assert all(alice.agreements[number] == bob.agreements[number] for number in both)
            assert bob.shared in (0, *alice.agreements) or alice.name != bob.name
            assert not isinstance(told.alice, LedgersDiffer)
        assert isinstance(begin(alice, bob).alice, int)
        assert alice.name == bob.name


def used(**both: object) -> Memory:
    return Memory(LedgerState.KEPT, b"K" * 16, **both)  # type: ignore[arg-type]  # the tests say what fits


@pytest.mark.parametrize("who", [0, 1])
def test_an_older_copy_of_a_store_is_refused_at_both_ends_before_anything_is_sealed(who: int) -> None:
    """The peer has heard 24 bytes' worth of seals, the copy knows of 16."""
    old, other = used(sent=16, heard=40), used(sent=40, heard=24)
    told = begin(*((old, other), (other, old))[who])
    for end, where in zip((told.alice, told.bob), (("here", "at the peer"), ("at the peer", "here"))[who], strict=True):
        assert isinstance(end, LedgersDiffer)
        assert f"the key store {where} is an older copy" in str(end)
        assert "it sealed with 16 bytes of key, 24 were heard" in str(end)


def test_seals_that_were_lost_on_their_way_are_no_older_copy() -> None:
    told = begin(used(sent=40, heard=24), used(sent=32, heard=16))
    assert told.alice == told.bob == 0


def test_a_lie_about_the_number_of_agreements_ends_the_session_and_nothing_else() -> None:
    """Nobody seals the number; 201 more than there are would lead the next names of keys round once."""
    alice, bob = used(agreements={3: b"3"}), used(agreements={3: b"3"})
    for lie in (204, 1 << 40):
        told = begin(alice, bob, changed=replace(bob.shown(), agreement=lie))
        assert isinstance(told.alice, RemoteProtocolError)
    told = begin(alice, bob)
    assert told.alice == told.bob == 3
    assert isinstance(renew(4, alice, bob).alice, type(None))
    assert alice.agreements[4] == bob.agreements[4]


def test_bob_uses_no_agreement_of_which_alice_did_not_prove_that_she_has_it() -> None:
    """A lie says that she has his newest, which her disk never took."""
    alice, bob = used(agreements={3: b"3"}), used(agreements={3: b"3", 4: b"4"})
    begin(alice, bob, changed=replace(alice.shown(), agreement=4))
    assert bob.shared == 0
    begin(alice, bob)
    assert bob.shared == 3


def test_a_full_disk_at_bob_ends_the_session_and_stops_no_link() -> None:
    """Not ``AuthenticationFailed``, and nothing of his files is told."""
    alice, bob = used(), used(dies_before=True)
    told = renew(1, alice, bob)
    assert isinstance(told.bob, KeyStoreBroken)
    assert isinstance(told.alice, RemoteProtocolError)
    assert not isinstance(told.alice, AuthenticationFailed)
    assert "its key store fails" in str(told.alice)
    assert KILLED not in str(told.alice)
    bob.reborn()
    assert renew(2, alice, bob).alice is None


def test_a_hello_for_the_wrong_occasion_is_refused() -> None:
    hello = Hello(5, bytes(32), bytes(32), bytes(1184))
    assert isinstance(begin(Memory(), Memory(), changed=hello).bob, RemoteProtocolError)
    told = converse(
        agreeing.renew(OCCASION, Memory(), SIGNERS[0], os.urandom),
        agreeing.answer(OCCASION.link, OCCASION.terms_digest, Memory(), SIGNERS[1], os.urandom),
    )
    assert isinstance(told.bob, RemoteProtocolError)
