"""``sim-switch``: leads a simulated node's fibre to its receiver or to a blind port."""

from __future__ import annotations

from typing import Any, ClassVar

from qnoded.instruments.capability import OpticalSwitchCapability
from qnoded.instruments.reading import SwitchReading
from qnoded.sim.devices.instrument import SimulatedInstrument


class SimSwitch(SimulatedInstrument):
    """Safe when its input leads nowhere."""

    device: ClassVar[str] = "switch"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.capability = OpticalSwitchCapability(0, 0, 0.0)

    def _learn(self, capability: dict[str, Any]) -> None:
        self.capability = OpticalSwitchCapability(
            int(capability["inputs"]), int(capability["outputs"]), float(capability["switching_s"])
        )

    async def route(self, source: int, output: int | None) -> None:
        """Lead an input to an output, or to none."""
        await self._ask("route", source=source, output=output)

    async def read(self) -> SwitchReading:
        """Return where the inputs lead."""
        answer = await self._ask("read")
        with self._told():
            return SwitchReading(tuple(None if one is None else int(one) for one in answer["routes"]))
