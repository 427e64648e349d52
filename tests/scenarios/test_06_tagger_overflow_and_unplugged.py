"""The buffer of a tagger runs over and the tagger says so; then somebody pulls its cable and plugs it in again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rig import PEER, SIDES, Rig, rigged

AWAY_S = 3.0
BACK_S = 15.0
"""Up to 12 s pass between two attempts to connect."""


@pytest.mark.slow
def test_tagger_overflow_costs_the_epochs_it_falls_into_and_an_unplugged_one_resumes_by_itself() -> None:
    async def story() -> None:
        async with rigged() as rig:
            for side in SIDES:
                await rig.sifts()
                before = {one: await rig.link(one) for one in SIDES}
                await rig.happens("tagger_overflow", side=side, for_s=0.1)
                await lose(rig, side, "GAP", before[side])
                await lose(rig, PEER[side], "REFUSED", before[PEER[side]])

                await rig.happens("unplug", side=side, device="tagger", for_s=AWAY_S)
                await rig.until_instrument(side, "tagger", lambda shown: shown["state"] != "READY", within_s=3)
                await rig.until_instrument(side, "tagger", lambda shown: shown["state"] == "READY", BACK_S)
                await rig.sifts(within_s=5)
                assert (await rig.link(side))["discards"]["GAP"] >= before[side]["discards"]["GAP"] + AWAY_S
            await rig.agrees_with_theory()

    async def lose(rig: Rig, side: str, reason: str, before: dict[str, Any]) -> None:
        old = before["discards"]
        link = await rig.until(side, lambda link: link["discards"].get(reason, 0) > old.get(reason, 0), within_s=5)
        assert 1 <= sum(link["discards"].values()) - sum(old.values()) <= 3
        assert link["session"] == before["session"]

    asyncio.run(story())
