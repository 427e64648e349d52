"""``qnoded convert``: what comes out is what went in, said in words or in one JSON document."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from qnoded.cli import convert
from qnoded.errors import QnodedError, TruncatedRecording, UnreadableRecording, UsageError
from qnoded.formats import open_recording


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    return convert.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "tags.txt"
    path.write_text("# made by a counter\n" + "".join(f"{n % 4} {8 * n + 8}\n" for n in range(1000)))
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.csv", "a.tsv.gz", "no_suffix"])
def test_convert_keeps_the_tags_and_tells_them(
    name: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(text, tmp_path / name, "--tick-ps", "625/8") == 0
    out = capsys.readouterr()
    assert "1,000 tags" in out.out
    assert "0: 250, 1: 250, 2: 250, 3: 250" in out.out
    assert "columns guessed" in out.out
    assert not out.err
    with open_recording(tmp_path / name) as recording:
        tag_ps = np.concatenate([block.tag_ps for block in recording.blocks()])
        assert str(recording.info.tick_ps) == "625/8"
    assert tag_ps.tolist() == [625 * n + 625 for n in range(1000)]


def test_json_is_one_document_and_nothing_else(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(text, tmp_path / "a", "--to", "parquet", "--columns", "channel,time", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "text"
    assert found["output_format"] == "parquet"
    assert found["tags"] == found["records"] == 1000
    assert found["tags_per_channel"] == {"0": 250, "1": 250, "2": 250, "3": 250}
    assert found["duration_s"] == pytest.approx(7992e-12)
    assert (found["gaps"], found["disordered"], found["rollovers"]) == ([], 0, 0)


def test_an_error_leaves_the_old_output(text: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.npz"
    target.write_text("old")
    with text.open("a") as file:
        file.write("5 nothing\n")
    with pytest.raises(QnodedError, match="row 1,001"):
        run(text, target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "tags.txt"]


def test_wrong_use_is_named(text: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="itself"):
        run(text, text)
    with pytest.raises(UsageError, match="tick"):
        run(text, tmp_path / "a", "--tick-ps", "0")
    with pytest.raises(UsageError, match="format"):
        run(text, tmp_path / "a", "--format", "tiff")
    with pytest.raises(UnreadableRecording):
        run(tmp_path / "none", tmp_path / "a")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(TruncatedRecording, match="empty"):
        run(tmp_path / "empty", tmp_path / "a")


def test_disorder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", tag_ps=np.array([1000, 5000, 4000, 9000]), channel=np.arange(4, dtype=np.uint8))
    assert run(tmp_path / "a.npz", tmp_path / "b.npz") == 0
    assert "1 tags put back in order, at most 1,000 ps" in capsys.readouterr().out
