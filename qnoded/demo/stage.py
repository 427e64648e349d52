"""What the demo needs on disk: the example files of ``config/sim``, moved to ports and folders of this run."""

from __future__ import annotations

import os
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

import qnoded
from qnoded.demo.seam import TURN_PS, WINDOW_PS, Emulator, Seam, at_bytes, with_ticks
from qnoded.errors import DependencyMissing
from qnoded.node.curve import make_keys
from qnoded.node.delivery import demo_pki
from qnoded.node.keys.secret_files import SEALING_KEY_BYTES, new_secret, write_secret
from qnoded.places import CONTROL_SOCKET
from qnoded.records import SIDES
from qnoded.secret import Secret

CHSH_EVERY_EPOCHS: Final = 45
"""An interlude each 25 s, so that a visitor of one minute sees two."""
BLOCK_BITS: Final = 100_000
"""One each 6 s, so that a visitor sees them become key; at 1.4 % errors half of its bits are secret."""
TEST_SHARE: Final = 0.1
"""Twice the usual: in a block as small as that, more test bits leave a longer key."""
FIRST_SECRET_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything of one demo stands."""

    folder: Path
    nodes: dict[str, Path]
    """Side -> file of its node."""
    sockets: dict[str, Path]
    """Side -> control socket."""
    sifted: dict[str, Path]
    """Side -> folder in which its daemon records sifted bits, which only a simulated node does."""
    pki: Path
    """Certificates of nodes and applications: ``kme-SIDE`` and ``sae-SIDE``."""
    delivery: dict[str, str]
    """Side -> address of its key delivery."""
    emulators: tuple[Emulator, ...] = ()
    """To be started between the world and the nodes; none at the seam ``api``."""
    turn_ps: int | None = None
    """After which the taggers' counters begin anew without telling; None: they do not."""


def examples() -> Path:
    """Return the folder of the example files: inside an installed package, or beside it in a checkout.

    Raises
    ------
    DependencyMissing
        If they are in neither place.
    """
    package = Path(qnoded.__file__).parent
    for folder in (package / "config" / "sim", package.parent / "config" / "sim"):
        if folder.is_dir():
            return folder
    what = "the demo"
    raise DependencyMissing(what, "the folder config/sim", "install qnoded anew, or run it in a checkout")


def free_port() -> int:
    """Return a TCP port of this machine that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def world_file(folder: Path, world: Path | None, seam: Seam) -> Path:
    """Return the file of the world's settings: as given, or the example, fitting to the instruments of the seam."""
    file = world or examples() / "world.toml"
    if seam == "api":
        return file
    fitting = folder / "world.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    fitting.write_text(tomli_w.dumps(with_ticks(table)), encoding="utf-8")
    return fitting


def set_up(folder: Path, world_address: str, listen_port: int, connect_port: int, seam: Seam = "api") -> Stage:
    """Write both nodes' files, keys and certificates into an empty folder.

    Parameters
    ----------
    folder
        Private to this demo; short, since sockets live in it.
    world_address
        Where the world's instruments are reached.
    listen_port, connect_port
        Where alice waits, and where bob finds her: a network that can fail stands between.
    seam
        Whether the nodes have simulated instruments, or real drivers of emulated ones.
    """
    keys = folder / "keys"
    for side in SIDES:
        make_keys(keys, side)
        new_secret(keys / f"{side}.kek", SEALING_KEY_BYTES)
    with Secret(os.urandom(FIRST_SECRET_BYTES)) as shared:
        for side in SIDES:
            # One each: a node deletes its own once it has begun with it.
            write_secret(keys / f"{side}.first_secret", shared)
    pki = folder / "pki"
    demo_pki.make(pki, (f"kme-{side}" for side in SIDES), (f"sae-{side}" for side in SIDES))
    links: dict[str, dict[str, str]] = {
        "alice": {"listen": f"tcp://127.0.0.1:{listen_port}"},
        "bob": {"connect": f"tcp://127.0.0.1:{connect_port}"},
    }
    nodes, delivery = {}, {}
    emulators: list[Emulator] = []
    for side, peer in zip(SIDES, reversed(SIDES), strict=True):
        table = tomllib.loads((examples() / f"{side}.toml").read_text(encoding="utf-8"))
        table["node"] |= {"state_dir": str(folder / side / "state"), "run_dir": str(folder / side)}
        if seam == "bytes":
            emulators += at_bytes(folder, side, table, world_address, free_port)
        else:
            for instrument in table["instruments"].values():
                instrument["address"] = world_address
        link: dict[str, Any] = table["links"][peer]
        link.pop("listen", None)
        link.pop("connect", None)
        link |= links[side]
        link |= {"secret_key": str(keys / f"{side}.key_secret"), "peer_key": str(keys / f"{peer}.key")}
        link["first_secret"] = str(keys / f"{side}.first_secret")
        link["terms"] = link.get("terms", {}) | {
            "chsh_every_epochs": CHSH_EVERY_EPOCHS,
            "block_bits": BLOCK_BITS,
            "test_share": TEST_SHARE,
        }
        if seam == "bytes":
            link["terms"]["window_ps"] = WINDOW_PS
        table["keys"]["kek"] = str(keys / f"{side}.kek")
        port = free_port()
        delivery[side] = f"https://localhost:{port}"
        table["delivery"] |= {
            "listen": f"127.0.0.1:{port}",
            "certificate": str(pki / f"kme-{side}.crt"),
            "private_key": str(pki / f"kme-{side}.key"),
            "client_ca": str(pki / "ca.crt"),
        }
        nodes[side] = folder / f"{side}.toml"
        nodes[side].write_text(tomli_w.dumps(table), encoding="utf-8")
    return Stage(
        folder,
        nodes,
        {side: folder / side / CONTROL_SOCKET for side in SIDES},
        {side: folder / side / "sifted" for side in SIDES},
        pki,
        delivery,
        tuple(emulators),
        TURN_PS if seam == "bytes" else None,
    )
