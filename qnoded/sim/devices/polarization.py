"""``sim-polarization``: three retarders in front of a simulated node's analyser."""

from __future__ import annotations

from typing import Any, ClassVar

from qnoded.instruments.capability import PolarizationControllerCapability
from qnoded.instruments.reading import PolarizationReading, Setting
from qnoded.sim.devices.instrument import SimulatedInstrument, loop_s, within


class SimPolarization(SimulatedInstrument):
    """Sends a move once; how far it has come is read back."""

    device: ClassVar[str] = "polarization"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.capability = PolarizationControllerCapability((), 0.0, 360.0, 0.0)
        self._requested: tuple[float, ...] | None = None

    def _learn(self, capability: dict[str, Any]) -> None:
        self.capability = PolarizationControllerCapability(
            tuple(str(element) for element in capability["elements"]),
            float(capability["min_deg"]),
            float(capability["max_deg"]),
            float(capability["settling_s"]),
        )
        self._requested = None

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        """Begin to move every element to its retardance."""
        capability = self.capability
        target = [within("setting", one, capability.min_deg, capability.max_deg, "deg") for one in settings_deg]
        await self._ask("move", settings_deg=target)
        self._requested = tuple(settings_deg)

    async def read(self) -> PolarizationReading:
        """Return where the elements are."""
        answer = await self._ask("read")
        with self._told():
            shown = tuple(float(one) for one in answer["settings_deg"])
            requested = self._requested or (None,) * len(shown)
            settings = tuple(
                Setting(asked, asked, one, loop_s()) for asked, one in zip(requested, shown, strict=True)
            )  # fmt: skip
            return PolarizationReading(bool(answer["moving"]), settings)
