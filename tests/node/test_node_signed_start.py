"""Two daemons that share nothing but pinned identities: photons to keys of all three modes, fetched over HTTPS."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from nodes_made import PEER, free_address, link_of, node, settings_of, until, world

from qnoded.cli.ctl import main
from qnoded.node.delivery import demo_pki
from qnoded.node.delivery.tls import client_context
from qnoded.node.keys.secret_files import SEALING_KEY_BYTES, new_secret
from qnoded.node_settings import NodeSettings, check_node

MODES: Final = ("qkd", "hybrid", "pqc")


def keyed(name: str, folder: Path, sim: str, link_address: str, kme_addresses: dict[str, str]) -> NodeSettings:
    """Return settings of a node that makes and delivers keys, and has no first secret."""
    plain = settings_of(name, folder, sim, link_address)
    table: dict[str, Any] = plain.model_dump(mode="json", exclude_none=True)
    table["receiver"] = table["receiver"]["channels"] | {"delays_ps": table["receiver"]["delays_ps"]}
    keys, peer = folder / "keys", PEER[name]
    new_secret(keys / f"{name}.kek", SEALING_KEY_BYTES)
    table["keys"] = {"kek": str(keys / f"{name}.kek"), "identity": str(keys / f"{name}.identity_secret")}
    table["links"][peer]["peer_identity"] = str(keys / f"{peer}.identity")
    pki = folder / "pki"
    table["delivery"] = {
        "listen": kme_addresses[name].removeprefix("tcp://"),
        "kme_id": f"kme-{name}",
        "certificate": str(pki / f"kme-{name}.crt"),
        "private_key": str(pki / f"kme-{name}.key"),
        "client_ca": str(pki / "ca.crt"),
        "local": {f"sae-{name}": {"modes": list(MODES)}},
        "remote": {f"sae-{peer}": {"link": peer, "kme_id": f"kme-{peer}"}},
    }
    return check_node(table, f"{name}.toml", folder)


@pytest.mark.slow
def test_two_daemons_begin_with_a_signed_exchange_and_deliver_all_modes(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name in PEER:
        assert main(["pki", "identity", str(tmp_path / "keys"), name]) == 0
    demo_pki.make(tmp_path / "pki", ["kme-alice", "kme-bob"], ["sae-alice", "sae-bob"])
    link_address = free_address()
    kmes = {name: free_address() for name in PEER}

    async def ask(session: aiohttp.ClientSession, who: str, path: str, body: object) -> Any:
        pki = tmp_path / "pki"
        context = client_context(pki / f"sae-{who}.crt", pki / f"sae-{who}.key", pki / "ca.crt")
        url = f"https://{kmes[who].removeprefix('tcp://')}/api/v1/keys/{path}"
        async with session.post(url, data=json.dumps(body), ssl=context) as reply:
            answer = await reply.json()
            assert reply.status == 200, answer
            return answer

    async def run() -> None:
        async with world() as (_, sim):
            alices, bobs = (keyed(name, tmp_path, sim, link_address, kmes) for name in PEER)
            async with node(alices) as alice:
                async with node(bobs) as bob:
                    await until(lambda: all(_keys(one) > 10 for one in (alice, bob)))
                    async with aiohttp.ClientSession() as session:
                        for mode in MODES:
                            wish = {"number": 2, "extension_mandatory": [{"qnoded_mode": mode}]}
                            mine = await ask(session, "alice", "sae-bob/enc_keys", wish)
                            names = {"key_IDs": [{"key_ID": one["key_ID"]} for one in mine["keys"]]}
                            assert await ask(session, "bob", "sae-alice/dec_keys", names) == mine
                            assert {one["key_extension"]["qnoded_mode"] for one in mine["keys"]} == {mode}
                # Bob comes back with the ledger that he has: nothing begins anew, and keys go on.
                async with node(bobs) as bob:
                    made = _blocks(alice)
                    await until(lambda: _blocks(alice) > made)
                    told = [event.text for event in bob.snapshot().events]
                    assert not any("begins with a signed exchange" in text for text in told)

    asyncio.run(run())


def _keys(daemon: Any) -> int:
    link = link_of(daemon)
    return min(link.keys.available, link.keys.waiting) if link is not None and link.keys is not None else 0


def _blocks(daemon: Any) -> int:
    link = link_of(daemon)
    assert link is not None
    assert link.keys is not None
    return link.keys.blocks_distilled
