"""What was asked of an instrument, what it accepted and what it shows: three numbers that are never mixed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """One adjustable quantity of an instrument."""

    requested: float | None
    """What qnoded asked for; None before the first command of this connection."""
    accepted: float | None
    """What the instrument said it would do; None where it does not say."""
    read_back: float | None
    """What it shows; None before the first reading."""
    read_loop_s: float | None = None
    """When it was read, the driver's monotonic clock; the age is now minus this."""


@dataclass(frozen=True, slots=True)
class LaserReading:
    """State of a laser."""

    emitting: bool
    """What the instrument says of its own output, not what was commanded."""
    power_dbm: Setting
    temperature_c: float | None = None
    interlock_closed: bool | None = None
    """None where the instrument does not say."""


@dataclass(frozen=True, slots=True)
class PolarizationReading:
    """State of a polarization controller."""

    moving: bool
    settings_deg: tuple[Setting, ...]
    """One per element."""


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Reading of a power meter."""

    power_dbm: float
    wavelength_nm: float


@dataclass(frozen=True, slots=True)
class TaggerReading:
    """State of a time tagger."""

    running: bool
    overflows: int
    """Losses that the instrument has announced since it was opened."""
    reference_locked: bool | None = None
    """None where the instrument has no external reference input or does not say."""


@dataclass(frozen=True, slots=True)
class SwitchReading:
    """State of an optical switch."""

    routes: tuple[int | None, ...]
    """For each input the output it leads to, counted from 0; None: dark."""


@dataclass(frozen=True, slots=True)
class AttenuatorReading:
    """State of an attenuator."""

    attenuation_db: Setting


@dataclass(frozen=True, slots=True)
class DetectorReading:
    """State of one channel of a detector supply."""

    enabled: bool
    bias: Setting
    temperature_c: float | None = None
    latched: bool | None = None
    """A nanowire that has lost its superconductivity, and sees nothing until its bias was off; None: not told."""


@dataclass(frozen=True, slots=True)
class OvenReading:
    """State of an oven."""

    heating: bool
    """Whether its temperature is regulated; without that it cools down to the room's."""
    settled: bool
    """Whether it is regulated and has arrived."""
    temperature_c: Setting
    """Accepted is the instrument's set-point, read back the temperature that it measures."""


Reading = (
    LaserReading
    | PolarizationReading
    | PowerReading
    | TaggerReading
    | SwitchReading
    | AttenuatorReading
    | OvenReading
    | tuple[DetectorReading, ...]
)
