"""The disk of what must survive a restart: room, rights, and whether it is a disk at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from qnoded.diagnosis.finding import Finding, action, ok, warn
from qnoded.node_settings import NodeSettings

LEAST_BYTES: Final = 64 << 20
"""A key store of 100,000 keys and the stories of a link."""
ENOUGH_BYTES: Final = 1 << 30
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def storage(settings: NodeSettings, root: Path = Path("/")) -> Iterator[Finding]:
    """Yield what is known of the node's two folders."""
    node = settings.node
    place = _existing(node.state_dir)
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    said = f"{free >> 20} MiB free for {node.state_dir}"
    if free < LEAST_BYTES:
        yield action("disk", said, f"free {LEAST_BYTES >> 20} MiB: keys that cannot be stored are not made")
    elif free < ENOUGH_BYTES:
        yield warn("disk", said, f"free {ENOUGH_BYTES >> 20} MiB")
    else:
        yield ok("disk", said)
    kind = _filesystem(place, root)
    if kind in IN_MEMORY:
        said = f"{node.state_dir} is on {kind}: keys and clock locks are gone with the power"
        remedy = "choose a node.state_dir on a disk"
        yield warn("state", said, remedy) if node.simulation else action("state", said, remedy)
    for subject, folder in (("state folder", node.state_dir), ("run folder", node.run_dir)):
        place = _existing(folder)
        if os.access(place, os.W_OK | os.X_OK):
            yield ok(subject, f"{folder}{'' if place == folder else ', not made yet'}")
        else:
            remedy = f"make it, owned by who runs the daemon: install -d -m 0700 -o qnoded {folder}"
            yield action(subject, f"this user may not write to {place}", remedy)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there and seen."""
    folder = folder.absolute()
    return next(one for one in (folder, *folder.parents) if os.path.exists(one))  # noqa: PTH110 - hidden is no error


def _filesystem(place: Path, root: Path) -> str:
    """Return the kind of file system on which a folder lies; empty if the system does not say."""
    table = root / "proc/self/mounts"
    if not table.exists():
        return ""
    mounts = [line.split() for line in table.read_text().splitlines()]
    resolved = place.resolve()
    # Of several mounts on one folder the last counts.
    above = [
        (len(where), number, kind) for number, (_, where, kind, *_) in enumerate(mounts) if _holds(where, resolved)
    ]
    return max(above)[2] if above else ""


def _holds(mount: str, folder: Path) -> bool:
    # Spaces and the like are written as octal numbers, fstab(5).
    return folder.is_relative_to(mount.encode().decode("unicode_escape"))
