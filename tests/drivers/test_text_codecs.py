"""Instruments that speak text: what their answers mean, and decoders that take whatever comes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.thorlabs_pm100d import codec as pm100d
from qnoded_drivers.toptica_dlc_pro import codec as dlc
from qnoded_drivers.toptica_dlc_pro.codec import AnswerDecoder, Value, value_of, written

from qnoded.errors import InstrumentFault, InstrumentGarbled

QUESTION = b"(param-ref 'laser1:dl:cc:emission)\r\n"
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 6)),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=20),
)


def test_questions_and_orders_of_a_dlc_pro() -> None:
    assert dlc.question("laser1:dl:cc:emission") == QUESTION
    assert dlc.order("laser1:dl:cc:enabled", value=False) == b"(param-set! 'laser1:dl:cc:enabled #f)\r\n"
    assert dlc.order("laser1:dl:cc:current-set", 102.5) == b"(param-set! 'laser1:dl:cc:current-set 102.500000)\r\n"


@given(VALUES, st.booleans(), st.integers(1, 9))
def test_a_value_is_read_as_it_was_written(value: Value, echo: bool, piece: int) -> None:
    data = b"Welcome to DeCoF\r\n> " + (QUESTION if echo else b"") + f"{written(value)}\r\n> ".encode()
    decoder = AnswerDecoder()
    banner, answer = (one for place in range(0, len(data), piece) for one in decoder.feed(data[place : place + piece]))
    assert dlc.BANNER in banner
    found = value_of(answer, QUESTION)
    assert type(found) is type(value)
    assert found == value


def test_an_error_of_a_dlc_pro_is_its_fault() -> None:
    with pytest.raises(InstrumentFault, match=r"answered \(param-ref .* with error -11: not settable"):
        value_of("Error: -11 not settable", QUESTION)


@given(st.text(max_size=60))
def test_any_answer_of_a_dlc_pro_is_a_value_or_named(text: str) -> None:
    with suppress(InstrumentGarbled, InstrumentFault):
        value_of(text, QUESTION)


@given(st.binary(max_size=200))
def test_any_bytes_of_a_dlc_pro_are_taken(data: bytes) -> None:
    list(AnswerDecoder().feed(data))


def test_an_answer_without_end_is_garbled() -> None:
    with pytest.raises(InstrumentGarbled, match="port 1998"):
        list(AnswerDecoder().feed(b"x" * 20_000))


@pytest.mark.parametrize(("line", "watts"), [("1.00000000E-04", 1e-4), ("-3.2e-12", -3.2e-12), ("9.9E+37", 9.9e37)])
def test_powers(line: str, watts: float) -> None:
    assert pm100d.number_of(line, "MEAS:POW?") == watts


@pytest.mark.parametrize("line", ["nan", "inf", "1,0", "", "1E", '+0,"No error"'])
def test_what_is_no_power_is_garbled(line: str) -> None:
    with pytest.raises(InstrumentGarbled, match=r"MEAS:POW\? was answered with .*, which is no number"):
        pm100d.number_of(line, "MEAS:POW?")


def test_error_queue() -> None:
    assert pm100d.error_of('+0,"No error"') is None
    assert pm100d.error_of('-113,"Undefined header"') == "error -113: Undefined header"
    with pytest.raises(InstrumentGarbled, match="which is no error"):
        pm100d.error_of("1.0E-4")
