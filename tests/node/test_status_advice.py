"""Snapshots as JSON, the log of events, and the line that says what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from qnoded.exchange.lifecycle import State as LinkState
from qnoded.exchange.reports import Reason
from qnoded.instruments.lifecycle import State as InstrumentState
from qnoded.instruments.reading import DetectorReading, LaserReading, Setting
from qnoded.node import advice
from qnoded.node.event_log import KEPT, LONGEST_TEXT, EventLog
from qnoded.node.status import (
    GOODBYE,
    ClockStatus,
    InstrumentStatus,
    KeysStatus,
    LinkStatus,
    NodeState,
    NodeStatus,
    Rates,
    Share,
    reading_document,
    to_document,
)

KEYS = KeysStatus(0, 0, 256, True, 0, 0, {"QBER_LIMIT": 2, "NO_LENGTH": 1}, (100, 100), True)
NODE = NodeState("alice", "0.1.0", True, "running", "2026-11-21T09:14:05Z", 12.0, 0.001)
SIFTING = LinkStatus("alice", "bob", "SIFTING", 10.0, epochs=100)


def node(link: LinkStatus = SIFTING, instrument: str = "READY") -> NodeStatus:
    return NodeStatus(NODE, {"tagger": InstrumentStatus("sim-tagger", instrument)}, {"bob": link})


def test_a_snapshot_is_a_json_document_and_what_is_no_number_is_null() -> None:
    link = replace(SIFTING, rates=Rates(alice_hz=float("nan")), qber={"HV": Share(0.01, 0.0, float("inf"))})
    document = json.loads(json.dumps(to_document(node(link)), allow_nan=False))
    assert document["links"]["bob"]["rates"] == dict.fromkeys(("alice_hz", "bob_hz", "coincidences_hz", "sifted_hz"))
    assert document["links"]["bob"]["qber"] == {"HV": {"value": 0.01, "low": 0.0, "high": None}}
    assert document["instruments"]["tagger"]["state"] == "READY"


def test_readings_become_documents() -> None:
    setting = Setting(1.0, None, 0.9)
    laser = reading_document(LaserReading(True, setting))
    assert laser["power_dbm"]["read_back"] == 0.9
    assert reading_document((DetectorReading(True, setting),))["channels"][0]["enabled"] is True


@pytest.mark.parametrize("state", LinkState)
def test_every_state_of_a_link_has_its_line(state: LinkState) -> None:
    line = advice.link_advice("bob", replace(SIFTING, state=state.name))
    assert bool(line) == (state is not LinkState.SIFTING)
    assert "LINK" not in line


@pytest.mark.parametrize("state", InstrumentState)
def test_every_state_of_an_instrument_that_does_not_heal_has_its_line(state: InstrumentState) -> None:
    line = advice.instrument_advice(InstrumentStatus("sim-laser", state.name))
    heals = {"READY", "CONNECTING", "IDENTIFYING", "CONFIGURING", "SAFING", "CLOSED"}
    assert bool(line) == (state.name not in heals)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (replace(SIFTING, state="PAUSED"), "qnodectl resume bob"),
        (replace(SIFTING, state="ABSENT", refused_keys=3), "3 connections had another key than peer_key"),
        (replace(SIFTING, state="ABSENT", reason=f"{GOODBYE}: the node stops"), "it was ended at bob"),
        (replace(SIFTING, state="RELOCKING", clock=ClockStatus(True)), "qnodectl status of bob"),
        (replace(SIFTING, state="GREETING", since_s=11.0), "heard but does not agree"),
        (replace(SIFTING, state="ACQUIRING", rates=Rates(9e4, 3.0)), "bob counts 3 clicks a second: check laser"),
        (replace(SIFTING, state="RELOCKING", rates=Rates(0.0, 9e4)), "alice counts 0 clicks a second"),
        (replace(SIFTING, state="ACQUIRING", since_s=61.0, rates=Rates(9e4, 9e4)), "no pairs found for 61 s"),
        (replace(SIFTING, state="ACQUIRING"), "nothing to do"),
        (replace(SIFTING, state="RELOCKING", peer_light="DARK", rates=Rates(1.0, 1.0)), "the laser of bob is dark"),
        (replace(SIFTING, state="RELOCKING", peer_light="EMITTING"), "nothing to do"),
        (replace(SIFTING, qber={"total": Share(0.14, 0.12, 0.16)}), "QBER 14.0% is above 11%, no key"),
        (replace(SIFTING, keys=replace(KEYS, to_do="the key store cannot be written")), "the key store cannot"),
        (replace(SIFTING, state="GREETING", keys=replace(KEYS, to_do="no key is handed out")), "no key is handed out"),
        (replace(SIFTING, state="STOPPED", keys=replace(KEYS, to_do="no key is handed out")), "qnodectl enrol bob"),
        (replace(SIFTING, sifted_age_s=6.1), "no epoch was sifted for 6 s"),
        (replace(SIFTING, keys=KEYS), "key to authenticate with runs dry"),
        (replace(SIFTING, keys=replace(KEYS, authentication_low=False)), "no block gives a key"),
        (replace(SIFTING, discards={Reason.OVERLOAD.name: 3}), "3 of 103 epochs were dropped under overload"),
    ],
)
def test_numbers_make_the_advice_more_precise(link: LinkStatus, words: str) -> None:
    assert words in advice.link_advice("bob", link)


def test_a_qber_that_may_still_be_good_and_few_drops_are_no_alarm() -> None:
    link = replace(SIFTING, qber={"total": Share(0.12, 0.08, 0.17)}, discards={Reason.OVERLOAD.name: 1})
    assert advice.link_advice("bob", link) == ""


@pytest.mark.parametrize(
    ("status", "well"),
    [
        (node(), True),
        (node(instrument="DEGRADED"), False),
        (node(replace(SIFTING, state="INTERLUDE")), True),
        (node(replace(SIFTING, state="RELOCKING")), False),
        (node(replace(SIFTING, qber={"total": Share(0.14, 0.12, 0.16)})), False),
        (NodeStatus(NODE, {}, {}), True),
        (NodeStatus(replace(NODE, state="starting"), {}, {}), False),
    ],
)
def test_a_node_is_well_if_all_links_work_and_all_instruments_are_ready(status: NodeStatus, well: bool) -> None:
    assert advice.is_well(advice.advised(status)) is well


def test_a_laser_that_is_ready_but_dark_is_not_well() -> None:
    dark = InstrumentStatus("sim-laser", "READY", problem="dark: connected anew")
    assert not advice.is_well(NodeStatus(NODE, {"laser": dark}, {}))
    assert "qnodectl light on" in advice.instrument_advice(dark)


def test_a_search_without_light_of_this_node_is_told_so() -> None:
    dark = InstrumentStatus("sim-laser", "READY", reading={"emitting": False}, problem="dark: switched off")
    status = NodeStatus(NODE, {"laser": dark}, {"bob": replace(SIFTING, state="ACQUIRING")})
    assert advice.advised(status).links["bob"].advice.startswith("this node's laser is dark")


def test_whose_laser_is_dark_may_come_back_by_itself_and_only_the_laser_s_own_line_knows() -> None:
    light = {"reading": {"emitting": False}, "problem": "dark: not on time; light comes back once the node is well"}
    own = NodeStatus(NODE, {"laser": InstrumentStatus("sim-laser", "READY", **light)}, {"bob": SIFTING})
    for link in (replace(SIFTING, state="RELOCKING"), replace(SIFTING, state="RELOCKING", peer_light="DARK")):
        line = advice.advised(replace(own, links={"bob": link})).links["bob"].advice
        assert "light on" not in line
        assert "qnodectl devices" in line


def test_a_tagger_that_is_away_is_named_before_anything_else() -> None:
    away = {"tagger": InstrumentStatus("sim-tagger", "ABSENT"), "laser": InstrumentStatus("sim-laser", "ABSENT")}
    link = replace(SIFTING, state="RELOCKING", peer_light="DARK")
    assert "tagger is ABSENT" in advice.advised(NodeStatus(NODE, away, {"bob": link})).links["bob"].advice


def test_a_clock_that_is_held_is_not_searched_for() -> None:
    link = replace(SIFTING, state="RELOCKING", clock=ClockStatus(True))
    assert "which is held" in advice.link_advice("bob", link)


def test_a_machine_in_trouble_is_not_well() -> None:
    assert not advice.is_well(NodeStatus(replace(NODE, troubles=("the disk is full",)), {}, {}))


def test_a_controller_that_does_not_stand_where_it_should_is_not_well() -> None:
    short = InstrumentStatus("sim-polarization", "READY", reading={"settings_deg": ()}, problem="element 0 stands at 1")
    assert not advice.is_well(NodeStatus(NODE, {"polarization": short}, {}))
    assert "operate.positions" in advice.instrument_advice(short)


def test_events_are_numbered_bounded_and_clean() -> None:
    log = EventLog(now=lambda: datetime(2026, 11, 21, 9, 0, 0, 250_000, tzinfo=UTC))
    event = log.add("warning", "link bob", "line\n\x1b[31mred" + "x" * 1000)
    assert (event.number, event.utc) == (1, "2026-11-21T09:00:00.250Z")
    assert event.text.startswith("line  [31mred")
    assert len(event.text) == LONGEST_TEXT
    for k in range(KEPT + 5):
        log.add("info", "node", str(k))
    assert len(log.since(0)) == KEPT
    assert [one.number for one in log.since(KEPT + 4)] == [KEPT + 5, KEPT + 6]
    assert [one.number for one in log.since(0, most=1)] == [KEPT + 6]
