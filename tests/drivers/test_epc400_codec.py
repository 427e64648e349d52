"""EPC-400's texts letter for letter, and a decoder that takes whatever comes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.oz_epc400 import codec
from qnoded_drivers.oz_epc400.codec import Block, BlockDecoder, Mode

from qnoded.errors import InstrumentGarbled

VOLTAGES = "Voltage(mV): CH1 +2200 CH2 +5000 CH3 -1000 CH4 -4000"
LINES = st.lists(st.sampled_from([VOLTAGES, "M?", "V1,20"]), max_size=4).map(tuple)
BLOCKS = st.lists(st.builds(Block, LINES, st.booleans()), max_size=4)


def test_orders() -> None:
    assert codec.set_voltage(3, -1000) == b"V3,-1000\r\n"
    assert codec.HOLD == b"MDC\r\n"


@pytest.mark.parametrize("echo", [b"", b"V?\r\n"])
def test_voltages_as_a_public_driver_shows_them(echo: bytes) -> None:
    (block,) = BlockDecoder().feed(echo + VOLTAGES.encode() + b"\r\nDone\r\n")
    assert codec.voltages_of(block) == (2200, 5000, -1000, -4000)
    assert codec.mode_of(block) is None


@pytest.mark.parametrize(("line", "mode"), [
    ("Operating mode: DC", Mode.HOLDS),
    ("AC", Mode.SCRAMBLES),
    ("Mode: AC(scrambling)", Mode.SCRAMBLES),
    ("MDC", None),
    ("AC Waveform: Sine", None),
])  # fmt: skip
def test_mode(line: str, mode: Mode | None) -> None:
    assert codec.mode_of(Block((line,))) is mode


@given(BLOCKS, st.integers(1, 7))
def test_however_the_bytes_are_cut_the_blocks_are_the_same(said: list[Block], piece: int) -> None:
    texts = ("".join(f"{line}\r\n" for line in (*one.lines, "Error!" if one.refused else "Done")) for one in said)
    data = "".join(texts).encode()
    decoder = BlockDecoder()
    assert [one for place in range(0, len(data), piece) for one in decoder.feed(data[place : place + piece])] == said


@given(st.binary(max_size=600))
def test_any_bytes_give_blocks_or_are_called_garbled(data: bytes) -> None:
    with suppress(InstrumentGarbled):
        for block in BlockDecoder().feed(data + b"\r\nDone\r\n"):
            codec.mode_of(block)
            codec.voltages_of(block)


def test_text_without_an_end_is_garbled() -> None:
    with pytest.raises(InstrumentGarbled, match="400 bytes without 'Done'"):
        list(BlockDecoder().feed(b"still talking\r\n" * 40))
