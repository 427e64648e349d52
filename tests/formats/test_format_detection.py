"""Formats told by content; what is no recording is refused with advice."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from recordings_made import NAMES, format_of, make

from qnoded.errors import FormatError, TruncatedRecording, UnknownFormat, UnreadableRecording, UsageError
from qnoded.formats import FORMATS, open_recording
from qnoded.formats.detection import BINARY, detect


@pytest.mark.parametrize("name", NAMES)
def test_content_decides_whatever_the_name(name: str, tmp_path: Path) -> None:
    path, _, _ = make(name, tmp_path)
    renamed = path.rename(tmp_path / "something.dat")
    assert detect(renamed, renamed.read_bytes()[: 2**16]) == format_of(name)
    # The first of a few records of a header-less format could be anything, all of them together not.
    if format_of(name) in BINARY:
        assert sum(fits(renamed.read_bytes()[: 2**16]) for fits in BINARY.values()) >= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_format_may_be_named(name: str, tmp_path: Path) -> None:
    path, tag_ps, _ = make(name, tmp_path)
    with open_recording(path, format=format_of(name)) as recording:
        assert sum(len(block) for block in recording.blocks()) == tag_ps.size


def test_word_orders_are_told_apart_by_time(tmp_path: Path) -> None:
    for name in ("s15-a1", "s15-a1x"):
        path, _, _ = make(name, tmp_path)
        for records in (3, 5, 20):
            assert detect(path, path.read_bytes()[: 8 * records]) == name


def test_the_wrong_word_order_is_noticed(tmp_path: Path) -> None:
    path, _, _ = make("s15-a1", tmp_path)
    with (
        open_recording(path, format="s15-a1x") as recording,
        pytest.raises(FormatError, match=r"wrong order|backwards"),
    ):
        list(recording.blocks())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", TruncatedRecording),
        (b"\x01", TruncatedRecording),
        (b"PQ\x00", TruncatedRecording),
        (b"\x93NUMPY\x01\x00" + bytes(100), UnknownFormat),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), UnknownFormat),
        (bytes(1000), UnknownFormat),
        (b"\xff" * 1000, UnknownFormat),
        (b"\x80\x04\x95" + bytes(100), UnknownFormat),
        (np.random.default_rng(3).bytes(4096), UnknownFormat),
        (b"PK\x05\x06" + bytes(18), FormatError),
    ],
)
def test_what_is_no_recording_is_refused(content: bytes, error: type[FormatError], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(error) as caught:
        open_recording(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecording, match="no such file"):
        open_recording(tmp_path / "none")
    with pytest.raises(UnreadableRecording, match="folder"):
        open_recording(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableRecording, match="regular"):
        open_recording(tmp_path / "pipe")
    with pytest.raises(UnreadableRecording):
        open_recording(tmp_path / ("x" * 300))


def test_requests_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path, _, _ = make("npz", tmp_path)
    with pytest.raises(UsageError, match="unknown"):
        open_recording(path, format="tiff")
    with pytest.raises(UsageError, match="columns are for text"):
        open_recording(path, columns="channel,time")
    with pytest.raises(UsageError, match="positive"):
        open_recording(path, tick_ps=0)  # type: ignore[arg-type]


def test_a_tick_is_not_applied_to_formats_that_know_theirs(tmp_path: Path) -> None:
    from fractions import Fraction

    path, tag_ps, _ = make("npz", tmp_path)
    with open_recording(path, tick_ps=Fraction(625, 8)) as recording:
        np.testing.assert_array_equal(next(recording.blocks()).tag_ps, tag_ps)
        assert any("was not used" in note for note in recording.info.notes)


def test_every_format_has_one_line_of_description() -> None:
    assert all(known.description and "\n" not in known.description for known in FORMATS.values())


def test_the_manual_names_every_format() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in manual for name in FORMATS)
