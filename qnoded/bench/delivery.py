"""Speed of key delivery: durable keys over HTTPS with certificates on both sides, on a disk of this machine.

The server runs in a process of its own, the load generator in this one, on the same cores. Each key that is counted was
struck off on disk before its answer left. The keys come from blocks of made-up bytes.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from qnoded.bench.measuring import Row
from qnoded.exchange.committing import BlockAccount
from qnoded.node.delivery import demo_pki
from qnoded.node.delivery.tls import client_context
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.secret_files import SEALING_KEY_BYTES, new_secret, read_secret
from qnoded.node.keys.store import KeyStore
from qnoded.secret import Secret

LINK: Final = "alice-bob"
KEY_BYTES: Final = 32
CLIENTS: Final = 32
"""Connections, each with one request under way: as many encryptors that take a key at once."""
REQUESTS: Final = {1: 16_000, 128: 160}
"""Keys per request -> requests per repetition."""
QUICK_REQUESTS: Final = {1: 64}
TARGET_HZ: Final = 2000.0
TARGET_P99_MS: Final = 25.0
STORED_MARGIN: Final = 1.1
FLUSHES: Final = 64


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure single keys and large requests, beside the disk's own flush."""
    for number, requests in (QUICK_REQUESTS if quick else REQUESTS).items():
        yield from _rows(number, requests, 1 if quick else min(repeat, 3))


def _rows(number: int, requests: int, repeat: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir=Path.cwd() if os.access(Path.cwd(), os.W_OK) else None) as name:
        folder = Path(name)
        flush_s = _flush_s(folder)
        demo_pki.make(folder / "pki", ["kme"], ["sae-a"])
        new_secret(folder / "kek", SEALING_KEY_BYTES)
        _fill(folder, int(STORED_MARGIN * number * requests * (repeat + 1)))
        with _server(folder) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            context = client_context(folder / "pki/sae-a.crt", folder / "pki/sae-a.key", folder / "pki/ca.crt")
            loads = [asyncio.run(_load(port, context, number, requests)) for _ in range(repeat + 1)][1:]
            server.terminate()
    what = "one key a request" if number == 1 else f"{number} keys a request"
    note = f"{CLIENTS} clients, a flush of this disk takes {1e3 * flush_s:.1f} ms"
    twins = {"a commit for each request": 1 / flush_s} if number == 1 else {}
    speed = float(np.median([load.requests_hz for load in loads]))
    target = TARGET_HZ if number == 1 else None
    yield Row(f"014 enc_keys, durable, {what}", "req/s", speed, twins, target, note=note)
    p99_ms = float(np.median([load.p99_ms for load in loads]))
    target = TARGET_P99_MS if number == 1 else None
    yield Row(f"014 enc_keys, durable, {what}, p99", "ms", p99_ms, {}, target, higher_is_better=False, note=note)


@dataclass(frozen=True, slots=True)
class _Load:
    requests_hz: float
    p99_ms: float


async def _load(port: int, context: ssl.SSLContext, number: int, requests: int) -> _Load:
    """Let all clients ask as fast as they are answered."""
    path = f"/api/v1/keys/sae-b/enc_keys?number={number}"
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()
    left = requests
    latencies_s: list[float] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            latencies_s.append(time.perf_counter() - start)

    streams = [
        await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        for _ in range(min(CLIENTS, requests))
    ]
    start = time.perf_counter()
    await asyncio.gather(*(client(*stream) for stream in streams))
    elapsed_s = time.perf_counter() - start
    for _, writer in streams:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return _Load(requests / elapsed_s, 1e3 * float(np.percentile(latencies_s, 99)))


def _fill(folder: Path, keys: int) -> None:
    store = KeyStore(
        folder / "keys.sqlite",
        read_secret(folder / "kek"),
        StoreRules(simulation=True, most_keys=2 * keys, pool_bytes=0),
    )
    store.enrol(LINK, "alice", "benchmark", Secret(os.urandom(4096))).result()
    account = BlockAccount("key", 0, 0, 1, 0, 0, 0, 0, 0, 0, 0.0, 0.0, "none", "", simulated=True)
    book, left = store.book(LINK), 2 * keys
    while left > 0:
        # Half of a block belongs to the other end.
        name, count = os.urandom(16), min(left, 10_000)
        book.propose(name, Secret(os.urandom(8 + KEY_BYTES * count)), account)
        book.settle(name)
        left -= count
    store.close()


def _server(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "qnoded.bench.delivery_server", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module


def _flush_s(folder: Path) -> float:
    """Return the median time of writing and flushing one page."""
    times = []
    with (folder / "flush").open("wb", buffering=0) as file:
        for _ in range(FLUSHES):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return float(np.median(times))
