"""What applications ask for: read from query strings and JSON bodies, and refused in the words of the standard.

The texts of refusals in capitals below are those of ETSI GS QKD 014 v1.1.1; unknown fields are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from qnoded.errors import RequestRefused
from qnoded.node.keys.key_ids import Mode
from qnoded.node_settings.keys import DeliverySettings

NOT_WHOLE_BYTES: Final = "size shall be a multiple of 8"
UNKNOWN_MANDATORY: Final = "not all extension_mandatory parameters are supported"
UNMET_MANDATORY: Final = "not all extension_mandatory request options could be met"
KEYS_NOT_FOUND: Final = "one or more keys specified are not found on KME"

MODE_EXTENSION: Final = "qnoded_mode"
"""``qkd`` (the default), ``hybrid`` or ``pqc``."""
MOST_EXTENSIONS: Final = 64

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """New keys for a master."""

    number: int
    key_bytes: int
    mode: Mode


def key_request_of_query(
    query: Iterable[tuple[str, str]], settings: DeliverySettings, modes: Sequence[Mode]
) -> KeyRequest:
    """Read ``number`` and ``size`` from a GET request; nothing else can be asked for that way.

    Parameters are as for ``key_request_of_body``.

    Raises
    ------
    RequestRefused
        If anything else is asked for, or the KME cannot give it.
    """
    table: dict[str, Any] = {}
    for name, text in query:
        if name not in ("number", "size") or name in table:
            problem = "a GET request may give number and size, once each; use POST for anything else"
            raise RequestRefused(problem, ("parameter", name))
        table[name] = int(text) if _NUMBER.fullmatch(text) else text
    return _key_request(table, settings, modes)


def key_request_of_body(body: bytes, settings: DeliverySettings, modes: Sequence[Mode]) -> KeyRequest:
    """Read a key request from JSON; an empty body asks for one key of the usual length.

    Parameters
    ----------
    body
        Of the request.
    settings
        Of key delivery.
    modes
        What keys of this caller may be made of.

    Raises
    ------
    RequestRefused
        If it is malformed, or the KME cannot give what it asks for.
    """
    return _key_request(_table(body) if body.strip() else {}, settings, modes)


def key_names_of_query(query: Iterable[tuple[str, str]]) -> list[UUID]:
    """Read the one ``key_ID`` of a GET request; errors as for ``key_names_of_body``."""
    pairs = list(query)
    if [name for name, _ in pairs] != ["key_ID"]:
        problem = "a GET request gives exactly one key_ID; use POST for several"
        raise RequestRefused(problem)
    return [_uuid(pairs[0][1])]


def key_names_of_body(body: bytes, settings: DeliverySettings) -> list[UUID]:
    """Read key names from JSON.

    Raises
    ------
    RequestRefused
        If the body is malformed or names too many keys.
    """
    listed = _table(body).get("key_IDs")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        problem = "key_IDs shall be an array of objects with a key_ID each"
        raise RequestRefused(problem)
    if len(listed) > settings.max_keys_per_request:
        problem = f"{len(listed)} keys were asked for, at most {settings.max_keys_per_request} are given at once"
        raise RequestRefused(problem)
    return [_uuid(one.get("key_ID")) for one in listed]


def _key_request(table: Mapping[str, Any], settings: DeliverySettings, modes: Sequence[Mode]) -> KeyRequest:
    number = _whole(table, "number", 1)
    bits = _whole(table, "size", settings.key_bits)
    if not 1 <= number <= settings.max_keys_per_request:
        problem = f"number shall be from 1 to {settings.max_keys_per_request}"
        raise RequestRefused(problem, ("number", str(number)))
    if bits % 8:
        raise RequestRefused(NOT_WHOLE_BYTES, ("size", str(bits)))
    if not settings.min_key_bits <= bits <= settings.max_key_bits:
        problem = f"size shall be from {settings.min_key_bits} to {settings.max_key_bits} bits"
        raise RequestRefused(problem, ("size", str(bits)))
    others = table.get("additional_slave_SAE_IDs")
    if others is not None and not (isinstance(others, list) and all(isinstance(one, str) for one in others)):
        problem = "additional_slave_SAE_IDs shall be an array of strings"
        raise RequestRefused(problem)
    if others:
        problem = "this KME gives keys to one slave SAE only: max_SAE_ID_count is 0"
        raise RequestRefused(problem, ("additional_slave_SAE_IDs", ", ".join(others)[:200]))
    return KeyRequest(number, bits // 8, _mode(table, modes))


def _mode(table: Mapping[str, Any], modes: Sequence[Mode]) -> Mode:
    """Return the mode that the extensions ask for; what is optional and unknown or not for the caller is left out."""
    mandatory, optional = (_extensions(table, name) for name in ("extension_mandatory", "extension_optional"))
    unknown = [name for name, _ in mandatory if name != MODE_EXTENSION]
    if unknown:
        raise RequestRefused(UNKNOWN_MANDATORY, *(("extension_mandatory_unsupported", name[:200]) for name in unknown))
    allowed = {mode.name.lower(): mode for mode in modes}
    demanded = {value if isinstance(value, str) else "" for _, value in mandatory}
    wished = [text for name, text in optional if name == MODE_EXTENSION and isinstance(text, str) and text in allowed]
    chosen = next(iter(demanded or wished), Mode.QKD.name.lower())
    if len(demanded) > 1 or chosen not in allowed:
        choices = ("extension_mandatory_unmet", f"{MODE_EXTENSION} is one of {', '.join(allowed)} for this SAE")
        raise RequestRefused(UNMET_MANDATORY, choices)
    return allowed[chosen]


def _extensions(table: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    listed = table.get(name)
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        problem = f"{name} shall be an array of objects"
        raise RequestRefused(problem)
    pairs = [pair for one in listed for pair in one.items()]
    if len(pairs) > MOST_EXTENSIONS:
        problem = f"{name} has more than {MOST_EXTENSIONS} parameters"
        raise RequestRefused(problem)
    return pairs


def _whole(table: Mapping[str, Any], name: str, default: int) -> int:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        problem = f"{name} shall be an integer"
        raise RequestRefused(problem)
    return value


def _table(body: bytes) -> dict[str, Any]:
    try:
        table = json.loads(body)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        problem = "the body shall be one JSON object"
        raise RequestRefused(problem)
    return table


def _uuid(value: object) -> UUID:
    """Return a key's name; what is no name of a key is not found, as any other that was never made."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise RequestRefused(KEYS_NOT_FOUND, ("key_ID", str(value)[:100]))
    return UUID(value)
