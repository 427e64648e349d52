"""Damaged, torn and made-up files: a named error with a place, or tags; never a trace, a hang or a full memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from recordings_made import NAMES, format_of, make

from qnoded.errors import FormatError, GarbledRecording, QnodedError, TruncatedRecording
from qnoded.formats import FORMATS, open_recording

RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
HEADERLESS = ("s15-a0", "s15-a1", "s15-a1x", "s15-a2", "s15-125ps", "qutag", "bh-spc", "swabian-raw", "text")
"""Formats in which a file that ends behind a record is a whole recording."""


def attempt(path: Path, name: str | None) -> list[int] | QnodedError:
    """Read all tags, or return the error; anything but a QnodedError is the failure of the test."""
    found: list[int] | QnodedError
    try:
        with open_recording(path, format=name) as recording:
            found = [int(t) for block in recording.blocks() for t in block.tag_ps]
    except QnodedError as error:
        found = error
    assert isinstance(found, list) or (found.exit_code == 2 and str(path) in str(found))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_torn_file_is_an_error_or_a_shorter_recording(name: str, tmp_path: Path) -> None:
    path, _, _ = make(name, tmp_path)
    content = path.read_bytes()
    kind = format_of(name)
    with open_recording(path) as recording:
        whole = [int(t) for block in recording.blocks() for t in block.tag_ps]
    ends = {
        *range(min(len(content), 70)),
        *range(0, len(content), len(content) // 60),
        *range(len(content) - 25, len(content)),
    }
    for end in sorted(ends):
        torn = tmp_path / "torn"
        torn.write_bytes(content[:end])
        found = attempt(torn, kind)
        if isinstance(found, QnodedError):
            assert isinstance(found, (TruncatedRecording, GarbledRecording, FormatError))
            if end and kind != "text":
                assert isinstance(found, (TruncatedRecording, GarbledRecording)), str(found)
        else:
            assert kind in HEADERLESS
            if kind == "text":
                # The last row may have lost digits: it is still a number.
                assert len(set(found) - set(whole)) <= 1
            else:
                assert found == whole[: len(found)]
        attempt(torn, None)


@pytest.mark.parametrize("name", NAMES)
@RELAXED
@given(data=st.data())
def test_flipped_bits_and_lost_bytes_never_surprise(name: str, data: st.DataObject, tmp_path: Path) -> None:
    source = tmp_path / "whole"
    if not source.exists():
        make(name, tmp_path)[0].rename(source)
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # The beginning holds the headers: hit it as often as all the rest.
        at = data.draw(st.integers(0, min(300, len(content) - 1)) | st.integers(0, len(content) - 1))
        what = data.draw(st.sampled_from(["flip", "set", "drop", "insert", "repeat"]))
        if what == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif what == "drop":
            del content[at : at + data.draw(st.integers(1, 40))]
        elif what == "insert":
            content[at:at] = data.draw(st.binary(max_size=20))
        else:
            content[at:at] = content[at : at + 200]
        if not content:
            break
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    attempt(damaged, data.draw(st.sampled_from([None, format_of(name)])))


@RELAXED
@given(content=st.binary(max_size=600), name=st.sampled_from([None, *FORMATS]))
@example(content=b"PQTTTR\0\0" + b"\xff" * 300, name=None)
@example(content=b"PAR1" + bytes(40) + b"\xff\xff\xff\x7fPAR1", name=None)
@example(content=b"PK\x03\x04" + b"\xff" * 100, name=None)
@example(content=b"\x1f\x8b\x08" + bytes(50), name=None)
@example(content=b"#qnoded {}\n#gap x\n", name=None)
@example(content=b"#qnoded {}\n#gap 9 1 - why\n1,1\n", name=None)
@example(content=b"\n" * 500, name=None)
@example(content=b"1 1\n" + b"9" * 500, name="text")
def test_random_bytes_never_surprise(content: bytes, name: str | None, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    attempt(tmp_path / "x", name)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "swabian-ttbin"])
@pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"\x7f\x00", b"0", b"f", b"1,"])
def test_megabytes_of_one_pattern_end_soon(name: str, fill: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(fill * (2_000_000 // len(fill)))
    attempt(tmp_path / "x", name)


@RELAXED
@given(
    text=st.text(alphabet="0123456789abcdef,;:. \t\r\n-+eE#xX", max_size=300),
    name=st.sampled_from(["text", "s15-a0", "s15-a2", None]),
)
def test_random_text_never_surprises(text: str, name: str | None, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    attempt(tmp_path / "x", name)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    records = np.zeros(3_000_000, [("t", "<i8"), ("c", "<u2")])
    records["t"], records["c"] = np.arange(records.size) * 1000, 1
    path = tmp_path / "a"
    path.write_bytes(bytes(40) + records.tobytes())
    with open_recording(path, format="qutag") as recording:
        blocks = recording.blocks(100_000)
        next(blocks)
        with path.open("r+b") as file:
            file.truncate(2_000_000)
        with pytest.raises(TruncatedRecording, match="became shorter"):
            list(blocks)
