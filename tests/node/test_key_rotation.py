"""Another key for the store: all of it or nothing, whatever fails, and no page with the old one left."""

from __future__ import annotations

from pathlib import Path

import pytest
from keys_made import FIRST_SECRET, KEK, LINK, PAIR, Clock, ends

from qnoded.cli.ctl import main
from qnoded.errors import ConfigError, KeyStoreBroken
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.database import Work
from qnoded.node.keys.rotation import rotate
from qnoded.node.keys.secret_files import new_secret, write_secret
from qnoded.node.keys.store import KeyStore
from qnoded.secret import Secret

NEW = bytes(reversed(range(32)))


def opened(path: Path, kek: bytes) -> KeyStore:
    return KeyStore(path, Secret(kek), StoreRules(simulation=True, pool_bytes=0), Clock())


def made(folder: Path) -> Path:
    with ends(folder) as both:
        both.commit(1)
        both.commit(2)
    return folder / "alice.sqlite"


def test_a_store_opens_with_the_new_key_alone_and_has_all_its_keys(tmp_path: Path) -> None:
    path = made(tmp_path)
    assert rotate(path, Secret(KEK), Secret(NEW)) == 3
    assert not (tmp_path / "alice.sqlite-wal").exists() or not (tmp_path / "alice.sqlite-wal").stat().st_size
    with pytest.raises(ConfigError, match="did not write the store"):
        opened(path, KEK)
    store = opened(path, NEW)
    try:
        handed = store.take(PAIR, 10, 32).result()
        assert len({one.key.reveal() for one in handed}) == 10
        store.reserve_tag(LINK, opening=True).result()
    finally:
        store.close()


def test_a_crash_in_between_leaves_the_old_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    update, seen = Work.row, []

    def fails_late(work: Work, sql: str, values: object = ()) -> object:
        seen.append(sql)
        if sql.startswith("UPDATE store"):
            raise KeyStoreBroken(sql)
        return update(work, sql, values)

    with monkeypatch.context() as patch:
        patch.setattr(Work, "row", fails_late)
        with pytest.raises(KeyStoreBroken):
            rotate(path, Secret(KEK), Secret(NEW))
    assert sum(sql.startswith("UPDATE block") for sql in seen) == 3
    opened(path, KEK).close()


def test_what_cannot_be_rotated_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        rotate(tmp_path / "none.sqlite", Secret(KEK), Secret(NEW))
    assert not (tmp_path / "none.sqlite").exists()
    path = made(tmp_path)
    with pytest.raises(ConfigError, match="did not write the store"):
        rotate(path, Secret(NEW), Secret(KEK))
    store = opened(path, KEK)
    try:
        with pytest.raises(ConfigError, match="open in another process"):
            rotate(path, Secret(KEK), Secret(NEW))
    finally:
        store.close()


def test_the_command_reads_private_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path)
    with Secret(KEK) as kek:
        write_secret(tmp_path / "old", kek)
    new_secret(tmp_path / "new", 32)
    assert main(["keys", "rotate-kek", str(tmp_path / "old"), str(tmp_path / "new"), str(path)]) == 0
    assert "keys.kek" in capsys.readouterr().out
    new_secret(tmp_path / "short", 31)
    assert main(["keys", "rotate-kek", str(tmp_path / "new"), str(tmp_path / "short"), str(path)]) == 2
    assert FIRST_SECRET[:12] not in path.read_bytes()
