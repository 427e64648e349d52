"""Sifted bits of a simulated link on disk, for somebody who compares both ends; never of a real link."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from qnoded.errors import ConfigError
from qnoded.exchange.reports import BlockSifted, EpochSifted
from qnoded.node.disk import Disk
from qnoded.node.whole_file import write_all
from qnoded.stages.sifting import pack

MOST_WAITING: Final = 512
"""Records that may wait for a slow disk: some minutes; more are left out, and the log says so."""
INDEX: Final = "index.jsonl"
OPTION: Final = "--record-sifted"
_WHAT: Final = f"sifted bits for {OPTION}"


class SiftedRecorder:
    """Writes ``index.jsonl``, one object per sifted epoch and block, and a ``.npz`` per block, all of mode 0600.

    A line of an epoch: ``{"epoch", "bits", "packed" (base64, first bit highest), "basis" (base64 of uint8), "tests":
    [[basis, errors, bits]...], "clicks": [alice, bob], "coincidences"}``. A line of a block: ``{"block", "epochs",
    "bits", "tests", "public_digest", "file"}``; its file holds ``bits``, ``basis`` (uint8) and ``epochs`` (int64).

    Parameters
    ----------
    folder : made where it is missing
    simulation : whether the node's config says ``simulation = true``

    Raises
    ------
    ConfigError
        If it does not: sifted bits of real photons become key, and stay in memory.
    """

    def __init__(self, folder: Path, disk: Disk, *, simulation: bool) -> None:
        if not simulation:
            problem = "sifted bits of real instruments are never written to files"
            raise ConfigError(folder, OPTION, problem, "set node.simulation = true, or leave it out")
        self.left_out = 0
        self._folder, self._disk = folder, disk
        self._waiting: asyncio.Queue[Callable[[], None]] = asyncio.Queue(MOST_WAITING)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            remedy = "give a folder that this user may write"
            raise ConfigError(folder, OPTION, error.strerror or str(error), remedy) from None

    def add(self, report: object) -> None:
        """Take a report; others than sifted epochs and blocks are ignored."""
        if isinstance(report, EpochSifted):
            line = {
                "epoch": report.epoch,
                "bits": report.sifted.bits.size,
                "packed": base64.b64encode(pack(report.sifted.bits)).decode(),
                "basis": base64.b64encode(report.sifted.basis.tobytes()).decode(),
                "tests": _tests(report),
                "clicks": list(report.clicks),
                "coincidences": report.coincidences,
            }
            self._enqueue(lambda: self._append(line))
        elif isinstance(report, BlockSifted):
            self._enqueue(lambda: self._write_block(report))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._write(await self._waiting.get())

    async def finish(self) -> None:
        """Write what still waits."""
        while not self._waiting.empty():
            await self._write(self._waiting.get_nowait())

    def _enqueue(self, work: Callable[[], None]) -> None:
        try:
            self._waiting.put_nowait(work)
        except asyncio.QueueFull:
            self.left_out += 1
            self._disk.fails(_WHAT, f"the disk is too slow for {OPTION}: records are left out of {self._folder}")

    async def _write(self, work: Callable[[], None]) -> None:
        written = await self._disk.keep(_WHAT, "they are left out of the record", self._folder, work)
        self.left_out += not written

    def _append(self, line: dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self._folder / INDEX, flags, 0o600), "wb", buffering=0) as file:
            _write_whole(file, json.dumps(line).encode() + b"\n")

    def _write_block(self, report: BlockSifted) -> None:
        # Alice numbers blocks anew when she is started again: the digest keeps their files apart.
        name = f"block-{report.block:06d}-{report.public_digest.hex()[:8]}.npz"
        path = self._folder / name
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                np.savez(
                    file,
                    bits=report.sifted.bits,
                    basis=report.sifted.basis,
                    epochs=np.array(report.epochs, np.int64),
                )
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._append(
            {
                "block": report.block,
                "epochs": list(report.epochs),
                "bits": report.sifted.bits.size,
                "tests": _tests(report),
                "public_digest": report.public_digest.hex(),
                "file": name,
            }
        )


def _write_whole(file: FileIO, content: bytes) -> None:
    """Append all or nothing: half a line would spoil the next one, too."""
    before = file.seek(0, os.SEEK_END)
    try:
        write_all(file, content)
    except OSError:
        file.truncate(before)
        raise


def _tests(report: EpochSifted | BlockSifted) -> list[list[Any]]:
    return [[test.basis, test.errors, test.bits] for test in report.tests]
