"""A digger cuts bob's fibre; it is spliced, and its polarization is another one than before."""

from __future__ import annotations

import asyncio
from math import cos, radians

import pytest
from rig import rigged

DARK_S = 6.0
ANGLE_DEG = 60.0
"""About +45 degrees, so that DA stays as it is."""
VISIBILITY = 0.98
ERRORS_HV = (1.0 - VISIBILITY * cos(radians(ANGLE_DEG))) / 2.0


@pytest.mark.slow
def test_fibre_cut_is_bridged_with_the_clock_held_and_a_kick_is_measured_and_told() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            before = await rig.link("alice")
            await rig.happens("fibre_cut", side="bob", for_s=DARK_S)
            await rig.until("alice", lambda link: link["sifted_age_s"] > DARK_S - 2.0, within_s=DARK_S)
            await rig.happens("fibre_kick", side="bob", angle_deg=ANGLE_DEG)
            await rig.sifts(within_s=5)
            after = await rig.link("alice")
            assert after["session"] == before["session"]
            assert "NO_LOCK" not in after["discards"]

            await rig.agrees_with_theory()
            link = await rig.until("alice", lambda link: link["qber"]["total"]["low"] > 0.11, within_s=20)
            assert "polarization" in link["advice"]
            assert link["qber"]["DA"]["high"] < 0.03
            assert link["qber"]["HV"]["value"] < ERRORS_HV + 0.02

    asyncio.run(story())
