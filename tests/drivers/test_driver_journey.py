"""One motor's way: zero first, each order once; and the emulated motor that goes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.journey import BEGINNING_S, Journey, Order

from qnoded.errors import InstrumentFault
from qnoded.testing.emulation.motion import Motor

LIMIT_S = 3.0


def test_zero_first_then_the_move_each_once() -> None:
    journey = Journey()
    journey.begin(90.0, 725)
    assert journey.due(0.0, moving=False, here=False, limit_s=LIMIT_S) is Order.HOME
    assert journey.due(1.0, moving=True, here=False, limit_s=LIMIT_S) is None
    journey.has_zero = True
    assert journey.due(1.5, moving=True, here=False, limit_s=LIMIT_S) is None
    assert journey.due(2.0, moving=False, here=False, limit_s=LIMIT_S) is Order.MOVE
    assert journey.due(2.1, moving=True, here=False, limit_s=LIMIT_S) is None
    assert journey.due(2.1 + BEGINNING_S, moving=False, here=True, limit_s=LIMIT_S) is None
    assert journey.target is None
    assert journey.requested_deg == 90.0


def test_a_move_that_did_not_arrive_is_over_and_not_repeated() -> None:
    journey = Journey(has_zero=True)
    journey.begin(90.0, 725)
    assert journey.due(0.0, moving=False, here=False, limit_s=LIMIT_S) is Order.MOVE
    assert journey.due(LIMIT_S - 0.1, moving=False, here=False, limit_s=LIMIT_S) is None
    assert journey.target is not None
    assert journey.due(LIMIT_S + 0.1, moving=False, here=False, limit_s=LIMIT_S) is None
    assert journey.target is None


def test_a_zero_that_is_not_found_is_told() -> None:
    journey = Journey()
    journey.begin(90.0, 725)
    journey.due(0.0, moving=False, here=False, limit_s=LIMIT_S)
    with pytest.raises(InstrumentFault, match=r"did not find its zero within 3\.0 s"):
        journey.due(LIMIT_S + 0.1, moving=True, here=False, limit_s=LIMIT_S)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(1.0, 1e3), st.floats(1.0, 1e4), st.floats(0.0, 1e3))
def test_a_motor_goes_straight_to_its_target_no_faster_than_it_can(
    begin: float, end: float, speed: float, acceleration: float, now_s: float
) -> None:
    motor = Motor(begin, speed, acceleration)
    motor.go(end, 0.0)
    place, later = motor.position(now_s), motor.position(now_s + 0.01)
    slack = 1e-6 * (abs(begin) + abs(end) + 1.0)
    assert min(begin, end) - slack <= place <= max(begin, end) + slack
    assert abs(later - place) <= 0.01 * speed + slack
    assert abs(later - end) <= abs(place - end) + slack
    if not motor.moving(now_s):
        assert place == end
