"""A canary among the keys: its bytes are nowhere in what the node writes, says or raises, in no common encoding."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from keys_made import ACCOUNT, BACK, FIRST_SECRET, KEK, LINK, PAIR, Ends, ends

from qnoded.errors import QnodedError
from qnoded.exchange import committing
from qnoded.exchange.committing import CHECK_BYTES
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.key_ids import Mode
from qnoded.secret import Secret
from qnoded.testing.pair import converse

CANARY = b"CANARY" + bytes(range(200, 226))
AGREED = b"AGREED" + bytes(range(100, 142))
PIECE_BYTES = 12
"""Of a secret that count as found: shorter pieces occur by chance."""


def forms(secret: bytes) -> Iterator[bytes]:
    """Give what a secret looks like when somebody wrote it down."""
    pieces = [secret[at : at + PIECE_BYTES] for at in range(len(secret) - PIECE_BYTES + 1)]
    for piece in pieces:
        yield piece
        yield piece.hex().encode()
        yield piece.hex().upper().encode()
        yield repr(piece)[2:-1].encode()
        yield repr(list(piece))[1:-1].encode()
    for shift in range(3):
        yield base64.b64encode(secret[shift : shift + PIECE_BYTES])
        yield base64.urlsafe_b64encode(secret[shift : shift + PIECE_BYTES])


def found(where: bytes) -> list[bytes]:
    secrets = (CANARY, AGREED, FIRST_SECRET[:64], FIRST_SECRET[4000:4064], KEK)
    return [form for secret in secrets for form in forms(secret) if form in where]


def use_everything(both: Ends) -> list[BaseException]:
    """Let the store do all it can with canaries, and fail in all ways it knows."""
    errors: list[BaseException] = []
    key = bytes(CHECK_BYTES) + CANARY * 20
    for randomness in (lambda n: b"n" * n, lambda n: b"m" * n):
        converse(
            committing.alice(Secret(key), ACCOUNT, both.alice.book(LINK), randomness),
            committing.bob(Secret(key), ACCOUNT, both.bob.book(LINK)),
        )
    both.alice.book(LINK).propose(b"left prepared...", Secret(key), ACCOUNT)
    for store in (both.alice, both.bob):
        store.keep_agreement(LINK, 1, Secret(AGREED)).result()
    for mode in Mode:
        keys = both.alice.take(PAIR, 2, 32, mode).result()
        assert (keys[0].key == Secret(CANARY)) == (mode is Mode.QKD)
        both.bob.fetch(PAIR, [keys[0].name]).result()
        errors.append(QnodedError(repr(keys), str(keys[0])))
    place, tag_keys = both.alice.reserve_tag(LINK, opening=True).result()
    errors.append(QnodedError(repr(place), repr(tag_keys)))
    for failing in (
        both.alice.take(PAIR, 9999, 32),
        both.bob.fetch(PAIR, [uuid4()]),
        both.bob.fetch(PAIR, [keys[0].name]),
        both.alice.enrol(LINK, "alice", "secret file", Secret(CANARY)),
        both.alice.enrol(LINK, "alice", "secret file", Secret(FIRST_SECRET)),
        both.alice.keep_agreement(LINK, 0, Secret(AGREED)),
    ):
        error = failing.exception()
        assert isinstance(error, QnodedError)
        errors.append(error)
    both.bob.take(BACK, 3, 100).result()
    both.alice.tidy().result()
    return errors


def test_no_file_log_or_error_holds_a_bit_of_a_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert found(CANARY[:12].hex().encode()) != []
    with ends(tmp_path, StoreRules(simulation=True, pool_bytes=200)) as both:
        errors = use_everything(both)
        # While it runs: the log that SQLite writes ahead is there too.
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert any(path.name.endswith("-wal") for path in files)
        for path in files:
            assert found(path.read_bytes()) == [], path
    for path in tmp_path.rglob("*"):
        assert found(path.read_bytes()) == [], path
    texts = ["".join(traceback.format_exception(error)) for error in errors]
    assert found("\n".join([*texts, caplog.text]).encode()) == []


def test_a_store_that_is_tampered_with_says_nothing_of_its_keys(tmp_path: Path) -> None:
    with ends(tmp_path) as both:
        use_everything(both)
    content = bytearray((tmp_path / "alice.sqlite").read_bytes())
    for at in range(4096, len(content), 4096):
        content[at + 2000] ^= 1
    (tmp_path / "alice.sqlite").write_bytes(content)
    said = ""
    try:
        with ends(tmp_path) as both:
            for _ in range(20):
                both.alice.take(PAIR, 1, 32).result()
    except QnodedError as error:
        said = "".join(traceback.format_exception(error))
    assert found(said.encode()) == []
