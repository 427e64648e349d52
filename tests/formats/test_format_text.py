"""Text: columns named, found or guessed; numbers exact; each fault with its row and byte."""

from __future__ import annotations

import gzip
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import GarbledRecording, QnodedError, TruncatedRecording, UnknownFormat, UsageError
from qnoded.formats import open_recording
from qnoded.formats.digits import CHANNEL, GOOD, IGNORED, NOT_WHOLE, TIME, TOO_LARGE, read_number, read_rows
from qnoded.formats.text import parse_columns


def read(path: Path, **options: object) -> tuple[list[int], list[int], tuple[str, ...]]:
    with open_recording(path, **options) as recording:  # type: ignore[arg-type]
        blocks = list(recording.blocks())
        times = [int(t) for b in blocks for t in b.tag_ps]
        return times, [int(c) for b in blocks for c in b.channel], recording.info.notes


NUMBERS = st.from_regex(r"[+-]?[0-9]{1,22}(\.[0-9]{0,16})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(NUMBERS, st.sampled_from([-1, 0, 3, 12]))
def test_numbers_equal_fractions_rounded_half_up(text: str, decimals: int) -> None:
    value = np.zeros(2, np.int64)
    line = np.frombuffer(text.encode() + b"\n", np.uint8)

    end = read_number(line, 0, decimals, value)

    exact = Fraction(Decimal(text)) * 10 ** max(decimals, 0)
    rounded = floor(exact + Fraction(1, 2))
    assert end == len(text)
    if value[1] == GOOD:
        assert value[0] == rounded
        assert decimals >= 0 or exact.denominator == 1
    elif value[1] == NOT_WHOLE:
        assert decimals < 0
        assert exact.denominator > 1
    else:
        assert value[1] == TOO_LARGE
        assert abs(exact) > 2**63 - 2


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(-(10**17), 10**17)), max_size=30),
    st.sampled_from([",", " ", "\t", " ; ", "|"]),
)
def test_rows_equal_split_lines(rows: list[tuple[int, int]], separator: str) -> None:
    text = "".join(f"{c}{separator}x{separator}{t}\r\n# note\n\n" for c, t in rows).encode()
    time, channel, place = np.empty(40, np.int64), np.empty(40, np.uint8), np.empty(40, np.int64)
    status = np.zeros(3, np.int64)

    role = np.array([CHANNEL, IGNORED, TIME], np.int64)
    made = read_rows(np.frombuffer(text, np.uint8), role, -1, time, channel, place, status)

    assert (made, int(status[0]), int(status[1])) == (len(rows), len(text), GOOD)
    assert list(zip(channel[:made].tolist(), time[:made].tolist(), strict=True)) == rows


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("1,1000\n2,2000\n3,3000\n", {}),
        ("1000;1\n2000;2\n3000;3", {}),
        ("channel\ttime\n1\t1000\n2\t2000\n3\t3000\n", {}),
        ("# made by us\n# channel, time [ns]\n1, 1\n2, 2.0\n3, 3e0\n", {}),
        ('"time (us)","channel"\n0.001,1\n0.002,2\n0.003,3\n', {}),
        ("\ufeffchannel,time\n1,1000\n2,2000\n3,3000\n", {}),
        ("1 0.000000001\n2 0.000000002\n3 0.000000003\n", {"columns": "channel,time_s"}),
        ("9 1 1000 x\n9 2 2000 y\n9 3 3000 z\n", {"columns": "-,channel,time,-"}),
        ("1.000000000000000000e+00 1.000000000000000000e+03\n2e0 2e3\n3e0 3e3\n", {}),
        ("1,8\n2,16\n3,24\n", {"tick_ps": Fraction(125)}),
        ("7,1,1000\n7,2,2000\n7,3,3000\n", {}),
    ],
)
def test_ways_to_write_the_same_three_tags(text: str, options: dict[str, object], tmp_path: Path) -> None:
    for name, content in (("a.csv", text.encode()), ("a.csv.gz", gzip.compress(text.encode(), mtime=0))):
        (tmp_path / name).write_bytes(content)
        times, channels, notes = read(tmp_path / name, **options)
        assert (times, channels) == ([1000, 2000, 3000], [1, 2, 3])
        if "columns" not in options:
            assert any("columns" in note for note in notes)


def test_an_assumed_tick_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1,10\n2,20\n")
    assert any("1 ps" in note for note in read(tmp_path / "a")[2])
    assert not any("1 ps" in note for note in read(tmp_path / "a", tick_ps=Fraction(1))[2])


def test_seconds_are_exact_far_beyond_a_float(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1234567.123456789012,1\n1234567.1234567890125,2\n")
    times, _, _ = read(tmp_path / "a", columns="time_s,channel")
    assert times == [1234567123456789012, 1234567123456789013]


@pytest.mark.parametrize(
    ("rows", "problem", "offset"),
    [
        ("1,10\n2,nan\n", "row 2: not a number: 'nan'", 7),
        ("1,10\n2\n", "row 2: fewer columns", 5),
        ("1,10\n2,20,3\n", "row 2: more columns", 5),
        ("1,10\n256,20\n", "row 2: a channel outside 0 to 255", 5),
        ("1,10\n-1,20\n", "row 2: a channel outside 0 to 255", 5),
        ("1,10\n2,20.5\n", "row 2: a time with a fraction", 7),
        ("1,10\n2,99999999999999999999\n", "row 2: a number beyond", 7),
        ("1,10\n2,1e19\n", "row 2: a number beyond", 7),
        ("1,10\n,20\n", "row 2: not a number", 5),
        ("1,10\n2,2x\n", "row 2: not a number", 7),
    ],
)
def test_a_bad_row_is_named_with_its_byte(rows: str, problem: str, offset: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(rows)
    with open_recording(tmp_path / "a", columns="channel,time") as recording, pytest.raises(GarbledRecording) as caught:
        list(recording.blocks())
    assert problem in str(caught.value)
    assert caught.value.offset == offset


def test_a_bad_row_is_named_where_the_columns_are_guessed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1,2000\n2,x\n")
    with open_recording(tmp_path / "a") as recording, pytest.raises(GarbledRecording, match="row 2: not a number: 'x'"):
        list(recording.blocks())


def test_a_time_beyond_106_days_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1,10\n2,9000000000000000000\n")
    with (
        open_recording(tmp_path / "a", tick_ps=Fraction(625, 8)) as recording,
        pytest.raises(GarbledRecording, match="106 days"),
    ):
        list(recording.blocks())


@pytest.mark.parametrize("columns", ["time", "channel", "time,time,channel", "channel,when", "", "time_h,channel", ","])
def test_columns_that_make_no_sense_are_refused(columns: str) -> None:
    with pytest.raises(UsageError):
        parse_columns(columns)


@pytest.mark.parametrize("text", ["hello\nworld\n", "a,b\n", "1\n2\n3\n", "#\n#\n", "1000 2000\n1001 2001\n"])
def test_text_without_tags_is_unknown(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(UnknownFormat):
        open_recording(tmp_path / "a")


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1,10\n" + b"2" * 3_000_000)
    with open_recording(tmp_path / "a", columns="channel,time") as recording, pytest.raises(QnodedError):
        list(recording.blocks())


def test_a_torn_gzip_stream_is_truncated(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"%d,%d\n" % (n % 4, n * 977) for n in range(50_000)), mtime=0)
    (tmp_path / "a.gz").write_bytes(whole[: len(whole) // 2])
    with open_recording(tmp_path / "a.gz") as recording, pytest.raises(TruncatedRecording):
        list(recording.blocks())
