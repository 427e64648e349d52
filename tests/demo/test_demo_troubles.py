"""A demo that comes to no key says why: its daemons had no time to start, or their disk was full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qnoded.cli.demo import _document, _text
from qnoded.demo.delivery import Fetched
from qnoded.demo.seam import Seam
from qnoded.demo.show import Shown, _judge
from qnoded.demo.stage import Stage, set_up
from qnoded.demo.verdict import Expected

NO_CURL = Fetched(0, False, 0, "curl", "curl: (7) Failed to connect to localhost port 37007")


def status(state: str, *troubles: str) -> dict[str, Any]:
    return {"node": {"state": state, "troubles": list(troubles)}, "links": {}}


def verdict_of(folder: Path, fetched: Fetched, **statuses: dict[str, Any]) -> str:
    seam: Seam = "api"
    stage: Stage = set_up(folder, "tcp://127.0.0.1:9", 9, 9, seam)
    shown = Shown(keys=fetched, truth={"events": []}, epochs={"alice": {}, "bob": {}}, status=statuses)
    _judge(stage, Expected(), shown)
    assert not shown.holds
    return _text(_document(shown), shown)


@pytest.mark.parametrize(
    ("statuses", "who"),
    [
        ({}, "alice and bob had not started yet"),
        ({"alice": status("running"), "bob": status("starting")}, "bob had not started yet"),
    ],
)
def test_a_demo_too_short_for_its_daemons_says_so(tmp_path: Path, statuses: dict[str, Any], who: str) -> None:
    text = verdict_of(tmp_path, NO_CURL, **statuses)
    assert f"NO  same secret keys at both nodes: {who}; give the demo more time: --seconds 30" in text
    assert "curl" not in text


def test_a_full_disk_is_shown(tmp_path: Path) -> None:
    full = "keys.sqlite: database or disk is full"
    text = verdict_of(tmp_path, NO_CURL, alice=status("running"), bob=status("running", full))
    assert f"TROUBLE at bob: {full}" in text
    assert "at alice" not in text
    assert NO_CURL.problem in text
