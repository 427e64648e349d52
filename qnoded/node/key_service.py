"""The node's keys while it runs: the store opened, its links enrolled, kept tidy, and served to applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from qnoded.errors import ConfigError, KeyStoreError
from qnoded.exchange.bootstrapping import Signers
from qnoded.node.delivery.directory import Directory
from qnoded.node.delivery.server import serving
from qnoded.node.disk import Disk
from qnoded.node.distillation import KeyMaking
from qnoded.node.keys.identities import own_identity, pinned_identity
from qnoded.node.keys.opening import enrol_with_file, open_store, remove_if_used
from qnoded.node.keys.pools import DECLARED_LOST, WITHHOLDING
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
        self,
        settings: NodeSettings,
        store: KeyStore,
        pool: Pool,
        signers: Mapping[str, Signers],
        halted: Mapping[str, str],
        tell: Teller,
    ) -> None:
        self._settings, self._store, self._pool = settings, store, pool
        self._signers, self._halted, self._tell = signers, halted, tell

    def making(self, link: str, watchdog: Watchdog, disk: Disk | None = None) -> KeyMaking:
        """Return what a link makes its keys with; ``disk`` shows it if the store's is full."""
        progress = watchdog.watch(f"keys of link {link}")
        return KeyMaking(
            self._store,
            self._settings.terms(link),
            self._settings.links[link].role,
            self._pool,
            progress,
            signers=self._signers.get(link),
            halted=self._halted.get(link, ""),
            disk=disk,
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
        halted = {name: await _enrol(settings, where, store, name, disk, tell) for name in settings.links}
        pool = Pool(DISTILLING_THREADS)
        try:
            async with background(_keep_tidy(store, tell)), _delivering(settings, store, tell):
                yield KeyService(settings, store, pool, signers, halted, tell)
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
    identity = own_identity(settings.keys.identity)
    return {name: Signers(identity, pinned_identity(path)) for name, path in pinned.items()}


async def _enrol(settings: NodeSettings, where: Path, store: KeyStore, name: str, disk: Pool, tell: Teller) -> str:
    """Begin a link without a ledger, or with one that was declared lost, with the secret that both ends share.

    Return why the link is halted and cannot run; empty: it can, or says itself why not.
    """
    link, stored = settings.links[name], settings.terms(name).link
    lost = False
    if stored in store.links():
        halted = (await asyncio.wrap_future(store.pool_levels(stored))).halted or ""
        lost = halted == DECLARED_LOST
        if not lost:
            if link.first_secret is not None:
                await _leave_unused(store, name, link.first_secret, halted, disk, tell)
            return "" if halted in WITHHOLDING else halted
    if link.first_secret is None:
        if lost or link.peer_identity is not None:
            return ""  # the link itself says why it does not run, or begins with a signed exchange
        remedy = (
            "make one with qnodectl keys new-secret, carry it to both nodes, and name it here; or pin identities "
            "(peer_identity, docs/keys.md)"
        )
        raise ConfigError(where, f"links.{name}.first_secret", "is missing, and the link has no key yet", remedy)
    try:
        await asyncio.wrap_future(await disk.write(enrol_with_file, store, stored, link.role, link.first_secret))
    except ConfigError as error:
        if not lost:
            raise
        if link.peer_identity is not None and not link.first_secret.exists():
            return ""
        tell("error", f"link {name}", f"{DECLARED_LOST}; and no new first secret was given: {error}")
    else:
        tell("info", f"link {name}", f"enrolled with {link.first_secret}, which is deleted now")
        await _remove_used(store, name, link.first_secret, disk, tell)
    return ""


async def _leave_unused(store: KeyStore, name: str, path: Path, halted: str, disk: Pool, tell: Teller) -> None:
    """Take no new first secret in place of a ledger that its operator has not given up, and say how he does."""
    if await _remove_used(store, name, path, disk, tell):
        ledger = f"one that is halted ({halted})" if halted else "one in use"
        tell(
            "warning",
            f"link {name}",
            f"{path} was not taken, the link has a ledger, {ledger}; to begin anew with the file, at both ends: "
            f"qnodectl enrol {name}, then a restart",
        )


async def _remove_used(store: KeyStore, name: str, path: Path, disk: Pool, tell: Teller) -> bool:
    """Delete a first secret that was used; return whether there is one that was not."""
    try:
        return await disk.write(remove_if_used, store, path)
    except ConfigError as error:
        tell("error", f"link {name}", str(error))
        return False


async def _keep_tidy(store: KeyStore, tell: Teller) -> None:
    """Erase what has expired, and try again where the disk does not let it: what is served goes on meanwhile."""
    trouble = ""
    while True:
        await asyncio.sleep(TIDY_S)
        try:
            await asyncio.wrap_future(store.tidy())
        except KeyStoreError as error:
            if str(error) != trouble:
                trouble = str(error)
                tell("error", "keys", f"expired keys are not erased: {trouble}; tried again every {TIDY_S:g} s")
        else:
            if trouble:
                tell("info", "keys", "expired keys are erased again")
            trouble = ""


@asynccontextmanager
async def _delivering(settings: NodeSettings, store: KeyStore, tell: Teller) -> AsyncIterator[None]:
    if settings.delivery is None:
        yield
        return
    directory = Directory.of(settings.delivery, lambda link: settings.terms(link).link)
    async with serving(settings.delivery, directory, store) as (host, port):
        tell("info", "delivery", f"keys are delivered at https://{host}:{port}")
        yield
