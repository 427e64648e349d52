"""Drivers by name: what is announced, what is missing, what does not fit, and settings that are wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from qnoded.errors import ConfigError, DependencyMissing
from qnoded.instruments import registry
from qnoded.instruments.fitting import OWN, kind_of, misfits
from qnoded.instruments.protocols import KINDS


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")

    address: str
    gain_db: float = Field(default=0.0, ge=0.0)

    @model_validator(mode="after")
    def _holds_together(self) -> Address:
        if self.address == "nowhere" and self.gain_db:
            message = "nowhere has no gain; remove gain_db"
            raise ValueError(message)
        return self


class WithSerial(Address):
    serial: str


class Meter:
    Settings: ClassVar[type[BaseModel]] = Address
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self.capability = None

    async def connect(self) -> Any: ...
    async def configure(self) -> None: ...
    async def read(self) -> Any: ...
    async def make_safe(self) -> None: ...
    async def close(self) -> None: ...


class SerialMeter(Meter):
    Settings: ClassVar[type[BaseModel]] = WithSerial


class Laser(Meter):
    async def emit(self, power_dbm: float, permit: Any) -> None: ...
    async def renew(self, permit: Any) -> None: ...


class Tagger(Meter):
    stream_id: str = ""

    async def stream(self) -> AsyncIterator[Any]:
        yield None


class HalfLaser(Meter):
    async def emit(self, power: float, permit: Any) -> None: ...


PACKAGE = "test_instrument_registry"


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "meter": f"{PACKAGE}:Meter",
        "serial-meter": f"{PACKAGE}:SerialMeter",
        "acme-laser": f"{PACKAGE}:Laser",
        "half-laser": f"{PACKAGE}:HalfLaser",
        "number": f"{PACKAGE}:PACKAGE",
        "vendor": "qnoded_no_such_vendor:Meter",
        "renamed": f"{PACKAGE}:Gone",
    }
    entries = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)


def test_a_driver_is_found_by_name() -> None:
    assert registry.find("meter").__name__ == "Meter"


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        ("acme-lazer", "no driver is named 'acme-lazer'; did you mean acme-laser?"),
        ("quux", "no driver is named 'quux'; installed are acme-laser, half-laser, meter"),
        ("half-laser", "does not fit the protocol of a laser"),
        ("number", "it is no class"),
        ("renamed", "cannot be loaded: AttributeError"),
    ],
)
def test_what_is_no_driver_is_a_mistake_in_the_file(driver: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.validate("other", {"driver": driver}, "node.toml")
    assert str(caught.value).startswith("node.toml: instruments.other.driver: ")
    assert says in str(caught.value)


def test_a_missing_library_is_no_mistake_in_the_file() -> None:
    with pytest.raises(DependencyMissing, match="driver vendor needs qnoded_no_such_vendor, which is not installed"):
        registry.validate("other", {"driver": "vendor", "anything": 1}, "node.toml")


def test_settings_are_checked_by_the_driver_and_the_serial_by_the_core() -> None:
    plain = registry.validate("other", {"driver": "meter", "address": "A", "serial": "7"}, "node.toml")
    assert (plain.kind, plain.serial, plain.settings) == ("power_meter", "7", Address(address="A"))
    assert type(plain.instrument()) is Meter
    finding = registry.validate("other", {"driver": "serial-meter", "address": "A", "serial": "7"}, "node.toml")
    assert (finding.serial, finding.settings) == ("7", WithSerial(address="A", serial="7"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, ".driver: must be a driver's name, is None; see qnoded drivers"),
        ({"driver": 3}, ".driver: must be a driver's name, is 3"),
        ({"driver": "meter", "address": "A"}, ".driver: meter is a power_meter, and this role needs a laser"),
        ({"adress": "A"}, ".adress: there is no such key (found 'A'); did you mean address?"),
        ({"gain_db": 1}, ".address: is missing"),
        ({"address": "A", "gain_db": -1}, ".gain_db: must be at least 0.0 (found -1)"),
        ({"address": "A", "serial": 7}, ".serial: must be a text in quotes, is 7"),
        ({"address": "nowhere", "gain_db": 1}, ": nowhere has no gain; remove gain_db"),
    ],
)
def test_a_wrong_table_names_file_key_value_and_remedy(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.validate("laser", {"driver": "acme-laser"} | table if table else {}, "node.toml")
    assert str(caught.value).startswith(f"node.toml: instruments.laser{says}")


def test_the_list_of_drivers_says_what_is_wrong_with_each() -> None:
    known = {one.name: one for one in registry.known_drivers()}
    assert list(known) == sorted(known)
    assert known["acme-laser"] == registry.KnownDriver("acme-laser", f"{PACKAGE}:Laser", "laser", simulated=False)
    assert "qnoded_no_such_vendor" in str(known["vendor"].problem)
    assert "emit(self, power, permit) has other parameters: async def emit(self, power_dbm, permit)" in str(
        known["half-laser"].problem
    )
    assert "renew is missing: async def renew(self, permit)" in str(known["half-laser"].problem)


def test_kinds_are_told_apart_by_members_that_no_other_kind_has() -> None:
    assert [kind_of(one) for one in (Meter, Laser, Tagger, HalfLaser)] == [
        "power_meter",
        "laser",
        "time_tagger",
        "laser",
    ]
    named = [name for own in OWN.values() for name in own]
    assert len(named) == len(set(named))
    assert set(OWN) == set(KINDS)


def test_what_fits_has_no_misfits() -> None:
    assert misfits(Meter) == misfits(Laser) == misfits(Tagger) == []


def _broken(name: str, value: object, parent: type = Laser) -> type:
    return type("Broken", (parent,), {name: value})


class LooseSettings(BaseModel):
    address: str


def _plain(self: object) -> None: ...
async def _with_retries(self: object, retries: int) -> None: ...
async def _with_default(self: object, retries: int = 3) -> None: ...
async def _stream(self: object) -> AsyncIterator[Any]: ...
def _no_settings(self: object) -> None: ...


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda: _broken("Settings", None), "Settings must be a pydantic model"),
        (lambda: _broken("Settings", LooseSettings), "Settings must forbid unknown keys"),
        (lambda: _broken("simulated", None), "simulated must be True or False"),
        (lambda: _broken("__init__", _no_settings), "__init__ must take the settings and nothing else"),
        (lambda: _broken("close", None), "close is missing: async def close(self)"),
        (lambda: _broken("close", 7), "close must be a method: async def close(self)"),
        (lambda: _broken("close", _plain), "close must be a coroutine"),
        (lambda: _broken("close", _with_retries), "close(self, retries) has other parameters"),
        (lambda: _broken("capability", _plain), "capability must be a property or an attribute, not a method"),
        (lambda: _broken("stream", _stream, Tagger), "stream must not be a coroutine: def stream(self)"),
        (lambda: _broken("stream", Tagger.stream), "has members of several kinds: time_tagger, laser"),
    ],
)
def test_each_misfit_is_named(broken: Callable[[], type], says: str) -> None:
    (found,) = misfits(broken())
    assert says in found
    assert misfits(_broken("close", _with_default)) == []
