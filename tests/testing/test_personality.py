"""Personality files: one unit differs from others of its model, and mistakes in them are named."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from qnoded_drivers.thorlabs_mpc320.emulator import EmulatedMpc320
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro

from qnoded.errors import ConfigError
from qnoded.testing.emulation import GROUP, Device, find_kind, with_personality
from qnoded.testing.emulation.personality import personality_model


def write(folder: Path, text: str) -> Path:
    file = folder / "unit.toml"
    file.write_text(text)
    return file


def test_a_unit_is_what_its_file_says(tmp_path: Path) -> None:
    file = write(tmp_path, 'serial = "DLC_PRO_7"\nfirmware = "3.0.1"\nwarm_up_s = 5\nclip_ma = 90.0\necho = true\n')
    laser = with_personality(EmulatedDlcPro, file)
    laser.switch_on(0.0)
    assert laser.serial == "DLC_PRO_7"
    assert b"3.0.1" in b"".join(laser.hear(b"(param-ref 'fw-ver)\n", 0.0))
    for order in (b"current-set 100.0", b"enabled #t"):
        laser.hear(b"(param-set! 'laser1:dl:cc:%s)\n" % order, 0.0)
    assert isinstance(laser, EmulatedDlcPro)
    assert laser.light_dbm(4.9) is None
    # 90 mA, where its current ends: 0.1 mW for each of 50 mA above the threshold.
    assert laser.light_dbm(5.0) == pytest.approx(6.99, abs=0.01)


def test_paddles_may_be_worn(tmp_path: Path) -> None:
    paddles = with_personality(EmulatedMpc320, write(tmp_path, "retardances_deg = [88.0, 183.5, 91.0]\n"))
    paddles.switch_on(0.0)
    assert isinstance(paddles, EmulatedMpc320)
    assert [one.retardance_deg for one in paddles.retarders(0.0)] == [88.0, 183.5, 91.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('firmwear = "1.0.3"', "firmwear: there is no such key (found '1.0.3'); did you mean firmware?"),
        ('serial = "AB"', "serial: must be 1 to 9 digits in quotes (found 'AB')"),
        ('firmware = "1.0"', "firmware: must be three numbers such as \"1.0.3\" (found '1.0')"),
        ("full_speed_deg_s = 0.0", "full_speed_deg_s: must be more than 0.0 (found 0.0)"),
        ("full_speed_deg_s = nan", "full_speed_deg_s: must be a finite number (found nan)"),
        ("retardances_deg = [90.0]", "retardances_deg.1: is missing"),
        ('unhomed_deg = "20"', "unhomed_deg: must be a number without quotes"),
        ("serial", "TOML"),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        with_personality(EmulatedMpc320, file)
    assert str(caught.value).startswith(f"{file}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("driver", sorted(entry.name for entry in entry_points(group=GROUP)))
def test_every_emulated_instrument_can_be_told_what_it_is_like(driver: str, tmp_path: Path) -> None:
    kind = find_kind(driver)
    unit = with_personality(kind, write(tmp_path, ""))
    assert isinstance(unit, Device)
    defaults = {name: field.default for name, field in personality_model(kind).model_fields.items()}
    # Every argument has a usual value that its own limits allow.
    personality_model(kind).model_validate(defaults)
