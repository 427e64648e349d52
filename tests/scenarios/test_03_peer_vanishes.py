"""One daemon is gone as after a power cut, and comes back; the other is not touched."""

from __future__ import annotations

import asyncio

import pytest
from rig import PEER, rigged

NOTICED_S = 8.0
"""Five seconds of silence end a session."""
BACK_S = 10.0


@pytest.mark.slow
def test_peer_vanishes_and_the_link_is_back_within_ten_seconds_of_its_return() -> None:
    async def story() -> None:
        async with rigged() as rig:
            for side in ("bob", "alice"):
                survivor = PEER[side]
                await rig.sifts()
                before = await rig.status(survivor)
                await rig.kill(side)
                link = await rig.until(survivor, lambda link: link["state"] == "ABSENT", NOTICED_S)
                assert "peer" in link["reason"]
                if side == "alice":
                    # Her laser is dark: nobody has renewed its permit.
                    assert (await rig.truth())["lasers"][-1]["stop_s"] is not None
                await rig.start(side)
                await rig.sifts(BACK_S)
                after = await rig.status(survivor)
                assert after["node"]["started_utc"] == before["node"]["started_utc"]
                assert after["links"][side]["session"] != before["links"][side]["session"]
            await rig.agrees_with_theory()

    asyncio.run(story())
