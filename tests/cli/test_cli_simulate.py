"""``qnoded simulate``: files, truth, formats and errors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from qnoded.cli import simulate
from qnoded.errors import ConfigError, QnodedError, UsageError


def simulated(*words: object) -> int:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return simulate.run(parser.parse_args([str(word) for word in words]))


def test_writes_both_sides_and_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "run"
    assert simulated("--seconds", 0.25, "--seed", 5, "--out", out, "--set", "bob.tagger.bin_ps=625/8") == 0
    assert sorted(file.name for file in out.iterdir()) == ["alice.npz", "bob.npz", "truth.json"]
    truth = json.loads((out / "truth.json").read_text())
    assert truth["seed"] == 5
    assert truth["duration_s"] == 0.25
    assert truth["settings"]["bob"]["tagger"]["bin_ps"] == "625/8"
    for side in ("alice", "bob"):
        with np.load(out / f"{side}.npz") as recording:
            assert recording["tag_ps"].dtype == np.int64
            assert recording["channel"].dtype == np.uint8
            assert np.bincount(recording["channel"]).tolist() == truth["tags"][side]
            assert (np.diff(recording["tag_ps"]) >= 0).all()
            metadata = json.loads(str(recording["metadata"]))
        assert metadata["simulated"] is True
        assert metadata["channels"] == {side: {"H": 0, "V": 1, "D": 2, "A": 3}}
    report = capsys.readouterr()
    assert "alice.npz" in report.out
    assert "QBER HV" in report.out
    assert report.err == ""


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated("--seconds", 0.02, "--out", tmp_path, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["files"]) == {"alice", "bob", "truth"}
    assert document["clock"]["offset_ps"] == 300_000_000_000
    assert document["elapsed_s"] > 0


@pytest.mark.parametrize(("format_name", "suffix"), [("npz", "npz"), ("parquet", "parquet"), ("text", "txt")])
def test_formats_hold_the_same_tags(tmp_path: Path, format_name: str, suffix: str) -> None:
    simulated("--seconds", 0.02, "--out", tmp_path, "--format", format_name)
    truth = json.loads((tmp_path / "truth.json").read_text())
    file = tmp_path / f"bob.{suffix}"
    if format_name == "npz":
        channel = np.load(file)["channel"]
    elif format_name == "parquet":
        from pyarrow import parquet

        channel = parquet.read_table(file)["channel"].to_numpy()
    else:
        channel = np.loadtxt(file, delimiter=",", dtype=np.int64, usecols=0)
    assert np.bincount(channel).tolist() == truth["tags"]["bob"]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        simulated("--seconds", 0.05, "--out", tmp_path / name)
    with np.load(tmp_path / "one" / "bob.npz") as one, np.load(tmp_path / "two" / "bob.npz") as two:
        np.testing.assert_array_equal(one["tag_ps"], two["tag_ps"])
    assert (tmp_path / "one" / "truth.json").read_bytes() == (tmp_path / "two" / "truth.json").read_bytes()


def test_world_file(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text("[source]\npair_rate_hz = 0\n[alice.detectors]\ndark_hz = 0\n")
    simulated("--seconds", 0.05, "--world", tmp_path / "world.toml", "--out", tmp_path / "run")
    truth = json.loads((tmp_path / "run" / "truth.json").read_text())
    assert truth["tags"]["alice"] == [0, 0, 0, 0]
    assert truth["expected"]["qber"]["total"] is None


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--seconds", 0], UsageError, "--seconds 0"),
        (["--seconds", "nan"], UsageError, "--seconds nan"),
        (["--seconds", 1e9], UsageError, "at most"),
        (["--seed", -1], UsageError, "--seed -1"),
        (["--set", "bob.clok.preset=rb"], ConfigError, "bob.clock.preset"),
        (["--world", "none.toml"], ConfigError, "none.toml"),
    ],
)
def test_wrong_words(tmp_path: Path, words: list[object], error: type[QnodedError], message: str) -> None:
    with pytest.raises(error, match=message):
        simulated("--out", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(QnodedError, match="cannot write"):
        simulated("--seconds", 0.02, "--out", tmp_path / "file")
