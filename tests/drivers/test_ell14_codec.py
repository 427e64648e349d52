"""Elliptec's texts digit for digit, and a decoder that takes whatever comes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.elliptec_ell14 import codec
from qnoded_drivers.elliptec_ell14.codec import Answer, AnswerDecoder, Info, Status

from qnoded.errors import InstrumentGarbled

IN = "0IN0E1140012320211781016800023000"


@pytest.mark.parametrize(("pulses_per_turn", "order"), [(143_360, b"0ma00004600"), (262_144, b"0ma00008000")])
def test_golden_orders(pulses_per_turn: int, order: bytes) -> None:
    assert codec.move("0", pulses_per_turn * 45 // 360) == order


def test_information_of_a_mount() -> None:
    (answer,) = AnswerDecoder().feed(f"{IN}\r\n".encode())
    assert codec.info_of(answer, "0") == Info(14, "11400123", "2.3", 143_360)
    assert codec.info_of(answer, "1") is None


@given(st.integers(-(2**31), 2**31 - 1))
def test_positions_are_signed(position: int) -> None:
    assert codec.position_of(Answer("A", "PO", codec.signed_digits(position)), "A") == position


@given(st.lists(st.sampled_from([IN, "0GS09", "BPO0000A000", "0BO00000001"]), max_size=5), st.integers(1, 7))
def test_however_the_bytes_are_cut_the_answers_are_the_same(lines: list[str], piece: int) -> None:
    data = "".join(f"{line}\r\n" for line in lines).encode()
    decoder = AnswerDecoder()
    heard = [one for place in range(0, len(data), piece) for one in decoder.feed(data[place : place + piece])]
    assert [str(one) for one in heard] == lines


@given(st.binary(max_size=200))
def test_any_bytes_give_answers_or_are_called_garbled(data: bytes) -> None:
    with suppress(InstrumentGarbled):
        for answer in AnswerDecoder().feed(data + b"\r\n"):
            codec.info_of(answer, "0")
            codec.position_of(answer, "0")
            codec.status_of(answer, answer.address)


def test_a_status_that_does_not_exist_is_garbled() -> None:
    assert codec.status_of(Answer("0", "GS", "0D"), "0") is Status.OVER_CURRENT
    with pytest.raises(InstrumentGarbled, match="0GS7F names no status"):
        codec.status_of(Answer("0", "GS", "7F"), "0")
