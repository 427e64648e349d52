"""An eavesdropper blinds bob's detectors and makes them click as she likes: no error tells of her, S does."""

from __future__ import annotations

import asyncio

import pytest
from rig import SIDES, SIGMAS, rigged

LARGEST_LOCAL_S = 2.0
HARMLESS_QBER = 0.05


@pytest.mark.slow
def test_blinding_makes_no_errors_and_violates_no_bell_inequality() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            before, theory = await rig.chsh()
            assert abs(before["s"]) - SIGMAS * before["sigma"] > LARGEST_LOCAL_S
            assert abs(abs(before["s"]) - theory) <= SIGMAS * before["sigma"]
            await rig.happens("blinding")
            await rig.agrees_with_theory()
            during, theory = await rig.chsh()
            assert abs(during["s"]) - SIGMAS * during["sigma"] <= LARGEST_LOCAL_S
            assert abs(abs(during["s"]) - theory) <= SIGMAS * during["sigma"]
            for side in SIDES:
                assert (await rig.link(side))["qber"]["total"]["high"] < HARMLESS_QBER

    asyncio.run(story())
