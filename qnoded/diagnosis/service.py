"""Whether the daemon's unit is installed, its program exists, and the service manager watches over it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from qnoded.diagnosis.finding import Finding, action, ok, warn

UNIT: Final = "qnoded@.service"
FOLDERS: Final = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
"""Where systemd looks, first come first served; systemd.unit(5)."""
INSTALL: Final = "install it, see docs/operating.md; by hand, qnoded run works without"
UNWATCHED: Final = frozenset({"", "0", "infinity"})


def service(root: Path) -> Iterator[Finding]:
    """Yield what is known of the unit."""
    if not (root / "run/systemd/system").is_dir():
        yield warn(
            "service", "systemd does not run here: nobody starts the daemon again", "start and watch it yourself"
        )
        return
    unit = next((root / folder / UNIT for folder in FOLDERS if (root / folder / UNIT).is_file()), None)
    if unit is None:
        yield warn("service", f"{UNIT} is not installed", INSTALL)
        return
    shown = f"/{unit.relative_to(root)}"
    words = _assignments(root, unit)
    program = words.get("ExecStart", "").split(" ", 1)[0].lstrip("-@:+!")
    if not program or not (root / program.lstrip("/")).exists():
        yield action("service", f"{shown} starts {program or 'nothing'}, which is not there", "set its ExecStart")
    else:
        yield ok("service", f"{shown} starts {program}")
    watchdog = words.get("WatchdogSec", "")
    if watchdog in UNWATCHED:
        yield action("watchdog", f"WatchdogSec of {UNIT} is {watchdog or 'not set'}", "set WatchdogSec=20")
    else:
        yield ok("watchdog", f"WatchdogSec={watchdog}")


def _assignments(root: Path, unit: Path) -> dict[str, str]:
    """Return the last value of each key of the unit and its drop-ins."""
    drop_ins = {
        file.name: file for folder in reversed(FOLDERS) for file in (root / folder / f"{UNIT}.d").glob("*.conf")
    }
    files = [unit, *(drop_ins[name] for name in sorted(drop_ins))]
    return dict(re.findall(r"^(\w+)=(.*?)\s*$", "\n".join(file.read_text() for file in files), re.MULTILINE))
