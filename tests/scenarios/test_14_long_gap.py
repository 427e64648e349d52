"""Both daemons are stopped for half a minute, as for an update; the taggers count on."""

from __future__ import annotations

import asyncio

import pytest
from rig import SIDES, rigged

GAP_S = 30.0


@pytest.mark.slow
def test_long_gap_is_bridged_by_the_clock_on_disk() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            for side in SIDES:
                await rig.stop(side)
            await rig.passes(GAP_S)
            for side in SIDES:
                await rig.start(side)
            await rig.sifts(within_s=10)
            # Tracked from the first epoch on: none had to be gathered for a search.
            assert "NO_LOCK" not in (await rig.link("alice"))["discards"]
            await rig.agrees_with_theory()

    asyncio.run(story())
