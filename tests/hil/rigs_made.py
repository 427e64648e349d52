"""Rig files for tests: every instrument that emits, with settings that its emulator takes."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import tomli_w

from qnoded.hil.rig import Rig, load_rig
from qnoded.instruments.fitting import kind_of
from qnoded.instruments.registry import GROUP

CALIBRATION = [[60.0, -3.0], [120.0, 7.0]]
CALIBRATION_SPDC = [[40.0, -3.0], [90.0, 7.0]]
DIODE = {"address": "/dev/ttyUSB0", "wavelength_nm": 1550.0, "calibration": CALIBRATION}

LASERS: dict[str, dict[str, Any]] = {
    "toptica-dlc-pro": {"address": "tcp://192.0.2.17:1998", "wavelength_nm": 780.0, "calibration": CALIBRATION},
    "itla-msa": {"address": "/dev/ttyUSB0", "frequency_ghz": 193_414.489},
    "thorlabs-cld101x": DIODE | {"window_c": 1.0},
    "koheron-ctl": DIODE | {"beta_k": 3600.0, "window_c": 1.0},
    "s15-spdc": DIODE
    | {
        "calibration": CALIBRATION_SPDC,
        "crystal_c": 25.0,
        "diode_c": 25.0,
        "crystal_window_c": 5.0,
        "diode_window_c": 5.0,
    },
}
POWERS_DBM = {"itla-msa": 10.0}
USUAL_DBM = 0.0


def emitting() -> set[str]:
    """Drivers of lasers that have an emulator, so that there is light to be made dark."""
    emulated = {one.name for one in entry_points(group="qnoded.emulators")}
    return {one.name for one in entry_points(group=GROUP) if one.name in emulated and kind_of(one.load()) == "laser"}


def table(*drivers: str, **settings: Any) -> dict[str, Any]:
    devices = {
        driver: {
            "driver": driver,
            "power_dbm": POWERS_DBM.get(driver, USUAL_DBM),
            "max_power_dbm": POWERS_DBM.get(driver, USUAL_DBM),
            "settings": LASERS[driver] | settings,
        }
        for driver in drivers
    }
    station = {"name": "test-bench", "contact": "nobody", "beam": "none: emulated"}
    return {"station": station, "devices": devices}


def written(folder: Path, document: dict[str, Any]) -> Path:
    file = folder / "rig.toml"
    file.write_text(tomli_w.dumps(document), encoding="utf-8")
    return file


def rig_of(folder: Path, *drivers: str, **settings: Any) -> Rig:
    return load_rig(written(folder, table(*drivers, **settings)))
