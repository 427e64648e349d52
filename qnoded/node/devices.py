"""All instruments of the node, by role: who is ready, who has appeared, and what everybody does when the node stops.

For a consumer::

    async for tagger in devices.appearances("tagger"):
        try:
            async for block in tagger.stream(): ...
        except InstrumentError as error:
            devices.report("tagger", tagger, error)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from qnoded.errors import DependencyMissing, QnodedError, UsageError
from qnoded.instruments.protocols import Instrument
from qnoded.instruments.registry import Binding
from qnoded.node.device import Device, DeviceChanged, DeviceSnapshot
from qnoded.node.driver_call import through

LASER: Final = "laser"
CONTROLLER: Final = "polarization"
"""Roles that the node itself drives, beside its tagger."""
NEXT_S: Final = 0.25
"""When the node stops, an instrument that hangs delays the closing of the next one by no more."""


class Devices:
    """The node's instruments; nothing happens before ``run``."""

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Any]],
        where: str,
        *,
        simulation: bool,
        chance: random.Random,
        tell: Callable[[DeviceChanged], None],
    ) -> None:
        """Check all tables.

        Parameters
        ----------
        tables
            Role -> ``driver``, optionally ``serial``, and the driver's own settings, in the order of starting.
        where
            File that they stand in.
        simulation
            Whether simulated instruments may take part.
        chance
            Seeded source of the jitter of pauses.
        tell
            Called with every change of state.

        Raises
        ------
        ConfigError
            If a table is wrong. A missing library is no error: the role waits for it.
        """
        self._devices: dict[str, Device] = {}
        self._swapping = {role: asyncio.Lock() for role in tables}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stopping = False
        for role, table in tables.items():
            device = Device(role, table, where, simulation=simulation, chance=chance, tell=tell)
            device.take(table, _bound_if_installed(device, table))
            self._devices[role] = device

    def __contains__(self, role: object) -> bool:
        return role in self._devices

    def get(self, role: str) -> Instrument | None:
        """Return the instrument that plays a role, or None as long as none can be used."""
        device = self._devices.get(role)
        return device.instrument if device else None

    async def wait_ready(self, role: str) -> Instrument:
        """Wait until an instrument plays the role and can be used."""
        return await self._device(role).other_than(None)

    async def appearances(self, role: str) -> AsyncIterator[Instrument]:
        """Yield the role's instrument, and each one that replaces it or comes back, as soon as it can be used."""
        device, instrument = self._device(role), None
        while True:
            instrument = await device.other_than(instrument)
            yield instrument

    async def settled(self) -> None:
        """Wait until every instrument is ready or has told why not: the node knows what it has."""
        for device in self._devices.values():
            await device.settled.wait()

    def report(self, role: str, instrument: Instrument, error: QnodedError) -> None:
        """Take note that a consumer's use of an instrument failed; it is connected anew."""
        self._device(role).report(instrument, error)

    def snapshots(self) -> tuple[DeviceSnapshot, ...]:
        """Return what is known of every instrument now, in the order of starting."""
        return tuple(device.snapshot() for device in self._devices.values())

    def snapshot(self, role: str) -> DeviceSnapshot:
        """Return what is known of one instrument now."""
        return self._device(role).snapshot()

    async def run(self) -> None:
        """Supervise all until cancelled, then make everything safe and close it."""
        async with asyncio.TaskGroup() as self._group:
            try:
                for role in self._devices:
                    self._start(role)
                await asyncio.Event().wait()
            finally:
                await through(self._stop())

    async def make_safe(self) -> None:
        """Make all safe at once, each within its own time and whatever the others do."""
        await asyncio.gather(*(device.make_safe() for device in self._devices.values()))

    async def swap(self, role: str, table: Mapping[str, Any]) -> DeviceSnapshot:
        """Give a role to another driver, or the same one again, while the node runs.

        The new table is checked first; only then the old instrument is made safe and closed. If the new one does not
        answer, the role stays absent and is tried again like any other.

        Returns
        -------
        What became of the first attempt.

        Raises
        ------
        UsageError
            If the node has no such role, or stops.
        ConfigError, DependencyMissing
            If the table is wrong or the driver cannot be loaded; the old instrument goes on undisturbed.
        """
        device = self._device(role)
        async with self._swapping[role]:
            binding = await asyncio.to_thread(device.bind, table)
            await through(self._replace(role, table, binding))
        await device.settled.wait()
        return device.snapshot()

    async def _replace(self, role: str, table: Mapping[str, Any], binding: Binding) -> None:
        if not self._stopping:
            await self._halt(role)
        # It may have begun to stop meanwhile: then nothing is connected any more.
        if self._stopping:
            problem = f"the node stops: {role} is not swapped"
            raise UsageError(problem)
        self._devices[role].take(table, binding)
        self._start(role)

    def _start(self, role: str) -> None:
        assert self._group is not None
        self._tasks[role] = self._group.create_task(self._devices[role].supervise(), name=f"device {role}")

    async def _halt(self, role: str) -> None:
        task = self._tasks.get(role)
        if task is not None:
            if not task.cancelling():
                task.cancel()
            await asyncio.wait({task})

    async def _stop(self) -> None:
        self._stopping = True
        await self.make_safe()
        halts = []
        for role in reversed(self._devices):
            halts.append(asyncio.create_task(self._halt(role)))
            await asyncio.wait(halts[-1:], timeout=NEXT_S)
        await asyncio.gather(*halts)
        for device in self._devices.values():
            device.end()

    def _device(self, role: str) -> Device:
        if role not in self._devices:
            problem = f"this node has no instrument {role!r}; it has {', '.join(self._devices) or 'none'}"
            raise UsageError(problem)
        return self._devices[role]


def _bound_if_installed(device: Device, table: Mapping[str, Any]) -> Binding | None:
    try:
        return device.bind(table)
    except DependencyMissing:
        return None
