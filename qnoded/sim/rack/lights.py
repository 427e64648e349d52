"""The laser of a node, which is dark unless it holds a lease, the meter of its power, and the oven of the crystal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

from qnoded.sim.rack.device import Device, Surroundings, number
from qnoded.units import from_db

LASER_DBM: Final = (-40.0, 13.0)
"""Power range of both lasers: 0.1 uW to 20 mW."""
LONGEST_LEASE_S: Final = 10.0
"""No permit to emit is believed for longer."""
CRYSTAL_C: Final = (10.0, 80.0)
"""Range of the crystal's oven."""
DARK_DBM: Final = -70.0
"""What the power meter shows of nothing."""


class Oven(Device):
    """Heats the crystal of the source, which stays as warm as it is when nobody holds the connection."""

    model = "crystal oven"

    def __init__(self, side: int, world: Surroundings) -> None:
        super().__init__(side, world)
        self.crystal_c = world.settings.source.crystal_optimum_c

    def describe(self) -> dict[str, Any]:
        return {"crystal_c": CRYSTAL_C}

    def read(self) -> dict[str, Any]:
        return {"temperature_c": self.crystal_c}

    def act(self, do: str, question: dict[str, Any]) -> dict[str, Any]:
        if do != "crystal":
            return super().act(do, question)
        crystal_c = number(question, "temperature_c", *CRYSTAL_C, "C")
        if crystal_c != self.crystal_c:
            self.crystal_c = crystal_c
            deviation_k = crystal_c - self.world.settings.source.crystal_optimum_c
            self.world.command(self.world.now_ps, lambda knobs: replace(knobs, crystal_k=deviation_k))
        return self.read()


class Laser(Device):
    """Alice's pumps the source, bob's is for alignment; it emits while it holds a lease and its connection lives."""

    def __init__(self, side: int, world: Surroundings, oven: Oven | None) -> None:
        super().__init__(side, world)
        self._oven = oven
        self.model = "alignment laser" if side else "pump laser"
        self.power_dbm: float | None = None
        """None: dark."""
        self._lapses_s = -math.inf

    def describe(self) -> dict[str, Any]:
        return {
            "wavelength_nm": self.world.settings.source.wavelength_nm / (1.0 if self.side else 2.0),
            "min_power_dbm": LASER_DBM[0],
            "max_power_dbm": LASER_DBM[1],
            "longest_permit_s": LONGEST_LEASE_S,
        } | ({} if self._oven is None else self._oven.describe())

    def read(self) -> dict[str, Any]:
        self.watch()
        return {
            "emitting": self.power_dbm is not None,
            "power_dbm": self.power_dbm,
            "temperature_c": None if self._oven is None else self._oven.crystal_c,
        }

    def watch(self) -> None:
        """Go dark if the lease has lapsed."""
        if self.power_dbm is not None and self.world.now_s() >= self._lapses_s:
            self._shine(None, self.world.true_ps(self._lapses_s))

    def make_safe(self) -> None:
        if self.power_dbm is not None:
            self._shine(None, self.world.now_ps)

    def released(self) -> None:
        self.watch()
        self.make_safe()

    def act(self, do: str, question: dict[str, Any]) -> dict[str, Any]:
        self.watch()
        if do == "emit":
            power_dbm = number(question, "power_dbm", *LASER_DBM, "dBm")
            self._lapses_s = self.world.now_s() + number(question, "lease_s", 0.0, LONGEST_LEASE_S, "s")
            if power_dbm != self.power_dbm:
                self._shine(power_dbm, self.world.now_ps)
        elif do == "renew":
            lease_s = number(question, "lease_s", 0.0, LONGEST_LEASE_S, "s")
            if self.power_dbm is not None:
                self._lapses_s = self.world.now_s() + lease_s
        elif do == "crystal" and self._oven is not None:
            self._oven.act(do, question)
        else:
            return super().act(do, question)
        return self.read()

    def _shine(self, power_dbm: float | None, true_ps: int) -> None:
        self.power_dbm = power_dbm
        power_mw = 0.0 if power_dbm is None else from_db(power_dbm)
        if self.side:
            self.world.command(true_ps, lambda knobs: replace(knobs, alignment_mw=power_mw))
        else:
            self.world.command(true_ps, lambda knobs: replace(knobs, pump_mw=power_mw))


class Meter(Device):
    """Measures the power of its node's laser."""

    model = "power meter"

    def __init__(self, side: int, world: Surroundings, laser: Laser) -> None:
        super().__init__(side, world)
        self._laser = laser

    def describe(self) -> dict[str, Any]:
        return {"min_dbm": DARK_DBM, "max_dbm": LASER_DBM[1], "wavelength_nm": self._laser.describe()["wavelength_nm"]}

    def read(self) -> dict[str, Any]:
        self._laser.watch()
        power_dbm = self._laser.power_dbm
        return {"power_dbm": DARK_DBM if power_dbm is None else power_dbm}
