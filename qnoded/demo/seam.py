"""Where the demo's simulation begins: at the drivers' API, or one wire further at the instruments' bytes.

At the seam ``bytes`` each instrument of the example files is replaced by a real driver and an emulator that stands in
the world; laser, plates and taggers are those of a small laboratory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import tomli_w

Seam = Literal["api", "bytes"]

TICK_PS: Final = 2000
"""Of the S-Fifteen TDC1."""
TURN_PS: Final = 2**27 * TICK_PS
"""After so long its counter begins anew, and nobody is told how often it has."""
WINDOW_PS: Final = 8000
"""Both clicks of a pair are uncertain by a tick, and by another since none may tell where in its tick it came from: so
their difference lies within 8 ns, and mostly well within."""
DETECTORS: Final = ("H", "V", "D", "A")
FIRST_INPUT: Final = 1
WAVELENGTH_NM: Final = 775.0
"""Of the pump: half of the photons' 1550 nm."""
CALIBRATION: Final = ((41.0, -10.0), (60.0, 3.0103))
"""mA and dBm of the emulated DLC pro as it is made: 0.1 mW for each mA above 40 mA."""
FILES: Final[Mapping[str, Mapping[str, Any]]] = {
    "two-plates": {"addresses": "01", "serial": "11400123", "retardances_deg": [180.0, 180.0]},
}
"""Personality files by name."""


@dataclass(frozen=True, slots=True)
class Part:
    """One instrument: its driver's settings but the address, and how it is emulated."""

    driver: str
    settings: Mapping[str, Any]
    serial: bool = False
    """On a serial port, not on TCP."""
    personality: str | None = None
    """Name of its file."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """One emulated instrument as a program."""

    name: str
    words: tuple[str, ...]
    """After ``qnoded``."""


TAGGER: Final = Part("s15-tdc1", {})
PARTS: Final[Mapping[str, Mapping[str, Part]]] = {
    "alice": {
        "tagger": TAGGER,
        "laser": Part("toptica-dlc-pro", {"wavelength_nm": WAVELENGTH_NM, "calibration": CALIBRATION}),
        "polarization": Part(
            "elliptec-ell14",
            {"mounts": [{"address": address, "element": "half-wave plate"} for address in "01"]},
            serial=True,
            personality="two-plates",
        ),
    },
    "bob": {"tagger": TAGGER, "polarization": Part("thorlabs-mpc320", {}, serial=True)},
}
POSITIONS: Final[Mapping[str, Mapping[str, list[float]]]] = {
    # Two half-wave plates turn nothing at equal angles, and the paddles (a quarter, a half, a quarter) nothing at 0.
    "alice": {"key": [0.0, 0.0]},
    # Paddles at x, y, 2y - x are two half-wave plates at y and 2y - x: they turn linear polarization by 2 (y - x).
    "bob": {"key": [0.0, 0.0, 0.0], "chsh": [22.5, 11.25, 0.0]},
}


def with_ticks(world: dict[str, Any]) -> dict[str, Any]:
    """Return a world's settings with taggers of the resolution that the emulated ones have."""
    changed = dict(world)
    for side in PARTS:
        own = world.get(side, {})
        changed[side] = own | {"tagger": own.get("tagger", {}) | {"bin_ps": TICK_PS}}
    return changed


def at_bytes(folder: Path, side: str, node: dict[str, Any], world: str, free_port: Callable[[], int]) -> list[Emulator]:
    """Put real drivers into a node's settings, in place; return the emulators that they need.

    Parameters
    ----------
    folder
        Of the demo; serial ports and personality files live in it.
    node
        Settings of the node ``side``.
    world
        Address of the world.
    free_port
        Gives a TCP port that nobody uses.
    """
    emulators = []
    node["instruments"] = {}
    for role, part in PARTS[side].items():
        name = f"{side}-{role}"
        if part.serial:
            wire, place = "--pty", str(folder / name)
        else:
            wire, place = "--tcp", f"127.0.0.1:{free_port()}"
        address = place if part.serial else f"tcp://{place}"
        node["instruments"][role] = {"driver": part.driver, "address": address, **part.settings}
        words = ["emulate", part.driver, wire, place, "--world", world, "--node", side, "--role", role]
        if part.personality is not None:
            file = folder / f"{part.personality}.toml"
            file.write_text(tomli_w.dumps(FILES[part.personality]), encoding="utf-8")
            words += ["--personality", str(file)]
        emulators.append(Emulator(name, tuple(words)))
    node["operate"]["positions"] = dict(POSITIONS[side])
    node["receiver"] |= {name: FIRST_INPUT + place for place, name in enumerate(DETECTORS)}
    return emulators
