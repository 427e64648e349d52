"""ITLA frames byte for byte, and a decoder that takes whatever comes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.itla_msa import codec
from qnoded_drivers.itla_msa.codec import Answer, AnswerDecoder, Question, Register, Status

from qnoded.errors import InstrumentGarbled

FINE_TUNING = 0x62
DITHER = 0x90
GOLDEN = [
    (codec.read(Register.NOP), "00 00 00 00"),
    (codec.write(Register.OUTPUT, codec.SENA), "81 32 00 08"),
    (codec.write(Register.OUTPUT, 0), "01 32 00 00"),
    (codec.write(Register.POWER_SET, 1000), "61 31 03 E8"),
    (codec.write(Register.FIRST_THZ, 193), "A1 35 00 C1"),
    (codec.write(Register.FIRST_STEPS, 4145), "71 36 10 31"),
    (codec.read(Register.POWER), "60 42 00 00"),
    (codec.write(FINE_TUNING, -500), "81 62 FE 0C"),
    (codec.write(DITHER, 2), "A1 90 00 02"),
    (codec.read(Register.SERIAL), "40 04 00 00"),
    (codec.read(Register.TEXT), "B0 0B 00 00"),
]
ANSWERS = st.builds(Answer, st.sampled_from(Status), st.integers(0, 255), st.integers(0, 0xFFFF))


@pytest.mark.parametrize(("frame", "golden"), GOLDEN, ids=[golden for _, golden in GOLDEN])
def test_golden_frames(frame: bytes, golden: str) -> None:
    assert frame == bytes.fromhex(golden)


def test_a_question_is_understood_by_the_laser() -> None:
    assert codec.question_of(bytes.fromhex("81 62 FE 0C")) == Question(FINE_TUNING, 0xFE0C, writes=True)
    assert codec.signed(0xFE0C) == -500


@given(st.lists(ANSWERS, max_size=5), st.integers(1, 7))
def test_however_the_bytes_are_cut_the_answers_are_the_same(said: list[Answer], piece: int) -> None:
    data = b"".join(map(codec.answered, said))
    decoder = AnswerDecoder()
    assert [one for place in range(0, len(data), piece) for one in decoder.feed(data[place : place + piece])] == said


@given(ANSWERS, st.integers(0, 31))
def test_one_wrong_bit_is_always_found(said: Answer, bit: int) -> None:
    wrong = (int.from_bytes(codec.answered(said), "big") ^ 1 << bit).to_bytes(4, "big")
    with pytest.raises(InstrumentGarbled, match="parity is wrong"):
        list(AnswerDecoder().feed(wrong))


@given(st.binary(max_size=200))
def test_any_bytes_give_answers_or_are_called_garbled(data: bytes) -> None:
    with suppress(InstrumentGarbled):
        for answer in AnswerDecoder().feed(data):
            assert answer.value in range(1 << 16)


def test_bit_two_of_an_answer_means_nothing() -> None:
    # 0x4 in the first byte, and the parity for it.
    assert list(AnswerDecoder().feed(bytes.fromhex("54 00 00 10"))) == [Answer(Status.OK, Register.NOP, codec.READY)]


def test_a_damaged_question_is_told() -> None:
    with pytest.raises(InstrumentGarbled, match="a question arrived damaged"):
        list(AnswerDecoder().feed(codec.damaged(Register.OUTPUT)))


@given(st.integers(100_000_000, 400_000_000))
def test_frequencies_come_back_from_their_registers(frequency_mhz: int) -> None:
    parts = codec.in_registers(frequency_mhz)
    assert codec.of_registers(*parts) == frequency_mhz
    assert all(part in range(1 << 15) for part in parts)
