"""Names of keys, hybrid keys and requests: every name fits one key and one pair, and no request makes a trace."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import KeyNotForCaller, KeyNotFound, RequestRefused
from qnoded.node.delivery import requests
from qnoded.node.keys.combining import combined
from qnoded.node.keys.key_ids import LARGEST_SERIAL, LONGEST_KEY_BYTES, KeyName, Mode
from qnoded.node_settings.keys import DeliverySettings
from qnoded.secret import Secret

TICKET = Secret(bytes(range(32)))
KEPT = (7, 300, 511)
SERIALS, LENGTHS = st.integers(0, LARGEST_SERIAL), st.integers(1, LONGEST_KEY_BYTES)
NAMES = st.one_of(
    st.builds(KeyName, st.just(Mode.QKD), SERIALS, st.just(0), LENGTHS),
    st.builds(KeyName, st.sampled_from([Mode.HYBRID, Mode.PQC]), SERIALS, st.sampled_from(KEPT), LENGTHS),
)
SETTINGS = DeliverySettings.model_validate(
    {name: Path(name) for name in ("certificate", "private_key", "client_ca")} | {"listen": "[::1]:0", "kme_id": "kme"}
)


@given(NAMES)
def test_a_name_says_what_it_was_made_of(name: KeyName) -> None:
    uuid = name.issue(TICKET, "alice", "m", "s")
    assert KeyName.read(uuid, TICKET, KEPT, "alice", "m", "s") == name
    assert (uuid.version, uuid.variant) == (8, "specified in RFC 4122")
    assert UUID(str(uuid)) == uuid


@given(NAMES, st.integers(0, 127))
def test_no_bit_of_a_name_can_be_changed(name: KeyName, bit: int) -> None:
    changed = UUID(int=name.issue(TICKET, "alice", "m", "s").int ^ 1 << bit)
    with pytest.raises((KeyNotFound, KeyNotForCaller)):
        KeyName.read(changed, TICKET, KEPT, "alice", "m", "s")


def test_a_name_never_finds_the_agreement_that_came_256_later() -> None:
    """Ten days of them by the hour."""
    uuid = KeyName(Mode.HYBRID, 9, 7, 32).issue(TICKET, "alice", "m", "s")
    for kept in ((), (7 + 256,), (6, 8)):
        with pytest.raises(KeyNotFound):
            KeyName.read(uuid, TICKET, kept, "alice", "m", "s")


@pytest.mark.parametrize(
    ("ticket", "owner", "master", "slave", "error"),
    [
        (TICKET, "alice", "m", "t", KeyNotForCaller),
        (TICKET, "alice", "n", "s", KeyNotFound),
        (TICKET, "alice", "ms", "", KeyNotFound),
        (TICKET, "bob", "m", "s", KeyNotFound),
        (Secret(bytes(32)), "alice", "m", "s", KeyNotFound),
    ],
)
def test_a_name_fits_one_pair_at_one_link(
    ticket: Secret, owner: str, master: str, slave: str, error: type[Exception]
) -> None:
    uuid = KeyName(Mode.QKD, 7, 0, 32).issue(TICKET, "alice", "m", "s")
    with pytest.raises(error):
        KeyName.read(uuid, ticket, KEPT, owner, master, slave)


def test_hybrid_keys_depend_on_both_secrets_and_on_all_they_are_for() -> None:
    name, one, other = uuid4(), Secret(bytes(32)), Secret(bytes([1]) * 32)
    agreed, renewed = Secret(bytes(48)), Secret(bytes([1]) * 48)
    keys = [
        combined(Mode.HYBRID, one, agreed, name, 32, "l", "m", "s"),
        combined(Mode.HYBRID, other, agreed, name, 32, "l", "m", "s"),
        combined(Mode.HYBRID, one, renewed, name, 32, "l", "m", "s"),
        combined(Mode.HYBRID, one, agreed, uuid4(), 32, "l", "m", "s"),
        combined(Mode.HYBRID, one, agreed, name, 32, "lm", "", "s"),
        combined(Mode.HYBRID, one, agreed, name, 32, "l", "s", "m"),
        combined(Mode.PQC, None, agreed, name, 32, "l", "m", "s"),
        combined(Mode.PQC, None, agreed, name, 64, "l", "m", "s"),
    ]
    assert len({key.reveal()[:32] for key in keys}) == len(keys)
    assert combined(Mode.HYBRID, one, agreed, name, 32, "l", "m", "s") == keys[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
FIELDS = ["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional", "key_IDs", "x"]
REQUESTS = st.dictionaries(
    st.sampled_from(FIELDS),
    JSON | st.lists(st.dictionaries(st.sampled_from(["key_ID", "qnoded_mode"]), JSON, max_size=2), max_size=3),
)


@given(REQUESTS | JSON, st.binary(max_size=40))
def test_any_body_is_read_or_refused(table: object, noise: bytes) -> None:
    for body in (json.dumps(table).encode(), noise, noise + json.dumps(table).encode()):
        with suppress(RequestRefused):
            requests.key_request_of_body(body, SETTINGS, tuple(Mode))
        with suppress(RequestRefused):
            requests.key_names_of_body(body, SETTINGS)


@given(st.lists(st.tuples(st.sampled_from([*FIELDS, "key_ID"]), st.text(max_size=12)), max_size=3))
def test_any_query_is_read_or_refused(query: list[tuple[str, str]]) -> None:
    with suppress(RequestRefused):
        requests.key_request_of_query(query, SETTINGS, tuple(Mode))
    with suppress(RequestRefused):
        requests.key_names_of_query(query)
