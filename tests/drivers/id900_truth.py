"""The emulated ID900's truth: what it has sent, and whether it records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from qnoded.testing.emulation import Emulation

BLOCKS = 4


class Id900Truth:
    async def work(self, driver: Any, turn: int, emulations: Sequence[Emulation]) -> None:
        stream = driver.stream()
        heard: set[tuple[int, int]] = set()
        try:
            for _ in range(BLOCKS):
                block = await anext(stream)
                heard.update(zip(block.channel.tolist(), block.tag_ps.tolist(), strict=True))
        finally:
            sent = {
                (number, time_ps) for number, times_ps in emulations[0].device.sent for time_ps in times_ps.tolist()
            }
            await stream.aclose()
            assert heard <= sent, f"{len(heard - sent)} of {len(heard)} tags are no event"

    async def settle(self, driver: Any) -> None:
        await asyncio.sleep(0)

    def serial(self, emulations: Sequence[Emulation]) -> str:
        return str(emulations[0].device.serial)

    def judge(self, reading: Any, emulations: Sequence[Emulation], instrument: Any) -> None:
        assert reading.running == emulations[0].device.records

    def afterwards(self, emulations: Sequence[Emulation]) -> None:
        assert not emulations[0].device.records
