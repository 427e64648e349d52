"""What the daemons note is put to the event of the script that it may answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from qnoded.demo import chronicle
from qnoded.demo.chronicle import Chronicle, Happened

START = datetime(2026, 1, 1, tzinfo=UTC)


def noted(at_s: float, text: str, source: str = "link bob") -> dict[str, str]:
    utc = (START + timedelta(seconds=at_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"utc": utc, "source": source, "text": text}


def test_answers_belong_to_the_event_before_them_until_the_next_one_or_some_seconds_after_its_end() -> None:
    told = Chronicle(START)
    told.happened = [
        Happened("cut", {"side": "bob"}, 10.0, 14.0),
        Happened("eavesdropper", {"share": 0.5}, 18.0, 24.0),
    ]
    told.take_answers(
        {
            "alice": [noted(9.9, "before"), noted(12.0, "RELOCKING"), noted(17.5, "SIFTING"), noted(29.9, "late")],
            "bob": [noted(11.0, "no clicks", "tagger"), noted(18.0, "QBER"), noted(30.0, "too late")],
        }
    )
    assert told.happened[0].answers == [
        "11.0 s  bob, tagger: no clicks",
        "12.0 s  alice, link bob: RELOCKING",
        "17.5 s  alice, link bob: SIFTING",
    ]
    assert told.happened[1].answers == ["18.0 s  bob, link bob: QBER", "29.9 s  alice, link bob: late"]


def test_a_talkative_link_is_cut_short() -> None:
    told = Chronicle(START)
    told.happened = [Happened("flap", {}, 1.0)]
    told.take_answers({"alice": [noted(1.0 + 0.1 * k, "x" * 50 + " y" * 100) for k in range(10)]})
    assert len(told.happened[0].answers) == chronicle.MOST_WORDS + 1
    assert told.happened[0].answers[-1] == "... and 4 more"
    assert all(len(one) < 200 for one in told.happened[0].answers)


@pytest.mark.parametrize(
    ("ended_s", "words"),
    [
        (None, "3.0 s  cut (side bob, loss_db 3.0)"),
        (3.05, "3.0 s  cut (side bob, loss_db 3.0)"),
        (5.0, "3.0 to 5.0 s  cut (side bob, loss_db 3.0)"),
    ],
)
def test_an_event_that_is_over_at_once_has_no_end(ended_s: float | None, words: str) -> None:
    assert Happened("cut", {"side": "bob", "loss_db": 3.0, "delay_s": None}, 3.0, ended_s).headline == words


def test_announcements_open_and_close_events_of_one_label_in_turn() -> None:
    told = Chronicle()
    for state in ("began", "began", "ended", "ended"):
        told.hear({"event": "fibre_loss", "label": "bend", "state": state, "settings": {}})
    first, second = told.happened
    assert first.ended_s is not None
    assert second.ended_s is not None
    assert second.ended_s <= first.ended_s
