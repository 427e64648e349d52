"""The daemon's keys: the store opened, links enrolled once and anew, and what is missing named with its remedy."""

from __future__ import annotations

import asyncio
import errno
import tomllib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qnoded.cli.ctl import main
from qnoded.errors import ConfigError, KeyStoreBroken, UsageError
from qnoded.node.delivery import demo_pki
from qnoded.node.distillation import KeyMaking
from qnoded.node.key_service import TIDY_S, KeyService, _keep_tidy, key_service
from qnoded.node.keys.secret_files import SEALING_KEY_BYTES, new_secret
from qnoded.node.notify import Notifier
from qnoded.node.pool import Pool
from qnoded.node.status import Level
from qnoded.node.tally import Tally
from qnoded.node.tasks import background
from qnoded.node.watchdog import Watchdog
from qnoded.node_settings import NodeSettings, check_node
from qnoded.testing import virtual_time

CONFIG = Path(__file__).parents[2] / "config"
Told = list[tuple[Level, str, str]]


def alice(folder: Path, **changes: Any) -> NodeSettings:
    """Return the example's alice with everything below a folder, and files for her keys."""
    table = tomllib.loads((CONFIG / "sim" / "alice.toml").read_text())
    table["delivery"]["listen"] = "127.0.0.1:0"
    for name, value in changes.items():
        if value is None:
            del table[name]
    keys = folder / "out" / "keys"
    if not keys.exists():
        keys.mkdir(parents=True)
        new_secret(keys / "alice.kek", SEALING_KEY_BYTES)
        new_secret(keys / "alice-bob.secret", 2000)
        demo_pki.make(folder / "out" / "pki", ["kme-alice"], ["sae-alice"])
    return check_node(table, "alice.toml", folder)


@asynccontextmanager
async def served(settings: NodeSettings) -> AsyncIterator[tuple[KeyService | None, Told]]:
    disk, told = Pool(1), []
    try:
        async with key_service(settings, Path("alice.toml"), disk, lambda *event: told.append(event)) as keys:
            yield keys, told
    finally:
        disk.close()


def test_a_link_is_enrolled_once_and_its_secret_is_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        settings = alice(tmp_path)
        async with served(settings) as (keys, told):
            assert keys is not None
            making = keys.making("bob", Watchdog(Notifier({})))
            assert (making.link, making.role) == ("alice-bob", "alice")
            await making.look()
            assert making.levels is not None
            assert making.levels.sending_bytes == making.levels.receiving_bytes > 900
            assert [text for _, source, text in told if source == "link bob"]
            assert any("https://127.0.0.1:" in text for _, source, text in told if source == "delivery")
        assert not (tmp_path / "out" / "keys" / "alice-bob.secret").exists()
        async with served(settings) as (_, told):
            assert not [text for _, source, text in told if source == "link bob"]

    asyncio.run(run())


@pytest.mark.parametrize("halted", [False, True])
def test_a_ledger_that_its_operator_gave_up_makes_room_for_a_new_secret_and_no_other(
    tmp_path: Path, halted: bool
) -> None:
    """Before that, a new file is not taken, and each start says so and what to do."""
    secret = tmp_path / "out" / "keys" / "alice-bob.secret"

    async def start(act: Callable[[KeyMaking], Future[None] | None]) -> tuple[KeyMaking, list[tuple[Level, str]]]:
        async with served(alice(tmp_path)) as (keys, told):
            assert keys is not None
            making = keys.making("bob", Watchdog(Notifier({})))
            await making.look()
            if (done := act(making)) is not None:
                await asyncio.wrap_future(done)
            return making, [(level, text) for level, source, text in told if source == "link bob"]

    async def run() -> None:
        halt = "a seal was wrong"
        await start(lambda making: making.store.halt("alice-bob", halt) if halted else None)
        making, told = await start(lambda _: None)
        assert (making.halted, told) == (halt if halted else "", [])
        new_secret(secret, 2000)
        making, ((level, text),) = await start(lambda making: making.store.declare_lost("alice-bob"))
        assert making.halted == (halt if halted else "")
        assert level == "warning"
        assert "was not taken" in text
        assert (halt in text) is halted
        assert "qnodectl enrol bob, then a restart" in text
        making, ((level, text),) = await start(lambda _: None)
        assert "enrolled with" in text
        assert making.halted == making.store.withheld("alice-bob") == ""
        assert making.levels is not None
        assert making.levels.halted is None
        assert not secret.exists()
        await start(lambda making: making.store.declare_lost("alice-bob"))
        making, ((level, text),) = await start(lambda _: None)
        assert (making.halted, level) == ("", "error")
        assert "no new first secret was given" in text

    asyncio.run(run())


def test_a_secret_that_was_used_and_cannot_be_deleted_is_an_error_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store that gets lost it would be used a second time; a new one, which waits for its use, stays."""
    secret = tmp_path / "out" / "keys" / "alice-bob.secret"

    def refuse(_path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    async def run() -> None:
        settings = alice(tmp_path)
        with monkeypatch.context() as read_only:
            read_only.setattr(Path, "unlink", refuse)
            for _ in range(2):
                async with served(settings) as (_, told):
                    (text,) = [text for level, source, text in told if (level, source) == ("error", "link bob")]
                    assert "cannot be deleted: Read-only file system; delete it by hand now" in text
        assert secret.exists()
        async with served(settings) as (_, told):
            assert not [text for _, source, text in told if source == "link bob"]
        assert not secret.exists()
        new_secret(secret, 2000)
        async with served(settings) as (_, told):
            assert ["was not taken" in text for _, source, text in told if source == "link bob"] == [True]
        assert secret.exists()

    asyncio.run(run())


class FullDisk:
    """A store that cannot erase what has expired, twice."""

    def __init__(self) -> None:
        self.asked = 0

    def tidy(self) -> Future[int]:
        self.asked += 1
        done: Future[int] = Future()
        if self.asked <= 2:
            done.set_exception(KeyStoreBroken("the disk is full"))
        else:
            done.set_result(0)
        return done


def test_a_full_disk_does_not_end_the_service(tmp_path: Path) -> None:
    told: Told = []
    store = FullDisk()

    async def run() -> None:
        async with background(_keep_tidy(store, lambda *event: told.append(event))):  # type: ignore[arg-type]
            await asyncio.sleep(4.5 * TIDY_S)

    virtual_time.run(run())
    assert store.asked == 4
    assert [level for level, _, _ in told] == ["error", "info"]
    assert "the disk is full" in told[0][2]


def pinning(folder: Path) -> NodeSettings:
    """Return alice's settings with identities in place of a first secret."""
    settings = alice(folder)
    keys = folder / "out" / "keys"
    for name in ("alice", "bob"):
        assert main(["pki", "identity", str(keys), name]) == 0
    table = settings.model_dump(exclude_none=True)
    table["receiver"] = table["receiver"]["channels"]
    table["keys"]["identity"] = keys / "alice.identity_secret"
    table["links"]["bob"]["peer_identity"] = keys / "bob.identity"
    del table["links"]["bob"]["first_secret"]
    return check_node(table, "alice.toml", folder)


def test_a_link_without_a_first_secret_waits_for_its_peer_where_identities_are_pinned(tmp_path: Path) -> None:
    async def run() -> None:
        settings = pinning(tmp_path)
        assert settings.terms("bob").signed_exchange
        async with served(settings) as (keys, _):
            assert keys is not None
            making = keys.making("bob", Watchdog(Notifier({})))
            assert making.signers is not None
            assert making.signers.peer == (tmp_path / "out" / "keys" / "bob.identity").read_bytes()
            assert making.store.links() == ()
            assert making.status(Tally(settings.terms("bob"), "alice")).available == 0
            with pytest.raises(UsageError, match="no ledger yet"):
                await making.declare_lost()

    asyncio.run(run())


def test_identities_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    async def run() -> None:
        settings = pinning(tmp_path)
        public = tmp_path / "out" / "keys" / "bob.identity"
        content = public.read_bytes()
        for wrong in (content[:-1], content + b"x"):
            public.write_bytes(wrong)
            with pytest.raises(ConfigError, match=r"bob\.identity: peer_identity: .* 1952 are due"):
                async with served(settings):
                    pass
        public.write_bytes(content)
        (tmp_path / "out" / "keys" / "alice.identity_secret").chmod(0o644)
        with pytest.raises(ConfigError, match="others may read it"):
            async with served(settings):
                pass

    asyncio.run(run())


def test_a_pinned_peer_needs_an_identity_of_this_node(tmp_path: Path) -> None:
    table = pinning(tmp_path).model_dump(exclude_none=True)
    table["receiver"] = table["receiver"]["channels"]
    del table["keys"]["identity"]

    async def run() -> None:
        with pytest.raises(ConfigError, match="qnodectl pki identity"):
            async with served(check_node(table, "alice.toml", tmp_path)):
                pass

    asyncio.run(run())
    del table["keys"], table["delivery"]
    with pytest.raises(ConfigError, match="qnodectl pki identity"):
        check_node(table, "alice.toml", tmp_path)


def test_a_node_without_keys_has_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(alice(tmp_path, keys=None, delivery=None)) as (keys, told):
            assert keys is None
            assert told == []
        assert not (tmp_path / "out" / "alice").exists()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("keys/alice.kek", "alice.kek"),
        ("keys/alice-bob.secret", "alice-bob.secret"),
        ("pki/kme-alice.key", "kme-alice.key"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, missing: str, words: str) -> None:
    async def run() -> None:
        settings = alice(tmp_path)
        (tmp_path / "out" / missing).unlink()
        with pytest.raises(ConfigError, match=words):
            async with served(settings):
                pass

    asyncio.run(run())
