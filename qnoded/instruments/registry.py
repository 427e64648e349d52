"""Drivers by name, and their settings checked in two steps: the core reads ``driver``, the driver's own model the rest.

A driver is a class that some installed package announces as an entry point::

    [project.entry-points."qnoded.drivers"]
    acme-laser = "acme_qnoded.laser:AcmeLaser"

Its module is imported when somebody asks for it, not before: a vendor library that is missing is the trouble of one
role, never of the node.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from qnoded.errors import ConfigError, DependencyMissing, QnodedError
from qnoded.explaining import explained, nearest
from qnoded.instruments.fitting import kind_of, misfits
from qnoded.instruments.protocols import Instrument

GROUP: Final = "qnoded.drivers"

ROLES: Final = {"tagger": "time_tagger", "laser": "laser", "polarization": "polarization_controller"}
"""Roles that the node itself drives -> kind of instrument that can play them; any other role is shown, not driven."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A role with its driver and checked settings: all that is needed to make the instrument."""

    role: str
    driver: str
    kind: str
    """As in ``KINDS``."""
    serial: str | None
    """Serial number that the instrument must have; None accepts any."""
    driver_class: type[Instrument]
    settings: BaseModel

    def instrument(self) -> Instrument:
        """Return a new instrument object, not yet connected."""
        return self.driver_class(self.settings)


@dataclass(frozen=True, slots=True)
class KnownDriver:
    """One line of ``qnoded drivers``."""

    name: str
    package: str
    """Distribution that brings it, with its version."""
    kind: str | None = None
    """None where it cannot be loaded."""
    simulated: bool | None = None
    problem: str | None = None
    """What is missing or wrong; None: it can be used."""


def find(driver: str, where: str = GROUP, key: str = "driver") -> type[Instrument]:
    """Return the class of a driver.

    Parameters
    ----------
    driver
        Name of its entry point.
    where, key
        Place that named it, for messages.

    Raises
    ------
    ConfigError
        If nobody announces such a driver, or what is announced is no driver.
    DependencyMissing
        If a library that it needs is not installed; worth another try later.
    """
    announced = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = announced.get(driver)
    if entry is None:
        near = nearest(driver, announced)
        known = f"did you mean {near}?" if near else f"installed are {', '.join(sorted(announced)) or 'none'}"
        raise ConfigError(where, key, f"no driver is named {driver!r}", known)
    found = _load(entry, where, key)
    lacks = misfits(found) if isinstance(found, type) else ["it is no class"]
    if lacks:
        problem = f"driver {driver} ({entry.value}) does not fit the protocol of a {_kind(found)}: {'; '.join(lacks)}"
        raise ConfigError(where, key, problem, "its author finds the rules in docs/drivers.md")
    return cast(type[Instrument], found)


def validate(role: str, table: Mapping[str, Any], where: str) -> Binding:
    """Check one instrument's table, such as ``[instruments.laser]``.

    Parameters
    ----------
    role
        What it is in the experiment.
    table
        ``driver``, optionally ``serial``, and the driver's own settings.
    where
        File, or other place, that a person would open.

    Raises
    ------
    ConfigError
        With file, key, value and remedy.
    DependencyMissing
        If the driver cannot be loaded for want of a library, so that its settings cannot be checked yet.
    """
    place = f"instruments.{role}"
    driver = table.get("driver")
    if not isinstance(driver, str):
        raise ConfigError(where, f"{place}.driver", f"must be a driver's name, is {driver!r}", "see qnoded drivers")
    driver_class = find(driver, where, f"{place}.driver")
    kind = kind_of(driver_class)
    if kind != ROLES.get(role, kind):
        problem = f"{driver} is a {kind}, and this role needs a {ROLES[role]}"
        raise ConfigError(where, f"{place}.driver", problem, "see qnoded drivers for the kinds of all drivers")
    serial = table.get("serial")
    if not isinstance(serial, str | None):
        raise ConfigError(
            where, f"{place}.serial", f"must be a text in quotes, is {serial!r}", "copy it from its label"
        )
    # A driver that finds its instrument by serial number has the key in its own settings as well.
    core = {"driver"} if "serial" in driver_class.Settings.model_fields else {"driver", "serial"}
    own = {key: value for key, value in table.items() if key not in core}
    try:
        settings = driver_class.Settings.model_validate(own)
    except ValidationError as error:
        first = explained(error, driver_class.Settings, own, where, f"see the settings of {driver} in docs/drivers.md")[
            0
        ]
        key = place if first.key == "file" else f"{place}.{first.key}"
        raise ConfigError(where, key, first.problem, first.remedy) from None
    return Binding(role, driver, kind, serial, driver_class, settings)


def known_drivers() -> tuple[KnownDriver, ...]:
    """Return every announced driver, by name, with what keeps it from being used; imports all of them."""
    known = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        try:
            found = find(entry.name)
        except QnodedError as error:
            problem = error.problem if isinstance(error, ConfigError) else str(error)
            known.append(KnownDriver(entry.name, package, problem=problem))
        else:
            known.append(KnownDriver(entry.name, package, kind_of(found), found.simulated))
    return tuple(known)


def _load(entry: EntryPoint, where: str, key: str) -> object:
    # A library that was installed since the last try would otherwise stay unseen.
    importlib.invalidate_caches()
    try:
        return entry.load()
    except ImportError as error:
        who, missing = f"driver {entry.name}", error.name or str(error)
        raise DependencyMissing(who, missing, "install it for this Python") from error
    except DependencyMissing:
        raise
    except Exception as error:
        problem = f"driver {entry.name} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}"
        raise ConfigError(where, key, problem, "repair or update the package that brings it") from error


def _kind(found: object) -> str:
    return kind_of(found) if isinstance(found, type) else "driver"
