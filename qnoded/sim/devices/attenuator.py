"""``sim-attenuator``: a variable attenuator in front of a simulated node's receiver."""

from __future__ import annotations

from typing import Any, ClassVar

from qnoded.instruments.capability import AttenuatorCapability
from qnoded.instruments.reading import AttenuatorReading, Setting
from qnoded.sim.devices.instrument import SimulatedInstrument, loop_s, within


class SimAttenuator(SimulatedInstrument):
    """Safe at its highest loss."""

    device: ClassVar[str] = "attenuator"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.capability = AttenuatorCapability(0.0, 0.0, 0.0)
        self._requested_db: float | None = None

    def _learn(self, capability: dict[str, Any]) -> None:
        self.capability = AttenuatorCapability(
            float(capability["min_db"]), float(capability["max_db"]), float(capability["settling_s"])
        )
        self._requested_db = None

    async def attenuate(self, attenuation_db: float) -> None:
        """Set the attenuation."""
        capability = self.capability
        target_db = within("attenuation_db", attenuation_db, capability.min_db, capability.max_db, "dB")
        await self._ask("attenuate", attenuation_db=target_db)
        self._requested_db = attenuation_db

    async def read(self) -> AttenuatorReading:
        """Return the attenuation."""
        answer = await self._ask("read")
        with self._told():
            shown_db = float(answer["attenuation_db"])
            return AttenuatorReading(Setting(self._requested_db, shown_db, shown_db, loop_s()))
