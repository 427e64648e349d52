"""``qnoded replay``: the story of a link step by step, and the first step that today's code would not take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qnoded.cli import main

HEADING = {
    "what": "story",
    "version": 1,
    "link": "bob",
    "software": "qnoded 0.1.0",
    "written_utc": "2026-11-21T09:14:05.000Z",
    "written_loop_s": 109.0,
    "before": "ABSENT",
}


def event(loop_s: float, name: str, state: str, reason: str = "") -> dict[str, Any]:
    return {"loop_s": loop_s, "what": "event", "event": name, "state": state, "reason": reason}


GOOD = (
    {"loop_s": 100.0, "what": "received", "message": {"record": "Greeting", "version": 2, "nonce": "16 bytes"}},
    event(100.001, "HEARD", "GREETING"),
    event(100.002, "SETTLED", "ACQUIRING", "session 3bcfe67f, alice reveals"),
    {
        "loop_s": 101.0,
        "what": "report",
        "report": {"record": "ClockAcquired", "acquisition": {"record": "Acquisition"}},
    },
    event(101.5, "LOCKED", "SIFTING"),
    event(102.0, "LOCKED", "SIFTING"),
    {"loop_s": 103.0, "what": "sent", "message": {"record": "Goodbye"}, "number": 7, "problem": "no connection\x1b[2J"},
    event(103.5, "SESSION_ENDED", "GREETING", "Heartbeat is garbled"),
    {"loop_s": 104.0, "what": "dump", "why": "Heartbeat is garbled"},
)


def story(folder: Path, *entries: dict[str, Any], name: str = "story-1.jsonl") -> Path:
    lines = [HEADING | {"entries": len(entries)}, *entries]
    path = folder / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_newest_story_of_a_folder_is_shown_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story(tmp_path, name="story-0.jsonl")
    path = story(tmp_path, *GOOD)
    assert main(["replay", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: link bob, written by qnoded 0.1.0"
    assert lines[1].endswith("from 2026-11-21 09:13:56.000000 UTC on, the link being ABSENT")
    assert lines[3].endswith("0.001  event     ABSENT -> GREETING by HEARD")
    assert lines[4].endswith("GREETING -> ACQUIRING by SETTLED: session 3bcfe67f, alice reveals")
    assert lines[5].endswith("report    ClockAcquired, acquisition Acquisition")
    assert lines[7].endswith("2.000  event     SIFTING by LOCKED")
    assert lines[8].endswith("sent      NOT SENT: no connection?[2J, Goodbye")
    assert lines[-1] == "5 events, 9 of 9 entries: today's code acts the same"


@pytest.mark.parametrize(
    ("wrong", "today", "words"),
    [
        (event(102.0, "LOCK_LOST", "SIFTING"), "RELOCKING", "goes to RELOCKING"),
        (event(102.0, "SETTLED", "SIFTING"), None, "does not know that, or not then"),
        (event(102.0, "ECLIPSE", "DARK"), None, "does not know that, or not then"),
    ],
)
def test_the_first_step_that_differs_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: dict[str, Any], today: str | None, words: str
) -> None:
    path = story(tmp_path, *GOOD[:5], wrong, *GOOD[6:])
    assert main(["replay", str(path)]) == 1
    *_, step, first, second = capsys.readouterr().out.splitlines()
    assert f"(today: {today or 'impossible'})" in step
    assert first == f"entry 6 is the first that differs: in SIFTING came {wrong['event']},"
    assert second == f"the recorded code went to {wrong['state']}, today's code {words}"
    assert main(["replay", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["different"] == document["steps"][-1]
    assert (document["different"]["entry"], document["different"]["today"]) == (6, today)
    assert len(document["entries"]) == 6
    assert main(["replay", str(path), "--until", "1.9"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 events, 5 of 9 entries: today's code acts the same"


@pytest.mark.parametrize("time", ["-1", "nan"])
def test_times_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], time: str) -> None:
    path = story(tmp_path, *GOOD)
    assert main(["replay", str(path), f"--until={time}"]) == 2
    assert "is no time; give seconds" in capsys.readouterr().err


def test_a_story_without_entries_and_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(story(tmp_path))]) == 0
    assert main(["replay", __file__]) == 2
    assert "no JSON object; give a story-*.jsonl" in capsys.readouterr().err
