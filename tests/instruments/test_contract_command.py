"""``python -m qnoded.testing.contract``: what it prints, and how it ends."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from honest_drivers import HonestMeter, Rack
from pydantic import BaseModel, ConfigDict, Field

from qnoded.errors import InstrumentUnavailable
from qnoded.instruments import registry
from qnoded.testing.contract.__main__ import main


class MeterSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    address: str
    rack: Rack = Field(default_factory=Rack)


class Meter(HonestMeter):
    Settings = MeterSettings


async def _nobody(self: object) -> None:
    message = "nobody there; plug it in"
    raise InstrumentUnavailable(message)


class DeadMeter(Meter):
    async def read(self) -> Any:
        return None


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint("meter", "test_contract_command:Meter", registry.GROUP),
        EntryPoint("dead-meter", "test_contract_command:DeadMeter", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)


@pytest.fixture
def settings(tmp_path: Path) -> str:
    path = tmp_path / "meter.toml"
    path.write_text('address = "A"\n')
    return str(path)


def test_a_good_driver_ends_with_zero_and_shows_what_was_skipped(
    settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["meter", "--settings", settings]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok      fits_its_protocol" in lines
    assert "--      nobody_there_is_told (the bench has no cut and restore)" in lines
    assert lines[-1] == "meter: 0 of 16 rules broken"


def test_a_broken_rule_is_named_with_what_was_found(settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-meter", "--settings", settings, "--only", "reading_makes_sense", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["broken"]) == ("power_meter", 1)
    assert told["rules"] == [
        {
            "name": "reading_makes_sense",
            "rule": "Give readings of this kind, in their units, within the capability.",
            "outcome": "broken",
            "why": "read returned None, no PowerReading",
        }
    ]


def test_an_instrument_that_is_not_there_is_no_fault_of_its_driver(
    settings: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Meter, "connect", _nobody)
    assert main(["meter", "--settings", settings]) == 3
    assert capsys.readouterr().err == "python -m qnoded.testing.contract: nobody there; plug it in\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["metre"], "no driver is named 'metre'; did you mean meter?"),
        (["meter"], "instruments.tested.address: is missing"),
        (["meter", "--settings", "/nowhere.toml"], "/nowhere.toml: file: No such file"),
        (["meter", "--settings", "SETTINGS", "--only", "emit"], "no rule for a power_meter is named like 'emit'"),
    ],
)
def test_wrong_use_is_one_message(
    words: list[str], says: str, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([settings if word == "SETTINGS" else word for word in words]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert says in told.err
    assert told.err.count("\n") == 1
