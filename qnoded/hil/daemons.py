"""The daemon under test: the real ``qnoded run``, with one instrument of the rig and no links, under its guard."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import tomli_w

from qnoded.hil.guard import Plan
from qnoded.hil.guarding import Watched, guarded
from qnoded.hil.rig import Rig, RigDevice

NODE: Final = "rig"
ROLE: Final = "laser"
CONTROL: Final = "run"
"""Folder of its control socket, below that of the test."""


def node_file(device: RigDevice, folder: Path) -> Path:
    """Write the node's file of a laser; light is given as soon as the daemon is ready.

    Parameters
    ----------
    device
        With the address at which it is now.
    folder
        Of this test alone: no doubt of an earlier one keeps the laser dark.
    """
    own = device.binding.settings.model_dump(mode="json", exclude_none=True)
    instrument = {"driver": device.rig.driver} | own
    if device.rig.serial is not None:
        instrument["serial"] = device.rig.serial
    table = {
        "node": {"name": NODE, "state_dir": str(folder / "state"), "run_dir": str(folder / CONTROL)},
        "instruments": {ROLE: instrument},
        "operate": {"laser_power_dbm": device.rig.power_dbm, "max_power_dbm": device.rig.max_power_dbm},
    }
    file = folder / "node.toml"
    file.write_text(tomli_w.dumps(table), encoding="utf-8")
    return file


@asynccontextmanager
async def daemon_with(rig: Rig, device: RigDevice, folder: Path, ledger: Path) -> AsyncIterator[Watched]:
    """Run a daemon with this laser under a guard.

    Parameters
    ----------
    device
        With the address at which it is now: the guard uses the same.
    ledger
        Of the whole run; the guard's own lines are added to it at the end.
    """
    own = folder / "ledger.jsonl"
    plan = Plan(device.targets(), rig.settings.guard.silence_s, rig.settings.guard.patience_s, own)
    command = [sys.executable, "-m", "qnoded", "run", "--config", str(node_file(device, folder))]
    try:
        async with guarded(plan, command, folder) as watched:
            yield watched
    finally:
        if own.exists():
            with ledger.open("ab") as file:
                file.write(own.read_bytes())
                file.flush()
                os.fsync(file.fileno())
