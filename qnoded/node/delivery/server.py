"""The HTTPS server of ETSI GS QKD 014 v1.1.1: who asks is what its certificate says, and each key leaves once.

Answers other than 200 are 400 (the request), 401 (the caller) and 503 (this node), the only ones the standard knows,
each with a JSON body. A key is struck off on disk before its answer is written; an answer that gets lost is a lost
key.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from qnoded.errors import (
    ConfigError,
    KeyNotForCaller,
    KeyNotFound,
    KeyStoreError,
    QnodedError,
    RequestRefused,
)
from qnoded.node.delivery import answers, requests
from qnoded.node.delivery.directory import UNAUTHORIZED, Directory
from qnoded.node.delivery.tls import server_context
from qnoded.node.http_log import http_log
from qnoded.node.keys.handing import Pair
from qnoded.node.keys.store import KeyStore
from qnoded.node_settings.keys import DeliverySettings

LARGEST_BODY_BYTES: Final = 1 << 17
"""1024 names of keys, generously."""
UNAVAILABLE: Final = 503
BAD_REQUEST: Final = 400
SHUTDOWN_S: Final = 2.0
PATIENCE_S: Final = 0.1
"""An application waits so long for each refusal: to guess a name of 32 bits takes seven years on average."""
MANY_REFUSALS: Final = 100
"""After so many people are told."""

_log: Final = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Delivery:
    """The three methods of the standard over one key store."""

    def __init__(self, settings: DeliverySettings, directory: Directory, store: KeyStore) -> None:
        self._settings, self._directory, self._store = settings, directory, store
        self._refusals: Counter[str] = Counter()
        self._patient_until_s: dict[str, float] = {}
        """Until when an application waits for its next answer."""

    def application(self) -> web.Application:
        """Return the routes."""
        application = web.Application(middlewares=[_answered], client_max_size=LARGEST_BODY_BYTES)
        application.router.add_get("/api/v1/keys/{sae}/status", self.status)
        application.router.add_get("/api/v1/keys/{sae}/enc_keys", self.new_keys)
        application.router.add_post("/api/v1/keys/{sae}/enc_keys", self.new_keys)
        application.router.add_get("/api/v1/keys/{sae}/dec_keys", self.known_keys)
        application.router.add_post("/api/v1/keys/{sae}/dec_keys", self.known_keys)
        return application

    async def status(self, request: web.Request) -> web.Response:
        """Tell a master how many keys wait for it and a slave."""
        master, slave = self._caller(request), request.match_info["sae"]
        remote = self._directory.peer(slave)
        stock = self._store.stock(remote.link)
        return _json(
            200,
            answers.status(self._settings, stock, remote.kme_id, master, slave, self._directory.local[master].modes),
        )

    async def new_keys(self, request: web.Request) -> web.Response:
        """Hand new keys to a master."""
        master, slave = self._caller(request), request.match_info["sae"]
        remote, modes = self._directory.peer(slave), self._directory.local[master].modes
        if request.method == "POST":
            wanted = requests.key_request_of_body(await request.read(), self._settings, modes)
        else:
            wanted = requests.key_request_of_query(request.query.items(), self._settings, modes)
        kept = self._directory.kept_for_others(master)
        pair = Pair(remote.link, master, slave)
        keys = await asyncio.wrap_future(self._store.take(pair, wanted.number, wanted.key_bytes, wanted.mode, kept))
        return _json(200, answers.container(keys))

    async def known_keys(self, request: web.Request) -> web.Response:
        """Hand a slave the keys whose names its master has told it."""
        slave, master = self._caller(request), request.match_info["sae"]
        remote = self._directory.peer(master)
        if request.method == "POST":
            names = requests.key_names_of_body(await request.read(), self._settings)
        else:
            names = requests.key_names_of_query(request.query.items())
        await asyncio.sleep(self._patient_until_s.get(slave, 0.0) - asyncio.get_running_loop().time())
        try:
            keys = await asyncio.wrap_future(
                self._store.fetch(Pair(remote.link, master, slave), names, self._directory.local[slave].modes)
            )
        except (KeyNotFound, KeyNotForCaller):
            self._refused(slave)
            raise
        return _json(200, answers.container(keys))

    def _refused(self, slave: str) -> None:
        """Let an application wait that asks for keys which are not there for it: it may be guessing names."""
        now_s = asyncio.get_running_loop().time()
        # One after the other, however many of its requests are in work at once.
        self._patient_until_s[slave] = max(now_s, self._patient_until_s.get(slave, now_s)) + PATIENCE_S
        self._refusals[slave] += 1
        if self._refusals[slave] % MANY_REFUSALS == 0:
            _log.warning(
                "key delivery: %s has asked for %d keys that are not there for it; it may be guessing names",
                slave,
                self._refusals[slave],
            )

    def _caller(self, request: web.Request) -> str:
        return self._directory.caller(request.get_extra_info("peercert"))


@asynccontextmanager
async def serving(settings: DeliverySettings, directory: Directory, store: KeyStore) -> AsyncIterator[tuple[str, int]]:
    """Serve until the context ends; gives host and port, which is the real one where the settings say 0.

    Raises
    ------
    ConfigError
        If the certificates cannot be used or the address is taken.
    """
    context = server_context(settings.certificate, settings.private_key, settings.client_ca)
    runner = web.AppRunner(
        Delivery(settings, directory, store).application(),
        access_log=None,
        shutdown_timeout=SHUTDOWN_S,
        logger=http_log(__name__),
    )
    await runner.setup()
    try:
        host, port = settings.host_and_port
        try:
            await web.TCPSite(runner, host or None, port, ssl_context=context).start()
        except OSError as error:
            where, remedy = "delivery", "choose another address or port"
            raise ConfigError(where, f"listen = {settings.listen}", error.strerror or str(error), remedy) from None
        bound = runner.addresses[0]
        yield bound[0], bound[1]
    finally:
        await runner.cleanup()


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into one of the three answers of the standard."""
    try:
        return await handler(request)
    except RequestRefused as error:
        return _json(error.status, answers.error(str(error), error.details))
    except KeyNotFound as error:
        return _json(BAD_REQUEST, answers.error(requests.KEYS_NOT_FOUND, [("reason", str(error))]))
    except KeyNotForCaller as error:
        return _json(UNAUTHORIZED, answers.error(str(error)))
    except KeyStoreError as error:
        return _json(UNAVAILABLE, answers.error(str(error)))
    except QnodedError as error:
        _log.error("key delivery: %s", error)
        return _json(UNAVAILABLE, answers.error("this KME cannot serve keys now; its operator knows more"))
    except web.HTTPException as error:
        # Other paths and methods, too large a body: the standard has one number for what the caller did wrong.
        return _json(BAD_REQUEST, answers.error(f"no such request: {error.reason}"))
    except Exception as error:
        # Only the kind: the text or the trace of a bug here might show a key.
        _log.error("key delivery failed by a mistake of qnoded: %s", type(error).__name__)
        return _json(UNAVAILABLE, answers.error("this KME cannot serve keys now; its operator knows more"))


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(
        status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
