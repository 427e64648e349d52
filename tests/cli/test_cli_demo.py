"""``qnoded demo``: what the first command of the README shows, and when it says no."""

from __future__ import annotations

import json

import pytest

from qnoded.cli import main


def test_the_demo_agrees_with_the_truth_and_violates_chsh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agrees"]
    assert {check["what"] for check in document["checks"]} >= {"bob's clock, offset", "QBER HV", "QBER DA", "CHSH S"}
    assert document["chsh"]["value"] - 5 * document["chsh"]["error"] > 2.0
    assert document["sifted_bits"] > 40_000


def test_the_demo_tells_a_visitor_what_is_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "1", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    for words in ("Neither clock knows the other", "QBER", "Bell test", "sigma above 2", "Against the truth"):
        assert words in out


def test_a_link_too_short_to_be_measured_is_a_no_with_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "0.0002"]) == 1
    out, err = capsys.readouterr()
    assert "No clock lock" in out or "No coincidences" in out
    assert "Traceback" not in err


def test_a_duration_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "-1"]) == 2
    assert "--seconds -1" in capsys.readouterr().err
