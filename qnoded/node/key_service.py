"""The node's keys while it runs: the store opened, its links enrolled, kept tidy, and served to applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from qnoded.errors import ConfigError
from qnoded.exchange.authenticating import HASH_KEYS_BYTES, TAG_BYTES
from qnoded.exchange.bootstrapping import Signers
from qnoded.node.delivery.directory import Directory
from qnoded.node.delivery.server import serving
from qnoded.node.distillation import KeyMaking
from qnoded.node.keys.identities import own_identity, pinned_identity
from qnoded.node.keys.opening import enrol_with_file, open_store
from qnoded.node.keys.store import KeyStore
from qnoded.node.pool import Pool
from qnoded.node.status import Level
from qnoded.node.tasks import background
from qnoded.node.watchdog import Watchdog
from qnoded.node_settings import KeysSettings, NodeSettings

TIDY_S: Final = 60.0
"""Between two looks for keys that have expired."""
CLOSE_S: Final = 2.0
"""A disk that hangs must not hold the end of the node."""
PRIVATE_FOLDER: Final = 0o700
DISTILLING_THREADS: Final = 2
"""So that a long block of one link does not keep the next one waiting."""

Teller = Callable[[Level, str, str], None]


class KeyService:
    """What links need of the store."""

    def __init__(
        self, settings: NodeSettings, store: KeyStore, pool: Pool, signers: Mapping[str, Signers], tell: Teller
    ) -> None:
        self._settings, self._store, self._pool = settings, store, pool
        self._signers, self._tell = signers, tell

    def making(self, link: str, watchdog: Watchdog) -> KeyMaking:
        """Return what a link makes its keys with."""
        progress = watchdog.watch(f"keys of link {link}")
        return KeyMaking(
            self._store,
            self._settings.terms(link),
            self._settings.links[link].role,
            self._pool,
            progress,
            signers=self._signers.get(link),
            tell=lambda level, text: self._tell(level, f"link {link}", text),
        )


@asynccontextmanager
async def key_service(
    settings: NodeSettings, where: Path, disk: Pool, tell: Teller
) -> AsyncIterator[KeyService | None]:
    """Keep and serve keys as long as the context lasts; gives None where the settings want none.

    Parameters
    ----------
    settings
        Of the node.
    where
        Their file, for messages.
    disk
        Runs what waits for the disk.
    tell
        Takes events for people: level, source and text.

    Raises
    ------
    ConfigError
        If store, first secrets, certificates or address cannot be used.
    """
    if settings.keys is None:
        yield None
        return
    store = await disk.write(_open, settings, settings.keys)
    try:
        signers = await disk.write(_signers, settings)
        for name in settings.links:
            await _enrol(settings, where, store, name, disk, tell)
        pool = Pool(DISTILLING_THREADS)
        try:
            async with background(_keep_tidy(store)), _delivering(settings, store, tell):
                yield KeyService(settings, store, pool, signers, tell)
        finally:
            pool.close()
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(disk.write(store.close), CLOSE_S)


def _open(settings: NodeSettings, keys: KeysSettings) -> KeyStore:
    folder = settings.node.state_dir
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        remedy = "make it, or give one that this user may make"
        raise ConfigError(folder, "node.state_dir", error.strerror or str(error), remedy) from None
    return open_store(keys, folder, simulation=settings.node.simulation)


def _signers(settings: NodeSettings) -> dict[str, Signers]:
    """Return whose signatures count, for each link that pins an identity."""
    pinned = {name: link.peer_identity for name, link in settings.links.items() if link.peer_identity is not None}
    if not pinned:
        return {}
    assert settings.keys is not None
    assert settings.keys.identity is not None
    identity = own_identity(settings.keys.identity)
    return {name: Signers(identity, pinned_identity(path)) for name, path in pinned.items()}


async def _enrol(settings: NodeSettings, where: Path, store: KeyStore, name: str, disk: Pool, tell: Teller) -> None:
    """Begin a link that the store does not know, or that can say no more, with the secret that both ends share."""
    link, stored = settings.links[name], settings.terms(name).link
    ended = None
    if stored in store.links():
        levels = await asyncio.wrap_future(store.pool_levels(stored))
        dry = min(levels.sending_bytes, levels.receiving_bytes) < HASH_KEYS_BYTES + TAG_BYTES
        ended = levels.halted or ("its key for authentication is used up" if dry else None)
        if ended is None:
            return
    if link.first_secret is None:
        if ended is not None or link.peer_identity is not None:
            return  # the link itself says why it does not run, or begins with a signed exchange
        remedy = (
            "make one with qnodectl keys new-secret, carry it to both nodes, and name it here; or pin identities "
            "(peer_identity, docs/keys.md)"
        )
        raise ConfigError(where, f"links.{name}.first_secret", "is missing, and the link has no key yet", remedy)
    try:
        await asyncio.wrap_future(await disk.write(enrol_with_file, store, stored, link.role, link.first_secret))
    except ConfigError as error:
        if ended is None:
            raise
        tell("error", f"link {name}", f"{ended}; and no new first secret was given: {error}")
    else:
        tell("info", f"link {name}", f"enrolled with {link.first_secret}; the file may be deleted now")


async def _keep_tidy(store: KeyStore) -> None:
    while True:
        await asyncio.sleep(TIDY_S)
        await asyncio.wrap_future(store.tidy())


@asynccontextmanager
async def _delivering(settings: NodeSettings, store: KeyStore, tell: Teller) -> AsyncIterator[None]:
    if settings.delivery is None:
        yield
        return
    directory = Directory.of(settings.delivery, lambda link: settings.terms(link).link)
    async with serving(settings.delivery, directory, store) as (host, port):
        tell("info", "delivery", f"keys are delivered at https://{host}:{port}")
        yield
