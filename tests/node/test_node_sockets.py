"""Real ZeroMQ with CURVE on the loopback: pinned keys, bounded sizes, connections that come back, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import zmq
from links_made import ALICE, BOB, LISTENING, STRANGER, connecting, network, opened, replace
from zmq.utils import z85

from qnoded.errors import ConfigError
from qnoded.exchange.limits import LARGEST_FRAME_BYTES
from qnoded.node.sockets import HEARTBEAT_MS, MOST_FRAMES, MOST_WAITING, Endpoint, LinkSocket

PATIENCE_S = 20.0
"""Far beyond what any of it takes; a test that needs it has failed."""


@asynccontextmanager
async def pair(listening: Endpoint = LISTENING) -> AsyncIterator[tuple[LinkSocket, LinkSocket]]:
    async with (
        network() as one,
        network() as other,
        opened(one, listening) as alice,
        opened(other, connecting(alice.address)) as bob,
    ):
        yield alice, bob


async def delivered(sender: LinkSocket, receiver: LinkSocket, *frames: bytes) -> list[bytes]:
    """Send until something arrives, as a greeting does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            sender.send(frames)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    return [bytes(frame) for frame in await receiver.receive()]


def test_messages_pass_both_ways_whole_and_in_order() -> None:
    async def talk() -> None:
        async with pair() as (alice, bob):
            assert await delivered(bob, alice, b"hello", b"") == [b"hello", b""]
            assert await delivered(alice, bob, b"welcome") == [b"welcome"]
            large = bytes(3_000_000)
            for number in range(20):
                assert alice.send([b"%d" % number, large]) == ""
            for number in range(20):
                head, body = await bob.receive()
                assert (bytes(head), len(body)) == (b"%d" % number, len(large))
            assert (alice.refused, bob.refused, alice.stale) == (0, 0, 0)

    asyncio.run(talk())


def test_a_strangers_key_is_refused_counted_and_disturbs_nobody() -> None:
    async def intrude() -> None:
        async with network() as one, network() as other, opened(one, LISTENING) as alice:
            mallory = replace(connecting(alice.address), keys=STRANGER)
            async with opened(other, mallory) as intruder, asyncio.timeout(PATIENCE_S):
                while not (alice.refused and intruder.refused):
                    assert intruder.send([b"let me in"]) != ""
                    await asyncio.sleep(0)
            async with opened(other, connecting(alice.address)) as bob:
                assert await delivered(bob, alice, b"it is me") == [b"it is me"]

    asyncio.run(intrude())


def test_a_listener_with_another_key_than_the_pinned_one_hears_nothing_and_knows_it() -> None:
    async def impostor() -> None:
        async with pair(replace(LISTENING, keys=STRANGER)) as (mallory, bob), asyncio.timeout(PATIENCE_S):
            while not mallory.refused:
                assert bob.send([b"a secret"]) != ""
                await asyncio.sleep(0)
            while not bob.refused:  # noqa: ASYNC110 - counted by the monitor, which has no event to wait for
                await asyncio.sleep(0)
            assert "expects another key here" in mallory.obstacle
            assert bob.obstacle == "the peer answers but ends the handshake: is peer_key its key?"

    asyncio.run(impostor())


def test_something_that_only_takes_connections_and_ends_them_is_no_refused_key() -> None:
    async def tunnel() -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with network() as one, network() as other, opened(other, connecting(f"tcp://127.0.0.1:{port}")) as bob:
            async with server, asyncio.timeout(PATIENCE_S):
                while not bob.obstacle:  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0)
            assert "takes connections and ends them" in bob.obstacle
            assert bob.refused == 0
            # Where nobody takes them any more, and where the peer does, there is no obstacle.
            async with asyncio.timeout(PATIENCE_S):
                while bob.obstacle:  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0)
            async with opened(one, replace(LISTENING, listen=f"tcp://127.0.0.1:{port}")) as alice:
                assert await delivered(bob, alice, b"here") == [b"here"]
                assert bob.obstacle == ""

    asyncio.run(tunnel())


ZMTP_WITHOUT_CURVE = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
"""Greeting of ZMTP 3.0 with the mechanism NULL, rfc.zeromq.org/spec/23."""


def test_a_client_without_curve_hears_nothing() -> None:
    # By hand: a libzmq client sees that its mechanism is not the server's, may hang up first, and never tries again.
    async def plain() -> None:
        async with network() as one, opened(one, LISTENING) as alice:
            host, port = alice.address.removeprefix("tcp://").rsplit(":", 1)
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(ZMTP_WITHOUT_CURVE)
                async with asyncio.timeout(PATIENCE_S):
                    heard = await reader.read()
                    while not alice.refused:  # noqa: ASYNC110 - counted by the monitor, which has no event to wait for
                        await asyncio.sleep(0)
                # It hangs up in the middle of its own greeting, or after it.
                assert len(heard) <= len(ZMTP_WITHOUT_CURVE)
            finally:
                writer.close()

    asyncio.run(plain())


def test_the_newest_connection_counts_and_an_older_one_may_speak_and_close_without_harm() -> None:
    # With one routing id handed over, libzmq aborts the program some heartbeats after the old connection closes.
    async def replaced() -> None:
        async with network() as one, opened(one, LISTENING) as alice:
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            old, new = raw_peer(context, alice.address), raw_peer(context, alice.address)
            try:
                for peer in (old, new):
                    peer.send(b"hello")
                    await answered(alice, peer)
                old.send(b"once more")
                while not alice.stale:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.2):
                            await alice.receive()
                old.close()
                # Two heartbeats: whatever a closed connection breaks, it breaks within them.
                with suppress(TimeoutError):
                    async with asyncio.timeout(2.2 * HEARTBEAT_MS / 1000):
                        await alice.receive()
                await answered(alice, new)
            finally:
                context.destroy(linger=0)

    async def answered(alice: LinkSocket, peer: zmq.Socket[bytes]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                alice.send([b"welcome"])
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await alice.receive()
                if peer.poll(0):
                    peer.recv()
                    return

    asyncio.run(replaced())


def raw_peer(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    """Bob with the right key and without manners."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.curve_serverkey = z85.encode(ALICE.public)
    socket.curve_publickey = z85.encode(BOB.public)
    socket.curve_secretkey = z85.encode(BOB.secret.reveal())
    socket.connect(address)
    return socket


def test_an_oversize_message_costs_its_sender_the_connection() -> None:
    async def boast() -> None:
        async with network() as one, opened(one, LISTENING) as alice:
            context = zmq.Context()
            try:
                rude = raw_peer(context, alice.address)
                rude.send(b"before")
                assert [bytes(part) for part in await alice.receive()] == [b"before"]
                rude.send(bytes(LARGEST_FRAME_BYTES + 1))
                rude.close(linger=0)
                again = raw_peer(context, alice.address)
                again.send(b"after")
                assert [bytes(part) for part in await alice.receive()] == [b"after"]
            finally:
                context.destroy(linger=0)

    asyncio.run(boast())


def test_a_message_of_many_parts_is_cut_to_what_shows_that_it_is_none() -> None:
    async def flood() -> None:
        async with network() as one, opened(one, LISTENING) as alice:
            context = zmq.Context()
            try:
                rude = raw_peer(context, alice.address)
                rude.send_multipart([b"x"] * 5000)
                assert len(await alice.receive()) == MOST_FRAMES
            finally:
                context.destroy(linger=0)

    asyncio.run(flood())


def test_a_peer_that_does_not_read_makes_sending_fail_and_never_wait() -> None:
    async def deaf() -> None:
        async with pair() as (alice, bob):
            await delivered(bob, alice, b"hello")
            outcomes = [alice.send([bytes(1_000_000)]) for _ in range(3 * MOST_WAITING)]
        assert outcomes[0] == ""
        assert outcomes[-1] == "the peer is too slow"

    asyncio.run(deaf())


def test_both_ends_may_go_and_come_back() -> None:
    async def restarts() -> None:
        async with network() as one, opened(one, LISTENING) as alice:
            address = alice.address
            async with network() as other, opened(other, connecting(address)) as bob:
                await delivered(bob, alice, b"1")
                bob.renew()
                await delivered(bob, alice, b"2")
            problem = ""
            async with asyncio.timeout(PATIENCE_S):
                # Many are taken before libzmq notices, so the peer may seem slow for a moment.
                while not problem.startswith("no connection"):
                    problem = alice.send([b"nobody"])
                    await asyncio.sleep(0)
        async with network() as other, opened(other, connecting(address)) as bob:
            assert bob.send([b"nobody"]) == "no connection to the peer"
            async with network() as one, opened(one, replace(LISTENING, listen=address)) as alice:
                await delivered(bob, alice, b"3")
                await delivered(alice, bob, b"4")

    asyncio.run(restarts())


def test_a_socket_that_was_replaced_never_connects_again() -> None:
    """A zombie with the same routing id would take the listener away from its successor."""
    open_now: set[asyncio.StreamWriter] = set()

    async def renew() -> None:
        async with network() as one, network() as other, opened(one, LISTENING) as alice:
            port = int(alice.address.rsplit(":", 1)[1])

            async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                while data := await reader.read(65536):
                    writer.write(data)
                writer.close()

            async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                open_now.add(writer)
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer), return_exceptions=True)
                open_now.discard(writer)
                closed.set()

            closed = asyncio.Event()
            server = await asyncio.start_server(forward, "127.0.0.1", 0)
            place = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with server, opened(other, connecting(place)) as bob, asyncio.timeout(PATIENCE_S):
                for number in range(4):
                    assert await delivered(bob, alice, b"%d" % number) == [b"%d" % number]
                    closed.clear()
                    bob.renew()
                    await closed.wait()
                await delivered(bob, alice, b"last")
                assert len(open_now) == 1
                bob.renew()
                await closed.wait()
                await delivered(bob, alice, b"end")
            while open_now:
                closed.clear()
                await closed.wait()

    asyncio.run(renew())


def test_an_address_that_is_taken_is_a_config_error() -> None:
    async def twice() -> None:
        async with network() as one, network() as other, opened(one, LISTENING) as alice:
            taken = replace(LISTENING, listen=alice.address)
            with pytest.raises(ConfigError, match=r"links.bob: listen: .*in use"):
                LinkSocket(other.context, other.gatekeeper, taken)

    asyncio.run(twice())
