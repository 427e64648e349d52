"""Instruments on a bench of the test's own: what stands there, what it answers, and how its driver misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict

from qnoded.errors import InstrumentUnavailable
from qnoded.instruments import registry
from qnoded.instruments.capability import Identity, LaserCapability, PowerMeterCapability
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.reading import LaserReading, PowerReading, Setting


@dataclass
class Bench:
    """Where the instruments stand; one for the test that runs."""

    plugged: set[str] = field(default_factory=set)
    """Addresses at which something answers."""
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    """Method -> errors that its next calls raise, in order."""
    hangs: set[str] = field(default_factory=set)
    """Methods that never end, but can be cancelled."""
    deaf: set[str] = field(default_factory=set)
    """Methods that never end and ignore their cancellation."""
    calls: list[str] = field(default_factory=list)
    """``address method`` of every call."""
    made: list[Any] = field(default_factory=list)
    """Every driver object."""


bench = Bench()


@contextmanager
def fresh_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Announce the drivers of this file and give the test a bench of its own."""
    entries = [
        EntryPoint("scripted-meter", "scripted_drivers:ScriptedMeter", registry.GROUP),
        EntryPoint("scripted-laser", "scripted_drivers:ScriptedLaser", registry.GROUP),
        EntryPoint("real-meter", "scripted_drivers:RealMeter", registry.GROUP),
        EntryPoint("vendor-meter", "qnoded_no_such_vendor:Meter", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: [one for one in entries if one.group == group])
    bench.__init__()  # type: ignore[misc]  # a new bench in the place that the drivers know
    yield bench


class AddressSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    address: str


class ScriptedMeter:
    Settings: ClassVar[type[BaseModel]] = AddressSettings
    simulated: ClassVar[bool] = True

    def __init__(self, settings: AddressSettings) -> None:
        self.address = settings.address
        self.connected = False
        bench.made.append(self)

    @property
    def capability(self) -> PowerMeterCapability:
        return PowerMeterCapability(-80.0, 10.0, (400.0, 1700.0))

    async def _call(self, method: str) -> None:
        bench.calls.append(f"{self.address} {method}")
        if method in bench.hangs:
            await asyncio.Event().wait()
        while method in bench.deaf:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
        if bench.errors.get(method):
            raise bench.errors[method].pop(0)
        if method in ("make_safe", "close"):
            return
        if self.address not in bench.plugged or (method != "connect" and not self.connected):
            self.connected = False
            message = f"{self.address}: nothing answers; plug it in"
            raise InstrumentUnavailable(message)

    async def connect(self) -> Identity:
        await self._call("connect")
        self.connected = True
        return Identity("Bench", "Meter", f"serial of {self.address}")

    async def configure(self) -> None:
        await self._call("configure")

    async def read(self) -> Any:
        await self._call("read")
        return PowerReading(-20.0, 1550.0)

    async def make_safe(self) -> None:
        await self._call("make_safe")

    async def close(self) -> None:
        await self._call("close")
        self.connected = False


class RealMeter(ScriptedMeter):
    simulated: ClassVar[bool] = False


class ScriptedLaser(ScriptedMeter):
    """Keeps its permit as a laser must; ``interlock_open`` makes it dark by itself."""

    def __init__(self, settings: AddressSettings) -> None:
        super().__init__(settings)
        self.permits: list[EmissionPermit] = []
        self.lit = False
        self.interlock_open = False
        self.power = Setting(None, None, None)

    @property
    def capability(self) -> Any:
        return LaserCapability(1550.0, -10.0, 10.0, longest_permit_s=5.0)

    @property
    def emitting(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        return self.lit and not self.interlock_open and now_s < self.permits[-1].expires_loop_s

    async def emit(self, power_dbm: float, permit: EmissionPermit) -> None:
        permit.check(power_dbm, asyncio.get_running_loop().time())
        await self._call("emit")
        self.permits.append(permit)
        self.lit, self.power = True, Setting(power_dbm, power_dbm, power_dbm)

    async def renew(self, permit: EmissionPermit) -> None:
        await self._call("renew")
        self.permits.append(permit)

    async def read(self) -> Any:
        await self._call("read")
        return LaserReading(self.emitting, self.power)

    async def make_safe(self) -> None:
        await super().make_safe()
        self.lit = False

    async def close(self) -> None:
        self.lit = False
        await super().close()
