"""``sim-power-meter``: a power meter behind a tap of a simulated node's laser."""

from __future__ import annotations

from typing import Any, ClassVar

from qnoded.instruments.capability import PowerMeterCapability
from qnoded.instruments.reading import PowerReading
from qnoded.sim.devices.instrument import SimulatedInstrument


class SimPowerMeter(SimulatedInstrument):
    """Only reads."""

    device: ClassVar[str] = "power-meter"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.capability = PowerMeterCapability(0.0, 0.0, (0.0, 0.0))

    def _learn(self, capability: dict[str, Any]) -> None:
        wavelength_nm = float(capability["wavelength_nm"])
        self.capability = PowerMeterCapability(
            float(capability["min_dbm"]), float(capability["max_dbm"]), (wavelength_nm, wavelength_nm)
        )

    async def read(self) -> PowerReading:
        """Return the power of the laser."""
        answer = await self._ask("read")
        with self._told():
            return PowerReading(float(answer["power_dbm"]), self.capability.wavelength_nm[0])
