"""Bob's tagger has counted for half a second longer than alice's."""

from __future__ import annotations

import asyncio

from rig import rigged

OFFSET_PS = 500_000_000_000
NOT_CLOCKS_PS = 1_000_000_000
"""15 km of fibre, and what the clocks' rates add until the first lock."""


def test_large_offset_is_found() -> None:
    async def story() -> None:
        async with rigged(f"bob.clock.offset_ps={OFFSET_PS}") as rig:
            await rig.sifts()
            # Alice matches: hers minus bob's.
            assert abs((await rig.link("alice"))["clock"]["offset_ps"] + OFFSET_PS) < NOT_CLOCKS_PS
            await rig.agrees_with_theory()

    asyncio.run(story())
