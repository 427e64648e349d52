"""A tagger loses its power, at either end: its counter begins at 0, and the clocks are searched for anew."""

from __future__ import annotations

import asyncio

import pytest
from rig import SIDES, rigged

AWAY_S = 2.0
BACK_S = 20.0
"""Up to 12 s pass between two attempts to connect, and a search takes some seconds."""


@pytest.mark.slow
def test_tagger_power_cycle_begins_a_new_session_by_itself() -> None:
    async def story() -> None:
        async with rigged() as rig:
            for side in SIDES:
                await rig.sifts()
                before = {one: await rig.link(one) for one in SIDES}
                await rig.cycle_tagger(side, AWAY_S, BACK_S)
                await rig.sifts(BACK_S)
                for one in SIDES:
                    assert (await rig.link(one))["session"] != before[one]["session"]
            await rig.agrees_with_theory()

    asyncio.run(story())
