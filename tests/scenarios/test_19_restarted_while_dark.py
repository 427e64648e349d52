"""A daemon whose laser is dark by a doubt, or was lost as it ended, is restarted: light only on an operator's word."""

from __future__ import annotations

import asyncio

import pytest
from rig import LOOK_S, START_S, rigged

AWAY_S = 2.0
BACK_S = 20.0
STAYS_DARK_S = 6.0
GONE_S = 25.0
"""Beyond the start of a daemon that waits ten seconds for its laser."""


@pytest.mark.slow
def test_a_restart_does_not_take_the_doubt_off_a_laser() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            await rig.happens("unplug", side="alice", device="laser", for_s=AWAY_S)
            # Where the laser is back and dark, the doubt about it is written down.
            await rig.until_instrument("alice", "laser", lambda shown: "dark" in (shown["problem"] or ""), BACK_S)
            await rig.stop("alice")
            await rig.start("alice")
            laser = await rig.until_instrument("alice", "laser", lambda shown: shown["reading"] is not None, START_S)
            assert laser["state"] == "READY"
            await rig.passes(STAYS_DARK_S)
            laser = await rig.instrument("alice", "laser")
            assert not laser["reading"]["emitting"]
            assert "qnodectl light on" in laser["problem"]
            assert (await rig.link("alice"))["epochs"] == 0
            await rig.light("alice", "on")
            await rig.sifts(within_s=20)
            await rig.agrees_with_theory()

    asyncio.run(story())


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_daemon_that_ends_while_its_laser_cannot_be_reached_starts_dark(end: str) -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            await rig.happens("unplug", side="alice", device="laser", for_s=AWAY_S if end == "stop" else GONE_S)
            async with asyncio.timeout(BACK_S):
                while not (await rig.truth())["events"]:  # noqa: ASYNC110 - the world tells when asked
                    await asyncio.sleep(LOOK_S)
            # Within a permit's renewal, so that mostly nobody has noticed; a killed daemon leaves that there was light.
            await (rig.stop("alice") if end == "stop" else rig.kill("alice"))
            await rig.start("alice")
            laser = await rig.until_instrument("alice", "laser", lambda shown: shown["reading"] is not None, 2 * GONE_S)
            assert laser["state"] == "READY"
            await rig.passes(STAYS_DARK_S)
            laser = await rig.instrument("alice", "laser")
            assert not laser["reading"]["emitting"]
            assert "qnodectl light on" in laser["problem"]
            await rig.light("alice", "on")
            await rig.sifts(within_s=20)

    asyncio.run(story())
