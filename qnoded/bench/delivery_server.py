"""The process that the suite ``delivery`` asks: serves one folder until it is told to end, and says its port."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from qnoded.bench.delivery import LINK
from qnoded.node.delivery.directory import Directory
from qnoded.node.delivery.server import serving
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.secret_files import read_secret
from qnoded.node.keys.store import KeyStore
from qnoded.node_settings.keys import DeliverySettings


async def _serve(folder: Path) -> None:
    settings = DeliverySettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "kme_id": "kme",
            "certificate": folder / "pki/kme.crt",
            "private_key": folder / "pki/kme.key",
            "client_ca": folder / "pki/ca.crt",
            "local": {"sae-a": {}},
            "remote": {"sae-b": {"link": "bob", "kme_id": "kme-b"}},
        }
    )
    store = KeyStore(folder / "keys.sqlite", read_secret(folder / "kek"), StoreRules(simulation=True))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    try:
        async with serving(settings, Directory.of(settings, lambda _: LINK), store) as (_, port):
            sys.stdout.write(f"{port}\n")
            sys.stdout.flush()
            await ended.wait()
    finally:
        store.close()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
