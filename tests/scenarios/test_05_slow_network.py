"""Every message between the nodes takes 200 ms, from one moment to the next."""

from __future__ import annotations

import asyncio

from rig import SIDES, rigged

DELAY_S = 0.2


def test_delay_costs_nothing() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            before = {side: await rig.link(side) for side in SIDES}
            rig.network.delay_s = DELAY_S
            await rig.agrees_with_theory()
            for side in SIDES:
                after = await rig.link(side)
                assert after["session"] == before[side]["session"]
                assert after["discards"] == before[side]["discards"]

    asyncio.run(story())
