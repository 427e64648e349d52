"""Where a node lives on its machine: the service's folders, and the socket on which ``qnodectl`` finds the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from qnoded.errors import ConfigError
from qnoded.toml_file import read_table

STATE_ROOT: Final = Path("/var/lib/qnoded")
"""What must survive a restart, one folder per node: systemd's StateDirectory."""
RUN_ROOT: Final = Path("/run/qnoded")
"""Sockets of the running daemons, one folder per node: systemd's RuntimeDirectory."""
CONTROL_SOCKET: Final = "control.sock"


def control_socket(config: Path) -> Path:
    """Return the control socket of the node with this file; reads no more of it than needed.

    Raises
    ------
    ConfigError
        If the file cannot be read or does not say which node it is.
    """
    node = read_table(config, "see config/sim/alice.toml").get("node")
    name, run_dir = (node.get("name"), node.get("run_dir")) if isinstance(node, dict) else (None, None)
    if isinstance(run_dir, str):
        return config.parent / run_dir / CONTROL_SOCKET
    if isinstance(name, str):
        return RUN_ROOT / name / CONTROL_SOCKET
    raise ConfigError(config, "node.name", "is missing", "give the file of a node, such as config/sim/alice.toml")
