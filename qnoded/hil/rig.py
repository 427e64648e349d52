"""The rig file: what stands on a bench, how much of it may be used, and who watches the light."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from qnoded.errors import ConfigError
from qnoded.explaining import explained
from qnoded.hil.safing import Target
from qnoded.instruments.raw_safe import Guarded
from qnoded.instruments.registry import Binding, validate
from qnoded.toml_file import read_table

REMEDY: Final = "see docs/hil.md for the whole file"
NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,40}$"
STATE: Final = Path(".local") / "state" / "qnoded" / "hil"
"""In the home of whoever runs the rig: arm tokens and quarantine of stations."""
ROLE: Final = "rig-"
"""Before a device's name: a role of its own, so that a device may be called "laser" whatever kind it is."""
HIGHEST_LEVEL: Final = 4
"""0 emulator, 1 read only, 2 moves, 3 emission, 4 fault injection."""
HAZARDS: Final[Mapping[str, int]] = {
    "time_tagger": 1,
    "power_meter": 1,
    "polarization_controller": 2,
    "optical_switch": 2,
    "attenuator": 2,
    "oven": 2,
    "laser": 3,
    "single_photon_detector": 3,
}
"""Kind of instrument -> level at which it does what it is made for."""

Text = Annotated[str, Strict(), Field(min_length=1, max_length=200)]
Power = Annotated[float, Field(ge=-100.0, le=40.0)]


class Part(BaseModel):
    """Any table of a rig file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StationSettings(Part):
    """``[station]``: where this is and whose it is; stands on every report."""

    name: Annotated[str, Strict(), Field(pattern=NAME)]
    contact: Text
    """Who is called when a report is red."""
    interlock: Text | None = None
    """The room's or the building's interlock, by the name on its door."""
    beam: Text
    """What stands behind the lasers, such as "fibre to PM100D, closed box"; whoever arms the rig confirms it."""


class DeviceSettings(Part):
    """``[devices.NAME]``: one instrument."""

    driver: Text
    serial: Text | None = None
    """Serial number that it must have; no real instrument that emits is used without."""
    firmware: Text | None = None
    """Version that it must have; absent: any."""
    hazard: Annotated[int, Field(ge=0, le=HIGHEST_LEVEL)] = 0
    """Level that its use needs; never below what its kind needs."""
    power_dbm: Power | None = None
    """At which a laser emits here."""
    max_power_dbm: Power | None = None
    """The most that this bench bears; tighter than the driver's own limit."""
    safe_within_s: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    """Bound of the time from the death of the daemon to darkness."""
    pace: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.0
    """Seconds of its own that pass in a second where it is emulated: slow motors need not make a run slow."""
    settings: dict[str, Any]
    """The driver's own, as in a node's file."""


class WitnessSettings(Part):
    """``[witness]``: a power meter that the daemon under test does not know."""

    driver: Text
    serial: Text | None = None
    dark_below_dbm: Power
    """What it shows in the dark, with a margin; more is light."""
    settings: dict[str, Any]


class GuardSettings(Part):
    """``[guard]``: how patient the guard is."""

    silence_s: Annotated[float, Field(ge=0.5, le=10.0)] = 1.5
    """A daemon that gave no sign of life for so long is killed; it gives one each third of it."""
    patience_s: Annotated[float, Field(ge=1.0, le=60.0)] = 10.0
    """An instrument that has not confirmed its safe state by then is given up, and put into quarantine."""


class RigSettings(Part):
    """A rig file."""

    station: StationSettings
    devices: Annotated[dict[Annotated[str, Field(pattern=NAME)], DeviceSettings], Field(min_length=1)]
    witness: WitnessSettings | None = None
    guard: GuardSettings = GuardSettings()


@dataclass(frozen=True, slots=True)
class RigDevice:
    """One instrument of a rig, checked against its driver."""

    name: str
    rig: DeviceSettings
    binding: Binding

    @property
    def emits(self) -> bool:
        """Whether it is a laser."""
        return self.binding.kind == "laser"

    @property
    def hazard(self) -> int:
        """Level that its use needs on a real bench."""
        return max(self.rig.hazard, HAZARDS[self.binding.kind])

    def targets(self) -> tuple[Target, ...]:
        """Return what the guard sends to it; nothing for what is never dangerous."""
        driver: object = self.binding.driver_class
        if not isinstance(driver, Guarded):
            return ()
        ways = driver.raw_safe(self.binding.settings)
        return tuple(Target(self.name, one.address, one.baud, one.order, one.confirmed) for one in ways)

    def at(self, settings: Mapping[str, Any]) -> RigDevice:
        """Return the same device with other settings of its driver, such as an emulator's address."""
        table = {"driver": self.rig.driver, **settings}
        return RigDevice(self.name, self.rig, validate(f"{ROLE}{self.name}", table, "rig"))


@dataclass(frozen=True, slots=True)
class Rig:
    """A whole bench."""

    file: Path
    digest: str
    """SHA-256 of what the file says: an arm token holds for this only."""
    settings: RigSettings
    devices: dict[str, RigDevice]
    witness: Binding | None

    @property
    def station(self) -> StationSettings:
        """Where it is."""
        return self.settings.station

    @property
    def state(self) -> Path:
        """Folder of what outlives a run: the arm token, and quarantine."""
        return Path.home() / STATE / self.station.name


def load_rig(file: Path) -> Rig:
    """Read a rig file and check it against the drivers that are installed.

    Raises
    ------
    ConfigError
        With file, key, value and remedy.
    DependencyMissing
        If a driver's library is not installed.
    """
    table = read_table(file, REMEDY)
    try:
        settings = RigSettings.model_validate(table)
    except ValidationError as error:
        raise explained(error, RigSettings, table, str(file), REMEDY)[0] from None
    devices = {name: _device(name, one, file) for name, one in settings.devices.items()}
    witness = None
    if settings.witness is not None:
        witness = _bound("witness", settings.witness, file)
        if witness.kind != "power_meter":
            problem = f"{witness.driver} is a {witness.kind}; only a power meter sees light"
            raise ConfigError(file, "witness.driver", problem, "name the driver of a power meter")
    # Of what was read and checked here: the file may be another one by now.
    digest = hashlib.sha256(json.dumps(table, sort_keys=True, default=str).encode()).hexdigest()
    return Rig(file, digest, settings, devices, witness)


def _device(name: str, settings: DeviceSettings, file: Path) -> RigDevice:
    key = f"devices.{name}"
    device = RigDevice(name, settings, _bound(key, settings, file))
    if device.binding.driver_class.simulated:
        problem = f"{settings.driver} is simulated and has no bytes to test"
        raise ConfigError(file, f"{key}.driver", problem, "name the driver of an instrument; see qnoded drivers")
    if device.emits:
        _check_laser(device, key, file)
    return device


def _check_laser(device: RigDevice, key: str, file: Path) -> None:
    rig = device.rig
    if rig.power_dbm is None or rig.max_power_dbm is None or rig.power_dbm > rig.max_power_dbm:
        problem = f"a laser needs power_dbm (is {rig.power_dbm}) up to max_power_dbm (is {rig.max_power_dbm})"
        raise ConfigError(file, f"{key}.power_dbm", problem, "say at which power it emits here, and what never to pass")
    if not device.targets():
        problem = f"{rig.driver} does not say how a guard makes it dark without it"
        raise ConfigError(file, f"{key}.driver", problem, "its author adds raw_safe, see docs/drivers.md")


def _bound(key: str, settings: DeviceSettings | WitnessSettings, file: Path) -> Binding:
    """Return the driver of a table, with messages that name the rig file's keys."""
    table = {"driver": settings.driver, **settings.settings}
    if settings.serial is not None:
        table["serial"] = settings.serial
    role = f"{ROLE}{key.rpartition('.')[2]}"
    try:
        binding = validate(role, table, str(file))
    except ConfigError as error:
        inner = error.key.removeprefix(f"instruments.{role}").removeprefix(".")
        place = f"{key}.{inner}" if inner in ("driver", "serial") else f"{key}.settings{f'.{inner}' * bool(inner)}"
        raise ConfigError(file, place, error.problem, error.remedy) from None
    return binding
