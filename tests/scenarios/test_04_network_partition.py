"""The network between the nodes is cut for ten seconds, which both notice at once; then it falls mute."""

from __future__ import annotations

import asyncio

import pytest
from rig import SIDES, Rig, rigged

CUT_S = 10.0
MUTE_S = 6.0
"""After five seconds of silence a session ends."""
BACK_S = 10.0


@pytest.mark.slow
def test_network_partition_heals_without_an_operator() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            await rig.network.cut()
            await comes_back(rig, CUT_S)
            rig.network.hold()
            await comes_back(rig, MUTE_S)
            await rig.agrees_with_theory()

    async def comes_back(rig: Rig, after_s: float) -> None:
        for side in SIDES:
            link = await rig.until(side, lambda link: link["peer_age_s"] > after_s, within_s=after_s + 2)
            assert link["state"] == "ABSENT"
            assert link["session"] is None
        await rig.network.restore()
        await rig.sifts(BACK_S)

    asyncio.run(story())
