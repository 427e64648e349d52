"""Files that are there whole or not at all: on a disk that is full after some bytes, and where there is one already."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from qnoded.errors import ConfigError
from qnoded.node.curve import make_keys
from qnoded.node.keys.secret_files import new_secret, read_secret
from qnoded.node.whole_file import create_file, replace_file

ROOM_BYTES = 4096


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may grow beyond 4096 bytes: a longer write is cut short at first, and refused then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_secret_for_which_there_is_no_room_is_not_made(tmp_path: Path, little_room: None) -> None:
    """8192 bytes: nothing is left of the first try, and a second one with 4096 is not in its way."""
    path = tmp_path / "first.secret"
    with pytest.raises(ConfigError, match="File too large"):
        new_secret(path, 2 * ROOM_BYTES)
    assert list(tmp_path.iterdir()) == []
    new_secret(path, ROOM_BYTES)
    assert len(read_secret(path)) == ROOM_BYTES
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_old_file_stays_where_a_new_one_has_no_room(tmp_path: Path, little_room: None) -> None:
    path = tmp_path / "story"
    replace_file(path, "old")
    with pytest.raises(OSError, match="File too large"):
        replace_file(path, "x" * 2 * ROOM_BYTES)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_never_written_over_another_nor_through_a_link(tmp_path: Path) -> None:
    old, link = tmp_path / "old", tmp_path / "link"
    old.write_bytes(b"old")
    link.symlink_to(tmp_path / "elsewhere")
    for path in (old, link):
        with pytest.raises(FileExistsError):
            create_file(path, b"new")
    assert old.read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_a_public_key_may_be_read_by_all_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        public, secret = make_keys(tmp_path, "alice")
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (public, secret)] == [0o644, 0o600]
