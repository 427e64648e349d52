"""Our own formats: anything that numpy and Arrow write, streamed both ways, nothing unpickled, nothing believed."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qnoded.errors import (
    DisorderedTags,
    FormatError,
    GarbledRecording,
    TruncatedRecording,
    UnreadableRecording,
    UsageError,
)
from qnoded.formats import RecordingWriter, open_recording, write_recording
from qnoded.records import Gap, TagBlock

TAG_PS = np.arange(5, 5000, 7)
CHANNEL = (TAG_PS % 5).astype(np.uint8)


def read(path: Path) -> tuple[list[int], list[int]]:
    with open_recording(path) as recording:
        blocks = list(recording.blocks(100))
    return [int(t) for b in blocks for t in b.tag_ps], [int(c) for b in blocks for c in b.channel]


@pytest.mark.parametrize("kind", ["i8", "u8", ">i8", "i4", "u4", "u2", "i2"])
@pytest.mark.parametrize("channel_kind", ["u1", "i8", "i1", ">u4"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_integers_that_numpy_saves(kind: str, channel_kind: str, save: object, tmp_path: Path) -> None:
    save(tmp_path / "a.npz", tag_ps=TAG_PS.astype(kind), channel=CHANNEL.astype(channel_kind), more=np.eye(3))  # type: ignore[operator]
    assert read(tmp_path / "a.npz") == (TAG_PS.tolist(), CHANNEL.tolist())


def test_negative_times_are_times(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", tag_ps=TAG_PS - 10**12, channel=CHANNEL)
    assert read(tmp_path / "a.npz")[0] == (TAG_PS - 10**12).tolist()


def test_no_tags_at_all(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", tag_ps=TAG_PS[:0], channel=CHANNEL[:0])
    assert read(tmp_path / "a.npz") == ([], [])
    for name in ("b.npz", "b.parquet"):
        assert write_recording(tmp_path / name, []) == 0
        assert read(tmp_path / name) == ([], [])


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"tag_ps": TAG_PS}, "no array channel; it holds tag_ps"),
        ({"times": TAG_PS}, "no array tag_ps and channel"),
        ({"tag_ps": TAG_PS.astype(float), "channel": CHANNEL}, "float64, not integers"),
        ({"tag_ps": TAG_PS, "channel": CHANNEL.astype(float)}, "float64, not integers"),
        ({"tag_ps": TAG_PS[:, None], "channel": CHANNEL}, "2 dimensions"),
        ({"tag_ps": np.int64(3), "channel": CHANNEL}, "0 dimensions"),
        ({"tag_ps": TAG_PS, "channel": CHANNEL[1:]}, "values for"),
        ({"tag_ps": TAG_PS, "channel": TAG_PS}, "outside 0 to 255"),
        ({"tag_ps": TAG_PS, "channel": -1 - CHANNEL.astype(int)}, "outside 0 to 255"),
        ({"tag_ps": TAG_PS.astype(np.uint64) + np.uint64(2**63), "channel": CHANNEL}, "outside -9"),
        ({"tag_ps": np.array([None, 1]), "channel": CHANNEL[:2]}, "pickled objects"),
        ({"tag_ps": np.zeros(3, [("a", "i8")]), "channel": CHANNEL[:3]}, "no plain array"),
    ],
)
def test_arrays_that_are_no_tags_are_refused(arrays: dict[str, np.ndarray], problem: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(GarbledRecording) as caught:
        read(tmp_path / "a.npz")
    assert problem in str(caught.value)


def npy(descr: str, shape: str, data: bytes = b"", length: int | None = None) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) if length is None else length) + header + data


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "tags",
    [
        npy("'<i8'", "(1000000000000000000,)", b"12345678"),
        npy("'<i8'", f"({'9' * 70},)"),
        npy("'<i8'", "(-5,)"),
        npy("'<i8'", "(2,)", bytes(8)),
        npy("'<i8'", "(2,)", bytes(24)),
        npy("'<i8'", "(2,)", bytes(16), 60000),
        npy("'|O'", "(2,)", b"\x80\x04N."),
        npy("[('a', '<i8')]", "(2,)", bytes(16)),
        npy("'<i99'", "(2,)", bytes(16)),
        npy("'<U0'", "(2,)"),
        npy("__import__('os').system('false')", "(2,)"),
        b"\x93NUMPY\x09\x00",
        b"hello",
        b"",
    ],
)
def test_absurd_array_headers_are_refused(tags: bytes, method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("tag_ps.npy", tags)
        archive.writestr("channel.npy", npy("'|u1'", "(2,)", bytes(2)))
    with pytest.raises((GarbledRecording, TruncatedRecording)) as caught:
        read(tmp_path / "a.npz")
    assert caught.value.offset == 0


def test_a_zip_bomb_is_read_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnoded.formats.recording.MOST_TAGS_IN_WINDOW", 2**18)
    rows = 10_000_000
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, kind, size in (("tag_ps", "'<i8'", 8), ("channel", "'|u1'", 1)):
            with archive.open(f"{name}.npy", "w") as member:
                member.write(npy(kind, f"({rows},)"))
                for _ in range(rows * size // 10**6):
                    member.write(bytes(10**6))
    tracemalloc.start()
    try:
        with pytest.raises(GarbledRecording, match="stand still"):
            read(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    cuts=st.lists(st.integers(0, TAG_PS.size), max_size=5),
    name=st.sampled_from(["a.npz", "a.parquet", "a.csv", "a.txt.gz"]),
    simulated=st.booleans(),
)
def test_what_is_written_is_read(cuts: list[int], name: str, simulated: bool, tmp_path: Path) -> None:
    edges = [0, *sorted(cuts), TAG_PS.size]
    gaps = (Gap(100, 205, 7, "FIFO overflow, twice"), Gap(2000, 2000, None, "pause"))
    blocks = [TagBlock(CHANNEL[a:b].copy(), TAG_PS[a:b].copy()) for a, b in pairwise(edges)]
    blocks[0] = TagBlock(blocks[0].channel, blocks[0].tag_ps, gaps)
    written = write_recording(
        tmp_path / name,
        blocks,
        channels={"alice": {"H": 0, "V": 3}},
        simulated=simulated,
        notes=["one", "zwei Φ"],
        tick_ps=Fraction(625, 8),
    )
    assert written == TAG_PS.size
    assert read(tmp_path / name) == (TAG_PS.tolist(), CHANNEL.tolist())
    with open_recording(tmp_path / name) as recording:
        info = recording.info
        list(recording.blocks())
        assert tuple(recording.report.gaps) == gaps
    assert info.channels == {"alice": {"H": 0, "V": 3}}
    assert (info.simulated, info.notes, info.tick_ps) == (simulated, ("one", "zwei Φ"), Fraction(625, 8))


def test_npz_is_plain_numpy(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.npz", [TagBlock(CHANNEL, TAG_PS)], simulated=True)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["tag_ps"].dtype == np.int64
        assert arrays["channel"].dtype == np.uint8
        assert arrays["tag_ps"].tolist() == TAG_PS.tolist()
        assert json.loads(str(arrays["metadata"]))["simulated"] is True


@pytest.mark.parametrize(
    "metadata",
    [
        '{"channels": {"alice": {"H": 300}}}',
        '{"channels": [1]}',
        '{"tick_ps": "1/0"}',
        '{"tick_ps": -1}',
        '{"tick_ps": "1e999999999"}',
        '{"gaps": [[2, 1]]}',
        '{"gaps": [[1]]}',
        '{"gaps": 3}',
        '{"simulated": 1}',
        '{"notes": "x"}',
        "[" * 50_000,
        "{",
        "[]",
    ],
)
def test_metadata_that_makes_no_sense_is_refused(metadata: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", tag_ps=TAG_PS, channel=CHANNEL, metadata=np.array(metadata))
    with pytest.raises(GarbledRecording, match="metadata"):
        open_recording(tmp_path / "a.npz")


def test_somebody_elses_metadata_is_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", tag_ps=TAG_PS, channel=CHANNEL, metadata=np.array([{"x": 1}], object))
    with pytest.raises(GarbledRecording, match="pickled"):
        open_recording(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", tag_ps=TAG_PS, channel=CHANNEL, metadata=np.arange(3))
    with open_recording(tmp_path / "a.npz") as recording:
        assert "not used" in recording.info.notes[0]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"tag_ps": TAG_PS}, "no integer column channel"),
        ({"tag_ps": TAG_PS.astype(float), "channel": CHANNEL}, "no integer column tag_ps"),
        ({"tag_ps": TAG_PS, "channel": CHANNEL.astype(int) + 1000}, "row 1: channel is 1000"),
        ({"tag_ps": TAG_PS.astype(np.uint64) + np.uint64(2**63), "channel": CHANNEL}, "row 1: tag_ps"),
        ({"tag_ps": pa.array([1, None, 3]), "channel": pa.array([1, 2, 3])}, "row 2: tag_ps is null"),
    ],
)
def test_parquet_that_holds_no_tags_is_refused(table: dict[str, object], problem: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "a.parquet")
    assert problem in str(caught.value)


def write_twice(writer: RecordingWriter) -> None:
    writer.write(TagBlock(CHANNEL, TAG_PS))
    writer.write(TagBlock(CHANNEL, TAG_PS))


def test_a_failed_writer_leaves_nothing_behind(tmp_path: Path) -> None:
    for name in ("a.npz", "a.parquet", "a.csv.gz"):
        (tmp_path / name).write_text("old")
        with pytest.raises(DisorderedTags), RecordingWriter(tmp_path / name) as writer:
            write_twice(writer)
        assert (tmp_path / name).read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv.gz", "a.npz", "a.parquet"]


def test_a_writer_refuses_what_no_reader_would_take(tmp_path: Path) -> None:
    block = TagBlock(CHANNEL, TAG_PS)
    with pytest.raises(DisorderedTags):
        write_recording(tmp_path / "a.npz", [block, block])
    with pytest.raises(UsageError):
        write_recording(tmp_path / "a.npz", [block], format="hdf5")
    with pytest.raises(UnreadableRecording):
        write_recording(tmp_path / "none" / "a.npz", [block])
    assert not list(tmp_path.iterdir())


def test_a_stored_archive_inside_another_stream(tmp_path: Path) -> None:
    held = io.BytesIO()
    np.savez(held, tag_ps=TAG_PS, channel=CHANNEL)
    (tmp_path / "a.npz").write_bytes(held.getvalue()[:-30])
    with pytest.raises(TruncatedRecording):
        open_recording(tmp_path / "a.npz")
