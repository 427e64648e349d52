"""All that is looked at, in the order in which one would mend it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from qnoded.diagnosis import compiled, instruments, key_files, machine, network, service, storage
from qnoded.diagnosis.finding import Finding, warn
from qnoded.node_settings import NodeSettings

ROOT: Final = 0


def examine(settings: NodeSettings | None, where: str, root: Path = Path("/")) -> Iterator[Finding]:
    """Yield what is found on this machine, and for a node if its settings are given.

    Parameters
    ----------
    where
        The node's file, for messages.
    root
        Where the system's own files are read.
    """
    yield machine.python()
    yield compiled.kernels(os.environ, Path.home())
    yield machine.clock(machine.host_clock(), settings)
    yield from machine.processor(root)
    yield machine.memory(root)
    yield machine.swap(root)
    yield from machine.limits()
    yield from service.service(root)
    if settings is None:
        return
    if os.geteuid() == ROOT:
        remedy = f"run this as the daemon's user: sudo -u qnoded qnoded doctor --config {where}"
        yield warn("user", "root may do everything, so rights are not seen", remedy)
    yield from storage.storage(settings, root)
    yield from key_files.key_files(settings)
    yield from key_files.certificates(settings, key_files.utc_now())
    yield from instruments.libraries(settings)
    yield from instruments.connected(settings, where, root)
    yield from network.listening(settings)
    yield from network.peers(settings)
