"""One of bob's detectors latches and is reset some seconds later."""

from __future__ import annotations

import asyncio

import pytest
from rig import rigged

DEAD_S = 16.0
"""Beyond both measurements, where the first one lies outside of theory by chance: 18 epochs."""


@pytest.mark.slow
def test_detector_death_costs_its_coincidences_and_nothing_else() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            before = await rig.link("alice")
            await rig.happens("detector_death", side="bob", detectors=["V"], for_s=DEAD_S)
            await rig.agrees_with_theory()
            while (await rig.truth())["events"][-1]["stop_s"] is None:
                await rig.sifts()
            await rig.sifts()
            after = await rig.link("alice")
            assert after["session"] == before["session"]
            assert after["discards"] == before["discards"]

    asyncio.run(story())
