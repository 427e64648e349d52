"""Why the laser must stay dark until a person decides: one line on disk, so that no restart brings the light back.

A file that cannot be read is a doubt as well. Written by the disk's thread; a disk that hangs holds nobody up.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from qnoded.node.disk import Disk
from qnoded.node.whole_file import remove_file, replace_file

NAME: Final = "laser-stays-dark"
LOAD_S: Final = 5.0
"""A disk that does not answer for so long does not say that all is well."""
LARGEST_FILE_BYTES: Final = 4096


class DoubtFile:
    """The doubt about a node's laser; the newest word wins."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.path = folder / NAME
        self._disk = disk
        self._doubt: str | None = None
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()

    async def load(self) -> str | None:
        """Return the doubt that an earlier run left, or None."""
        try:
            async with asyncio.timeout(LOAD_S):
                self._doubt = await self._disk.read(_load, self.path)
        except TimeoutError:
            self._doubt = f"{self.path} could not be read within {LOAD_S:g} s"
        return self._doubt

    def keep(self, doubt: str | None) -> None:
        """Have a doubt written, or with None the end of all doubts."""
        if doubt != self._doubt:
            self._doubt = doubt
            self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write the newest word now, if it is not written yet."""
        async with self._writing:
            if not self._changed.is_set():
                return
            self._changed.clear()
            what, loss = "why the laser stays dark", "a restart may give light again"
            await self._disk.keep(what, loss, self.path, _write, self.path, self._doubt)


def _load(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE_BYTES).decode(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} could not be read: {error}"
    return text or f"{path} is empty"


def _write(path: Path, doubt: str | None) -> None:
    if doubt is None:
        remove_file(path)
    else:
        replace_file(path, doubt[:LARGEST_FILE_BYTES] + "\n")
