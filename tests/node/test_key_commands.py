"""``qnodectl pki`` and ``qnodectl keys``: files that nobody else reads, and a delivered key as WireGuard takes it."""

from __future__ import annotations

import argparse
import asyncio
import base64
import errno
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from keys_made import LINK, ends

from qnoded.cli.ctl import keys, pki
from qnoded.errors import ConfigError, DeliveryUnavailable, RequestRefused, UsageError
from qnoded.exchange.bootstrapping import Identity
from qnoded.node.delivery import client
from qnoded.node.delivery.directory import Directory
from qnoded.node.delivery.server import serving
from qnoded.node.keys.identities import own_identity, pinned_identity
from qnoded.node.keys.secret_files import read_secret, sealing_key
from qnoded.node_settings.keys import DeliverySettings


def run(module: Any, *words: object) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    code: int = module.run(parser.parse_args([str(word) for word in words]))
    return code


def test_demo_makes_what_openssl_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pki, "demo", tmp_path / "pki", "--json") == 0
    files = [Path(name) for name in json.loads(capsys.readouterr().out)["files"]]
    assert {path.name for path in files} == {
        f"{name}.{ending}"
        for name in ("ca", "kme-alice", "kme-bob", "sae-alice", "sae-bob")
        for ending in ("crt", "key")
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in files if path.suffix == ".key")
    with pytest.raises(ConfigError, match="exists"):
        run(pki, "demo", tmp_path / "pki")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    for name, purpose in (("kme-alice", "sslserver"), ("sae-bob", "sslclient")):
        certificate = tmp_path / "pki" / f"{name}.crt"
        command = [openssl, "verify", "-purpose", purpose, "-x509_strict", "-CAfile", str(tmp_path / "pki/ca.crt")]
        subprocess.run([*command, str(certificate)], check=True, capture_output=True)


def test_identities_secrets_and_keks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pki, "identity", tmp_path, "alice") == 0
    seed = read_secret(tmp_path / "alice.identity_secret")
    assert Identity(seed).public == (tmp_path / "alice.identity").read_bytes()
    assert run(keys, "new-kek", tmp_path / "kek") == 0
    assert len(sealing_key(tmp_path / "kek")) == 32
    assert run(keys, "new-secret", tmp_path / "first", "--bytes", 1000, "--json") == 0
    assert len(read_secret(tmp_path / "first")) == 1000
    assert "1000" in capsys.readouterr().out
    for words in (("new-kek", tmp_path / "kek"), ("new-secret", tmp_path / "none" / "x")):
        with pytest.raises(ConfigError):
            run(keys, *words)
    for wrong in (("identity", tmp_path, "../x"), ("demo", tmp_path, "--kme", "a", "--sae", "a")):
        with pytest.raises(UsageError):
            run(pki, *wrong)
    with pytest.raises(UsageError, match="--bytes 10"):
        run(keys, "new-secret", tmp_path / "short", "--bytes", 10)


def test_secret_files_that_others_may_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(keys, "new-kek", tmp_path / "kek")
    (tmp_path / "kek").chmod(0o640)
    with pytest.raises(ConfigError, match="0640: others may read it"):
        sealing_key(tmp_path / "kek")
    (tmp_path / "empty").touch(mode=0o600)
    (tmp_path / "long").write_bytes(bytes(33))
    (tmp_path / "long").chmod(0o600)
    for path, words in ((tmp_path, "no regular file"), (tmp_path / "empty", "0 bytes"), (tmp_path / "none", "No such")):
        with pytest.raises(ConfigError, match=words):
            read_secret(path)
    with pytest.raises(ConfigError, match="33 bytes, 32 are due"):
        sealing_key(tmp_path / "long")
    with pytest.raises(ConfigError, match="new-kek"):
        sealing_key(None)
    run(keys, "new-kek", tmp_path / "credential")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credential").rename(tmp_path / "credentials/kek")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert sealing_key(tmp_path / "kek") == read_secret(tmp_path / "credentials/kek")


def test_the_identity_comes_from_a_credential_before_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("alice", "bob"):
        run(pki, "identity", tmp_path, name)
    folder = tmp_path / "credentials"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    with pytest.raises(ConfigError, match="qnodectl pki identity"):
        own_identity(None)
    assert own_identity(tmp_path / "bob.identity_secret").public == pinned_identity(tmp_path / "bob.identity")
    folder.mkdir()
    (tmp_path / "alice.identity_secret").rename(folder / "identity")
    for path in (None, tmp_path / "bob.identity_secret"):
        assert own_identity(path).public == pinned_identity(tmp_path / "alice.identity")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of root")
def test_an_access_list_of_systemd_is_no_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential of root whose list lets the service in shows as 0440; the same mode elsewhere is refused."""
    path = tmp_path / "kek"
    path.write_bytes(bytes(32))
    path.chmod(0o440)
    with pytest.raises(ConfigError, match="0440: others may read it"):
        read_secret(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert len(read_secret(path)) == 32
    path.chmod(0o444)
    with pytest.raises(ConfigError, match="0444: others may read it"):
        read_secret(path)


def test_wireguard_gets_the_same_preshared_key_at_both_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pki"
    run(pki, "demo", folder)
    capsys.readouterr()

    def settings(kme: str, here: str, there: str) -> DeliverySettings:
        table = {
            "certificate": folder / f"{kme}.crt",
            "private_key": folder / f"{kme}.key",
            "client_ca": folder / "ca.crt",
        }
        applications = {"local": {here: {}}, "remote": {there: {"link": "peer", "kme_id": "kme"}}}
        return DeliverySettings.model_validate({"listen": "127.0.0.1:0", "kme_id": kme} | table | applications)

    def wireguard(port: int, name: str, peer: str, *more: str) -> None:
        words = ("--kme", f"https://localhost:{port}", "--name", name, "--peer", peer, "--pki", folder, "--json", *more)
        assert run(keys, "wireguard", tmp_path / f"{name}.psk", *words) == 0

    async def script() -> None:
        with ends(tmp_path) as both:
            both.commit(1)
            one, two = settings("kme-alice", "sae-alice", "sae-bob"), settings("kme-bob", "sae-bob", "sae-alice")
            async with (
                serving(one, Directory.of(one, lambda _: LINK), both.alice) as (_, port_a),
                serving(two, Directory.of(two, lambda _: LINK), both.bob) as (_, port_b),
            ):
                await asyncio.to_thread(wireguard, port_a, "sae-alice", "sae-bob")
                told = json.loads(capsys.readouterr().out)
                assert (told["mode"], told["simulated"]) == ("qkd", True)
                await asyncio.to_thread(wireguard, port_b, "sae-bob", "sae-alice", "--key-id", told["key_ID"])
                with pytest.raises(RequestRefused, match="not found"):
                    await asyncio.to_thread(wireguard, port_b, "sae-bob", "sae-alice", "--key-id", told["key_ID"])
                with pytest.raises(DeliveryUnavailable, match="no post-quantum agreement"):
                    await asyncio.to_thread(wireguard, port_a, "sae-alice", "sae-bob", "--mode", "hybrid")
        with pytest.raises(DeliveryUnavailable, match="does not answer"):
            await asyncio.to_thread(wireguard, port_a, "sae-alice", "sae-bob")
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(script())
    files = [tmp_path / "sae-alice.psk", tmp_path / "sae-bob.psk"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(base64.b64decode(files[0].read_bytes())) == 32
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UsageError, match="--key-id 'first' is no UUID"):
        wireguard(1, "sae-bob", "sae-alice", "--key-id", "first")
    with pytest.raises(UsageError, match="https://localhost:8443"):
        run(keys, "wireguard", "x", "--kme", "http://x", "--name", "sae-alice", "--peer", "b", "--pki", folder)


@pytest.mark.parametrize("place", ["pipe", "link", "folder", "none/key", "full"])
def test_no_key_is_asked_for_where_there_is_no_place_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A device's node must not give way to a file, and a key that was handed out cannot be had again."""
    run(pki, "demo", tmp_path / "pki")
    path = tmp_path / place
    if place == "pipe":
        os.mkfifo(path)
    elif place == "link":
        path.symlink_to(os.devnull)
    elif place == "folder":
        path.mkdir()
    elif place == "full":
        monkeypatch.setattr(os, "posix_fallocate", _no_room)
    before = sorted(tmp_path.iterdir())
    asked: list[object] = []
    monkeypatch.setattr(client, "new_key", lambda *words: asked.append(words))
    words = ("--kme", "https://localhost:1", "--name", "sae-alice", "--peer", "sae-bob", "--pki", tmp_path / "pki")
    with pytest.raises(ConfigError, match=rf"^{path}: secret file: (is there and no|No such file|No space left)"):
        run(keys, "wireguard", path, *words)
    assert asked == []
    assert sorted(tmp_path.iterdir()) == before


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
