"""The example bench still holds the sessions that are recorded beside it, byte for byte."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from qnoded.hil.benches import standing
from qnoded.hil.recorder import session
from qnoded.hil.rig import load_rig

HIL = Path(__file__).parents[2] / "hil"
TRANSCRIPTS = HIL / "transcripts"
RIG = load_rig(HIL / "example.toml")


def test_every_instrument_of_the_example_has_one() -> None:
    assert {file.stem for file in TRANSCRIPTS.iterdir()} == set(RIG.devices)


@pytest.mark.parametrize("name", RIG.devices)
def test_the_driver_says_what_it_said_then(name: str) -> None:
    async def scenario() -> None:
        async with standing(RIG, name, "replay", TRANSCRIPTS) as bench:
            who = await session(bench.device)
            assert bench.missed == []
            assert str(RIG.devices[name].rig.serial or "serial") in who

    asyncio.run(scenario())
