"""What applications get: JSON bodies of ETSI GS QKD 014 v1.1.1."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Iterable
from typing import Final

from qnoded.node.keys.combining import AGREEMENT
from qnoded.node.keys.handing import HandedKey
from qnoded.node.keys.key_ids import Mode
from qnoded.node.keys.store import Stock
from qnoded.node_settings.keys import DeliverySettings

_FLAGS: Final = {False: b"false", True: b"true"}
_AGREEMENT: Final = b',"qnoded_agreement":"%s"' % AGREEMENT.encode()
"""What a key that is not of photons alone owes to computational assumptions."""


def container(keys: Iterable[HandedKey]) -> bytes:
    """Return a key container, and wipe the keys.

    Each key says what it is made of, and whether a simulated instrument took part in it. Put together by hand: a JSON
    library would leave further copies of each key behind.
    """
    parts = []
    for one in keys:
        parts.append(
            b'{"key_ID":"%s","key":"%s","key_extension":{"qnoded_mode":"%s","qnoded_simulated":%s%s}}'
            % (
                str(one.name).encode(),
                b2a_base64(one.key.view(), newline=False),
                one.mode.name.lower().encode(),
                _FLAGS[one.simulated],
                b"" if one.mode is Mode.QKD else _AGREEMENT,
            )
        )
        one.key.wipe()
    return b'{"keys":[%s]}' % b",".join(parts)


def status(
    settings: DeliverySettings, stock: Stock, target_kme: str, master: str, slave: str, modes: Iterable[Mode]
) -> bytes:
    """Return the state of the keys from a master here, of these modes, to a slave at a peer."""
    stored = stock.own_keys * stock.key_bytes * 8 // settings.key_bits
    return _json(
        {
            "source_KME_ID": settings.kme_id,
            "target_KME_ID": target_kme,
            "master_SAE_ID": master,
            "slave_SAE_ID": slave,
            "key_size": settings.key_bits,
            "stored_key_count": stored,
            "max_key_count": max(stored, stock.most_keys * stock.key_bytes * 8 // settings.key_bits),
            "max_key_per_request": settings.max_keys_per_request,
            "max_key_size": settings.max_key_bits,
            "min_key_size": settings.min_key_bits,
            "max_SAE_ID_count": 0,
            "status_extension": {
                "qnoded_modes": [mode.name.lower() for mode in modes],
                "qnoded_stock_low": stock.low,
            },
        }
    )


def error(message: str, details: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return why a request failed."""
    body: dict[str, object] = {"message": message}
    listed = [{name: value} for name, value in details]
    return _json(body | {"details": listed} if listed else body)


def _json(table: dict[str, object]) -> bytes:
    return json.dumps(table, separators=(",", ":")).encode()
