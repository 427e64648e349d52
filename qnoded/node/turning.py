"""The node's polarization controller: stands where the links want it, also after it was unplugged.

The links are told when it leaves and when it has come to rest: what is key hangs on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from qnoded.errors import InstrumentError, InstrumentFault, QnodedError
from qnoded.exchange.happenings import ControllerStands
from qnoded.exchange.reports import ControllerDue
from qnoded.instruments.protocols import DEADLINE_S, Instrument, PolarizationController
from qnoded.node.devices import Devices
from qnoded.node.driver_call import bounded
from qnoded.node.status import Level
from qnoded.node.tasks import background

CONTROLLER: Final = "polarization"
LOOK_S: Final = 0.1
"""Between two looks at a controller that moves: an epoch has 0.55 s."""


class Turning:
    """Moves the controller to a named position whenever it appears or another position is due.

    Parameters
    ----------
    positions
        Settings by name, degrees per element.
    setting
        Name of the first one.
    tell
        Takes events for people: level and text.
    """

    def __init__(
        self,
        devices: Devices,
        positions: Mapping[str, tuple[float, ...]],
        setting: str,
        tell: Callable[[Level, str], None],
    ) -> None:
        self.setting = setting
        """Where it stands or goes to."""
        self.followers: list[Callable[[ControllerStands], None]] = []
        """Told of each move, when it begins and when it has ended."""
        self._devices, self._positions, self._tell = devices, positions, tell
        self._due = asyncio.Event()
        self._moves = 0
        self._moving = asyncio.Lock()

    def take(self, report: object) -> None:
        """Take a link's report; others than ``ControllerDue`` are ignored."""
        if isinstance(report, ControllerDue):
            self.setting = report.setting
            self._due.set()

    async def run(self) -> None:
        """Move until cancelled."""
        async with background(self._obey()):
            async for instrument in self._devices.appearances(CONTROLLER):
                await self._move(instrument)

    async def _obey(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            instrument = self._devices.get(CONTROLLER)
            if instrument is None:
                self._tell("warning", f"position {self.setting!r} is due, and no controller is ready: it moves later")
            else:
                await self._move(instrument)

    async def _move(self, instrument: Instrument) -> None:
        assert isinstance(instrument, PolarizationController)
        async with self._moving:
            setting = self.setting
            self._moves += 1
            self._follow(None)
            if await self._moved(instrument, setting):
                self._follow(setting)

    def _follow(self, setting: str | None) -> None:
        for follower in self.followers:
            follower(ControllerStands(setting, self._moves))

    async def _moved(self, instrument: PolarizationController, setting: str) -> bool:
        """Move, and return whether it has come to rest there."""
        try:
            await bounded(instrument.move(self._positions[setting]), f"{CONTROLLER}: move to {setting!r}")
            self._tell("info", f"moving to {setting!r}")
            await self._rests(instrument, setting)
        except QnodedError as error:
            self._tell("error", str(error))
            # A value that it refuses does not become better by connecting anew.
            if isinstance(error, InstrumentError):
                self._devices.report(CONTROLLER, instrument, error)
            return False
        return True

    @staticmethod
    async def _rests(instrument: PolarizationController, setting: str) -> None:
        """Wait until it has come to rest."""
        loop, longest_s = asyncio.get_running_loop(), instrument.capability.settling_s + DEADLINE_S
        until_s = loop.time() + longest_s
        while True:
            reading = await bounded(instrument.read(), f"{CONTROLLER}: read")
            if not reading.moving:
                return
            if loop.time() > until_s:
                problem = f"{CONTROLLER}: still moving {longest_s:g} s after it was sent to {setting!r}"
                raise InstrumentFault(problem)
            await asyncio.sleep(LOOK_S)
