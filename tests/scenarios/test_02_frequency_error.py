"""Bob's oscillator is bad: 20 parts in a million fast, with the noise of a cheap quartz, and warming up."""

from __future__ import annotations

import asyncio

import pytest
from rig import rigged

FREQUENCY_ERROR = 20e-6
DRIFT_PER_S = 1e-8
WORLD = (
    "alice.clock.frequency_error=0.0",
    "bob.clock.preset=tcxo",
    f"bob.clock.frequency_error={FREQUENCY_ERROR}",
    f"bob.clock.drift_per_s={DRIFT_PER_S}",
)


@pytest.mark.slow
def test_frequency_error_and_drift_are_found_and_followed_without_losing_the_lock() -> None:
    async def story() -> None:
        async with rigged(*WORLD) as rig:
            await rig.sifts()
            before = await rig.link("alice")
            # Alice matches: hers against bob's.
            assert abs(before["clock"]["frequency_error"] + FREQUENCY_ERROR) < 1e-6
            await rig.agrees_with_theory(epochs=16)
            after = await rig.link("alice")
            assert after["session"] == before["session"]
            assert after["discards"] == before["discards"]
            moved = after["clock"]["frequency_error"] - before["clock"]["frequency_error"]
            passed_s = after["since_s"] - before["since_s"]
            assert abs(-moved / passed_s / DRIFT_PER_S - 1.0) < 0.3

    asyncio.run(story())
