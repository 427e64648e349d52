"""``sim-laser``: the pump of the pair source at alice, the alignment laser at bob."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from qnoded.instruments.capability import LaserCapability
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.reading import LaserReading, Setting
from qnoded.sim.devices.cable import CableSettings
from qnoded.sim.devices.instrument import SimulatedInstrument, loop_s, within


class SimLaserSettings(CableSettings):
    """A laser of the world."""

    crystal_c: float | None = Field(default=None, ge=10.0, le=80.0)
    """Temperature of the crystal that alice's laser pumps; unset: its optimum."""


class SimLaser(SimulatedInstrument):
    """Emits under a lease that ends with the permit: the world itself switches it off, whoever is dead by then."""

    Settings: ClassVar[type[CableSettings]] = SimLaserSettings
    device: ClassVar[str] = "laser"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.capability = LaserCapability(0.0, 0.0, 0.0, 0.0)
        self._requested_dbm: float | None = None

    def _learn(self, capability: dict[str, Any]) -> None:
        self.capability = LaserCapability(
            float(capability["wavelength_nm"]),
            float(capability["min_power_dbm"]),
            float(capability["max_power_dbm"]),
            float(capability["longest_permit_s"]),
        )
        self._requested_dbm = None

    async def configure(self) -> None:
        """Make it dark and set the crystal's temperature."""
        await super().configure()
        crystal_c = self._settings.crystal_c
        if crystal_c is not None:
            await self._ask("crystal", temperature_c=crystal_c)

    async def emit(self, power_dbm: float, permit: EmissionPermit) -> None:
        """Switch on, or change the power, under a permit."""
        permit.check(power_dbm, loop_s())
        capability = self.capability
        within("power_dbm", power_dbm, capability.min_power_dbm, capability.max_power_dbm, "dBm")
        await self._ask("emit", power_dbm=float(power_dbm), lease_s=self._lease_s(permit))
        self._requested_dbm = power_dbm

    async def renew(self, permit: EmissionPermit) -> None:
        """Go on emitting under a new permit."""
        if self._requested_dbm is not None:
            permit.check(self._requested_dbm, loop_s())
        await self._ask("renew", lease_s=self._lease_s(permit))

    def _lease_s(self, permit: EmissionPermit) -> float:
        left_s = permit.expires_loop_s - loop_s()
        return min(max(left_s, 0.0), self.capability.longest_permit_s)

    async def read(self) -> LaserReading:
        """Return what the laser says of its own output."""
        answer = await self._ask("read")
        with self._told():
            power_dbm = None if answer["power_dbm"] is None else float(answer["power_dbm"])
            setting = Setting(self._requested_dbm, power_dbm, power_dbm, loop_s())
            return LaserReading(bool(answer["emitting"]), setting, answer["temperature_c"])
