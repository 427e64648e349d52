"""The operator's page: every line fits, every number is the snapshot's, and old numbers are called old."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from statuses_made import troubled, well

from qnoded.cli.ctl.client import Daemon
from qnoded.cli.ctl.following import AGAIN_S, Seen, follow
from qnoded.cli.ctl.page import duration, event_lines, page, rate
from qnoded.cli.ctl.reading import events_from, status_from
from qnoded.cli.ctl.screen import drawn, line, screen
from qnoded.errors import DaemonUnavailable
from qnoded.node.advice import advised
from qnoded.node.status import Event, NodeStatus, to_document

WELL_PAGE = """\
alice: well | running for 2 h 14 min | SIMULATION, no real key | loop lag 4 ms
--------------------------------------------------------------------------------
link bob   SIFTING for 12 min as alice, session 3f2a9c01
  clock    locked  offset +300 048 971 204 511 ps  +2.3117 ppm  peak 96 ps rms
           0.6 s old
  rates    alice 182.31 kcps  bob 95.12 kcps  pairs 4.21 kcps
           sifted 2.05 kbit/s
  QBER %   HV 1.32 (1.21..1.44)  DA 1.80 (1.67..1.94)  total 1.56 (1.47..1.65)
  CHSH     S = 2.712 +- 0.021, epoch 1234, 34 sigma above 2
  sifted   1,498,225 bits, 1,330 epochs, 14 blocks, 16.83 bit sent per click
  keys     412 keys of 256 bits  380 for the peer's
           702,114 secret bits from 14 blocks  QBER_LIMIT 1
           authentication 4,096/4,088 bytes
  discards NO_LOCK 4, SETTLING 8
  peer     bob, heard 0.3 s ago

tagger     READY  sim-tagger (simulated); running yes, overflows 0, 0.4 s ago
laser      READY  sim-laser (simulated); emitting yes, power_dbm 0,
           temperature_c 25.01, interlock_closed yes, 0.4 s ago

11:15:40Z  link bob: clock locked after 4.1 s of data
11:15:41Z  WARNING tagger: overflow: 0.12 s of tags lost"""


def test_a_node_that_is_well() -> None:
    assert "\n".join(page(well())) == WELL_PAGE


def test_sifted_bits_that_went_into_no_block_are_listed() -> None:
    status = well()
    link = replace(status.links["bob"], withdrawn={"PEER_LOST": 3, "LATE": 0}, withdrawn_bits=3_412)
    lines = page(replace(status, links={"bob": link}))
    assert "  unused   3,412 sifted bits of epochs that went into no block: PEER_LOST 3" in lines


def test_a_number_stays_with_its_unit_where_the_first_line_ends() -> None:
    status = well()
    first, second, *_ = page(replace(status, node=replace(status.node, loop_lag_s=15.557, uptime_s=90_000.0)))
    assert (first.endswith(" |"), second) == (True, "loop lag 15557 ms")


def test_a_machine_in_trouble_is_named_at_the_top() -> None:
    full = "the clock lock of link bob cannot be written to /var/lib/qnoded: No space left on device: make room on it"
    status = well()
    lines = page(replace(status, node=replace(status.node, troubles=(full,))))
    assert lines[0].startswith("alice: NOT WELL")
    assert "TROUBLE    the clock lock of link bob cannot be written to" in "\n".join(lines[1:4])
    assert all(len(each) <= 80 for each in lines)
    assert full in line(Seen({}, replace(status, node=replace(status.node, troubles=(full,)))))


def test_a_node_in_trouble_says_what_to_do() -> None:
    text = "\n".join(page(advised(troubled())))
    assert text.startswith("alice: NOT WELL")
    assert "because  the link's terms differ in window_ps: 1000 here, 1500 at the peer" in text
    assert "to do    make the named field equal in both ends'" in text
    assert "laser      ABSENT  koheron-ctl101; no answer from tcp://192.0.2.9:36000" in text
    assert "next attempt in 7.6 s" in text
    assert "3 connections with a wrong key refused" in text
    assert "QBER" not in text


@pytest.mark.parametrize("status", [well(), advised(troubled())], ids=["well", "troubled"])
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(status: NodeStatus, columns: int) -> None:
    assert max(map(len, page(status, columns))) <= columns


def test_a_node_with_nothing_to_show_shows_that() -> None:
    empty = replace(well(), instruments={}, links={}, events=())
    assert page(empty)[-3:] == ["no links", "", "no instruments"]


def test_the_page_shows_what_the_json_says() -> None:
    document = json.loads(json.dumps(to_document(well()))) | {"added_by_a_newer_daemon": 1}
    assert page(status_from(document)) == page(well())
    assert events_from({"events": document["events"]}) == well().events


@pytest.mark.parametrize("document", [{}, {"node": 3}, {"events": "x"}])
def test_an_answer_that_is_no_snapshot_is_named(document: dict[str, Any]) -> None:
    with pytest.raises(DaemonUnavailable, match="not understood at"):
        status_from(document)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (0.31, "0.3 s"), (59, "59 s"), (731, "12 min"), (8075, "2 h 14 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (0.0, "0.0 cps"), (999.0, "999.0 cps"), (2e4, "20.00 kcps"), (1.5e6, "1.50 Mcps")]
)
def test_rates_have_prefixes(value: float | None, words: str) -> None:
    assert rate(value, "cps") == words


def test_markup_in_an_event_is_text() -> None:
    event = Event(1, "2026-11-21T11:15:40.103Z", "error", "laser", "[red]interlock[/red] open")
    assert event_lines([event]) == ["11:15:40Z  ERROR laser: [red]interlock[/red] open"]


def test_old_numbers_stand_below_a_banner() -> None:
    seen = Seen({}, well(), 12.3, "the daemon does not answer")
    text = drawn(seen, 80, 24).plain.splitlines()
    assert text[0] == "NO ANSWER for 12 s: the numbers below are old. the daemon does not answer"
    assert "\n".join(text[2:]) == WELL_PAGE
    assert line(seen) == "alice: NO ANSWER for 12 s; the daemon does not answer"


@pytest.mark.parametrize(("rows", "events"), [(20, []), (21, ["11:15:41Z"]), (33, ["11:15:40Z", "11:15:41Z"])])
def test_events_fill_what_is_left_of_the_screen(rows: int, events: list[str]) -> None:
    text = drawn(Seen({}, well()), 80, rows).plain.splitlines()
    assert len(text) <= rows
    assert [line[:9] for line in text if line.startswith("11:")] == events


def test_colour_only_repeats_the_words() -> None:
    written = io.StringIO()
    Console(file=written, width=80, no_color=True, force_terminal=True).print(drawn(Seen({}, well()), 80, 24))
    assert written.getvalue().rstrip("\n") == WELL_PAGE


def test_a_terminal_gets_a_page_and_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = io.StringIO()
    with screen(Console(file=terminal, width=80, height=30, force_terminal=True, legacy_windows=False)) as show:
        show(Seen({}, well()))
    assert "SIFTING" in terminal.getvalue()
    assert "\x1b[?1049h" in terminal.getvalue()
    with screen(Console(file=io.StringIO())) as show:
        show(Seen({}, well()))
        show(Seen({}, advised(troubled())))
    good, bad = capsys.readouterr().out.splitlines()
    assert good == "alice: well | bob SIFTING 2.05 kbit/s QBER 1.56 % 1,498,225 bits"
    assert "NOT WELL | bob MISMATCH" in bad
    assert "laser ABSENT (no answer from tcp://192.0.2.9:36000 within 5 s)" in bad


class Flaky(Daemon):
    """A daemon that gives two snapshots, is away for two attempts, and comes back."""

    def __init__(self) -> None:
        self._attempts = iter([2, 0, 0, 2])

    def stream(self) -> Iterator[dict[str, Any]]:
        for _ in range(next(self._attempts)):
            yield to_document(well())
        problem = "gone"
        raise DaemonUnavailable(problem)


def test_a_daemon_that_goes_and_comes_back_is_followed() -> None:
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    seen = list(follow(Flaky(), 3, wait, lambda: now[0]))
    assert [one.problem for one in seen] == ["", "", "gone", "gone", "gone", ""]
    assert [one.age_s for one in seen] == [0.0, 0.0, 0.0, AGAIN_S, 2 * AGAIN_S, 0.0]


def test_a_daemon_that_never_was_there_is_an_error() -> None:
    daemon = Flaky()
    assert len(list(follow(daemon, 2))) == 2
    with pytest.raises(DaemonUnavailable):
        list(follow(daemon, 1))
