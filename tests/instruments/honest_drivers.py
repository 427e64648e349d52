"""Small drivers that keep every rule, without sockets or threads: what the contract suite is itself tested with."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from qnoded.errors import InstrumentUnavailable, UsageError
from qnoded.instruments.capability import (
    AttenuatorCapability,
    Identity,
    LaserCapability,
    OpticalSwitchCapability,
    OvenCapability,
    PolarizationControllerCapability,
    PowerMeterCapability,
    SinglePhotonDetectorCapability,
    TimeTaggerCapability,
)
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.reading import (
    AttenuatorReading,
    DetectorReading,
    LaserReading,
    OvenReading,
    PolarizationReading,
    PowerReading,
    Setting,
    SwitchReading,
    TaggerReading,
)
from qnoded.records import Gap, TagBlock
from qnoded.units import PS_PER_MS, PS_PER_S

ANSWER_S = 0.001
BLOCK_PS = 50 * PS_PER_MS
KEPT_PS = PS_PER_S


@dataclass
class Rack:
    """The instrument itself, which stays while drivers come and go."""

    whole: bool = True
    cuts: int = 0
    state: dict[str, Any] = field(default_factory=dict)

    async def cut(self) -> None:
        self.whole = False
        self.cuts += 1

    async def restore(self) -> None:
        self.whole = True


class HonestSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    rack: Rack


def now_s() -> float:
    return asyncio.get_running_loop().time()


def demand_within(value: float, first: float, last: float) -> None:
    if not first <= value <= last:
        message = f"{value} is outside of {first} to {last}; choose a value within"
        raise UsageError(message)


class Honest:
    """What all have in common; ``safe`` is the instrument's state when it is safe."""

    Settings: ClassVar[type[BaseModel]] = HonestSettings
    simulated: ClassVar[bool] = True
    safe: ClassVar[dict[str, Any]] = {}
    capability: Any = None

    def __init__(self, settings: HonestSettings) -> None:
        self.rack = settings.rack
        self._session: int | None = None

    async def _alive(self) -> None:
        await asyncio.sleep(ANSWER_S)
        if self._session is None or not self.rack.whole or self._session != self.rack.cuts:
            self._session = None
            message = "not connected; connect"
            raise InstrumentUnavailable(message)

    def _setting(self, name: str) -> Setting:
        return Setting(self.rack.state.get(f"requested {name}"), None, self.rack.state[name], now_s())

    async def connect(self) -> Identity:
        if not self.rack.whole:
            message = "nobody there; plug it in"
            raise InstrumentUnavailable(message)
        self._session = self.rack.cuts
        self.rack.state = dict(self.safe) | self.rack.state
        return Identity("Honest", type(self).__name__, "7")

    async def configure(self) -> None:
        await self._alive()
        self.rack.state |= self.safe

    async def make_safe(self) -> None:
        await asyncio.sleep(ANSWER_S)
        if self._session == self.rack.cuts:
            self.rack.state |= self.safe

    async def close(self) -> None:
        await self.make_safe()
        self._session = None


class HonestMeter(Honest):
    capability = PowerMeterCapability(-80.0, 10.0, (400.0, 1700.0))

    async def read(self) -> Any:
        await self._alive()
        return PowerReading(-90.0, 1550.0)


class HonestLaser(Honest):
    capability = LaserCapability(1550.0, -10.0, 10.0, longest_permit_s=3.0)
    safe: ClassVar = {"until_s": -math.inf, "power": -60.0}

    async def emit(self, power_dbm: float, permit: EmissionPermit) -> None:
        permit.check(power_dbm, now_s())
        demand_within(power_dbm, self.capability.min_power_dbm, self.capability.max_power_dbm)
        await self._alive()
        self.rack.state |= {"requested power": power_dbm, "power": power_dbm, "until_s": self._until_s(permit)}

    async def renew(self, permit: EmissionPermit) -> None:
        permit.check(-math.inf, now_s())
        await self._alive()
        if now_s() < self.rack.state["until_s"]:
            self.rack.state["until_s"] = self._until_s(permit)

    def _until_s(self, permit: EmissionPermit) -> float:
        return min(permit.expires_loop_s, now_s() + self.capability.longest_permit_s)

    async def read(self) -> Any:
        await self._alive()
        return LaserReading(now_s() < self.rack.state["until_s"], self._setting("power"), 25.0)


class HonestController(Honest):
    capability = PolarizationControllerCapability(("paddle 1", "paddle 2"), 0.0, 160.0, 0.5)
    safe: ClassVar = {"rests_s": -math.inf, "angles": (0.0, 0.0), "requested": (None, None)}

    async def configure(self) -> None:
        await self._alive()

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        if len(settings_deg) != len(self.capability.elements):
            message = f"{len(settings_deg)} angles for {len(self.capability.elements)} elements"
            raise UsageError(message)
        for angle in settings_deg:
            demand_within(angle, self.capability.min_deg, self.capability.max_deg)
        await self._alive()
        self.rack.state |= {"rests_s": now_s() + 0.4, "angles": settings_deg, "requested": settings_deg}

    async def read(self) -> Any:
        await self._alive()
        angles, requested = self.rack.state["angles"], self.rack.state["requested"]
        settings = tuple(Setting(asked, None, one, now_s()) for asked, one in zip(requested, angles, strict=True))
        return PolarizationReading(now_s() < self.rack.state["rests_s"], settings)


class HonestAttenuator(Honest):
    capability = AttenuatorCapability(0.5, 60.0, 0.2)
    safe: ClassVar = {"loss": 60.0}

    async def attenuate(self, attenuation_db: float) -> None:
        demand_within(attenuation_db, self.capability.min_db, self.capability.max_db)
        await self._alive()
        self.rack.state |= {"requested loss": attenuation_db, "loss": attenuation_db}

    async def read(self) -> Any:
        await self._alive()
        return AttenuatorReading(self._setting("loss"))


class HonestSwitch(Honest):
    capability = OpticalSwitchCapability(2, 3, 0.01)
    safe: ClassVar = {"routes": (None, None)}

    async def route(self, source: int, output: int | None) -> None:
        if source not in range(2) or output not in (None, 0, 1, 2):
            message = f"no way from {source} to {output}"
            raise UsageError(message)
        await self._alive()
        routes = list(self.rack.state["routes"])
        routes[source] = output
        self.rack.state["routes"] = tuple(routes)

    async def read(self) -> Any:
        await self._alive()
        return SwitchReading(self.rack.state["routes"])


class HonestSupply(Honest):
    capability = SinglePhotonDetectorCapability((1, 2), 1.0, 20.0, "uA")
    safe: ClassVar = {"bias": {1: None, 2: None}}

    async def enable(self, channel: int, bias: float) -> None:
        await self._set(channel, bias)

    async def disable(self, channel: int) -> None:
        await self._set(channel, None)

    async def _set(self, channel: int, bias: float | None) -> None:
        if channel not in self.capability.channels:
            message = f"no channel {channel}"
            raise UsageError(message)
        if bias is not None:
            demand_within(bias, self.capability.min_bias, self.capability.max_bias)
        await self._alive()
        self.rack.state["bias"] = self.rack.state["bias"] | {channel: bias}

    async def read(self) -> Any:
        await self._alive()
        biases = self.rack.state["bias"]
        return tuple(
            DetectorReading(biases[one] is not None, Setting(None, None, biases[one] or 0.0, now_s())) for one in (1, 2)
        )


class HonestOven(Honest):
    capability = OvenCapability(20.0, 80.0)
    safe: ClassVar = {"heating": True, "set-point": 35.0}

    async def heat(self, target_c: float | None) -> None:
        if target_c is not None:
            demand_within(target_c, self.capability.min_c, self.capability.max_c)
        await self._alive()
        self.rack.state |= {"heating": target_c is not None, "requested": target_c}
        if target_c is not None:
            self.rack.state["set-point"] = target_c

    async def read(self) -> Any:
        await self._alive()
        state = self.rack.state
        shown = Setting(state.get("requested"), state["set-point"], 22.0, now_s())
        return OvenReading(state["heating"], False, shown)


class HonestTagger(Honest):
    """Ten thousand tags a second, at whole tenths of a millisecond of the loop's time."""

    capability = TimeTaggerCapability((0, 3), Fraction(1), 1e6)
    stream_id = "since the rack was built"

    def __init__(self, settings: HonestSettings) -> None:
        super().__init__(settings)
        self._stop: asyncio.Event | None = None

    async def stream(self) -> AsyncIterator[TagBlock]:
        await self._alive()
        stop = self._stop = asyncio.Event()
        begin_ps = int(now_s() * PS_PER_S)
        try:
            while not stop.is_set():
                gaps: tuple[Gap, ...] = ()
                if int(now_s() * PS_PER_S) - begin_ps > self._kept_ps() + BLOCK_PS:
                    kept_ps = int(now_s() * PS_PER_S) - self._kept_ps()
                    gaps, begin_ps = (Gap(begin_ps, kept_ps, None, "overflow"),), kept_ps
                with suppress(TimeoutError):
                    async with asyncio.timeout_at((begin_ps + BLOCK_PS) / PS_PER_S):
                        await stop.wait()
                        return
                try:
                    await self._alive()
                except InstrumentUnavailable:
                    if stop.is_set():
                        return
                    raise
                yield self._block(begin_ps, gaps)
                begin_ps += BLOCK_PS
        finally:
            stop.set()

    def _kept_ps(self) -> int:
        return KEPT_PS

    def _block(self, begin_ps: int, gaps: tuple[Gap, ...]) -> TagBlock:
        tag_ps = np.arange(begin_ps, begin_ps + BLOCK_PS, PS_PER_MS // 10, dtype=np.int64)
        return TagBlock(np.where(np.arange(tag_ps.size) % 2, 0, 3).astype(np.uint8), tag_ps, gaps)

    async def configure(self) -> None:
        await super().configure()
        self._end()

    async def make_safe(self) -> None:
        self._end()
        await super().make_safe()

    def _end(self) -> None:
        if self._stop is not None:
            self._stop.set()

    async def read(self) -> Any:
        await self._alive()
        return TaggerReading(self._stop is not None and not self._stop.is_set(), 0)
