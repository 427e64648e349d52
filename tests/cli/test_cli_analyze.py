"""``qnoded analyze`` as a person and as a program call it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from qnoded.cli import main

KEYS = {
    "tags", "duration_s", "delays_ps", "clock", "window_ps", "matrix", "accidentals", "car", "qber", "chsh",
    "sifted_bits", "artefacts", "elapsed_s",
}  # fmt: skip


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("link")
    assert main(["simulate", "--seconds", "1", "--seed", "5", "--out", str(folder), "--json"]) == 0
    return folder


def test_json_is_one_document_with_the_promised_keys(link: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(link / "alice.npz"), str(link / "bob.npz"), "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document.keys() >= KEYS
    assert document["clock"].keys() >= {"offset_ps", "frequency_error", "significance", "locked", "reason"}
    assert set(document["delays_ps"]) == {"alice", "bob"}
    assert np.array(document["matrix"]).shape == np.array(document["accidentals"]).shape == (4, 4)
    for share in document["qber"].values():
        assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1
    assert err == ""


def test_the_report_says_what_a_person_wants_to_know(link: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(link / "alice.npz"), str(link / "bob.npz")]) == 0
    out = capsys.readouterr().out
    for words in ("Simulated photons", "Clock search: needs", "QBER HV", "CHSH", "sifted, not secret", "Asymptotic"):
        assert words in out


def test_the_report_ends_with_tables_for_the_nodes_files(link: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person pastes into config/alice.toml and bob.toml are the true delays."""
    assert main(["analyze", str(link / "alice.npz"), str(link / "bob.npz")]) == 0
    _, *tables = capsys.readouterr().out.split("[receiver.delays_ps]")
    assert len(tables) == 2
    truth = json.loads((link / "truth.json").read_text())["delays_ps"]
    for side, text in zip(("alice", "bob"), tables, strict=True):
        assert text.startswith(f"  # of {side}, to paste into that node's file\n")
        pasted = tomllib.loads("".join(text.splitlines(keepends=True)[1:5]))
        assert list(pasted) == ["H", "V", "D", "A"]
        # The first detector of a side is the reference of the others.
        assert [one - pasted["H"] for one in pasted.values()] == pytest.approx(truth[side], abs=20)


def test_plots_are_written(link: Path, tmp_path: Path) -> None:
    assert main(["analyze", str(link / "alice.npz"), str(link / "bob.npz"), "--json", "--plot", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"delays.png", "matrix.png", "qber.png", "clock.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))


def test_one_recording_given_twice_is_refused(link: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bob.npz").symlink_to(link / "alice.npz")
    for second in (link / "alice.npz", tmp_path / "bob.npz"):
        assert main(["analyze", str(link / "alice.npz"), str(second)]) == 2
        assert (
            "was given for both alice and bob; give a recording that holds both sides once" in capsys.readouterr().err
        )


def test_a_lone_recording_is_described(link: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    first = np.sort(rng.integers(0, 10**12, 5000))
    tag_ps = np.concatenate([first, first + 139_000 + rng.normal(0, 100, 5000).astype(np.int64)])
    order = np.argsort(tag_ps)
    np.savez(tmp_path / "lone.npz", tag_ps=tag_ps[order], channel=np.repeat([1, 4], 5000)[order])
    assert main(["analyze", str(tmp_path / "lone.npz"), "--json", "--window-ps", "300000"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tags"] == {"alice": {"1": 5000, "4": 5000}}
    (found,) = document["correlations"]
    assert found["peak_ps"] == pytest.approx(139_000, abs=10)
    assert found["pairs_after"] == pytest.approx(5000, abs=60)
    assert document["matrix"] is None
    assert main(["analyze", str(tmp_path / "lone.npz")]) == 0
    assert "139.0" in capsys.readouterr().out


def test_streams_of_different_light_exit_1_and_say_why(
    link: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["simulate", "--seconds", "0.3", "--seed", "6", "--out", str(tmp_path), "--json"]) == 0
    capsys.readouterr()
    narrow = ["--offset-range-s", "0.01", "--offset-ps", "300000000000", "--frequency-range", "1e-6"]
    assert main(["analyze", str(link / "alice.npz"), str(tmp_path / "bob.npz"), *narrow]) == 1
    assert "No clock lock" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.npz"], "missing.npz"),
        (["{alice}", "missing.npz"], "missing.npz"),
        (["{alice}", "{bob}", "--window-ps", "0"], "--window-ps 0"),
        (["{alice}", "{bob}", "--window-ps", "-5"], "--window-ps -5"),
        (["{alice}", "{bob}", "--tick-ps", "x"], "'x'"),
        (["{alice}", "{bob}", "--format", "nonsense"], "nonsense"),
        (["{alice}", "{bob}", "--format", "ptu"], "alice.npz"),
        (["{alice}", "{bob}", "--known-clock"], "--offset-ps"),
        (["{alice}", "{bob}", "--pair-fraction", "2"], "--pair-fraction 2"),
        (["{alice}", "{bob}", "--channels", "missing.toml"], "missing.toml"),
        (["{alice}", "--sifted", "keys"], "--channels"),
        (["{alice}", "{bob}", "--known-clock", "--offset-ps", "999999999999999999999"], "--offset-ps"),
        (["{truth}"], "truth.json"),
    ],
)
def test_wrong_use_exits_2_with_one_message(
    link: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    named = {"alice": link / "alice.npz", "bob": link / "bob.npz", "truth": link / "truth.json"}
    assert main(["analyze", *(argument.format(**named) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert err.startswith("qnoded analyze: ")


def test_an_empty_and_a_single_tag_recording_are_results_not_traces(
    link: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "one.npz", tag_ps=np.array([5], np.int64), channel=np.array([0], np.uint8))
    assert main(["analyze", str(tmp_path / "one.npz"), "--json"]) == 0
    capsys.readouterr()
    channels = tmp_path / "map.toml"
    channels.write_text("[alice]\nH = 0\nV = 1\n[bob]\nH = 0\nV = 1\n")
    both = [str(link / "alice.npz"), str(tmp_path / "one.npz"), "--channels", str(channels)]
    assert main(["analyze", *both, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["clock"]["locked"] is False
    assert document["clock"]["advice"]


def test_a_folder_that_cannot_be_made_is_named(link: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--sifted", "--plot"):
        target = str(tmp_path / "file" / "below")
        assert main(["analyze", str(link / "alice.npz"), str(link / "bob.npz"), option, target]) == 2
        assert target in capsys.readouterr().err


def test_a_map_of_another_recording_is_refused(link: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = tmp_path / "map.toml"
    channels.write_text("[alice]\nH = 10\nV = 11\n[bob]\nH = 0\nV = 1\n")
    assert main(["analyze", str(link / "alice.npz"), str(link / "bob.npz"), "--channels", str(channels)]) == 2
    assert "inputs 10, 11 have no tag; the recording uses 0, 1, 2, 3" in capsys.readouterr().err


def test_times_at_the_end_of_int64_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tag_ps = np.array([-(2**63), 0, 2**63 - 1], np.int64)
    np.savez(tmp_path / "huge.npz", tag_ps=tag_ps, channel=np.zeros(3, np.uint8))
    assert main(["analyze", str(tmp_path / "huge.npz")]) == 2
    assert "53 days" in capsys.readouterr().err
