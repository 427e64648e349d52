"""Somebody pulls the cable of the laser and plugs it in again: light comes back on an operator's word, not before."""

from __future__ import annotations

import asyncio

import pytest
from rig import rigged

AWAY_S = 2.0


@pytest.mark.slow
def test_laser_unplugged_stays_dark_until_it_is_resumed() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            before = await rig.link("alice")
            await rig.happens("unplug", side="alice", device="laser", for_s=AWAY_S)
            await rig.until_instrument("alice", "laser", lambda shown: shown["state"] != "READY", within_s=3)
            laser = await rig.until_instrument("alice", "laser", lambda shown: shown["state"] == "READY", within_s=15)
            assert "dark" in laser["problem"]
            # Ten epochs later it is still dark.
            link = await rig.until("alice", lambda link: (link["sifted_age_s"] or 0.0) > 6.0, within_s=20)
            assert link["session"] == before["session"]
            laser = await rig.until_instrument("alice", "laser", lambda shown: shown["reading"] is not None, within_s=3)
            assert not laser["reading"]["emitting"]
            await rig.light("alice", "on")
            await rig.sifts(within_s=5)
            await rig.agrees_with_theory()

    asyncio.run(story())
