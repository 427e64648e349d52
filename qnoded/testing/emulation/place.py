"""The place of an emulated instrument in the simulated world, with whose light it does what it does.

Beyond its wire the instrument stays what it is: a laser whose driver has died goes on emitting. But an emulation that
dies leaves the world dark, and a cable that the world's script pulls is pulled here as well.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import numpy as np

from qnoded.errors import InstrumentError, UsageError
from qnoded.records import TagBlock
from qnoded.sim.devices.cable import Cable, CableSettings
from qnoded.sim.feed import unpack
from qnoded.sim.server import STRETCH_PS, TAGS
from qnoded.sim.wire import LARGEST_BODY
from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.light import Attenuates, Biases, Detects, Heats, Measures, Retarder, Shines, Turns
from qnoded.testing.emulation.plugging import TICK_S, Emulation
from qnoded.testing.emulation.retarding import equivalent_retardances_deg, turned_by

LEASE_S: Final = 1.0
"""How long the world believes a laser whose emulation says nothing any more."""
TOLD_S: Final = 0.3
"""What has not changed is told anew after so long, which also shows whether the world is still there."""
METER_S: Final = 0.05
"""Between two looks of a power meter."""
CRYSTAL_STEP_K: Final = 0.01
"""The world is told of a crystal that has become warmer or colder by so much: a hundredth of its phase matching."""
RETURN_S: Final = 0.2
"""Between two attempts to reach a world that has gone."""
SLOW_CLOCK: Final = 0.999
"""No clock of the world runs slower: what it has shown after an empty stretch is at least this share of it."""

NOTHING: Final = TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64))

KINDS: Final[Mapping[str, type[Any]]] = {
    "tagger": Detects,
    "laser": Shines,
    "polarization": Turns,
    "power-meter": Measures,
    "attenuator": Attenuates,
    "detector-supply": Biases,
    "oven": Heats,
}
"""Roles, as the world names its instruments, and what an emulated one must be to play them; the first that fits is
played. A laser that heats the crystal as well does both."""


def role_of(device: Device) -> str:
    """Return the role that an instrument can play in the world.

    Raises
    ------
    UsageError
        If it has nothing to do with light.
    """
    for role, kind in KINDS.items():
        if isinstance(device, kind):
            return role
    problem = f"a {type(device).__name__} has nothing to do with light; leave out --world"
    raise UsageError(problem)


@asynccontextmanager
async def placed(emulation: Emulation, settings: CableSettings) -> AsyncIterator[None]:
    """Let an instrument play its role in the world for as long as the block lasts.

    Raises
    ------
    UsageError
        If it has none.
    InstrumentError
        If the world does not answer at first; later it is waited for, with the instrument's cable pulled.
    """
    place = _Place(emulation, settings, role_of(emulation.device))
    await place.take()
    life = asyncio.create_task(place.live(), name="emulated instrument in the world")
    # Also a mistake made there must not leave an instrument that has stopped without a sign.
    life.add_done_callback(lambda _: emulation.pull())
    try:
        yield
    finally:
        life.cancel()
        await asyncio.wait({life})
        if not life.cancelled():
            life.result()


class _Place:
    def __init__(self, emulation: Emulation, settings: CableSettings, role: str) -> None:
        self._emulation, self._device = emulation, emulation.device
        # The world gives tags by a cable of their own, and a tagger has nothing else to say.
        self._cable = Cable(settings, TAGS if role == "tagger" else role)
        self._capability: dict[str, Any] = {}
        self._stream_id: str | None = None
        self._crystal_c, self._warmed_s = 0.0, -math.inf
        plays: dict[str, Callable[[], Awaitable[None]]] = {
            "tagger": self._detect,
            "laser": self._shine,
            "polarization": self._turn,
            "power-meter": self._measure,
            "attenuator": self._attenuate,
            "detector-supply": self._bias,
            "oven": self._heat,
        }
        self._play = plays[role]

    async def take(self) -> None:
        """Connect."""
        greeting = await self._cable.open()
        self._capability = greeting.get("capability", {})
        stream_id = greeting.get("stream_id")
        if self._stream_id not in (None, stream_id):
            # The world has switched its tagger off and on.
            self._emulation.power_cycle()
        self._stream_id = stream_id
        self._warmed_s = -math.inf

    async def live(self) -> None:
        """Play the role until cancelled; the cable is pulled while the world is not there."""
        try:
            while True:
                with suppress(InstrumentError):
                    await self._play()
                self._emulation.pull()
                await self._back()
                self._emulation.put_back()
        finally:
            self._cable.close()

    async def _back(self) -> None:
        while True:
            await asyncio.sleep(RETURN_S)
            with suppress(InstrumentError):
                return await self.take()

    async def _ask(self, do: str, **values: object) -> dict[str, Any]:
        answer, _ = await self._cable.ask({"do": do, **values})
        return answer

    async def _shine(self) -> None:
        assert isinstance(self._device, Shines)
        weakest_dbm, strongest_dbm = self._capability["min_power_dbm"], self._capability["max_power_dbm"]
        shown_dbm: float | None = None
        told_s = -math.inf
        while True:
            now_s = asyncio.get_running_loop().time()
            power_dbm = self._device.light_dbm(self._emulation.now_s)
            if power_dbm is not None:
                # The world knows no light beyond its own laser's range.
                power_dbm = min(power_dbm, strongest_dbm) if power_dbm >= weakest_dbm else None
            if power_dbm != shown_dbm or now_s - told_s > TOLD_S:
                shown_dbm, told_s = power_dbm, now_s
                if power_dbm is None:
                    await self._ask("safe")
                else:
                    # Also a lease that has lapsed begins anew: this laser shines, whoever was late.
                    await self._ask("emit", power_dbm=power_dbm, lease_s=LEASE_S)
            await self._warm()
            await asyncio.sleep(TICK_S)

    async def _heat(self) -> None:
        while True:
            await self._warm()
            await asyncio.sleep(TICK_S)

    async def _warm(self) -> None:
        """Let the world's crystal be as warm as this instrument has it, where each of the two has one."""
        limits_c = self._capability.get("crystal_c")
        if limits_c is None or not isinstance(self._device, Heats):
            return
        now_s = asyncio.get_running_loop().time()
        crystal_c = min(max(self._device.heated_c(self._emulation.now_s), limits_c[0]), limits_c[1])
        if abs(crystal_c - self._crystal_c) >= CRYSTAL_STEP_K or now_s - self._warmed_s > TOLD_S:
            self._crystal_c, self._warmed_s = crystal_c, now_s
            await self._ask("crystal", temperature_c=crystal_c)

    async def _turn(self) -> None:
        assert isinstance(self._device, Turns)
        shown: Sequence[Retarder] = ()
        told_s = -math.inf
        while True:
            now_s = asyncio.get_running_loop().time()
            retarders = self._device.retarders(self._emulation.now_s)
            if retarders != shown or now_s - told_s > TOLD_S:
                shown, told_s = retarders, now_s
                settings_deg = equivalent_retardances_deg(turned_by(retarders))
                # Its own motion is the whole of it: the world adds none.
                await self._ask("move", settings_deg=list(settings_deg), settling_s=0.0)
            await asyncio.sleep(TICK_S)

    async def _detect(self) -> None:
        assert isinstance(self._device, Detects)
        until_ps = 0
        # From its first moment on it sees nothing but the world.
        self._device.detect(NOTHING, until_ps)
        while True:
            header, body = await self._cable.ask({}, LARGEST_BODY)
            if not header:
                # A sign of life: no tags are due yet.
                continue
            block = unpack(header, body)
            until_ps = int(block.tag_ps[-1]) if len(block) else until_ps + int(STRETCH_PS * SLOW_CLOCK)
            self._device.detect(block, until_ps)

    async def _measure(self) -> None:
        assert isinstance(self._device, Measures)
        while True:
            self._device.illuminate(float((await self._ask("read"))["power_dbm"]))
            await asyncio.sleep(METER_S)

    async def _attenuate(self) -> None:
        assert isinstance(self._device, Attenuates)
        least_db, most_db = self._capability["min_db"], self._capability["max_db"]
        shown_db: float | None = None
        told_s = -math.inf
        while True:
            now_s = asyncio.get_running_loop().time()
            attenuation_db = self._device.attenuation_db(self._emulation.now_s)
            if attenuation_db != shown_db or now_s - told_s > TOLD_S:
                shown_db, told_s = attenuation_db, now_s
                await self._ask("attenuate", attenuation_db=min(max(attenuation_db, least_db), most_db))
            await asyncio.sleep(TICK_S)

    async def _bias(self) -> None:
        assert isinstance(self._device, Biases)
        channels, largest_ua = self._capability["channels"], self._capability["max_bias"]
        shown: Sequence[float | None] = ()
        told_s = -math.inf
        while True:
            now_s = asyncio.get_running_loop().time()
            biases_ua = self._device.biases_ua()
            if biases_ua != shown or now_s - told_s > TOLD_S:
                shown, told_s = biases_ua, now_s
                # A supply may have more channels than the world has detectors, or fewer.
                for channel, bias_ua in zip(channels, biases_ua, strict=False):
                    if bias_ua is None:
                        await self._ask("disable", channel=channel)
                    else:
                        await self._ask("enable", channel=channel, bias=min(bias_ua, largest_ua))
            await asyncio.sleep(TICK_S)
