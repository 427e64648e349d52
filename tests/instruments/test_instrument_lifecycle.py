"""The connection states: every pair of state and event either follows the table or raises and changes nothing."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from qnoded.errors import LocalProtocolError
from qnoded.instruments.lifecycle import TRANSITIONS, Event, State, after, diagram

DRIVERS_GUIDE = Path(__file__).parents[2] / "docs" / "drivers.md"
IN_USE = {State.READY, State.DEGRADED}
AT_WORK = {State.CONNECTING, State.IDENTIFYING, State.CONFIGURING} | IN_USE


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_each_event_in_each_state(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert after(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(LocalProtocolError, match=f"{event.name} cannot happen .* {state.name}"):
            after(state, event)


def test_the_table_is_complete_and_all_states_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {State.ABSENT}
    for _ in State:
        reached |= {following for state in reached for following in TRANSITIONS[state].values()}
    assert reached == set(State)


def test_safing_is_reachable_from_everywhere_but_the_end_and_leads_to_no_state_in_use() -> None:
    for state in set(State) - {State.SAFING, State.CLOSED}:
        assert after(state, Event.SAFE) is State.SAFING
    assert not set(TRANSITIONS[State.SAFING].values()) & (AT_WORK | {State.FAULTED})


def test_the_only_way_into_use_is_through_the_identity() -> None:
    entries = {state for state, row in TRANSITIONS.items() if set(row.values()) & IN_USE} - IN_USE
    assert entries == {State.CONFIGURING}
    assert {state for state, row in TRANSITIONS.items() if State.CONFIGURING in row.values()} == {State.IDENTIFYING}


def test_quarantine_ends_only_by_a_person_or_the_end() -> None:
    assert set(TRANSITIONS[State.QUARANTINED]) == {Event.SAFE, Event.CLOSE}


def test_the_guide_shows_the_diagram_of_this_table() -> None:
    assert f"```mermaid\n{diagram()}\n```" in DRIVERS_GUIDE.read_text(encoding="utf-8")
