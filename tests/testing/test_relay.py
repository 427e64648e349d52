"""The cable that a test can pull: it carries bytes, breaks, and carries again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from qnoded.testing.relay import relay


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _said(port: int, word: bytes) -> bytes:
    """Return what comes back, nothing if the connection breaks."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(word + b"\n")
        answer = await reader.readline()
        writer.close()
    except ConnectionError:
        return b""
    return answer


def test_a_cut_ends_what_is_connected_and_refuses_what_comes_until_it_is_restored() -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        async with relay("127.0.0.1", server.sockets[0].getsockname()[1]) as cable:
            assert await _said(cable.port, b"hello") == b"hello\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
            writer.write(b"still there?\n")
            assert await reader.readline() == b"still there?\n"
            await cable.cut()
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            assert await _said(cable.port, b"hello") == b""
            await cable.restore()
            assert await _said(cable.port, b"again") == b"again\n"
        server.close()

    asyncio.run(scenario())


def test_nobody_behind_the_cable_looks_like_a_cut() -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with relay("127.0.0.1", port) as cable:
            assert await _said(cable.port, b"hello") == b""

    asyncio.run(scenario())


def test_a_long_cable_carries_everything_later_and_in_order() -> None:
    async def scenario() -> list[float]:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with relay("127.0.0.1", server.sockets[0].getsockname()[1], delay_s=0.05) as cable:
            reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
            came_s = []
            for word in (b"one\n", b"two\n"):
                writer.write(word)
            for word in (b"one\n", b"two\n"):
                assert await reader.readline() == word
                came_s.append(loop.time() - began_s)
            cable.delay_s = 0.0
            writer.write(b"three\n")
            assert await reader.readline() == b"three\n"
            writer.close()
        server.close()
        return came_s

    came_s = asyncio.run(scenario())
    assert min(came_s) >= 0.1


def test_what_is_sent_while_the_cable_holds_arrives_later() -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        async with relay("127.0.0.1", server.sockets[0].getsockname()[1]) as cable:
            reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
            cable.hold()
            writer.write(b"patience\n")
            answer = asyncio.ensure_future(reader.readline())
            assert await asyncio.wait({answer}, timeout=0.05) == (set(), {answer})
            await cable.restore()
            assert await answer == b"patience\n"
            writer.close()
        server.close()

    asyncio.run(scenario())
