"""Rules of power meters: they only read, so those of all instruments are all there are."""

from __future__ import annotations

from typing import Any, Final

from qnoded.instruments.capability import PowerMeterCapability
from qnoded.instruments.reading import PowerReading
from qnoded.testing.contract.kind import Kind, finite, ordered
from qnoded.testing.contract.subject import Subject, demand

TOLERANCE_DB: Final = 3.0
"""Overrange of a meter above its scale; below it there is only noise, down to any negative number."""


def _judge_capability(capability: PowerMeterCapability) -> None:
    ordered(range_dbm=(capability.min_dbm, capability.max_dbm), wavelength_nm=capability.wavelength_nm)
    shortest_nm = capability.wavelength_nm[0]
    demand(100.0 <= shortest_nm <= 20_000.0, f"wavelength_nm begins at {shortest_nm}: a wrong unit?")


def _judge_reading(reading: PowerReading, capability: PowerMeterCapability) -> None:
    finite(power_dbm=reading.power_dbm)
    highest_dbm = capability.max_dbm + TOLERANCE_DB
    demand(reading.power_dbm <= highest_dbm, f"power_dbm is {reading.power_dbm}, above {highest_dbm}: a wrong unit?")
    shortest_nm, longest_nm = capability.wavelength_nm
    within = shortest_nm <= reading.wavelength_nm <= longest_nm
    demand(within, f"wavelength_nm is {reading.wavelength_nm}, calibrated are {shortest_nm} to {longest_nm}")


def _danger(_: PowerReading, __: PowerMeterCapability) -> str | None:
    return None


async def _work(_: Subject, meter: Any) -> None:
    await meter.read()


KIND: Final = Kind(PowerMeterCapability, PowerReading, _judge_capability, _judge_reading, _danger, _work, ())
