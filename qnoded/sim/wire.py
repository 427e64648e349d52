"""Frames between the world's server and the simulated instruments: a JSON object, then raw bytes, both of limited size.

    u32 length of the header | u32 length of the body | header, UTF-8 JSON object | body

All numbers are little-endian. An instrument asks with a header alone, and every question has one answer, in order.
Whoever reads takes nothing on trust: a length beyond the limit or a header that is no object ends the conversation.
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from qnoded.errors import RemoteProtocolError, UsageError

LENGTHS: Final = struct.Struct("<II")
LARGEST_HEADER: Final = 64 * 1024
LARGEST_BODY: Final = 256 * 1024 * 1024
"""A second of tags of a tagger that is far too fast, or the truth about a long run."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: ``tcp://HOST:PORT`` or ``unix:///PATH``."""

    host: str = ""
    port: int = 0
    path: str = ""
    """Of a Unix socket; empty: TCP."""

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://{self.host}:{self.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection; OSError if nobody listens."""
        if self.path:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection(self.host, self.port)


def read_address(text: str) -> Address:
    """Read an address.

    Raises
    ------
    UsageError
        If it is none.
    """
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return Address(path=rest)
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isascii() and port.isdigit() and int(port) < 2**16:
        return Address(host.strip("[]"), int(port))
    problem = f"{text!r} is no address; write tcp://127.0.0.1:7400 or unix:///run/world.sock"
    raise UsageError(problem)


def encode(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Return one frame."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    assert len(text) <= LARGEST_HEADER
    assert len(body) <= LARGEST_BODY
    return LENGTHS.pack(len(text), len(body)) + text + body


async def read_frame(reader: asyncio.StreamReader, largest_body: int = 0) -> tuple[dict[str, Any], bytes]:
    """Return header and body of the next frame.

    Raises
    ------
    RemoteProtocolError
        If what arrives is no frame.
    EOFError
        If the connection ends, also in the middle of a frame.
    OSError
        If it breaks.
    """
    header_size, body_size = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
    if header_size > LARGEST_HEADER or body_size > largest_body:
        problem = (
            f"a frame of {header_size} + {body_size} bytes is larger than {LARGEST_HEADER} + {largest_body}; "
            "is this address a simulated world's?"
        )
        raise RemoteProtocolError(problem)
    text = await reader.readexactly(header_size)
    return _parsed(text), await reader.readexactly(body_size)


def _parsed(text: bytes) -> dict[str, Any]:
    """Return the header."""
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        problem = f"the header of a frame is no JSON: {error}"
        raise RemoteProtocolError(problem) from None
    if not isinstance(header, dict):
        problem = f"the header of a frame is a {type(header).__name__}, not an object"
        raise RemoteProtocolError(problem)
    return header


def _refuse_constant(word: str) -> float:
    problem = f"{word} is no number"
    raise ValueError(problem)
