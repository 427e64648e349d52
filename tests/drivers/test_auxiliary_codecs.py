"""Retarders, switch, detector supply, oven and attenuator: texts letter for letter, and decoders that take anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.oz_dd100 import codec as dd100
from qnoded_drivers.polatis_switch import codec as polatis
from qnoded_drivers.s15_lcr import codec as lcr
from qnoded_drivers.single_quantum_websq import codec as websq
from qnoded_drivers.single_quantum_websq.codec import Label, LabelDecoder
from qnoded_drivers.thorlabs_tc200 import codec as tc200
from qnoded_drivers.thorlabs_tc200.codec import Answer, Status

from qnoded.errors import InstrumentFault, InstrumentGarbled


def cut(data: bytes, piece: int) -> list[bytes]:
    return [data[place : place + piece] for place in range(0, len(data), piece)]


def test_orders() -> None:
    assert lcr.set_amplitude(3, 2.5) == b"AMPLITUDE 3 2.500\r\n"
    assert (lcr.ask_amplitude(3), lcr.SET_FREQUENCY) == (b"AMP? 3\r\n", b"FREQ 2000\r\n")
    assert polatis.connect(1, 17) == b":oxc:swit:conn:add (@1),(@17)\n"
    assert polatis.disconnect({1: 17, 2: 18}) == b":oxc:swit:conn:sub (@1,2),(@17,18)\n"
    assert json.loads(websq.ASK_ALL) == {"request": "labelProps", "value": "None"}
    assert json.loads(websq.SWITCH_OFF) == {"command": "DetectorEnable", "label": "DetectorEnable", "value": False}
    assert json.loads(websq.set_currents([1.5, 0.0])) == {
        "command": "SetAllBiasCurrents",
        "label": "BiasCurrent",
        "value": [1.5, 0.0],
    }
    assert tc200.written("tset=41.5") == b"tset=41.5\r"
    assert dd100.attenuate(7.0) == b"A7.00\r"


def test_a_retarder_board_tells_its_name_or_an_amplitude() -> None:
    assert (lcr.amplitude_of("2.500"), lcr.name_of("2.500")) == (2.5, None)
    assert lcr.amplitude_of("LCD cell driver, QO05") is None
    assert lcr.name_of("LCD cell driver, QO05") == "LCD cell driver, QO05"
    for line in ("10.5", "Unknown command: AMPLITUDE 5", "-1"):
        with pytest.raises(InstrumentGarbled, match="no amplitude up to 10 V"):
            lcr.amplitude_of(line)
    with pytest.raises(InstrumentGarbled, match="is this a liquid-crystal driver"):
        lcr.name_of("S-15 Instruments TDC1")


def test_a_switch_tells_its_connections() -> None:
    assert polatis.connections_of("(@1,2),(@17,18)") == {1: 17, 2: 18}
    assert polatis.connections_of("(@),(@)") == {}
    assert polatis.size_of("16,16") == (16, 16)
    for other in ("16,16", "Polatis,VST,12,6.1", '0,"No error"', "(E,D,F)"):
        assert polatis.connections_of(other) is None
    assert polatis.name_of("Polatis,N-VST-16x16,1234567,6.10") == ("Polatis", "N-VST-16x16", "1234567", "6.10")
    assert polatis.name_of("(@1,2),(@17,18)") is None
    assert (polatis.errors_of('0,"No error"'), polatis.errors_of("16,16")) == ("", None)
    assert polatis.errors_of('-113,"Undefined header"') == '-113,"Undefined header"'
    for pairs in ("(@1,2),(@17)", "(@1,1),(@17,18)", "(@1,2),(@17,17)"):
        with pytest.raises(InstrumentGarbled, match="no pairs"):
            polatis.connections_of(pairs)


LISTED = {"label": "BiasCurrent", "value": {"value": [1.5, 2.0], "unit": "uA", "bounds": [-90, 90]}}
PLAIN = {"label": "BiasVoltage", "value": [0.1, 0.2]}
TOLD = [Label("BiasCurrent", [1.5, 2.0], listed=True), Label("BiasVoltage", [0.1, 0.2])]


@pytest.mark.parametrize("between", [b"", b"\x17", b"\r\n"])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_labels_come_with_or_without_a_separator_however_they_are_cut(between: bytes, piece: int) -> None:
    data = between.join([json.dumps(LISTED).encode(), json.dumps({"id": 3}).encode(), json.dumps(PLAIN).encode()])
    decoder = LabelDecoder()
    assert [label for part in cut(data, piece) for label in decoder.feed(part)] == TOLD


@given(st.text(max_size=20), st.lists(st.text(max_size=5), max_size=3), st.integers(1, 9))
def test_any_text_in_a_label_is_read_back(name: str, value: list[str], piece: int) -> None:
    decoder = LabelDecoder()
    data = json.dumps({"label": name, "value": value}).encode()
    assert [label for part in cut(data, piece) for label in decoder.feed(part)] == [Label(name, value)]


def test_what_a_supply_tells_is_checked() -> None:
    assert websq.numbers_of(TOLD[0]) == (1.5, 2.0)
    for wrong in ([1.5, None], [True], "1.5", [float("nan")]):
        with pytest.raises(InstrumentGarbled, match="which are no numbers"):
            websq.numbers_of(Label("BiasCurrent", wrong))
    assert websq.trouble_of(Label("ErrorMessage", "too warm")) == "ErrorMessage: too warm"
    assert websq.trouble_of(Label("ErrorMessage", "")) is None
    with pytest.raises(InstrumentGarbled, match="ends early"):
        list(LabelDecoder().feed(b'{"label": "a", "val\x17'))
    with pytest.raises(InstrumentGarbled, match="control port"):
        list(LabelDecoder().feed(b"HTTP/1.1 400 Bad Request"))


SAID = (
    b"*idn?\rTHORLABS TC200 VERSION 2.0\r> tset?\r41.5 Celsius\r> stat?\r15 > ens\r> tset=300\r"
    b"Command error CMD_ARG_RANGE_ERR\r> "
)
ANSWERS = [
    Answer("*idn?", "THORLABS TC200 VERSION 2.0"),
    Answer("tset?", "41.5 Celsius"),
    Answer("stat?", "15"),
    Answer("ens", ""),
    Answer("tset=300", "Command error CMD_ARG_RANGE_ERR"),
]


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_every_answer_of_an_oven_names_its_question(piece: int) -> None:
    decoder = tc200.AnswerDecoder()
    assert [answer for part in cut(SAID, piece) for answer in decoder.feed(part)] == ANSWERS


def test_what_an_oven_answers() -> None:
    assert tc200.number_of(ANSWERS[1]) == 41.5
    assert tc200.status_of(ANSWERS[2]) == Status.ENABLED | Status.CELSIUS | 0x04
    with pytest.raises(InstrumentFault, match=r"refuses tset=300: .*CMD_ARG_RANGE_ERR"):
        tc200.granted(ANSWERS[4])
    with pytest.raises(InstrumentFault, match=r"shows 314\.6 K; set it to Celsius"):
        tc200.number_of(Answer("tact?", "314.6 K"))
    with pytest.raises(InstrumentGarbled, match="no number"):
        tc200.number_of(Answer("tact?", "4l.5 C"))
    with pytest.raises(InstrumentGarbled, match="no status"):
        tc200.status_of(Answer("stat?", "41.5"))


CONFIGURATION = (
    b"DD100MC\r\nV6.2a\r\nNO:303699-01\r\nMAX ATTEN:55.00\r\nOVERSHOOT:-30\r\nCALIB:MAR-02-2022\r\nGEAR RATIO:485:1\r\n"
    b"MINTERVAL(MS):0.90\r\nMOTOR VOLT:5\r\nIL:0.00\r\nWAVELENGTH:2000\r\nI2C ADDRESS:64\r\nW0 2000\r\nDone\r\n\r\n"
)


@pytest.mark.parametrize("piece", [1, 11, 1000])
def test_an_attenuator_says_what_it_is(piece: int) -> None:
    decoder = dd100.BlockDecoder()
    (block,) = [block for part in cut(CONFIGURATION, piece) for block in decoder.feed(part)]
    assert dd100.configuration_of(block) == dd100.Configuration("DD100MC", "303699-01", "V6.2a", 0.0, 55.0)
    assert dd100.position_of(block) is None
    assert not dd100.is_order_done(block)


@pytest.mark.parametrize(("text", "attenuation_db"), [
    (b"Pos:1400\r\nAtten:7.00(dB)\r\nDone\r\n\r\n", 7.0),
    (b"DPos:10000\r\nATTEN:0.0001\r\nDone\r\n\r\n", 0.0001),
    (b"Pos:1400\r\nAtten:unknown\r\nDone\r\n\r\n", None),
    (b"Pos:unknown\r\nAtten:7.00(dB)\r\nDone\r\n\r\n", None),
])  # fmt: skip
def test_an_attenuator_that_has_not_been_home_has_no_attenuation(text: bytes, attenuation_db: float | None) -> None:
    (block,) = dd100.BlockDecoder().feed(text)
    assert dd100.position_of(block) == dd100.Position(attenuation_db)
    assert not dd100.is_order_done(block)


def test_an_attenuator_says_when_a_move_is_done_and_what_it_cannot() -> None:
    moved, homed, refused = dd100.BlockDecoder().feed(b"Pos:1400\r\nDone\r\n\r\nDiff=3\r\nDone\r\n\r\nError-5\r\n")
    assert dd100.is_order_done(moved)
    assert dd100.is_order_done(homed)
    with pytest.raises(InstrumentFault, match="Error-5: it does not find its home sensor"):
        dd100.granted(refused)


def read_all(decoder: Any, *meanings: Callable[[Any], object]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        for message in decoder.feed(data):
            for meaning in meanings:
                with suppress(InstrumentFault):
                    meaning(message)

    return read


@given(st.binary(max_size=600))
@pytest.mark.parametrize(
    ("make", "end"),
    [
        (lambda: read_all(LabelDecoder(), websq.numbers_of, websq.trouble_of), b"}"),
        (lambda: read_all(tc200.AnswerDecoder(), tc200.number_of, tc200.status_of), b"\r> "),
        (lambda: read_all(dd100.BlockDecoder(), dd100.configuration_of, dd100.position_of), b"\r\nDone\r\n"),
    ],
    ids=["supply", "oven", "attenuator"],
)
def test_any_bytes_mean_something_or_are_called_garbled(
    make: Callable[[], Callable[[bytes], None]], end: bytes, data: bytes
) -> None:
    with suppress(InstrumentGarbled):
        make()(data + end)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_line_means_something_or_is_called_garbled(line: str) -> None:
    for meaning in (
        lcr.amplitude_of,
        lcr.name_of,
        polatis.connections_of,
        polatis.name_of,
        polatis.size_of,
        polatis.errors_of,
    ):
        with suppress(InstrumentGarbled):
            meaning(line)
