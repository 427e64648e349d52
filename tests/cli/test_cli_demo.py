"""``qnoded demo``: what the first command of the README shows, and when it says no."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest

from qnoded.cli import main

DEMO = [sys.executable, "-m", "qnoded", "demo"]


@pytest.mark.slow
def test_two_daemons_hold_the_same_keys_and_the_world_agrees(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["demo", "--seconds", "60", "--json", "--plot", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["equal"]
    assert document["agrees"], document["checks"]
    assert {check["what"] for check in document["checks"]} >= {
        "QBER HV as theory says of the world",
        "rate of coincidences as theory says",
        "CHSH S as theory says",
        "clock as the world knows it",
    }
    assert document["chsh"]["s"] - 5 * document["chsh"]["sigma"] > 2.0
    assert document["keys"] == {"equal": True, "count": 8, "bits": 8 * 256, "fetched_with": ANY}
    assert document["secret_bits"] > 50_000
    assert document["first_key_s"] < 60.0
    assert document["sifted_bits"] > 200_000
    assert document["first_sifted_s"] < 60.0
    assert document["qber"]["total"]["high"] < 0.03
    assert (tmp_path / "demo.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "verdict"),
    [([signal.SIGINT], True), ([signal.SIGINT, signal.SIGINT], False), ([signal.SIGTERM], False)],
    ids=["one Ctrl-C", "two", "SIGTERM"],
)
def test_ending_the_demo_early_leaves_no_process_and_no_file_behind(
    tmp_path: Path, how: list[signal.Signals], verdict: bool
) -> None:
    """The first Ctrl-C says what was so far; a second one, or SIGTERM, ends it without a word."""
    with subprocess.Popen(
        [*DEMO, "--seconds", "60"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        # The first line that says more than "starting" comes once both daemons answer.
        for line in demo.stderr:
            if "STARTING" not in line:
                break
        first, *others = how
        demo.send_signal(first)
        for one in others:
            # Two signals on the heels of each other would count as one.
            for line in demo.stderr:
                if "the end" in line:
                    break
            demo.send_signal(one)
        said = demo.stdout.read()
        assert demo.wait(timeout=60) == 130
    assert ("Ended early by Ctrl-C" in said) == verdict
    assert (said == "") != verdict
    assert list(tmp_path.iterdir()) == []
    left = subprocess.run(["pgrep", "-f", f"qnoded.*{tmp_path}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""


@pytest.mark.slow
def test_a_script_is_told_with_what_the_daemons_noted_and_what_was_not_checked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    script = tmp_path / "script.toml"
    script.write_text('[[event]]\nwhat = "fibre_cut"\nat_s = 12.0\nfor_s = 3.0\nside = "bob"\nlabel = "digger"\n')
    assert main(["demo", "--seconds", "28", "--script", str(script), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (skipped,) = document["not_checked"]
    assert skipped["what"] == "QBER, rate of coincidences and CHSH S against theory"
    assert "the script changed the world" in skipped["why"]
    (event,) = document["script"]
    assert event["what"] == "digger"
    assert event["ended_s"] - event["began_s"] == pytest.approx(3.0, abs=1.0)
    assert any("RELOCKING" in answer for answer in event["answers"])


@pytest.mark.parametrize("seconds", ["-1", "nan", "1e9"])
def test_a_duration_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    assert main(["demo", "--seconds", seconds]) == 2
    assert "--seconds" in capsys.readouterr().err


def test_a_world_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    world = tmp_path / "world.toml"
    world.write_text("[source]\npair_rate = 1e6\n")
    assert main(["demo", "--world", str(world), "--seconds", "5"]) == 2
    err = capsys.readouterr().err
    assert "pair_rate" in err
    assert "Traceback" not in err
