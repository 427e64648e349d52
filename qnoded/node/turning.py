"""The node's polarization controller: stands where the links want it, also after it was unplugged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from qnoded.errors import InstrumentError, QnodedError
from qnoded.exchange.reports import ControllerDue
from qnoded.instruments.protocols import Instrument, PolarizationController
from qnoded.node.devices import Devices
from qnoded.node.driver_call import bounded
from qnoded.node.status import Level
from qnoded.node.tasks import background

CONTROLLER: Final = "polarization"


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
        self._devices, self._positions, self._tell = devices, positions, tell
        self._due = asyncio.Event()

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
        position = self._positions[self.setting]
        try:
            await bounded(instrument.move(position), f"{CONTROLLER}: move to {self.setting!r}")
        except QnodedError as error:
            self._tell("error", str(error))
            # A value that it refuses does not become better by connecting anew.
            if isinstance(error, InstrumentError):
                self._devices.report(CONTROLLER, instrument, error)
        else:
            self._tell("info", f"moving to {self.setting!r}")
