"""Two whole daemons and the world in one process: real sockets, real keys, simulated instruments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from qnoded.node.curve import make_keys
from qnoded.node.daemon import Daemon
from qnoded.node.status import LinkStatus
from qnoded.node_settings import NodeSettings, check_node
from qnoded.sim.presets import SKEWS_PS
from qnoded.sim.server import WorldServer
from qnoded.sim.settings import WorldSettings

PEER: Final = {"alice": "bob", "bob": "alice"}
PATIENCE_S: Final = 90.0
"""Kernels may have to be compiled first."""
LOOK_S: Final = 0.05


def settings_of(name: str, folder: Path, world: str, address: str, **terms: Any) -> NodeSettings:
    """Return a node's settings with fresh keys beside them; alice listens."""
    keys = folder / "keys"
    for one in PEER:
        if not (keys / f"{one}.key").exists():
            make_keys(keys, one)
    instruments = {
        role: {"driver": f"sim-{role}", "address": world, "node": name}
        for role in ("tagger", "polarization", *(("laser",) if name == "alice" else ()))
    }
    operate: dict[str, Any] = {"positions": {"key": [0, 0, 0], "chsh": [90, 45, 270]}}
    if name == "alice":
        operate |= {"laser_power_dbm": 0.0, "max_power_dbm": 3.0}
    link = {
        "role": name,
        ("listen" if name == "alice" else "connect"): address,
        "secret_key": str(keys / f"{name}.key_secret"),
        "peer_key": str(keys / f"{PEER[name]}.key"),
        "terms": {"revealer": "bob", "block_bits": 20_000} | terms,
    }
    table = {
        "node": {"name": name, "state_dir": f"{name}/state", "run_dir": f"{name}/run", "simulation": True},
        "instruments": instruments,
        "operate": operate,
        "receiver": {"H": 0, "V": 1, "D": 2, "A": 3, "delays_ps": dict(SKEWS_PS[name])},
        "links": {PEER[name]: link},
    }
    return check_node(table, f"{name}.toml", folder)


@asynccontextmanager
async def world() -> AsyncIterator[tuple[WorldServer, str]]:
    server = WorldServer(WorldSettings(), 7)
    async with server.listening("tcp://127.0.0.1:0", failed=lambda: None) as address:
        yield server, address


@asynccontextmanager
async def node(settings: NodeSettings, record: Path | None = None) -> AsyncIterator[Daemon]:
    """Run a daemon; at the end it stops as after SIGTERM."""
    daemon = Daemon(settings, Path(f"{settings.node.name}.toml"), {}, record)
    life = asyncio.create_task(daemon.run())
    try:
        yield daemon
    finally:
        daemon.stop("the test is over")
        await life


def link_of(daemon: Daemon) -> LinkStatus | None:
    return next(iter(daemon.snapshot().links.values()), None)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that two processes' worth of threads and sockets bring about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is a number in a status, which no event tells
            await asyncio.sleep(LOOK_S)


def free_address() -> str:
    """Return an address on which nobody listens at the moment."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
