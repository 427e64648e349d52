"""What an instrument can do, as data: the node asks before it commands, and a display needs no vendor knowledge."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered; checked before anything is written to the instrument."""

    maker: str
    model: str
    serial: str
    firmware: str = ""

    def __str__(self) -> str:
        firmware = f", firmware {self.firmware}" if self.firmware else ""
        return f"{self.maker} {self.model}, serial {self.serial}{firmware}"


@dataclass(frozen=True, slots=True)
class TimeTaggerCapability:
    """Inputs, resolution and limits of a time tagger."""

    channels: tuple[int, ...]
    """Input numbers as they stand in ``TagBlock.channel``."""
    resolution_ps: Fraction
    """Length of the instrument's own tick."""
    max_rate_hz: float
    """Tags per second that it can hand over for long."""
    dead_time_ps: int = 0
    """Per input; 0 where the instrument adds none."""


@dataclass(frozen=True, slots=True)
class LaserCapability:
    """Wavelength and power range of a laser."""

    wavelength_nm: float
    min_power_dbm: float
    max_power_dbm: float
    longest_permit_s: float
    """The instrument or its driver goes dark by itself when a permit was not renewed for this long."""


@dataclass(frozen=True, slots=True)
class PolarizationControllerCapability:
    """Elements of a polarization controller in the order in which light passes them."""

    elements: tuple[str, ...]
    """What each is, for people, such as ``"retarder at 0 deg"`` or ``"half-wave paddle"``."""
    min_deg: float
    max_deg: float
    """Range of the setting of every element: retardance or angle, degrees."""
    settling_s: float
    """Longest time from a command until the polarization rests."""


@dataclass(frozen=True, slots=True)
class PowerMeterCapability:
    """Range of a power meter."""

    min_dbm: float
    max_dbm: float
    wavelength_nm: tuple[float, float]
    """Shortest and longest wavelength for which it is calibrated."""


@dataclass(frozen=True, slots=True)
class OpticalSwitchCapability:
    """Size of a switch."""

    inputs: int
    outputs: int
    switching_s: float


@dataclass(frozen=True, slots=True)
class AttenuatorCapability:
    """Range of a variable attenuator; the safe end is the highest loss."""

    min_db: float
    max_db: float
    settling_s: float


@dataclass(frozen=True, slots=True)
class SinglePhotonDetectorCapability:
    """Channels of a detector supply."""

    channels: tuple[int, ...]
    min_bias: float
    max_bias: float
    bias_unit: str
    """``"uA"`` for nanowires, ``"V"`` for avalanche diodes."""


@dataclass(frozen=True, slots=True)
class OvenCapability:
    """Range of an oven, such as that of a crystal in which pairs are made."""

    min_c: float
    max_c: float
    """It never gets hotter than this: a limit that the instrument itself keeps."""


Capability = (
    TimeTaggerCapability
    | LaserCapability
    | PolarizationControllerCapability
    | PowerMeterCapability
    | OpticalSwitchCapability
    | AttenuatorCapability
    | SinglePhotonDetectorCapability
    | OvenCapability
)
