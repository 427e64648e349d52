"""Units and ticks."""

from __future__ import annotations

from fractions import Fraction

import pytest

from qnoded.errors import UsageError
from qnoded.units import from_db, tick


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", Fraction(1)), ("625/8", Fraction(625, 8)), ("78.125", Fraction(625, 8)), (" 4 ", Fraction(4))],
)
def test_a_tick_is_read_exactly(text: str, value: Fraction) -> None:
    assert tick(text) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "1/0", "1e3", "nan", "1/2/3", "x", "0.0", "9" * 40])
def test_a_tick_that_is_no_positive_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        tick(text)


def test_decibels() -> None:
    assert from_db(-3.0) == pytest.approx(0.501, abs=1e-3)
    assert from_db(10.0) == pytest.approx(10.0)
