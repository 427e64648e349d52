"""Nanowires are biased one by one through a supply with one switch, and those that latch are named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from qnoded_drivers.single_quantum_websq.driver import Websq, WebsqSettings
from qnoded_drivers.single_quantum_websq.emulator import EmulatedWebsq

from qnoded.errors import InstrumentFault
from qnoded.testing.emulation import Emulation, on_tcp

SWITCHING_UA = (25.0, 18.0, 26.0)


@asynccontextmanager
async def supply(device: EmulatedWebsq) -> AsyncIterator[Websq]:
    async with on_tcp(Emulation(device)) as port:
        driver = Websq(WebsqSettings(address=f"tcp://127.0.0.1:{port}", max_bias_ua=20.0))
        try:
            assert str(await driver.connect()) == "Single Quantum WebSQ, serial not told"
            await driver.configure()
            yield driver
        finally:
            await driver.close()
            await asyncio.sleep(0.05)
            assert not device.enabled


@pytest.mark.parametrize("separator", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_one_switch_serves_all_channels(separator: bool, together: bool) -> None:
    async def run() -> None:
        device = EmulatedWebsq(switching_ua=SWITCHING_UA, separator=separator, together=together)
        async with supply(device) as driver:
            assert driver.capability.channels == (1, 2, 3)
            await driver.enable(1, 12.0)
            await driver.enable(3, 15.0)
            assert (device.enabled, device.currents_ua) == (True, [12.0, 0.0, 15.0])
            reading = await driver.read()
            assert [one.enabled for one in reading] == [True, False, True]
            assert [one.bias.requested for one in reading] == [12.0, None, 15.0]
            await driver.disable(1)
            assert (device.enabled, device.currents_ua) == (True, [0.0, 0.0, 15.0])
            await driver.disable(3)
            assert (device.enabled, device.currents_ua) == (False, [0.0] * 3)

    asyncio.run(run())


def test_a_detector_that_latches_is_told_apart_until_its_bias_was_off() -> None:
    async def run() -> None:
        device = EmulatedWebsq(switching_ua=SWITCHING_UA)
        async with supply(device) as driver:
            await driver.enable(1, 12.0)
            await driver.enable(2, 19.0)
            assert [(one.enabled, one.latched) for one in await driver.read()] == [
                (True, False),
                (True, True),
                (False, False),
            ]
            await driver.enable(2, 15.0)
            assert [one.latched for one in await driver.read()] == [False, True, False]
            await driver.disable(2)
            await driver.enable(2, 15.0)
            assert [one.latched for one in await driver.read()] == [False] * 3
            assert [one.enabled for one in await driver.read()] == [True, True, False]

    asyncio.run(run())


def test_currents_that_stood_there_while_the_switch_was_off_do_not_come_with_it() -> None:
    async def run() -> None:
        device = EmulatedWebsq(switching_ua=SWITCHING_UA)
        async with supply(device) as driver:
            device.currents_ua = [5.0, 60.0, 5.0]
            await driver.enable(1, 12.0)
            assert device.currents_ua == [12.0, 0.0, 0.0]

    asyncio.run(run())


def test_an_error_that_it_tells_is_a_fault_and_leaves_no_bias() -> None:
    async def run() -> None:
        device = EmulatedWebsq(switching_ua=SWITCHING_UA)
        async with supply(device) as driver:
            await driver.enable(1, 12.0)
            answers = device._obeyed
            told = [device._written("ErrorMessage", "bias board 1 too warm")]
            device._obeyed = (  # type: ignore[method-assign]
                lambda command, value: told if command == "SetAllBiasCurrents" else answers(command, value)
            )
            with pytest.raises(InstrumentFault, match="ErrorMessage: bias board 1 too warm"):
                await driver.enable(2, 12.0)
            assert not device.enabled

    asyncio.run(run())


def test_the_raw_way_makes_safe_and_its_answer_says_so() -> None:
    async def run() -> None:
        device = EmulatedWebsq(switching_ua=SWITCHING_UA)
        (raw,) = Websq.raw_safe(WebsqSettings(address="tcp://127.0.0.1:12000", max_bias_ua=20.0))
        device.switch_on(0.0)
        device.enabled, device.currents_ua = True, [12.0] * 3
        asked = raw.order[raw.order.index(b'{"request"') :]
        assert not re.search(raw.confirmed, b"".join(device.hear(asked, 0.0)))
        assert re.search(raw.confirmed, b"".join(device.hear(raw.order, 0.0)))
        assert not device.enabled

    asyncio.run(run())
