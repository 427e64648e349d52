"""A TDC1 in the dark goes on to give signs of life, so that nobody takes it for lost."""

from __future__ import annotations

import asyncio

from qnoded_drivers.keeping import AWAKE_S
from qnoded_drivers.s15_tdc1.driver import Tdc1, Tdc1Settings
from qnoded_drivers.s15_tdc1.emulator import EmulatedTdc1

from qnoded.testing.emulation import Emulation, on_tcp

BLOCKS = 3


def test_a_dark_tagger_gives_empty_blocks() -> None:
    async def dark() -> list[int]:
        emulation = Emulation(EmulatedTdc1(rates_hz=(0.0, 0.0, 0.0, 0.0)))
        async with on_tcp(emulation) as port:
            driver = Tdc1(Tdc1Settings(address=f"tcp://127.0.0.1:{port}"))
            await driver.connect()
            await driver.configure()
            found = []
            async with asyncio.timeout(20 * BLOCKS * AWAKE_S):
                async for block in driver.stream():
                    found.append(len(block))
                    if len(found) == BLOCKS:
                        break
            await driver.close()
            return found

    assert asyncio.run(dark()) == [0] * BLOCKS
