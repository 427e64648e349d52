"""The permit, and the dead man's switch that a driver keeps it in; virtual time."""

from __future__ import annotations

import asyncio
import math

import pytest

from qnoded.errors import EmissionRefused
from qnoded.instruments.dead_man import DeadMan
from qnoded.instruments.permit import EmissionPermit
from qnoded.testing import virtual_time

LONGEST_S = 10.0


def permit(number: int, expires_s: float) -> EmissionPermit:
    return EmissionPermit(number, expires_s, 3.0, "test")


@pytest.mark.parametrize(
    ("power_dbm", "loop_s", "says"),
    [
        (3.0, 5.0, r"permit 7 lapsed 0\.000 s ago"),
        (3.0, 6.5, r"permit 7 lapsed 1\.500 s ago"),
        (3.1, 4.0, r"3\.1 dBm are more than the 3\.0 dBm"),
        (math.nan, 4.0, "nan dBm are more"),
    ],
)
def test_a_permit_covers_its_time_and_its_power_and_nothing_else(power_dbm: float, loop_s: float, says: str) -> None:
    permit(7, 5.0).check(3.0, 4.999)
    with pytest.raises(EmissionRefused, match=says):
        permit(7, 5.0).check(power_dbm, loop_s)


def test_the_switch_darkens_once_when_the_last_renewal_lapses() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        darkened: list[float] = []

        async def darken() -> None:
            darkened.append(loop.time())
            await switch.release()

        switch = DeadMan(darken)
        switch.hold(permit(1, 1.0), LONGEST_S)
        await asyncio.sleep(0.5)
        switch.renew(permit(2, 2.0), LONGEST_S)
        switch.renew(permit(1, 9.0), LONGEST_S)
        await asyncio.sleep(1.4)
        assert switch.holds
        await asyncio.sleep(0.2)
        assert not switch.holds
        switch.renew(permit(3, 9.0), LONGEST_S)
        assert not switch.holds
        switch.hold(permit(4, 1e9), LONGEST_S)
        await asyncio.sleep(LONGEST_S + 1.0)
        switch.hold(permit(5, 1e9), LONGEST_S)
        await switch.release()
        await switch.release()
        await asyncio.sleep(2 * LONGEST_S)
        return darkened

    assert virtual_time.run(scenario()) == pytest.approx([2.0, 2.1 + LONGEST_S])
