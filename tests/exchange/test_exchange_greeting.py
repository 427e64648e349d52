"""Greetings and the lifecycle: both ends draw the same conclusions, and what is illegal changes nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_streams import TERMS

from qnoded.errors import LocalProtocolError, RemoteProtocolError, TermsMismatch
from qnoded.exchange.greeting import Heard, Introduction, Session, hear, restarted
from qnoded.exchange.lifecycle import TABLE, Event, Lifecycle, State, diagram
from qnoded.exchange.live_messages import NOBODY, Greeting
from qnoded.exchange.terms import LinkTerms, compare


def introduced(role: str, nonce: int = 1, terms: LinkTerms = TERMS, rate_hz: float = 1e5) -> Introduction:
    return Introduction(role, "qnoded 0", terms, bytes([nonce]) * 16, f"tagger of {role}", 10**9, rate_hz)


ALICE, BOB = introduced("alice"), introduced("bob", 2)


def settle(alice: Introduction, bob: Introduction) -> tuple[Session, Session]:
    """Greet as a node does: answer where an answer is due, until both are settled."""
    ends, sessions = [alice, bob], [None, None]
    waiting = [(1, alice.greeting()), (0, bob.greeting())]
    for _ in range(8):
        if not waiting:
            break
        end, greeting = waiting.pop(0)
        heard = hear(ends[end], greeting)
        ends[end], sessions[end] = heard.introduction, heard.session or sessions[end]
        if heard.answer:
            waiting.append((1 - end, ends[end].greeting()))
    assert not waiting
    mine, theirs = sessions
    assert mine is not None
    assert theirs is not None
    return mine, theirs


def test_both_ends_settle_on_the_same_session() -> None:
    alice, bob = settle(ALICE, BOB)
    assert alice == bob
    assert alice.identity == hashlib.sha256(ALICE.nonce + BOB.nonce).digest()[:16]
    assert (alice.revealer, alice.matcher, alice.revealed_stream) == ("alice", "bob", "tagger of alice")


def test_an_end_that_was_not_heard_is_answered_and_one_that_was_is_not() -> None:
    heard = hear(BOB, ALICE.greeting())
    assert heard == Heard(replace(BOB, heard=ALICE.nonce), None, answer=True)
    first = hear(ALICE, heard.introduction.greeting())
    assert first.session is not None
    assert first.answer
    again = hear(first.introduction, heard.introduction.greeting())
    assert again.session == first.session
    assert not again.answer


def test_a_new_nonce_means_a_restart() -> None:
    session, _ = settle(ALICE, BOB)
    assert not restarted(session, "alice", BOB.greeting())
    assert restarted(session, "alice", replace(BOB, nonce=bytes([9]) * 16).greeting())


@pytest.mark.parametrize(
    ("alice_hz", "bob_hz", "revealer"),
    [(1e5, 1e5, "alice"), (1.2e5, 1e5, "alice"), (1.3e5, 1e5, "bob"), (0, 0, "alice")],
)
def test_whoever_has_clearly_fewer_detections_reveals(alice_hz: float, bob_hz: float, revealer: str) -> None:
    session, _ = settle(introduced("alice", 1, rate_hz=alice_hz), introduced("bob", 2, rate_hz=bob_hz))
    assert session.revealer == revealer


def test_the_terms_may_name_the_revealer() -> None:
    terms = replace(TERMS, revealer="bob")
    session, _ = settle(introduced("alice", 1, terms), introduced("bob", 2, terms))
    assert session.revealer == "bob"


def test_the_hosts_clocks_give_the_offset() -> None:
    """Bob's tagger reads 3 s more than alice's at the same UTC: matcher less revealer is +3 s, or -3 s."""
    alice, bob = replace(ALICE, utc_minus_tag_ns=10 * 10**9), replace(BOB, utc_minus_tag_ns=7 * 10**9)
    assert settle(alice, bob)[0].host_offset_ps == 3 * 10**12
    turned = replace(TERMS, revealer="bob")
    assert settle(replace(alice, terms=turned), replace(bob, terms=turned))[0].host_offset_ps == -3 * 10**12


@pytest.mark.parametrize("name", ["window_ps", "test_share", "state", "link", "simulation", "alice_detectors"])
def test_a_mismatch_names_the_field(name: str) -> None:
    other = {
        "window_ps": 999,
        "test_share": 0.1,
        "state": "Psi-",
        "link": "other",
        "simulation": False,
        "alice_detectors": ("H", "V"),
    }
    with pytest.raises(TermsMismatch, match=f"differ in {name}"):
        hear(ALICE, introduced("bob", 2, replace(TERMS, **{name: other[name]})).greeting())


def test_terms_that_stand_elsewhere_in_the_files_are_named_with_their_place() -> None:
    with pytest.raises(TermsMismatch, match=r"differ in link \(the \[links\.NAME\] table of each end is named after"):
        compare(TERMS, json.loads(replace(TERMS, link="alicia-bob").text()))
    with pytest.raises(TermsMismatch, match=r"differ in simulation \(node\.simulation\): "):
        compare(TERMS, json.loads(replace(TERMS, simulation=not TERMS.simulation).text()))
    with pytest.raises(TermsMismatch, match="differ in window_ps: "):
        compare(TERMS, json.loads(replace(TERMS, window_ps=7).text()))


def changed(**fields: object) -> Greeting:
    return replace(BOB.greeting(), **fields)  # type: ignore[arg-type]


def with_terms(text: str) -> Greeting:
    return changed(terms=text, terms_digest=hashlib.sha256(text.encode()).digest())


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (changed(version=9), "version 9"),
        (changed(role="alice"), "calls itself 'alice'"),
        (changed(role="eve"), "calls itself 'eve'"),
        (changed(nonce=NOBODY), "without a nonce"),
        (changed(nonce=ALICE.nonce), "without a nonce"),
        (changed(terms_digest=bytes(32)), "do not have the hash"),
        (with_terms("["), "no table"),
        (with_terms("[]"), "no table"),
        (with_terms("[" * 10_000), "no table"),
    ],
)
def test_a_wrong_greeting_is_refused(greeting: Greeting, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        hear(ALICE, greeting)


def test_a_field_too_many_and_another_spelling_are_mismatches() -> None:
    with pytest.raises(TermsMismatch, match="differ in zebra"):
        hear(ALICE, with_terms(TERMS.text().replace('"window_ps"', '"zebra":1,"window_ps"')))
    with pytest.raises(TermsMismatch, match="differ in spelling"):
        hear(ALICE, with_terms(TERMS.text().replace(":", ": ")))


@given(st.text(max_size=200))
def test_any_terms_are_refused_with_a_name(text: str) -> None:
    with pytest.raises((TermsMismatch, RemoteProtocolError)):
        hear(ALICE, with_terms(text))


@given(st.lists(st.sampled_from(list(Event)), max_size=60))
def test_only_what_is_in_the_table_moves_a_link(events: list[Event]) -> None:
    link = Lifecycle()
    for event in events:
        before = link.state
        if (before, event) in TABLE:
            assert link.happened(event) is TABLE[before, event] is link.state
        else:
            with pytest.raises(LocalProtocolError, match=event.name):
                link.happened(event)
            assert link.state is before


def test_every_state_is_reached_and_a_stopped_link_stays_until_it_is_enrolled() -> None:
    reached = {State.ABSENT}
    while True:
        more = reached | {after for (state, _), after in TABLE.items() if state in reached}
        if more == reached:
            break
        reached = more
    assert reached == set(State)
    for state in State:
        leaves = {event for (before, event), after in TABLE.items() if before is state and after is not state}
        assert (leaves == {Event.ENROL}) is (state is State.STOPPED)
        assert leaves
    # Whatever happens, the operator can pause a link that is not stopped, and the daemon can stop it.
    assert all((state, Event.STOP) in TABLE for state in State if state is not State.STOPPED)


def test_the_diagram_in_the_documents_is_drawn_from_the_table() -> None:
    document = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}\n```" in document
