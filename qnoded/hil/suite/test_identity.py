"""It is the instrument that the rig file names, and it takes part in a session."""

from __future__ import annotations

import asyncio

import pytest

from qnoded.hil.plugin import Hil
from qnoded.hil.recorder import session
from qnoded.instruments.protocols import DEADLINE_S
from qnoded.node.driver_call import bounded


@pytest.mark.level(1)
def test_identity(device: str, hil: Hil) -> None:
    """The serial number, and the firmware where the rig file has one, are those of the rig file."""

    async def look() -> None:
        async with hil.standing(device, stranger=True) as bench:
            instrument = bench.device.binding.instrument()
            try:
                identity = await bounded(instrument.connect(), f"{device}: connect", DEADLINE_S)
            finally:
                await instrument.close()
        expected = hil.rig.devices[device].rig
        rows = [("serial", identity.serial, expected.serial), ("firmware", identity.firmware, expected.firmware)]
        for what, found, wanted in rows:
            # What an emulated instrument has for firmware is its author's choice.
            holds = wanted in (None, found) or (what == "firmware" and hil.backend == "emulated")
            hil.measured(what, found or "none", "", "any" if wanted is None else wanted, holds=holds)
            assert holds, f"{device}: {what} is {found}, the rig file says {wanted}"

    asyncio.run(look())


@pytest.mark.level(2)
def test_session(device: str, hil: Hil) -> None:
    """It connects, is configured, is read, and ends; a recorded one has an answer for every question."""

    async def talk() -> None:
        async with hil.standing(device) as bench:
            who = await session(bench.device)
            hil.measured("session", who, "", "every call within its deadline", holds=not bench.missed)
            assert not bench.missed, f"{device}: the recording has no answer to {bench.missed[0]}"

    asyncio.run(talk())
