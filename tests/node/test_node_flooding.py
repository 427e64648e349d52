"""A peer that holds the pinned key and sends a message without end does not fill the memory."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

import pytest
import zmq
from links_made import LISTENING, connecting, network, opened

from qnoded.node import flooding
from qnoded.node.flooding import CALM_S, LOOK_S, MOST_GROWTH_BYTES, FloodGate
from qnoded.node.memory import resident_bytes
from qnoded.node.tasks import background
from qnoded.testing import virtual_time

MIB = 1 << 20
PATIENCE_S = 20.0
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
LONG_MORE, COMMAND = 0x03, 0x04
"""Flags of a part, ZeroMQ RFC 23: long and more to come; a short command."""


class Socket:
    def __init__(self) -> None:
        self.restarts = 0

    async def restart(self) -> None:
        self.restarts += 1


class Stuck(Socket):
    async def restart(self) -> None:
        await super().restart()
        await asyncio.Event().wait()


def test_connections_begin_anew_when_memory_has_grown_too_much_since_it_was_least() -> None:
    async def story() -> None:
        memory, told, sockets = [500 * MIB], [], (Stuck(), Socket())
        gate = FloodGate(sockets, lambda level, text: told.append((level, text)), lambda: memory[0])
        async with background(gate.run()):
            for more in (MOST_GROWTH_BYTES, -200 * MIB, MOST_GROWTH_BYTES):
                memory[0] = 500 * MIB + more
                await asyncio.sleep(2 * LOOK_S)
            assert sockets[0].restarts == sockets[1].restarts == 1
            memory[0] = 400 * MIB
            await asyncio.sleep(CALM_S)
            ((level, text),) = told
            assert level == "warning"
            assert "grown by 1224 MiB, so all links connected anew, and now it is 400 MiB" in text
            await asyncio.sleep(60)
            assert sockets[0].restarts == 1

    virtual_time.run(story())


class Plain:
    """A socket like a link's, without its keys: what libzmq holds is the same behind any mechanism."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context, self.restarts, self.address = context, 0, "tcp://127.0.0.1:*"
        self._open()

    async def restart(self) -> None:
        self.close()
        self.restarts += 1

    def close(self) -> None:
        self._socket.close(0)

    def _open(self) -> None:
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.maxmsgsize, self._socket.rcvhwm = 2 * MIB, 4
        self._socket.bind(self.address)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)


def pour(address: str, most_bytes: int) -> int:
    """Send one message that does not end; return how much of it was taken."""
    host, port = address.removeprefix("tcp://").split(":")
    part, taken = bytes([LONG_MORE]) + struct.pack(">Q", MIB) + bytes(MIB), 0
    with socket.create_connection((host, int(port)), timeout=2.0) as connection, suppress(OSError):
        connection.sendall(GREETING + bytes([COMMAND, len(READY)]) + READY)
        while taken < most_bytes:
            connection.sendall(part)
            taken += MIB
    return taken


def test_libzmq_holds_a_message_that_does_not_end_until_its_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flooding, "MOST_GROWTH_BYTES", 96 * MIB)
    monkeypatch.setattr(flooding, "LOOK_S", 0.02)
    monkeypatch.setattr(flooding, "CALM_S", 0.5)
    most, told = 2048 * MIB, list[str]()

    async def flood() -> None:
        with zmq.Context() as context:
            plain = Plain(context)
            try:
                async with background(FloodGate((plain,), lambda _level, text: told.append(text)).run()):
                    before = resident_bytes()
                    assert 64 * MIB < await asyncio.to_thread(pour, plain.address, most) < most
                    await asyncio.sleep(1)
                    assert plain.restarts == 1
                    assert resident_bytes() - before < 64 * MIB
            finally:
                plain.close()
        assert "a peer sends messages without end" in told[0]

    asyncio.run(flood())


def test_a_link_that_cannot_begin_anew_says_why_and_holds_up_no_other() -> None:
    async def taken() -> None:
        async with network() as net, opened(net, LISTENING) as alice, opened(net, connecting(alice.address)) as bob:
            host, port = alice.address.removeprefix("tcp://").split(":")
            restarting = asyncio.ensure_future(alice.restart())
            with socket.socket() as thief:
                async with asyncio.timeout(PATIENCE_S):
                    await taken_by(thief, (host, int(port)))
                    while not alice.obstacle:  # noqa: ASYNC110 - shown in a status, which has no event to wait for
                        await asyncio.sleep(0.01)
                assert "in use" in alice.obstacle
                # Neither another restart nor the watch of the link comes between.
                await alice.restart()
                await bob.restart()
            async with asyncio.timeout(PATIENCE_S):
                await restarting
            assert alice.obstacle == ""

    async def taken_by(thief: socket.socket, address: tuple[str, int]) -> None:
        # As libzmq does it: connections that have just ended do not keep the address.
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            with suppress(OSError):
                thief.bind(address)
                return thief.listen()
            await asyncio.sleep(0)

    asyncio.run(taken())


def test_a_socket_is_not_renewed_while_it_begins_anew() -> None:
    # One that was put in place meanwhile would never be closed, and the context wait for it for ever.
    async def both_at_once() -> None:
        async with network() as net, opened(net, connecting("tcp://127.0.0.1:9")) as bob:
            restarting = asyncio.ensure_future(bob.restart())
            await asyncio.sleep(0)
            with pytest.raises(zmq.ZMQError):
                _ = bob.address
            bob.renew()
            with pytest.raises(zmq.ZMQError):
                _ = bob.address
            await restarting
            assert bob.address

    asyncio.run(both_at_once())


def test_a_link_that_begins_its_connections_anew_is_reached_at_its_old_address() -> None:
    async def restart() -> None:
        async with network() as net, opened(net, LISTENING) as alice, opened(net, connecting(alice.address)) as bob:
            address = alice.address
            for restarted in (alice, bob, alice):
                await restarted.restart()
                async with asyncio.timeout(10):
                    arriving = asyncio.create_task(alice.receive())
                    while not arriving.done():
                        bob.send([b"still here"])
                        await asyncio.sleep(0.05)
                assert bytes((await arriving)[0]) == b"still here"
                assert alice.send([b"welcome"]) == ""
                assert bytes((await bob.receive())[0]) == b"welcome"
            assert alice.address == address

    asyncio.run(restart())
