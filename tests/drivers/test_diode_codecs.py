"""What controllers of laser diodes say, in the bytes of units and programs that are public, and in nonsense."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from qnoded_drivers.calibration import DiodeSettings
from qnoded_drivers.koheron_ctl import codec as koheron
from qnoded_drivers.s15_spdc import codec as spdc
from qnoded_drivers.s15_spdc.codec import Status
from qnoded_drivers.thorlabs_cld101x import codec as cld

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled

CALIBRATION = ((60.0, 0.0), (120.0, 10.0), (180.0, 13.0))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Thorlabs,CLD1015,M01093719,2.3.0", ("Thorlabs", "CLD1015", "M01093719", "2.3.0")),
        (
            "Thorlabs,ITC4001,M00404162,1.8.0/1.5.0/2.3.0",
            ("Thorlabs", "ITC4001", "M00404162", "1.8.0/1.5.0/2.3.0"),
        ),
    ],
)
def test_names_of_thorlabs_units(name: str, parts: tuple[str, ...]) -> None:
    assert cld.parts_of(name) == parts


@pytest.mark.parametrize("name", ["Thorlabs,CLD1015,M01093719", "1.2E-1", "a,b,,d", '0,"No error"'])
def test_what_is_no_name_of_a_thorlabs_unit_is_garbled(name: str) -> None:
    with pytest.raises(InstrumentGarbled, match="is this a CLD101x or ITC4000"):
        cld.parts_of(name)


@given(st.text(max_size=40))
def test_any_line_of_a_cld101x_is_a_value_or_garbled(line: str) -> None:
    for read in (
        cld.parts_of,
        cld.error_of,
        lambda text: cld.number_of(text, "?"),
        lambda text: cld.switch_of(text, "?"),
    ):
        with suppress(InstrumentGarbled):
            read(line)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "S-15 Instruments SPDC source driver, firmware svn-5. Serial: SPDCSDR-10",
            ("SPDC source driver", "SPDCSDR-10", "svn-5"),
        ),
        ("SPDC driver, svn-05", ("SPDC driver", "unnumbered", "svn-05")),
    ],
)
def test_names_of_spdc_boards(name: str, parts: tuple[str, ...]) -> None:
    assert spdc.parts_of(name) == parts


def test_status_of_an_spdc_board() -> None:
    assert spdc.status_of("775") == Status(775)
    assert Status.ON not in spdc.status_of("259")
    for line in ("776", "-1", "1.0", "", "Argument out of range"):
        with pytest.raises(InstrumentGarbled, match="which is no status"):
            spdc.status_of(line)


@given(st.integers(0, sum(Status)), st.sampled_from(["0", "0.000", "0.095", "60.000"]))
def test_an_spdc_board_is_taken_for_dark_only_if_it_says_so(bits: int, current: str) -> None:
    if bits & ~sum(Status):
        return
    answer = f"{bits}\r\n{current}\r\n".encode()
    assert bool(re.search(spdc.DARK, answer)) == (not bits & Status.ON and float(current) == 0.0)


@given(st.booleans(), st.integers(1, 9))
def test_an_answer_of_a_koheron_ctl_follows_its_echo(greeting: bool, piece: int) -> None:
    data = (b"\r\nKoheron\r\n>>" if greeting else b"") + b"ilaser\r\n60.000\r\n>>\0ilaser 70.000\r\n70.000\r\n>>"
    decoder = koheron.AnswerDecoder()
    answers = [one for place in range(0, len(data), piece) for one in decoder.feed(data[place : place + piece])]
    assert [koheron.value_of(answer, "ilaser") for answer in answers if answer[:1] == ["ilaser"]] == ["60.000"]
    assert koheron.value_of(answers[-1], "ilaser 70.000") == "70.000"
    assert koheron.value_of(answers[-1], "ilaser") is None


def test_errors_of_koheron_ctls() -> None:
    assert koheron.errors_of("0", "CTL200-0") == []
    assert koheron.errors_of("88", "CTL200-0") == ["the diode is too hot", "its interlock was opened"]
    assert koheron.errors_of("0x100", "CTL300E-0") == ["the diode is too hot"]
    assert koheron.errors_of("0x8", "CTL300E-0") == ["error 0x8, see its manual"]
    with pytest.raises(InstrumentGarbled, match="no hexadecimal number"):
        koheron.errors_of("25.0", "CTL200-0")


def test_a_command_that_a_koheron_ctl_does_not_know_is_told() -> None:
    with pytest.raises(InstrumentFault, match="its model may not have it"):
        koheron.value_of(["vlaser"], "vlaser")


def test_a_thermistor_as_it_stands_on_a_data_sheet() -> None:
    # 10 kOhm at 25 degrees, B = 3600 K: at 30 degrees the source of the numbers has 8195 ohm within 0.1 %.
    assert koheron.ohm_of(25.0, 10_000.0, 3600.0) == pytest.approx(10_000.0)
    assert koheron.ohm_of(30.0, 10_000.0, 3600.0) == pytest.approx(8195.0, rel=1e-3)
    with pytest.raises(InstrumentFault, match="is it connected"):
        koheron.temperature_of(0.0, 10_000.0, 3600.0)


@given(st.floats(-20.0, 90.0), st.floats(1e3, 1e5), st.floats(2000.0, 5000.0))
def test_a_thermistor_there_and_back(temperature_c: float, nominal_ohm: float, beta_k: float) -> None:
    resistance_ohm = koheron.ohm_of(temperature_c, nominal_ohm, beta_k)
    assert koheron.temperature_of(resistance_ohm, nominal_ohm, beta_k) == pytest.approx(temperature_c, abs=1e-6)


@given(st.binary(max_size=200))
def test_any_bytes_of_a_koheron_ctl_are_taken(data: bytes) -> None:
    for answer in koheron.AnswerDecoder().feed(data):
        with suppress(InstrumentError):
            koheron.value_of(answer, "lason")


def test_an_answer_without_a_prompt_is_garbled() -> None:
    with pytest.raises(InstrumentGarbled, match="115200 baud"):
        list(koheron.AnswerDecoder().feed(b"x" * 600))


def settings(calibration: object) -> DiodeSettings:
    return DiodeSettings.model_validate(
        {"address": "tcp://127.0.0.1:1", "wavelength_nm": 780.0, "calibration": calibration}
    )


@given(st.floats(0.0, 13.0))
def test_power_and_current_follow_each_other(power_dbm: float) -> None:
    diode = settings(CALIBRATION)
    assert diode.power_dbm(diode.current_ma(power_dbm), 0.1) == pytest.approx(power_dbm, abs=1e-6)


def test_the_current_is_linear_in_milliwatts_and_ends_with_the_calibration() -> None:
    diode = settings(CALIBRATION)
    assert diode.current_ma(7.4036) == pytest.approx(90.0, abs=1e-3)
    assert diode.current_ma(13.5) == diode.highest_ma == 180.0
    assert diode.power_dbm(59.0, 0.5) is None
    assert diode.power_dbm(59.8, 0.5) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "calibration", [((60.0, 0.0),), ((60.0, 0.0), (50.0, 1.0)), ((60.0, 1.0), (70.0, 1.0)), ((0.0, 0.0), (1.0, 1.0))]
)
def test_a_calibration_of_a_diode_must_rise(calibration: object) -> None:
    with pytest.raises(ValidationError):
        settings(calibration)
