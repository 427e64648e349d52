"""Somebody changes the coincidence window at one end only."""

from __future__ import annotations

import asyncio

import pytest
from rig import SIDES, rigged


@pytest.mark.slow
def test_config_mismatch_names_the_field_and_heals_when_one_end_is_changed() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            await rig.stop("bob")
            rig.edit("bob", terms={"window_ps": 800})
            await rig.start("bob")
            for side in SIDES:
                link = await rig.until(side, lambda link: link["state"] == "MISMATCH", within_s=10)
                for word in ("window_ps", "800", "1000"):
                    assert word in link["reason"]
            await rig.stop("alice")
            rig.edit("alice", terms={"window_ps": 800})
            await rig.start("alice")
            await rig.sifts(within_s=10)

    asyncio.run(story())
