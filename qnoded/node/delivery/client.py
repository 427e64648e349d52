"""An application's side of ETSI GS QKD 014: one key from a node, over HTTPS with certificates on both sides."""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from qnoded.errors import DeliveryUnavailable, RequestRefused, UsageError
from qnoded.node.delivery.requests import MODE_EXTENSION
from qnoded.secret import Secret

PATIENCE_S: Final = 10.0
LARGEST_ANSWER_BYTES: Final = 1 << 20
_OK: Final = 200
_REFUSALS: Final = (400, 401)


@dataclass(frozen=True, slots=True)
class FetchedKey:
    """What a node gave."""

    name: str
    key: Secret
    mode: str
    """``qkd``, ``hybrid``, ``pqc``; empty if the node is none of ours and does not say."""
    simulated: bool


def new_key(kme: str, context: ssl.SSLContext, slave: str, bits: int, mode: str) -> FetchedKey:
    """Fetch one new key as master.

    Parameters
    ----------
    kme
        Address of this side's node, such as ``https://localhost:8443``.
    context
        With this application's certificate and the root of the node's.
    slave
        Name of the application at the other side.
    bits
        Length of the key.
    mode
        ``qkd``, ``hybrid`` or ``pqc``.

    Raises
    ------
    DeliveryUnavailable
        If the node does not answer or has no key.
    RequestRefused
        If it refuses.
    UsageError
        If the address is none.
    """
    request: dict[str, Any] = {"number": 1, "size": bits}
    if mode != "qkd":
        request["extension_mandatory"] = [{MODE_EXTENSION: mode}]
    return _ask(kme, context, f"/api/v1/keys/{quote(slave, safe='')}/enc_keys", request)


def known_key(kme: str, context: ssl.SSLContext, master: str, name: str) -> FetchedKey:
    """Fetch a key by its name as slave; parameters and errors as for ``new_key``."""
    path = f"/api/v1/keys/{quote(master, safe='')}/dec_keys"
    return _ask(kme, context, path, {"key_IDs": [{"key_ID": name}]})


def _ask(kme: str, context: ssl.SSLContext, path: str, request: dict[str, Any]) -> FetchedKey:
    address = urlsplit(kme)
    if address.scheme != "https" or not address.hostname:
        problem = f"{kme!r} is no address of a KME; write for example https://localhost:8443"
        raise UsageError(problem)
    connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=PATIENCE_S, context=context)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", address.path.rstrip("/") + path, json.dumps(request), headers)
        reply = connection.getresponse()
        body = reply.read(LARGEST_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        problem = f"{kme} does not answer ({error}); check address, certificates and that key delivery is on"
        raise DeliveryUnavailable(problem) from None
    finally:
        connection.close()
    if reply.status == _OK:
        return _key(kme, body)
    if reply.status in _REFUSALS:
        problem = f"{kme} refuses: {_message(body)}"
        raise RequestRefused(problem, status=reply.status)
    problem = f"{kme} has no key to give ({reply.status}): {_message(body)}"
    raise DeliveryUnavailable(problem)


def _key(kme: str, body: bytes) -> FetchedKey:
    try:
        (one,) = json.loads(body)["keys"]
        facts = one.get("key_extension") or {}
        mode, simulated = str(facts.get(MODE_EXTENSION, "")), bool(facts.get("qnoded_simulated", False))
        return FetchedKey(str(one["key_ID"]), Secret(b64decode(one["key"], validate=True)), mode, simulated)
    except (ValueError, LookupError, TypeError, AttributeError):
        problem = f"{kme} does not answer as ETSI GS QKD 014 says; check that the address is a KME's"
        raise DeliveryUnavailable(problem) from None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return "no reason given"
