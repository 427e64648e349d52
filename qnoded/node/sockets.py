"""ZeroMQ at the node's edge: one socket per link, CURVE with pinned keys, bounded in every direction, never blocking.

The end with ``listen`` binds a ROUTER, the other connects a DEALER. Without a ZAP handler libzmq accepts any CURVE
client, so the ``Gatekeeper`` is always there, and its pinned key says who talks: a routing id only names a connection.
The newest one counts, messages of older ones are dropped. Handing one routing id over from connection to connection
instead makes libzmq 4.3.5 abort the whole program when the old one closes while heartbeats are on.

libzmq 4.3.5 does not connect again after a refused key or an oversize message; the connecting end therefore makes a new
socket (``renew``) when nothing is heard.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import zmq
from zmq.utils.monitor import parse_monitor_message

from qnoded.errors import ConfigError
from qnoded.exchange.limits import LARGEST_FRAME_BYTES
from qnoded.exchange.wire import Frame
from qnoded.node.curve import CurveKeys
from qnoded.node.probing import speaks_zmtp

MOST_FRAMES: Final = 64
"""More parts than any message has: beyond it, the rest is thrown away here; in libzmq, see ``flooding``."""
MOST_WAITING: Final = 256
"""Messages that may wait in either direction: a minute of a link."""
MOST_REPLACED: Final = 256
"""Connections that are remembered as replaced: twenty minutes of a peer that renews its socket all the time."""
HEARTBEAT_MS: Final = 1000
HEARTBEAT_TIMEOUT_MS: Final = 5000
HANDSHAKE_MS: Final = 5000
RECONNECT_MS: Final = 200
LONGEST_RECONNECT_MS: Final = 2000
BROKEN_OFF: Final = 5
"""Handshakes in a row, none of which a network that comes and goes has to end."""
_HUNG_UP: Final = (errno.EPIPE, errno.ECONNRESET)
"""How libzmq says that the other side ended a handshake; a slow one ends by another number."""
_EXPECTED: Final = "who connects expects another key here: is this end's .key file the peer_key over there?"
REBIND_S: Final = 0.05
LAST_WORDS_MS: Final = 200
"""For a goodbye when the node stops."""

_monitors: Final = itertools.count()
_ZAP_VERSION: Final = b"1.0"
_ZAP_PARTS: Final = 9
"""Routing id, delimiter, version, request id, domain, address, identity, mechanism, key (ZeroMQ RFC 27)."""


class Wire(Protocol):
    """What a link needs of its socket; ``LinkSocket`` is one, tests have others."""

    refused: int
    obstacle: str

    @property
    def connects(self) -> bool:
        """Whether this end connects."""
        ...

    def send(self, frames: Sequence[Frame]) -> str:
        """Hand a message over; return why it was dropped, or nothing."""
        ...

    async def receive(self) -> list[Frame]:
        """Return the peer's next message."""
        ...

    async def watch(self, connected: Callable[[], None]) -> None:
        """Count refused handshakes."""
        ...

    def renew(self) -> None:
        """Connect anew."""
        ...


class _Closed(Exception):
    """The socket was closed while somebody waited for a message."""


class _Watched:
    """A ZeroMQ socket that wakes the event loop.

    The descriptor of a ZeroMQ socket only tells that something may have changed, also after sending (zmq_getsockopt(3),
    ZMQ_FD): so whoever waits looks first, and every send wakes the reader.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self.look)

    def look(self) -> None:
        """Take the signal off the descriptor, which stays readable otherwise, and wake the reader."""
        if not self.socket.closed:
            self.socket.getsockopt(zmq.EVENTS)
        self._wake.set()

    async def receive(self) -> list[Frame]:
        """Return the next message, all its parts but those beyond the limit."""
        while not self.socket.closed:
            self._wake.clear()
            with suppress(zmq.Again):
                return self._parts()
            await self._wake.wait()
        raise _Closed

    def _parts(self) -> list[Frame]:
        parts: list[Frame] = []
        while True:
            frame = self.socket.recv(zmq.NOBLOCK, copy=False)
            if len(parts) <= MOST_FRAMES:
                parts.append(memoryview(frame.buffer))
            if not frame.more:
                return parts

    def close(self, linger_ms: int = 0) -> None:
        if self.socket.closed:
            return
        self._loop.remove_reader(self._descriptor)
        self.socket.close(linger_ms)
        self._wake.set()


class Gatekeeper:
    """The ZAP handler: says which keys may talk, and counts those that may not."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        socket = context.socket(zmq.ROUTER)
        socket.bind("inproc://zeromq.zap.01")
        self._watched = _Watched(socket)
        self._allowed: dict[bytes, tuple[bytes, Callable[[], None]]] = {}

    def allow(self, domain: str, key: bytes, on_refused: Callable[[], None]) -> None:
        """Let one key (32 bytes) into a domain, which is a link's name; tell of every other one."""
        self._allowed[domain.encode()] = key, on_refused

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            parts = [bytes(part) for part in await self._watched.receive()]
            if len(parts) < _ZAP_PARTS - 1:
                continue
            routing, _, _, request, domain = parts[:5]
            allowed, on_refused = self._allowed.get(domain, (b"", _ignore))
            accepted = len(parts) == _ZAP_PARTS and parts[7] == b"CURVE" and parts[8] == allowed != b""
            if not accepted:
                on_refused()
            status = (b"200", b"known") if accepted else (b"400", b"unknown key")
            self._watched.socket.send_multipart([routing, b"", _ZAP_VERSION, request, *status, b"", b""], zmq.NOBLOCK)
            self._watched.look()

    def close(self) -> None:
        """Release the socket."""
        self._watched.close()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom one end of a link talks."""

    link: str
    role: str
    peer_role: str
    listen: str | None
    """Address to bind; None: ``connect`` is given."""
    connect: str | None
    keys: CurveKeys
    peer_key: bytes


class LinkSocket:
    """Messages to and from the one peer of a link, in order, as long as the connection lasts."""

    def __init__(self, context: zmq.Context[Any], gatekeeper: Gatekeeper, endpoint: Endpoint) -> None:
        self.refused = 0
        """Handshakes that failed by their keys: a stranger's here, or this end's at the peer."""
        self.obstacle = ""
        """Why no connection comes about although somebody is there, if more is known than that a key was refused."""
        self._broken_off = 0
        """Handshakes in a row that the other side ended without a word."""
        self.stale = 0
        """Messages of connections that the peer has replaced by newer ones."""
        self._connection: bytes | None = None
        """Routing id of the peer's newest connection; only where this end listens."""
        self._replaced: deque[bytes] = deque(maxlen=MOST_REPLACED)
        self._context, self._endpoint = context, endpoint
        gatekeeper.allow(endpoint.link, endpoint.peer_key, self._count_refused)
        self._opened = asyncio.Event()
        self._opened.set()
        self._watched, self._monitor = self._open()

    @property
    def address(self) -> str:
        """Address that is bound, with its real port, or that is connected to."""
        return str(self._watched.socket.getsockopt_string(zmq.LAST_ENDPOINT))

    @property
    def connects(self) -> bool:
        """Whether this end connects, and so has to ``renew`` when nothing is heard."""
        return self._endpoint.connect is not None

    def send(self, frames: Sequence[Frame]) -> str:
        """Hand a message to the network without waiting.

        Returns
        -------
        str
            Empty if it was taken, otherwise why it was dropped.
        """
        if self.connects:
            routed = list(frames)
        elif self._connection is None:
            return "no connection to the peer"
        else:
            routed = [self._connection, *frames]
        try:
            self._watched.socket.send_multipart(routed, zmq.NOBLOCK)
        except zmq.Again:
            return "no connection to the peer" if self.connects else "the peer is too slow"
        except zmq.ZMQError as error:
            return f"no connection to the peer ({error.strerror})"
        finally:
            self._watched.look()
        return ""

    async def receive(self) -> list[Frame]:
        """Return the frames of the peer's next message."""
        while True:
            try:
                frames = await self._watched.receive()
            except _Closed:
                await self._opened.wait()
                continue
            if self.connects:
                return frames
            if self._is_newest(bytes(frames[0])):
                return frames[1:]
            self.stale += 1

    async def watch(self, connected: Callable[[], None]) -> None:
        """Count refused handshakes, and tell the end that connects whenever a connection stands, until cancelled.

        That end has to speak first: the listener cannot send to a connection that it has not heard.
        """
        # A listener hears of unknown keys from the gatekeeper, and here only of what never got as far: no CURVE at all,
        # or a client that expects another listener, whose first message then does not open.
        refusal = zmq.EVENT_HANDSHAKE_FAILED_AUTH if self.connects else zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        while True:
            try:
                event = parse_monitor_message([bytes(part) for part in await self._monitor.receive()])
            except _Closed:
                await self._opened.wait()
                continue
            if event["event"] == refusal:
                self._count_refused(_EXPECTED if event["value"] == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC else "")
            elif self.connects:
                await self._connecting(event["event"], event["value"], connected)

    async def _connecting(self, event: int, value: int, connected: Callable[[], None]) -> None:
        """Follow the attempts of the end that connects."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and value in _HUNG_UP:
            # One is a network that went away.
            self._broken_off += 1
            if self._broken_off % BROKEN_OFF == 0:
                await self._find_obstacle()
        elif event in (zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_CLOSED):
            # It stands, or nobody takes it.
            self._broken_off, self.obstacle = 0, ""
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                connected()

    async def _find_obstacle(self) -> None:
        address = self._endpoint.connect
        assert address is not None
        if await speaks_zmtp(address):
            self._count_refused("the peer answers but ends the handshake: is peer_key its key?")
        else:
            self.obstacle = (
                f"something at {address} takes connections and ends them at once: is it a proxy or tunnel behind which "
                "the peer's daemon does not run? or is peer_key not the peer's key?"
            )

    def renew(self) -> None:
        """Connect anew with fresh short-term keys; whatever waited is lost. Only for the connecting end."""
        if not self._opened.is_set():
            return  # ``restart`` is at it
        old = self._watched, self._monitor
        self._watched, self._monitor = self._open()
        _close(*old, linger_ms=0)

    async def restart(self) -> None:
        """Close all connections, throw away all that was received of them, and begin anew at the same address."""
        if not self._opened.is_set():
            return  # another one is at it
        address = None if self.connects else self.address
        self._opened.clear()
        _close(self._watched, self._monitor, linger_ms=0)
        self._connection = None
        while not self._opened.is_set():
            # libzmq gives an address back some moments after the socket was closed.
            await asyncio.sleep(REBIND_S)
            try:
                self._watched, self._monitor = self._open(address)
            except ConfigError as error:
                self.obstacle = str(error)
            else:
                self.obstacle = ""
                self._opened.set()

    def close(self) -> None:
        """Release the sockets; a last message gets ``LAST_WORDS_MS`` to leave."""
        _close(self._watched, self._monitor, linger_ms=LAST_WORDS_MS)

    def _is_newest(self, connection: bytes) -> bool:
        """Let a connection that was never heard before take the place of the one before."""
        if connection in self._replaced:
            return False
        if self._connection is not None and connection != self._connection:
            self._replaced.append(self._connection)
        self._connection = connection
        return True

    def _count_refused(self, why: str = "") -> None:
        self.refused += 1
        self.obstacle = why

    def _open(self, again: str | None = None) -> tuple[_Watched, _Watched]:
        """Open the socket and its monitor; ``again`` is the address that it had before."""
        endpoint, listen = self._endpoint, again or self._endpoint.listen
        socket = self._context.socket(zmq.DEALER if self.connects else zmq.ROUTER)
        monitor = self._context.socket(zmq.PAIR)
        try:
            _bound(socket)
            socket.curve_publickey = _z85(endpoint.keys.public)
            socket.curve_secretkey = _z85(endpoint.keys.secret.reveal())
            # pyzmq names a monitor after a descriptor, which a socket made anew may have again too early.
            events = f"inproc://monitor-{next(_monitors)}"
            socket.monitor(events, zmq.EVENT_ALL)
            monitor.connect(events)
            if endpoint.connect is not None:
                socket.curve_serverkey = _z85(endpoint.peer_key)
                socket.immediate = True
                socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS, LONGEST_RECONNECT_MS
                socket.connect(endpoint.connect)
            else:
                assert listen is not None
                socket.router_mandatory = True
                socket.curve_server = True
                socket.zap_domain = endpoint.link.encode()
                socket.bind(listen)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            monitor.close(linger=0)
            where, key = (endpoint.connect, "connect") if self.connects else (endpoint.listen, "listen")
            link = f"links.{endpoint.link}"
            remedy = "use an address of this machine that no other program uses, such as tcp://192.0.2.1:7401"
            raise ConfigError(link, key, f"{where}: {error.strerror}", remedy) from None
        return _Watched(socket), _Watched(monitor)


def _close(watched: _Watched, monitor: _Watched, linger_ms: int) -> None:
    """Close a socket with its monitor.

    The monitor is switched off first: libzmq 4.3.5 keeps a socket that is closed with a monitor at work, lets it
    connect again under the same routing id, and so takes the peer away from the socket that replaced it.
    """
    if not watched.socket.closed:
        watched.socket.monitor(None, 0)
    monitor.close()
    watched.close(linger_ms)


def _bound(socket: zmq.Socket[bytes]) -> None:
    """Limit what a socket may hold and for how long it may hope."""
    socket.linger = 0
    socket.maxmsgsize = LARGEST_FRAME_BYTES
    socket.sndhwm = socket.rcvhwm = MOST_WAITING
    socket.heartbeat_ivl = HEARTBEAT_MS
    socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
    socket.handshake_ivl = HANDSHAKE_MS


def _z85(key: bytes) -> bytes:
    from zmq.utils import z85

    return z85.encode(key)


def _ignore() -> None:
    return
