"""The node's polarization controller: stands where the links want it, also after it was unplugged.

The links are told when it leaves and when it has come to rest where it was sent: what is key hangs on it. Until it has,
and wherever it stays short of it, there is a ``problem``, and the node gives no light.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from qnoded.errors import InstrumentError, InstrumentFault, QnodedError
from qnoded.exchange.happenings import ControllerStands
from qnoded.exchange.reports import ControllerDue
from qnoded.instruments.protocols import DEADLINE_S, Instrument, PolarizationController
from qnoded.instruments.reading import PolarizationReading
from qnoded.node.devices import CONTROLLER, Devices
from qnoded.node.driver_call import bounded
from qnoded.node.status import Level
from qnoded.node.tasks import background

LOOK_S: Final = 0.1
"""Between two looks at a controller that moves: an epoch has 0.55 s."""
TOLERANCE_DEG: Final = 2.0
"""Between an angle that was asked for and the one read back, as the contract of drivers has it: paddles are no better,
and it costs 0.5 % of QBER at most (sin 4 deg squared)."""


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
        self.problem: str | None = f"has not come to its position {setting!r} yet"
        """Why it cannot be relied on; a move on its way is none."""
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
        self._follow(None)
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
            self.problem = await self._moved(instrument, setting)
            if self.problem is None:
                self._follow(setting)

    def _follow(self, setting: str | None) -> None:
        for follower in self.followers:
            follower(ControllerStands(setting, self._moves))

    async def _moved(self, instrument: PolarizationController, setting: str) -> str | None:
        """Move until it has come to rest there; return why it has not."""
        try:
            await bounded(instrument.move(self._positions[setting]), f"{CONTROLLER}: move to {setting!r}")
            self._tell("info", f"moving to {setting!r}")
            await self._rests(instrument, setting)
        except QnodedError as error:
            self._tell("error", str(error))
            # A value that it refuses does not become better by connecting anew.
            if isinstance(error, InstrumentError):
                self._devices.report(CONTROLLER, instrument, error)
            return str(error)
        return None

    async def _rests(self, instrument: PolarizationController, setting: str) -> None:
        """Wait until it has come to rest at its setting."""
        loop, longest_s = asyncio.get_running_loop(), instrument.capability.settling_s + DEADLINE_S
        until_s = loop.time() + longest_s
        while True:
            reading = await bounded(instrument.read(), f"{CONTROLLER}: read")
            if not reading.moving:
                _check_place(reading, setting, self._positions[setting])
                return
            if loop.time() > until_s:
                problem = f"{CONTROLLER}: still moving {longest_s:g} s after it was sent to {setting!r}"
                raise InstrumentFault(problem)
            await asyncio.sleep(LOOK_S)


def _check_place(reading: PolarizationReading, setting: str, position: tuple[float, ...]) -> None:
    shown_deg = [one.read_back if one.read_back is not None else one.accepted for one in reading.settings_deg]
    if len(shown_deg) != len(position):
        problem = f"{CONTROLLER}: shows {len(shown_deg)} elements, position {setting!r} has {len(position)} angles"
        raise InstrumentFault(problem)
    for number, (shown, wanted) in enumerate(zip(shown_deg, position, strict=True)):
        if shown is None or not abs(_turned(shown - wanted)) <= TOLERANCE_DEG:
            stands = "does not say where it stands" if shown is None else f"stands at {shown:.2f} deg"
            problem = (
                f"{CONTROLLER}: element {number} {stands}, {setting!r} is {wanted:.2f} deg: see whether it is blocked, "
                "homed, and right in operate.positions"
            )
            raise InstrumentFault(problem)


def _turned(angle_deg: float) -> float:
    """Return an angle less its whole turns: a wave plate at 359.9 degrees stands at 0."""
    return (angle_deg + 180.0) % 360.0 - 180.0
