"""Leave to do what is dangerous on a real bench: by a person who is there, for a rig file as it stands, for a time.

And its opposite: an instrument that did not confirm its safe state is in quarantine until a person has looked.
"""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from qnoded.hil.guard import NOT_SAFE
from qnoded.hil.rig import Rig

ARMED_FROM: Final = 3
"""Levels from this one on need a token: emission, fault injection."""
LONGEST_MIN: Final = 8 * 60
"""A shift."""
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
TOKEN: Final = "armed.json"  # noqa: S105 - the name of a file
QUARANTINE: Final = "quarantine.json"


def arm(rig: Rig, level: int, minutes: float) -> Path:
    """Give leave; return the token's file."""
    token = {
        "rig": rig.digest,
        "level": level,
        "until_s": time.time() + 60.0 * minutes,
        "boot": _boot(),
        "by": getpass.getuser(),
    }
    return _write(rig, TOKEN, token)


def disarm(rig: Rig) -> None:
    """Take leave back."""
    (rig.state / TOKEN).unlink(missing_ok=True)


def why_not_armed(rig: Rig, level: int) -> str | None:
    """Return what speaks against tests of a level on the real bench; None if they may run."""
    if level < ARMED_FROM:
        return None
    how = f"qnoded hil arm {rig.file} --level {level}"
    token = _read(rig, TOKEN)
    try:
        given, digest, until_s, boot = token["level"], token["rig"], float(token["until_s"]), token["boot"]
    except (KeyError, TypeError, ValueError):
        return f"level {level} needs a person at the bench: {how}"
    if digest != rig.digest:
        return f"the rig file has changed since it was armed: {how}"
    if not time.time() < until_s or boot != _boot():
        return f"the leave has expired: {how}"
    return None if level <= given else f"it is armed for level {given}, this needs {level}: {how}"


def put_into_quarantine(rig: Rig, device: str, why: str) -> None:
    """Let nobody use a device until a person has looked at it."""
    _write(rig, QUARANTINE, quarantined(rig) | {device: why})


def quarantine_unconfirmed(rig: Rig, lines: Iterable[dict[str, Any]], who: str) -> list[str]:
    """Put each device that a ledger's lines say is not confirmed safe into quarantine; return their names."""
    found = {line["device"]: line["said"] for line in lines if line["what"] == NOT_SAFE}
    for device, said in found.items():
        put_into_quarantine(rig, device, f"{who}: {said}")
    return list(found)


def quarantined(rig: Rig) -> dict[str, str]:
    """Return the devices in quarantine, and why."""
    return {str(name): str(why) for name, why in _read(rig, QUARANTINE).items()}


def acknowledge(rig: Rig, device: str) -> bool:
    """Take a device out of quarantine, on a person's word; return whether it was there."""
    left = quarantined(rig)
    was = left.pop(device, None) is not None
    _write(rig, QUARANTINE, left)
    return was


def _write(rig: Rig, name: str, document: dict[str, Any]) -> Path:
    rig.state.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    file = rig.state / name
    beside = rig.state / f"{name}.new"
    beside.touch(FILE_MODE)
    beside.write_text(json.dumps(document), encoding="utf-8")
    beside.replace(file)
    return file


def _read(rig: Rig, name: str) -> dict[str, Any]:
    try:
        document = json.loads((rig.state / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        document = None
    if isinstance(document, dict):
        return document
    # A list that cannot be read says nothing good of any device.
    return dict.fromkeys(rig.devices, f"{rig.state / name} cannot be read") if name == QUARANTINE else {}


def _boot() -> str:
    """Return what changes with each start of the machine: nobody is at the bench any more after one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
