"""Snapshots of the node as server-sent events: any number of readers may be slow, and nobody else waits for them.

Each reader has a place, of which there are few, and a small buffer. A snapshot is made when the one before has left for
the reader; a reader that takes too long for one is told why, if it ever reads on, and cut off.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from qnoded.errors import DaemonUnavailable

MOST_STREAMS: Final = 32
INTERVAL_S: Final = 1.0
SLOW_READER_S: Final = 5.0
"""A reader that takes longer for one snapshot is cut off."""
BUFFER_BYTES: Final = 16 * 1024
"""Of the kernel, per reader: a few snapshots, so that who reads nothing is noticed within seconds."""
LAST_WORDS_S: Final = 1.0
"""For the reason to leave, if the reader reads on after all."""

log = logging.getLogger(__name__)


class SnapshotStream:
    """All readers of one node's snapshots."""

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._snapshot = snapshot
        self._readers = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Let all streams end."""
        self._closing.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send snapshots until the reader goes, is too slow, or the daemon stops.

        Raises
        ------
        DaemonUnavailable
            If there are too many readers already.
        """
        if self._readers >= MOST_STREAMS:
            problem = f"{MOST_STREAMS} readers follow this node; close some qnodectl watch"
            raise DaemonUnavailable(problem)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._readers += 1
        try:
            await response.prepare(request)
            _narrow(request.transport)
            await self._send(response)
        except TimeoutError:
            await _cut_off(request, response)
        except ConnectionError:
            pass  # the reader has gone
        finally:
            self._readers -= 1
        return response

    async def _send(self, response: web.StreamResponse) -> None:
        while not self._closing.is_set():
            async with asyncio.timeout(SLOW_READER_S):
                await response.write(b"data: " + json.dumps(self._snapshot()).encode() + b"\n\n")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), INTERVAL_S)


def _narrow(transport: asyncio.Transport | None) -> None:
    """Let writing wait as soon as anything waits to be sent, and let little of it hide in the kernel."""
    if transport is not None:
        transport.set_write_buffer_limits(high=0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)


async def _cut_off(request: web.Request, response: web.StreamResponse) -> None:
    reason = f"cut off: a snapshot was not read within {SLOW_READER_S:g} s; follow the node again"
    log.info("a reader of the snapshots was %s", reason)
    transport = request.transport
    if transport is None:
        return
    # Written behind what still waits, without waiting for it.
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(0):
            await response.write(b"event: end\ndata: " + json.dumps({"error": reason}).encode() + b"\n\n")
    transport.close()
    asyncio.get_running_loop().call_later(LAST_WORDS_S, transport.abort)
