"""Recordings of real instruments give the numbers that are known of them, exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qnoded.formats import Recording, open_recording


def read(recording: Recording, max_tags: int = 2**20) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(recording.blocks(max_tags))
    return np.concatenate([b.tag_ps for b in blocks]), np.concatenate([b.channel for b in blocks])


def counts(channel: np.ndarray) -> dict[int, int]:
    return {int(c): int(n) for c, n in enumerate(np.bincount(channel)) if n}


@pytest.mark.parametrize(("name", "layout"), [("Aa0f.ts", "s15-a0"), ("Aa1fX.ts", "s15-a1x"), ("Aa2f.ts", "s15-a2")])
def test_s_fifteen_roll_over_files(recordings: Path, name: str, layout: str) -> None:
    with open_recording(recordings / "s15_timestamps" / f"timestamp7_c14_rollover.{name}") as recording:
        tag_ps, channel = read(recording)
        report = recording.report
        assert recording.info.format == layout
    assert (report.records, report.rollovers, report.tags) == (1000, 138, 862)
    assert counts(channel) == {1: 431, 4: 431}
    assert tag_ps[0] / 1e12 == pytest.approx(65333.011796794, abs=1e-9)
    assert (tag_ps[-1] - tag_ps[0]) / 1e12 == pytest.approx(0.033695816, abs=1e-9)
    first, second = tag_ps[channel == 1], tag_ps[channel == 4]
    delay = (second[None, :] - first[:, None]).ravel()
    near = delay[np.abs(delay - 139_000) < 2000]
    assert near.mean() / 1000 == pytest.approx(139.114, abs=0.5)
    assert (report.disordered, report.disorder_ps) == (38, 96_969_133)


def test_s_fifteen_encodings_of_one_recording_are_equal(recordings: Path) -> None:
    found = []
    for name in ("Aa0f.ts", "Aa1fX.ts", "Aa2f.ts"):
        with open_recording(recordings / "s15_timestamps" / f"timestamp7_c14_rollover.{name}") as recording:
            found.append(read(recording, 100))
    for tag_ps, channel in found[1:]:
        np.testing.assert_array_equal(tag_ps, found[0][0])
        np.testing.assert_array_equal(channel, found[0][1])


def test_s_fifteen_events_with_several_detectors(recordings: Path) -> None:
    with open_recording(recordings / "s15_timestamps" / "timestamp7_c1234.Aa1.ts") as recording:
        tag_ps, channel = read(recording)
        assert recording.info.format == "s15-a1"
        assert recording.report.records == 2000
    assert counts(channel) == {1: 621, 2: 488, 3: 481, 4: 422}
    assert (tag_ps[-1] - tag_ps[0]) / 1e9 == pytest.approx(0.93501, abs=5e-6)


def test_s_fifteen_older_layout(recordings: Path) -> None:
    with open_recording(recordings / "s15_timestamps" / "s15lib_test.raw") as recording:
        tag_ps, channel = read(recording)
        assert recording.info.format == "s15-125ps"
        assert recording.report.records == 185
    assert counts(channel) == {1: 103, 2: 82}
    assert not (tag_ps % 125).any()


def test_picoquant_t2(recordings: Path) -> None:
    with open_recording(recordings / "tttr" / "200204_HH400_T2_320MHz_HBT.timeres") as recording:
        tag_ps, channel = read(recording)
        report = recording.report
        assert recording.info.format == "ptu"
        assert recording.info.tick_ps == 1
    assert (report.records, report.rollovers) == (409_482, 25_463)
    assert counts(channel) == {0: 159_298, 1: 224_721}
    assert (tag_ps[-1] - tag_ps[0]) / 1e12 == pytest.approx(0.999978, abs=1e-6)
    starts, stops = tag_ps[channel == 0], tag_ps[channel == 1]
    after = np.searchsorted(stops, starts + 160_000, "left") - np.searchsorted(stops, starts, "right")
    before = np.searchsorted(stops, starts, "left") - np.searchsorted(stops, starts - 160_000, "right")
    assert (after.sum(), before.sum()) == (pytest.approx(24_928, abs=1), pytest.approx(24_663, abs=1))


def test_qutag_is_put_in_order(recordings: Path) -> None:
    with open_recording(recordings / "tttr" / "19_qutag_80MHz_HBT_sync_filtered.qutag") as recording:
        tag_ps, channel = read(recording)
        report = recording.report
        assert recording.info.format == "qutag"
    assert report.records == report.tags == 267_801
    assert counts(channel) == {1: 79_314, 2: 94_287, 5: 94_200}
    assert (report.disordered, report.disorder_ps) == (173, 85_918)
    assert (np.diff(tag_ps) >= 0).all()


def test_becker_hickl_equals_its_decoding(recordings: Path) -> None:
    macro, micro = np.loadtxt(recordings / "tttr" / "test_noise.asc", dtype=np.int64, unpack=True)
    spc = recordings / "tttr" / "test_noise.spc"
    with open_recording(spc) as recording:
        tag_ps, _ = read(recording)
        assert recording.info.format == "bh-spc"
        assert recording.info.tick_ps == 9500
    assert tag_ps.size == 6114
    np.testing.assert_array_equal(tag_ps, macro * 9500)
    with open_recording(spc, tick_ps=Fraction(1)) as recording:
        np.testing.assert_array_equal(read(recording)[0], np.sort(macro * 9500 + micro))


def test_text_with_a_fractional_tick(recordings: Path) -> None:
    path = recordings / "uiuc_entangled_tags" / "tags.txt.gz"
    with open_recording(path, tick_ps=Fraction(625, 8)) as recording:
        tag_ps, channel = read(recording)
        assert recording.info.format == "text"
        assert "guessed" in " ".join(recording.info.notes)
    assert list(counts(channel).values()) == [27449, 13805, 8999, 6616, 26471, 29447, 13858, 10818]
    assert tag_ps.size == 137_463
    with open_recording(path, columns="channel,time") as recording:
        ticks = read(recording)[0]
    np.testing.assert_array_equal(tag_ps, (ticks * 1250 + 8) // 16)
