"""Tell who takes connections and ends them: a ZeroMQ listener, or something in front of a peer that is away.

The end that connects cannot tell from libzmq. A listener whose key is not the one expected ends each handshake without
a word; a proxy, a tunnel or a port forwarding whose far end is down does the same.
"""

from __future__ import annotations

import asyncio
from typing import Final

PROBE_S: Final = 1.0
"""A listener says who it is at once."""
SIGNATURE_BYTES: Final = 10
"""0xFF, eight bytes, 0x7F: how every greeting begins, rfc.zeromq.org/spec/23."""


async def speaks_zmtp(address: str) -> bool:
    """Connect without a word, and return whether a ZeroMQ listener answers; ``address`` is as for ``connect``."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                signature = await reader.readexactly(SIGNATURE_BYTES)
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False
    return signature[0] == 0xFF and signature[-1] == 0x7F
