"""Blocks: bounded, ordered, the same tags however they are cut; disorder repaired and counted or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings_made import NAMES, format_of, make

from qnoded.errors import DisorderedTags, GarbledRecording, UsageError
from qnoded.formats import REPAIR_WINDOW_PS, open_recording, recording, write_recording
from qnoded.records import Gap, TagBlock


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_tags_that_were_written(name: str, tmp_path: Path) -> None:
    path, tag_ps, channel = make(name, tmp_path)
    with open_recording(path) as opened:
        assert opened.info.format == format_of(name)
        blocks = list(opened.blocks())
        assert opened.report.tags == tag_ps.size
        assert opened.position_bytes == opened.size_bytes == path.stat().st_size
    np.testing.assert_array_equal(np.concatenate([b.tag_ps for b in blocks]), tag_ps)
    np.testing.assert_array_equal(np.concatenate([b.channel for b in blocks]), channel)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("max_tags", [1, 7, 4096])
def test_any_block_size_gives_the_same_tags(
    name: str, max_tags: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tag_ps, channel = make(name, tmp_path)
    monkeypatch.setattr(recording, "SMALLEST_FILL", 8)
    monkeypatch.setattr("qnoded.formats.reading.RECORDS_PER_READ", 11)
    monkeypatch.setattr("qnoded.formats.fifteen.BYTES_PER_READ", 23)
    monkeypatch.setattr("qnoded.formats.text.BYTES_PER_READ", 37)
    with open_recording(path) as opened:
        blocks = list(opened.blocks(max_tags))
        again = list(opened.blocks())
    assert max(len(b) for b in blocks) <= max_tags
    for found in (blocks, again):
        np.testing.assert_array_equal(np.concatenate([b.tag_ps for b in found]), tag_ps)
        np.testing.assert_array_equal(np.concatenate([b.channel for b in found]), channel)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    steps=st.lists(st.integers(0, 2 * REPAIR_WINDOW_PS), min_size=1, max_size=60),
    late=st.lists(st.integers(0, REPAIR_WINDOW_PS), min_size=60, max_size=60),
    max_tags=st.integers(1, 70),
    fill=st.integers(8, 70),
)
def test_disorder_within_the_window_becomes_a_stable_sort(
    steps: list[int], late: list[int], max_tags: int, fill: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag_ps = np.cumsum(np.array(steps, np.int64)) + np.array(late[: len(steps)], np.int64)
    channel = np.arange(tag_ps.size).astype(np.uint8)
    np.savez(tmp_path / "a.npz", tag_ps=tag_ps, channel=channel)
    monkeypatch.setattr(recording, "SMALLEST_FILL", fill)
    newest = np.maximum.accumulate(tag_ps)

    with open_recording(tmp_path / "a.npz") as opened:
        blocks = list(opened.blocks(max_tags))

    order = np.argsort(tag_ps, kind="stable")
    np.testing.assert_array_equal(np.concatenate([b.tag_ps for b in blocks]), tag_ps[order])
    np.testing.assert_array_equal(np.concatenate([b.channel for b in blocks]), channel[order])
    assert opened.report.disordered == np.count_nonzero(tag_ps < newest)
    assert opened.report.disorder_ps == int((newest - tag_ps).max())


def test_disorder_made_to_be_slow_is_sorted_all_the_same(tmp_path: Path) -> None:
    tag_ps = np.arange(200_000, 0, -1)
    np.savez(tmp_path / "a.npz", tag_ps=tag_ps, channel=np.zeros(tag_ps.size, np.uint8))
    with open_recording(tmp_path / "a.npz") as opened:
        assert np.concatenate([b.tag_ps for b in opened.blocks()]).tolist() == sorted(tag_ps.tolist())


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("npz", "row 201"),
        ("parquet", "row 201"),
        ("text", "row 201"),
        ("qutag", 2040),
        ("swabian-raw", 3200),
        ("s15-a1", 1600),
    ],
)
def test_a_step_back_beyond_the_window_is_an_error_with_its_place(name: str, place: str | int, tmp_path: Path) -> None:
    import recordings_made

    tag_ps, channel = recordings_made.times() + 10**12, recordings_made.channels()
    tag_ps[200] -= 2 * REPAIR_WINDOW_PS
    path = tmp_path / "tags"
    records = np.zeros(tag_ps.size, [("t", "<i8"), ("c", "<u2")])
    records["t"], records["c"] = tag_ps, channel
    raw = np.zeros(tag_ps.size, recordings_made.RECORD)
    raw["tag_ps"], raw["channel"] = tag_ps, channel
    if name == "npz":
        path = tmp_path / "tags.npz"
        np.savez(path, tag_ps=tag_ps, channel=channel)
    elif name == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"tag_ps": tag_ps, "channel": channel}), path)
    else:
        content = {
            "text": recordings_made.rows(tag_ps, channel),
            "qutag": bytes(40) + records.tobytes(),
            "swabian-raw": raw.tobytes(),
            "s15-a1": recordings_made.events(tag_ps, channel).tobytes(),
        }
        path.write_bytes(content[name])
    with open_recording(path, format=name) as opened, pytest.raises(DisorderedTags) as caught:
        list(opened.blocks(64))
    assert caught.value.offset == place or str(place) in str(caught.value)
    assert "backwards" in str(caught.value)


def test_times_that_stand_still_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_TAGS_IN_WINDOW", 10_000)
    np.savez(tmp_path / "a.npz", tag_ps=np.zeros(20_000, np.int64), channel=np.zeros(20_000, np.uint8))
    with open_recording(tmp_path / "a.npz") as opened, pytest.raises(GarbledRecording, match="stand still"):
        list(opened.blocks())


def test_gaps_come_with_the_block_that_reaches_them(tmp_path: Path) -> None:
    gaps = (Gap(15, 25, 3, "overflow"), Gap(95, 200, None, "cable pulled"))
    tag_ps = np.arange(0, 100, 10)
    write_recording(tmp_path / "a.npz", [TagBlock(np.zeros(10, np.uint8), tag_ps, gaps)], simulated=True)
    with open_recording(tmp_path / "a.npz") as opened:
        blocks = list(opened.blocks(2))
        assert opened.info.simulated
        assert tuple(opened.report.gaps) == gaps
    assert [b.gaps for b in blocks] == [(), gaps[:1], (), (), gaps[1:]]


def test_block_sizes_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path, _, _ = make("npz", tmp_path)
    with open_recording(path) as opened, pytest.raises(UsageError):
        opened.blocks(0)
