"""A node leads its own ports of a matrix switch, and leaves those of others alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from qnoded_drivers.polatis_switch.driver import PolatisSettings, PolatisSwitch
from qnoded_drivers.polatis_switch.emulator import EmulatedPolatis

from qnoded.errors import InstrumentFault, UsageError
from qnoded.testing.emulation import Emulation, on_tcp

OTHERS = {1: 7}
"""A connection of somebody else."""


@asynccontextmanager
async def switch(**ports: Any) -> AsyncIterator[tuple[PolatisSwitch, EmulatedPolatis]]:
    device = EmulatedPolatis()
    device.connections = dict(OTHERS)
    async with on_tcp(Emulation(device)) as port:
        driver = PolatisSwitch(PolatisSettings.model_validate({"address": f"tcp://127.0.0.1:{port}", **ports}))
        try:
            assert str(await driver.connect()) == (
                "Polatis N-VST-4x4-LU1-DMHNS-000, serial 1234567, firmware 6.10.1.16"
            )
            yield driver, device
        finally:
            await driver.close()


def test_connections_of_others_stay_when_its_own_are_made_safe() -> None:
    async def run() -> None:
        async with switch(inputs=[3, 2], outputs=[8, 5]) as (driver, device):
            await driver.configure()
            assert (driver.capability.inputs, driver.capability.outputs) == (2, 2)
            await driver.route(0, 1)
            await driver.route(1, 0)
            assert device.connections == {**OTHERS, 3: 5, 2: 8}
            assert (await driver.read()).routes == (1, 0)
            await driver.make_safe()
            assert device.connections == OTHERS

    asyncio.run(run())


def test_without_ports_all_are_its_own() -> None:
    async def run() -> None:
        async with switch() as (driver, device):
            assert (await driver.read()).routes == (2, None, None, None)
            await driver.configure()
            assert device.connections == {}

    asyncio.run(run())


def test_an_output_that_is_taken_is_named_and_left() -> None:
    async def run() -> None:
        async with switch(inputs=[2, 3], outputs=[7, 8]) as (driver, device):
            await driver.configure()
            with pytest.raises(UsageError, match=r"output 0 \(port 7\) is taken by port 1"):
                await driver.route(0, 0)
            await driver.route(0, 1)
            with pytest.raises(UsageError, match=r"output 1 \(port 8\) is taken by port 2; lead that elsewhere first"):
                await driver.route(1, 1)
            assert device.connections == {**OTHERS, 2: 8}

    asyncio.run(run())


def test_an_input_that_leads_to_somebody_else_is_a_fault_until_it_is_configured() -> None:
    async def run() -> None:
        async with switch(inputs=[1], outputs=[5]) as (driver, device):
            with pytest.raises(InstrumentFault, match="input port 1 leads to port 7, which is not this node's"):
                await driver.read()
            await driver.configure()
            assert device.connections == {}
            assert (await driver.read()).routes == (None,)

    asyncio.run(run())


def test_why_an_order_was_not_obeyed_is_told() -> None:
    async def run() -> None:
        async with switch(inputs=[2], outputs=[5]) as (driver, device):
            await driver.configure()
            device._outputs, device._changed = 4, lambda how, text: False  # type: ignore[method-assign]
            with pytest.raises(InstrumentFault, match='port 2 was led to 5, is at None: -113,"Undefined header'):
                await driver.route(0, 0)

    asyncio.run(run())


def test_ports_that_the_switch_has_not_are_told() -> None:
    async def run() -> None:
        device = EmulatedPolatis(inputs=4, outputs=4)
        async with on_tcp(Emulation(device)) as port:
            driver = PolatisSwitch(PolatisSettings(address=f"tcp://127.0.0.1:{port}", outputs=(4, 5)))
            with pytest.raises(InstrumentFault, match=r"its outputs are 5 to 8, the settings name \[4\]"):
                await driver.connect()
            await driver.close()

    asyncio.run(run())
    with pytest.raises(ValidationError, match="a port stands there twice"):
        PolatisSettings(address="tcp://127.0.0.1:5025", inputs=(1, 1))
