"""An eavesdropper delays half of bob's photons: nothing but the rate, and the clock, shows it."""

from __future__ import annotations

import asyncio

import pytest
from rig import rigged

SHIFT_PS = 300
MISMATCH = 0.5
"""The rate falls by half of it."""


@pytest.mark.slow
def test_time_shift_lowers_the_rate_and_moves_the_clock_by_no_more_than_the_delay() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            before = await rig.link("alice")
            await rig.happens("time_shift", shift_ps=SHIFT_PS, mismatch=MISMATCH)
            await rig.agrees_with_theory()
            after = await rig.link("alice")
            assert after["session"] == before["session"]
            assert after["discards"] == before["discards"]

    asyncio.run(story())
