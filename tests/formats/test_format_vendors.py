"""Vendor words against independent decoders: ptufile for PicoQuant, plain loops for the others."""

from __future__ import annotations

import sys
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ptufile.ptufile import PtuFile, PtuRecordType
from recordings_made import channels, ptu, t2_words, times

from qnoded.errors import DependencyMissing, GarbledRecording, TruncatedRecording
from qnoded.formats import open_recording
from qnoded.formats.becker_hickl import decode_spc
from qnoded.formats.fifteen import read_hex, split_events
from qnoded.formats.picoquant import (
    LAYOUTS,
    SYNC_CHANNEL,
    decode_t2,
    decode_t2_picoharp,
    decode_t3,
    decode_t3_picoharp,
)
from qnoded.formats.swabian import RECORD
from qnoded.records import Gap

WORDS = hnp.arrays(np.uint32, st.integers(1, 60), elements=st.integers(0, 2**32 - 1))


def shaped(words: np.ndarray, picoharp: bool, t3: bool) -> np.ndarray:
    """Make overflows and specials as frequent as photons, with small overflow counts."""
    if picoharp:
        return np.where(words & 1, words | 0xF0000000, words & 0x4FFFFFFF).astype(np.uint32)
    counted = (words & 3) | np.uint32(0xFE000000)
    special = (words & 0x80000000 > 0) & (words & 1 > 0)
    # Special codes are 0 for sync (T2 alone), 1 to 15 for markers, 63 for overflow; others do not exist.
    marker = np.uint32(0x02000000 if t3 else 0)
    plain = np.where(words & 0x80000000, words & 0x9FFFFFFF | marker, words)
    return np.where(special, counted, plain).astype(np.uint32)


@pytest.mark.parametrize("kind", [kind for kind in PtuRecordType if not LAYOUTS[kind].t3], ids=lambda kind: kind.name)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(words=WORDS)
def test_t2_equals_ptufile(kind: PtuRecordType, words: np.ndarray, tmp_path: Path) -> None:
    layout = LAYOUTS[kind]
    words = shaped(words, layout.picoharp, layout.t3)
    path = tmp_path / "a.ptu"
    path.write_bytes(ptu(words, int(kind)))
    with PtuFile(path) as theirs:
        decoded = theirs.decode_records()
    state, ticks, channel = np.zeros(3, np.int64), np.empty(words.size, np.int64), np.empty(words.size, np.uint8)
    if layout.picoharp:
        decode_t2_picoharp(words, layout.overflow, state, ticks, channel)
    else:
        decode_t2(words, layout.overflow, layout.counted, state, ticks, channel)
    photons = decoded[decoded["channel"] >= 0]
    assert ticks[: state[2]].tolist() == photons["time"].astype(np.int64).tolist()
    # ptufile gives the sync input the number of input 0; here it keeps one of its own.
    assert np.where(channel == SYNC_CHANNEL, 0, channel)[: state[2]].tolist() == photons["channel"].tolist()


@pytest.mark.parametrize("kind", [kind for kind in PtuRecordType if LAYOUTS[kind].t3], ids=lambda kind: kind.name)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(words=WORDS)
def test_t3_equals_ptufile(kind: PtuRecordType, words: np.ndarray, tmp_path: Path) -> None:
    layout = LAYOUTS[kind]
    words = shaped(words, layout.picoharp, layout.t3)
    path = tmp_path / "a.ptu"
    path.write_bytes(ptu(words, int(kind)))
    with PtuFile(path) as theirs:
        decoded = theirs.decode_records()
    state = np.zeros(3, np.int64)
    syncs, delay = np.empty(words.size, np.int64), np.empty(words.size, np.int64)
    channel = np.empty(words.size, np.uint8)
    if layout.picoharp:
        decode_t3_picoharp(words, layout.overflow, state, syncs, delay, channel)
    else:
        decode_t3(words, layout.overflow, layout.counted, state, syncs, delay, channel)
    photons = decoded[decoded["channel"] >= 0]
    assert syncs[: state[2]].tolist() == photons["time"].astype(np.int64).tolist()
    assert delay[: state[2]].tolist() == photons["dtime"].tolist()
    assert channel[: state[2]].tolist() == photons["channel"].tolist()


def test_t3_time_is_sync_count_times_period_plus_delay(tmp_path: Path) -> None:
    # 80 MHz: 12.5 ns; 4 ps steps. One overflow of 1024 syncs between the photons.
    words = np.array([(0 << 25) | (5 << 10) | 100, 0xFE000001, (1 << 25) | (700 << 10) | 3], np.uint32)
    (tmp_path / "a.ptu").write_bytes(ptu(words, int(PtuRecordType.HydraHarp2T3), 1.25e-8, 4e-12))
    with open_recording(tmp_path / "a.ptu") as recording:
        (block,) = recording.blocks()
        assert recording.info.tick_ps == 12_500
        assert (recording.report.records, recording.report.rollovers) == (3, 1)
    assert block.tag_ps.tolist() == [100 * 12_500 + 20, 1027 * 12_500 + 2800]
    assert block.channel.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record_type", 12345),
        ("sync_s", 0.0),
        ("sync_s", float("nan")),
        ("sync_s", -1e-12),
        ("sync_s", 1e300),
    ],
)
def test_ptu_headers_that_make_no_sense_are_refused(field: str, value: float, tmp_path: Path) -> None:
    arguments: dict[str, float] = {"record_type": 0x01010204} | {field: value}
    (tmp_path / "a.ptu").write_bytes(ptu(t2_words(times(), channels()), **arguments))  # type: ignore[arg-type]
    with pytest.raises(GarbledRecording, match="header field"):
        open_recording(tmp_path / "a.ptu")


def test_overflows_without_end_are_an_error_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.ptu").write_bytes(ptu(np.full(9000, 0xFFFFFFFF, np.uint32), 0x01010204))
    with open_recording(tmp_path / "a.ptu") as recording, pytest.raises(GarbledRecording, match="overflows add up"):
        list(recording.blocks())


@given(hnp.arrays(np.uint64, st.integers(0, 50)), st.booleans(), st.integers(4, 60))
def test_events_equal_a_plain_loop(event: np.ndarray, swapped: bool, room: int) -> None:
    counter, channel, count = np.empty(room, np.int64), np.empty(room, np.uint8), np.zeros(2, np.int64)

    used = split_events(event, 32 if swapped else 0, 10, counter, channel, count)

    tags, dummies = [], 0
    for value in event[:used].tolist():
        turned = (value << 32 | value >> 32) & (2**64 - 1) if swapped else value
        if turned & 16:
            dummies += 1
        else:
            tags += [(turned >> 10, bit + 1) for bit in range(4) if turned >> bit & 1]
    assert count.tolist() == [len(tags), dummies]
    assert list(zip(counter[: len(tags)].tolist(), channel[: len(tags)].tolist(), strict=True)) == tags
    assert used == event.size or len(tags) > room - 4


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.sampled_from(["\n", "\r\n", " ", "\t\n"]))
def test_hex_equals_int(numbers: list[int], separator: str) -> None:
    text = np.frombuffer(separator.join(f"{n:016x}" for n in numbers).encode(), np.uint8)
    found, place = np.empty(30, np.uint64), np.empty(30, np.int64)
    assert read_hex(text, 16, found, place) == len(numbers)
    assert found[: len(numbers)].tolist() == numbers
    assert place[: len(numbers)].tolist() == [n * (16 + len(separator)) for n in range(len(numbers))]


@given(WORDS)
def test_spc_equals_a_plain_loop(words: np.ndarray) -> None:
    n = words.size
    macro, micro, gap = (np.empty(n, np.int64) for _ in range(3))
    channel, state = np.empty(n, np.uint8), np.zeros(4, np.int64)

    assert decode_spc(words, state, macro, micro, channel, gap) == n

    base, photons, gaps = 0, [], []
    for word in words.tolist():
        invalid, overflow, lost = word >> 31, word >> 30 & 1, word >> 29 & 1
        base += 4096 * ((word & 0xFFFFFFF) if invalid else 1) if overflow else 0
        if not invalid:
            gaps += [len(photons)] if lost else []
            photons.append((base + (word & 0xFFF), 4095 - (word >> 16 & 0xFFF), word >> 12 & 15))
    assert state[2:].tolist() == [len(photons), len(gaps)]
    assert list(zip(*(a[: len(photons)].tolist() for a in (macro, micro, channel)), strict=True)) == photons
    assert gap[: len(gaps)].tolist() == gaps


def test_a_gap_flag_of_an_spc_file_becomes_a_gap(tmp_path: Path) -> None:
    words = np.array([0x80000000 | 100, 10, 0xC0000002, 20 | 0x20000000, 30], "<u4")
    (tmp_path / "a.spc").write_bytes(words.tobytes())
    with open_recording(tmp_path / "a.spc", format="bh-spc") as recording:
        (block,) = recording.blocks()
    assert block.tag_ps.tolist() == [100_000, 8212 * 10_000, 8222 * 10_000]
    assert block.gaps == (Gap(100_000, 82_120_000, None, "FIFO overflow"),)


SWABIAN = [
    (0, 1, 0, 1000),
    (0, -2, 0, 2000),
    (2, 0, 0, 2500),
    (4, 1, 7, 2600),
    (3, 0, 0, 4000),
    (0, 127, 0, 5000),
    (4, 3, 9, 5500),
    (0, 3, 0, 6000),
    (1, 0, 0, 7000),
    (2, 0, 0, 8000),
]
SWABIAN_GAPS = (
    Gap(2500, 4000, 7, "overflow"),
    Gap(5000, 5500, 9, "missed tags"),
    Gap(6000, 7000, None, "time tagger error"),
    Gap(8000, 8000, None, "overflow without end"),
)


def swabian_records() -> np.ndarray:
    records = np.zeros(len(SWABIAN), RECORD)
    for n, (kind, channel, missed, time) in enumerate(SWABIAN):
        records[n] = (kind, 0, missed, channel, time)
    return records


def test_swabian_raw_losses_become_gaps(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(swabian_records().tobytes())
    with open_recording(tmp_path / "a", format="swabian-raw") as recording:
        blocks = list(recording.blocks())
        assert recording.report.records == len(SWABIAN)
    assert [int(t) for b in blocks for t in b.tag_ps] == [1000, 2000, 5000, 6000]
    assert [int(c) for b in blocks for c in b.channel] == [1, 130, 127, 3]
    assert tuple(gap for b in blocks for gap in b.gaps) == SWABIAN_GAPS


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("channel", 128, "channel 128"),
        ("channel", -(2**31), "channel -2147483648"),
        ("type", 5, "type 5"),
        ("tag_ps", -1, "negative"),
    ],
)
def test_swabian_raw_records_that_make_no_sense_are_refused(
    column: str, value: int, problem: str, tmp_path: Path
) -> None:
    records = swabian_records()[[0, 1, 5, 7]]
    records[column][2] = value
    (tmp_path / "a").write_bytes(records.tobytes())
    with open_recording(tmp_path / "a", format="swabian-raw") as recording, pytest.raises(GarbledRecording) as caught:
        list(recording.blocks())
    assert problem in str(caught.value)
    assert caught.value.offset == 32


class FakeBuffer:
    def __init__(self, records: np.ndarray) -> None:
        self._records = records

    def getTimestamps(self) -> np.ndarray:  # noqa: N802 - the SDK's name
        return self._records["tag_ps"]

    def getChannels(self) -> np.ndarray:  # noqa: N802
        return self._records["channel"]

    def getEventTypes(self) -> np.ndarray:  # noqa: N802
        return self._records["type"]

    def getMissedEvents(self) -> np.ndarray:  # noqa: N802
        return self._records["missed"]


class FakeFileReader:
    """The call surface of the SDK's FileReader, over a raw dump."""

    def __init__(self, name: str) -> None:
        data = Path(name).read_bytes()
        if data.startswith(b"broken"):
            message = "file is corrupt"
            raise RuntimeError(message)
        self._records = np.frombuffer(data, RECORD)

    def hasData(self) -> bool:  # noqa: N802
        return self._records.size > 0

    def getData(self, n_events: int) -> FakeBuffer:  # noqa: N802
        part, self._records = self._records[: min(n_events, 3)], self._records[min(n_events, 3) :]
        return FakeBuffer(part)


def test_ttbin_through_the_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = types.ModuleType("TimeTagger")
    sdk.FileReader = FakeFileReader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "TimeTagger", sdk)
    monkeypatch.setitem(sys.modules, "Swabian", None)
    (tmp_path / "a.ttbin").write_bytes(swabian_records().tobytes())
    with open_recording(tmp_path / "a.ttbin") as recording:
        blocks = list(recording.blocks())
        assert recording.info.format == "swabian-ttbin"
        assert recording.report.records == len(SWABIAN)
        assert recording.position_bytes == recording.size_bytes
    assert [int(c) for b in blocks for c in b.channel] == [1, 130, 127, 3]
    assert tuple(gap for b in blocks for gap in b.gaps) == SWABIAN_GAPS
    (tmp_path / "b.ttbin").write_bytes(b"broken")
    with pytest.raises(GarbledRecording, match="file is corrupt"):
        open_recording(tmp_path / "b.ttbin")


def test_ttbin_without_the_sdk_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "TimeTagger", None)
    monkeypatch.setitem(sys.modules, "Swabian", None)
    (tmp_path / "a.ttbin").write_bytes(b"x" * 100)
    with pytest.raises(DependencyMissing, match=r'pip install "qnoded\[swabian\]"'):
        open_recording(tmp_path / "a.ttbin")


def test_an_spc_header_without_clock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.spc").write_bytes(bytes(400))
    with pytest.raises(GarbledRecording, match="macro clock"):
        open_recording(tmp_path / "a.spc", format="bh-spc")
    (tmp_path / "b.spc").write_bytes(bytes(3))
    with pytest.raises(TruncatedRecording):
        open_recording(tmp_path / "b.spc", format="bh-spc")


def test_micro_time_is_used_where_its_step_is_known(tmp_path: Path) -> None:
    words = np.array([0x80000000 | 100, 10 | (4095 - 8) << 16, 20 | (4095 - 16) << 16], "<u4")
    (tmp_path / "a.spc").write_bytes(words.tobytes())
    with open_recording(tmp_path / "a.spc", format="bh-spc", tick_ps=Fraction(25, 2)) as recording:
        (block,) = recording.blocks()
    assert block.tag_ps.tolist() == [100_100, 200_200]


def test_a_header_field_of_unknown_type_is_not_taken_for_photons(tmp_path: Path) -> None:
    content = bytearray(ptu(t2_words(times(), channels()), 0x01010204))
    content[content.index(b"MeasDesc_Resolution") + 36] ^= 0x40
    (tmp_path / "a.ptu").write_bytes(content)
    with pytest.raises(GarbledRecording, match="breaks off"):
        open_recording(tmp_path / "a.ptu")
