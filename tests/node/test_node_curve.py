"""CURVE key files: made with the right permissions, never overwritten, refused with a remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qnoded.errors import ConfigError
from qnoded.node.curve import load_keys, load_peer, make_keys


def test_a_pair_is_made_and_read_back(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path / "keys", "alice")
    keys = load_keys(secret)
    assert load_peer(public) == keys.public
    assert len(keys.secret) == 32
    assert keys.secret.reveal() != keys.public
    assert secret.stat().st_mode & 0o777 == 0o600
    assert repr(keys).count("not shown") == 1


def test_keys_in_use_are_never_overwritten(tmp_path: Path) -> None:
    _, secret = make_keys(tmp_path, "alice")
    before = secret.read_text()
    with pytest.raises(ConfigError, match="it exists"):
        make_keys(tmp_path, "alice")
    assert secret.read_text() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    _, secret = make_keys(tmp_path, "alice")
    secret.chmod(mode)
    with pytest.raises(ConfigError, match=rf"its mode is 0{mode:o}, so others may read.*chmod 600"):
        load_keys(secret)


def test_a_secret_given_as_the_peers_key_is_refused(tmp_path: Path) -> None:
    _, secret = make_keys(tmp_path, "alice")
    with pytest.raises(ConfigError, match="peer_key: this file holds a secret key"):
        load_peer(secret)


def test_a_public_key_given_as_the_secret_is_refused(tmp_path: Path) -> None:
    public, _ = make_keys(tmp_path, "alice")
    for mode in (0o644, 0o600):
        public.chmod(mode)
        words = r"secret_key: this file holds a public key alone; name the secret one of the pair: alice\.key_secret"
        with pytest.raises(ConfigError, match=words):
            load_keys(public)


def test_half_a_pair_does_not_stand_in_the_way_of_the_next_try(tmp_path: Path) -> None:
    (tmp_path / "alice.key").mkdir()
    with pytest.raises(ConfigError, match=r"alice\.key: key file: it exists"):
        make_keys(tmp_path, "alice")
    (tmp_path / "alice.key").rmdir()
    make_keys(tmp_path, "alice")
    with pytest.raises(ConfigError, match=r"alice\.key: key files: .*; give another folder"):
        make_keys(tmp_path / "alice.key", "bob")


@pytest.mark.parametrize(
    "text",
    [
        "",
        'curve\n    public-key = "short"\n',
        'curve\n    public-key = "' + "~" * 40 + '"\n',
        'curve\n    public-key = "' + "#" * 40 + '"\n',
        'curve\n public-key = "' + "a" * 40 + '"\n public-key = "' + "b" * 40 + '"\n',
        "x" * 5000,
    ],
)
def test_what_is_no_key_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bob.key"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"peer_key: .*qnodectl keygen"):
        load_peer(path)


def test_missing_files_folders_and_pipes_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="peer_key"):
            load_peer(path)
