"""A rig file says what is wrong with it: file, key, value, remedy; a person gives leave for it, for a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from rigs_made import rig_of, table, written

from qnoded.errors import ConfigError, InstrumentFault
from qnoded.hil import arming
from qnoded.hil.arming import acknowledge, arm, disarm, put_into_quarantine, quarantined, why_not_armed
from qnoded.hil.benches import check_unit, standing
from qnoded.hil.rig import load_rig
from qnoded.toml_file import read_table

DRIVER = "toptica-dlc-pro"
EXAMPLE = Path(__file__).parents[2] / "hil" / "example.toml"
METER = {"driver": "thorlabs-pm100d", "settings": {"address": "tcp://192.0.2.18:2000", "wavelength_nm": 780.0}}


def changed(where: tuple[str, ...], value: Any) -> dict[str, Any]:
    document = table(DRIVER)
    at = document
    for key in where[:-1]:
        at = at.setdefault(key, {})
    if value is None:
        del at[where[-1]]
    else:
        at[where[-1]] = value
    return document


def test_the_example_is_right() -> None:
    rig = load_rig(EXAMPLE)
    assert {name: one.hazard for name, one in rig.devices.items()} == {"pump": 3, "reference": 3, "paddles": 2}
    assert [one.address for one in rig.devices["pump"].targets()] == ["tcp://192.0.2.17:1998"]
    assert rig.witness is not None


@pytest.mark.parametrize(
    ("where", "value", "key", "says"),
    [
        (("station",), None, "station", "is missing"),
        (("station", "name"), "My Bench", "station.name", "My Bench"),
        (("station", "beem"), "box", "station.beem", "there is no such key"),
        (("station", "beam"), None, "station.beam", "is missing"),
        (("devices",), {}, "devices", "at least 1 entries"),
        (("devices", DRIVER, "driver"), "toptica-dlc-prro", f"devices.{DRIVER}.driver", "did you mean toptica-dlc-pro"),
        (("devices", DRIVER, "driver"), "sim-laser", f"devices.{DRIVER}", "address"),
        (("devices", DRIVER, "power_dbm"), None, f"devices.{DRIVER}.power_dbm", "a laser needs power_dbm (is None)"),
        (("devices", DRIVER, "power_dbm"), 10.0, f"devices.{DRIVER}.power_dbm", "up to max_power_dbm (is 0.0)"),
        (("devices", DRIVER, "hazard"), 5, f"devices.{DRIVER}.hazard", "at most 4"),
        (("devices", DRIVER, "safe_within_s"), 0.0, f"devices.{DRIVER}.safe_within_s", "more than 0"),
        (("devices", DRIVER, "settings", "adress"), "x", f"devices.{DRIVER}.settings.adress", "did you mean"),
        (("devices", DRIVER, "settings", "address"), "nowhere", f"devices.{DRIVER}.settings.address", "no address"),
        (("devices", DRIVER, "settings", "wavelength_nm"), None, f"devices.{DRIVER}.settings.wavelength_nm", "missing"),
        (("witness",), METER, "witness.dark_below_dbm", "is missing"),
        (("witness",), METER | {"driver": "s15-tdc1", "dark_below_dbm": -45.0}, "witness.settings", "wavelength_nm"),
        (("guard", "silence_s"), 0.1, "guard.silence_s", "at least 0.5"),
    ],
)
def test_a_mistake_is_named(where: tuple[str, ...], value: Any, key: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_rig(written(tmp_path, changed(where, value)))
    assert raised.value.key.startswith(key)
    assert says in str(raised.value)
    assert raised.value.remedy


def test_a_laser_that_cannot_keep_the_benchs_limit_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        document = table(DRIVER)
        document["devices"][DRIVER] |= {"power_dbm": -10.0, "max_power_dbm": -10.0}
        async with standing(load_rig(written(tmp_path, document)), DRIVER, "emulated") as bench:
            with pytest.raises(InstrumentFault, match="cannot emit less than -3 dBm, and max_power_dbm is -10"):
                await check_unit(bench.device)

    asyncio.run(scenario())


def test_a_witness_must_be_a_power_meter(tmp_path: Path) -> None:
    laser = table(DRIVER)["devices"][DRIVER]
    witness = {"driver": DRIVER, "dark_below_dbm": -45.0, "settings": laser["settings"]}
    with pytest.raises(ConfigError, match="only a power meter sees light"):
        load_rig(written(tmp_path, changed(("witness",), witness)))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.usefixtures("home")
def test_leave_is_for_a_level_and_a_file_and_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = rig_of(tmp_path, DRIVER)
    assert why_not_armed(rig, 2) is None
    assert "needs a person at the bench" in str(why_not_armed(rig, 3))
    token = arm(rig, 3, 30.0)
    assert token.stat().st_mode & 0o777 == 0o600
    assert why_not_armed(rig, 3) is None
    assert "armed for level 3, this needs 4" in str(why_not_armed(rig, 4))
    other = load_rig(written(tmp_path, table(DRIVER) | {"guard": {"silence_s": 2.0}}))
    assert "has changed since" in str(why_not_armed(other, 3))
    monkeypatch.setattr(arming, "_boot", lambda: "another")
    assert "expired" in str(why_not_armed(rig, 3))
    monkeypatch.undo()


@pytest.mark.usefixtures("home")
def test_leave_ends(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, DRIVER)
    arm(rig, 4, -1.0)
    assert "expired" in str(why_not_armed(rig, 3))
    arm(rig, 4, 1.0)
    disarm(rig)
    assert "needs a person" in str(why_not_armed(rig, 4))


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("content", ["", "[]", "{", '{"level": "4"}', '{"rig": 1, "level": 4, "until_s": "x"}'])
def test_a_token_that_is_none_arms_nothing(content: str, tmp_path: Path) -> None:
    rig = rig_of(tmp_path, DRIVER)
    arm(rig, 4, 1.0).write_text(content, encoding="utf-8")
    assert why_not_armed(rig, 3) is not None


@pytest.mark.usefixtures("home")
def test_quarantine_lasts_until_a_person_has_looked(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, DRIVER)
    put_into_quarantine(rig, DRIVER, "did not say that it is safe")
    assert quarantined(load_rig(rig.file)) == {DRIVER: "did not say that it is safe"}
    assert acknowledge(rig, DRIVER)
    assert not acknowledge(rig, DRIVER)
    assert quarantined(rig) == {}
    for damaged in ("{", "", "[]", "null"):
        (rig.state / "quarantine.json").write_text(damaged, encoding="utf-8")
        assert set(quarantined(rig)) == {DRIVER}


def test_leave_is_for_what_was_checked_and_not_for_what_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mild, strong = table(DRIVER), table(DRIVER)
    strong["devices"][DRIVER] |= {"power_dbm": 5.0, "max_power_dbm": 5.0}
    digests = {load_rig(written(tmp_path, one)).digest for one in (mild, strong)}
    assert len(digests) == 2
    before = load_rig(written(tmp_path, mild))

    def read_and_overtaken(file: Path, remedy: str) -> dict[str, Any]:
        document = read_table(file, remedy)
        written(tmp_path, strong)
        return document

    monkeypatch.setattr("qnoded.hil.rig.read_table", read_and_overtaken)
    overtaken = load_rig(before.file)
    assert overtaken.devices[DRIVER].rig.max_power_dbm == 0.0
    assert overtaken.digest == before.digest


def test_a_rig_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(tomli_w.dumps({"node": {"name": "alice"}}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"node: there is no such key"):
        load_rig(tmp_path / "rig.toml")
