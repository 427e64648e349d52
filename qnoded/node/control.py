"""The local door of the daemon: JSON over HTTP on a Unix socket, for ``qnodectl`` and dashboards.

::

    GET  /v1/status                    one snapshot
    GET  /v1/events?since=N            events after number N
    GET  /v1/stream                    a snapshot each second, as server-sent events
    POST /v1/link/NAME/pause           resume, interlude, enrol likewise
    POST /v1/light/on                  off likewise
    POST /v1/device/swap               {"role": ..., "table": {"driver": ..., ...}}

Who may open the socket may operate the node: it belongs to the daemon's user and group, mode 0660. An error is
``{"error": what and what to do, "exit_code": 1, 2 or 3}``. Everything is bounded: requests, their size, streams, and
how long a slow sender or reader is waited for. What streams use up is never missing to a question about the status.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

from aiohttp import web

from qnoded.errors import ConfigError, DaemonUnavailable, InstrumentError, QnodedError, UsageError
from qnoded.node.advice import advised
from qnoded.node.http_log import http_log
from qnoded.node.snapshot_stream import SnapshotStream
from qnoded.node.status import Event, Level, NodeStatus, to_document

SOCKET_MODE: Final = 0o660
FOLDER_MODE: Final = 0o750
LARGEST_REQUEST_BYTES: Final = 64 * 1024
"""A driver's table; nothing else that is sent here is longer than a line."""
MOST_REQUESTS: Final = 32
"""That act upon the node, at a time; what is only asked is answered at once and needs no limit."""
SLOW_SENDER_S: Final = 5.0
"""For the body of a request to arrive."""
LOOK_S: Final = 1.0
"""Between two looks for the socket's file."""
GRACE_S: Final = 1.0
"""Requests in work when the daemon stops get this long."""

_log = logging.getLogger(__name__)


class Controlled(Protocol):
    """What the daemon lets its operators do; every call is bounded in time and refuses by a ``QnodedError``."""

    def snapshot(self) -> NodeStatus:
        """Return the present status; cheap, does not wait for anything."""
        ...

    def events(self, since: int) -> tuple[Event, ...]:
        """Return the events after a number, oldest first."""
        ...

    async def pause(self, link: str) -> None:
        """Stop a link until ``resume``; an unknown link is a ``UsageError``."""
        ...

    async def resume(self, link: str) -> None:
        """Let a paused link go on."""
        ...

    async def light(self, *, on: bool) -> None:
        """Give light again, or make dark until a person gives it again; a ``UsageError`` where there is no laser."""
        ...

    async def interlude(self, link: str) -> None:
        """Ask for a CHSH interlude as soon as possible."""
        ...

    async def enrol(self, link: str) -> None:
        """Declare a link's key for authentication lost, so that a signed exchange makes a new one."""
        ...

    async def swap(self, role: str, table: dict[str, Any]) -> None:
        """Put another driver, or the same with other settings, in a role; the table is as in ``[instruments.ROLE]``."""
        ...


class ControlServer:
    """Serves the socket while it is entered."""

    def __init__(self, path: Path, daemon: Controlled) -> None:
        self._path = path
        self._daemon = daemon
        self._requests = 0
        self._stream = SnapshotStream(self._document)
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._inode: tuple[int, int] | None = None
        """Of the socket's file, by which another one at its place is known."""

    async def __aenter__(self) -> ControlServer:
        """Open the socket.

        Raises
        ------
        ConfigError
            If it cannot be made there, or another daemon answers on it.
        """
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES, middlewares=[self._bounded])
        app.add_routes(
            [
                web.get("/v1/status", self._status),
                web.get("/v1/events", self._events),
                web.get("/v1/stream", self._stream.serve),
                web.post("/v1/link/{link}/{action:pause|resume|interlude|enrol}", self._link),
                web.post("/v1/light/{word:on|off}", self._light),
                web.post("/v1/device/swap", self._swap),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=GRACE_S, keepalive_timeout=30.0, logger=http_log(__name__)
        )
        listener = _bind(self._path)
        await self._runner.setup()
        await self._listen(listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the streams, finish what is in work, remove the socket."""
        self._stream.close()
        assert self._runner is not None
        await self._runner.cleanup()
        if self._at_its_place():
            self._path.unlink(missing_ok=True)

    async def keep(self, tell: Callable[[Level, str, str], None]) -> None:
        """Make the socket anew where somebody has removed it: nobody could reach the daemon any more."""
        trouble = ""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._at_its_place():
                continue
            try:
                await self._listen(_bind(self._path))
            except ConfigError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    tell("error", "control", f"the control socket was removed; qnodectl reaches nobody: {trouble}")
            else:
                trouble = ""
                tell("warning", "control", f"{self._path} was removed by somebody, and is made anew; let it be there")

    async def _listen(self, listener: socket.socket) -> None:
        assert self._runner is not None
        site, before = web.SockSite(self._runner, listener), self._site
        await site.start()
        self._site, self._inode = site, _inode(self._path)
        if before is not None:
            await before.stop()

    def _at_its_place(self) -> bool:
        return self._inode is not None and _inode(self._path) == self._inode

    @web.middleware
    async def _bounded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        acts = request.method == "POST"
        if acts and self._requests >= MOST_REQUESTS:
            return _refusal(503, f"{MOST_REQUESTS} requests are in work; try again when they are done", 3)
        self._requests += acts
        try:
            return await handler(request)
        except QnodedError as error:
            return _refusal(_http_status(error), str(error), error.exit_code)
        except web.HTTPException as error:
            return _refusal(error.status, f"{request.method} {request.path}: {error.reason}", 2)
        except Exception:
            # The daemon outlives a mistake in answering a question about it.
            _log.exception("control request failed: %s %s", request.method, request.path)
            return _refusal(500, "the daemon could not answer; its log says why", 3)
        finally:
            self._requests -= acts

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._document())

    async def _events(self, request: web.Request) -> web.Response:
        text = request.query.get("since", "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            problem = f"since={text[:40]!r} is no event number; use a whole number from 0"
            raise UsageError(problem)
        return web.json_response({"events": [to_document(event) for event in self._daemon.events(int(text))]})

    async def _link(self, request: web.Request) -> web.Response:
        act = {
            "pause": self._daemon.pause,
            "resume": self._daemon.resume,
            "interlude": self._daemon.interlude,
            "enrol": self._daemon.enrol,
        }
        link, action = request.match_info["link"], request.match_info["action"]
        await act[action](link)
        return web.json_response({"link": link, "done": action})

    async def _light(self, request: web.Request) -> web.Response:
        word = request.match_info["word"]
        await self._daemon.light(on=word == "on")
        return web.json_response({"light": word})

    async def _swap(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(SLOW_SENDER_S):
                wanted = await request.json()
        except TimeoutError:
            problem = f"the request did not arrive within {SLOW_SENDER_S:g} s; send it again"
            raise UsageError(problem) from None
        except (ValueError, RecursionError):
            wanted = None
        if not isinstance(wanted, dict) or not isinstance(wanted.get("role"), str):
            problem = 'send {"role": "tagger", "table": {"driver": "sim-tagger"}}'
            raise UsageError(problem)
        table = wanted.get("table")
        if not isinstance(table, dict) or not isinstance(table.get("driver"), str):
            problem = "the new table needs a driver; name one that qnoded drivers lists"
            raise UsageError(problem)
        await self._daemon.swap(wanted["role"], table)
        return web.json_response({"role": wanted["role"], "driver": table["driver"]})

    def _document(self) -> dict[str, Any]:
        return to_document(advised(self._daemon.snapshot()))


def _bind(path: Path) -> socket.socket:
    """Return a listening socket that nobody else could open at any moment."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if path.is_socket():
            _remove_if_left_behind(path)
        # On Linux the file gets the mode that the unbound socket has, so there is no moment with a wider one.
        os.fchmod(listener.fileno(), SOCKET_MODE)
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
    except OSError as error:
        listener.close()
        remedy = "choose another run_dir, or see who owns the folder"
        raise ConfigError(path, "node.run_dir", f"no control socket here: {error.strerror or error}", remedy) from None
    except QnodedError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _remove_if_left_behind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    remedy = "stop it, or give this node a run_dir of its own"
    raise ConfigError(path, "node.run_dir", "another daemon answers on this socket", remedy)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _http_status(error: QnodedError) -> int:
    if isinstance(error, (UsageError, ConfigError)):
        return 400
    return 503 if isinstance(error, (InstrumentError, DaemonUnavailable)) else 409


def _refusal(status: int, text: str, exit_code: int) -> web.Response:
    return web.json_response({"error": text, "exit_code": exit_code}, status=status)
