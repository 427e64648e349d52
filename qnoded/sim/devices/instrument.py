"""What the drivers of all simulated instruments do alike."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, ClassVar

from qnoded.errors import InstrumentError, InstrumentGarbled, UsageError
from qnoded.instruments.capability import Identity
from qnoded.sim.devices.cable import Cable, CableSettings, identity_of


class SimulatedInstrument:
    """A driver whose instrument is a connection to the world; subclasses name their ``device`` and read its answers."""

    Settings: ClassVar[type[CableSettings]] = CableSettings
    simulated: ClassVar[bool] = True
    device: ClassVar[str]
    """The instrument by the world's name."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._cable = Cable(settings, self.device)

    async def connect(self) -> Identity:
        """Open the connection and ask who is there."""
        answer = await self._cable.open()
        identity = identity_of(answer)
        with self._told():
            self._learn(answer["capability"])
        return identity

    def _learn(self, capability: dict[str, Any]) -> None:
        """Take what the instrument can do from the world's greeting."""
        raise NotImplementedError

    async def configure(self) -> None:
        """Make it safe: there is nothing else to set."""
        await self._ask("safe")

    async def make_safe(self) -> None:
        """Bring it to its safe state; without a connection the world has done so already, or will at once."""
        with contextlib.suppress(InstrumentError):
            await self._ask("safe")

    async def close(self) -> None:
        """Make safe and hang up."""
        await self.make_safe()
        self._cable.close()

    async def _ask(self, do: str, **values: object) -> dict[str, Any]:
        answer, _ = await self._cable.ask({"do": do, **values})
        return answer

    @contextlib.contextmanager
    def _told(self) -> Any:  # what it really is would make type checkers believe that it swallows errors
        """Turn an answer that lacks something into the error of a garbled one."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{self._cable}: the answer is not understood: {error!r}"
            raise InstrumentGarbled(problem) from None


def within(name: str, value: float, low: float, high: float, unit: str) -> float:
    """Return a value that the instrument can have.

    Raises
    ------
    UsageError
        If it cannot; nothing may have been sent before.
    """
    # Written so that a value that is not a number is refused as well.
    if low <= value <= high:
        return float(value)
    problem = f"{name} {value} cannot be set; use {low:g} to {high:g} {unit}"
    raise UsageError(problem)


def loop_s() -> float:
    """Return the event loop's clock, in which readings are dated."""
    return asyncio.get_running_loop().time()
