"""The TDC1's stream: golden word, wraps, and no wrong tag whatever happens to its bytes on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.lines import LineDecoder
from qnoded_drivers.s15_tdc1 import codec
from qnoded_drivers.s15_tdc1.codec import TICK_PS, WINDOW, EventDecoder, unpacked
from qnoded_drivers.s15_tdc1.emulator import EmulatedTdc1

from qnoded.errors import InstrumentGarbled
from qnoded.units import PS_PER_US

GOLDEN = bytes.fromhex("85 3E 00 00")
NAME = b"TDC1 usb counter unit, SN TDC1-00042\r\n"
STEP_S = 0.01


def tags_of(words: list[int], last_tick: int = 0) -> list[tuple[int, int]]:
    channel, tag_ps = np.empty(4 * len(words) + 1, np.uint8), np.empty(4 * len(words) + 1, np.int64)
    made = unpacked(np.array(words, np.uint32), last_tick, channel, tag_ps, np.empty(1, np.int64))
    return list(zip(channel[:made].tolist(), tag_ps[:made].tolist(), strict=True))


def test_golden_word() -> None:
    (word,) = np.frombuffer(GOLDEN, "<u4").tolist()
    assert word == 0x00003E85
    assert tags_of([word]) == [(1, PS_PER_US), (3, PS_PER_US)]


def test_time_goes_on_over_a_wrap_and_dummies_are_no_tags() -> None:
    last_tick = codec.WRAP - 10
    words = [(codec.WRAP - 5) << 5 | 1, 7 << 5 | codec.DUMMY, 9 << 5 | 8]
    assert tags_of(words, last_tick) == [(1, (codec.WRAP - 5) * TICK_PS), (4, (codec.WRAP + 9) * TICK_PS)]


def stream(seed: int, rates_hz: tuple[float, ...], seconds: float) -> tuple[list[bytes], set[tuple[int, int]]]:
    """Return what an emulated TDC1 sends, and its events as channel and time."""
    device = EmulatedTdc1(rates_hz=rates_hz, seed=seed)
    device.switch_on(0.0)
    device.hear(codec.START, 0.0)
    chunks = [b"".join(device.tick(number * STEP_S)) for number in range(1, int(seconds / STEP_S))]
    events = {
        (bit + 1, tick * TICK_PS)
        for sent in device.sent
        for tick, pattern in sent.T.tolist()
        for bit in range(4)
        if pattern >> bit & 1
    }
    return chunks, events


def heard_from(chunks: list[bytes]) -> tuple[set[tuple[int, int]], int]:
    decoder = EventDecoder()
    heard, gaps, last_ps = set(), 0, 0
    for chunk in chunks:
        block = decoder.feed(chunk)
        if len(block):
            assert last_ps <= block.tag_ps[0]
            assert (np.diff(block.tag_ps) >= 0).all()
            last_ps = int(block.tag_ps[-1])
        heard.update(zip(block.channel.tolist(), block.tag_ps.tolist(), strict=True))
        gaps += len(block.gaps)
    return heard, gaps


@pytest.mark.parametrize("rate_hz", [500.0, 20_000.0, 500_000.0])
def test_all_tags_come_out_but_the_first_and_last_windows(rate_hz: float) -> None:
    chunks, events = stream(1, (rate_hz, rate_hz / 2), 2e4 / rate_hz + 0.1)
    heard, gaps = heard_from(chunks)
    assert gaps == 0
    assert heard <= events
    # The last chunk may hold up to two windows and a bit that wait for more.
    assert len(events) - len(heard) <= 2 * 4 * WINDOW


FAULTS = {
    "lost byte": lambda chunk, at: chunk[:at] + chunk[at + 1 :],
    "two lost bytes": lambda chunk, at: chunk[:at] + chunk[at + 2 :],
    "lost stretch": lambda chunk, at: chunk[:at] + chunk[at + 61 :],
    "stray byte": lambda chunk, at: chunk[:at] + b"\x00" + chunk[at:],
    "doubled": lambda chunk, at: chunk + chunk,
    "text between": lambda chunk, at: chunk[:at] + NAME + chunk[at:],
}


@pytest.mark.parametrize("rate_hz", [3000.0, 30_000.0, 200_000.0])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_wrong_tag_after_a_fault_and_few_lost_ones(fault: str, rate_hz: float) -> None:
    for seed in range(6):
        chunks, events = stream(seed, (rate_hz, rate_hz), 0.12)
        number = (0, 1, 3, 5, 7, 9)[seed]
        chunks[number] = FAULTS[fault](chunks[number], len(chunks[number]) * (seed + 1) // 7)
        heard, gaps = heard_from(chunks)
        assert heard <= events
        assert gaps <= 1
        lost = len(events) - len(heard)
        assert lost <= 2 * max(len(chunk) // 4 for chunk in chunks) + 10 * WINDOW


def test_what_is_no_stream_of_events_is_garbled() -> None:
    decoder = EventDecoder()
    decoder.feed(b"\x00" * 2**20)
    with pytest.raises(InstrumentGarbled, match="no events could be read from"):
        decoder.feed(b"\x00" * 2**10)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_give_ascending_tags(chunks: list[bytes]) -> None:
    heard_from(chunks)


@given(st.binary(max_size=300))
def test_any_bytes_give_lines_or_are_called_garbled(data: bytes) -> None:
    try:
        lines = list(LineDecoder().feed(data))
    except InstrumentGarbled:
        return
    for line in lines:
        codec.status_of(line)
        codec.number_of(line)


@pytest.mark.parametrize(("line", "number"), [("-1", 65535), ("0", 0), ("32767", 32767), ("0010", None), ("12a", None)])
def test_numbers_are_printed_as_signed(line: str, number: int | None) -> None:
    assert codec.number_of(line) == number
