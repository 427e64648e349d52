"""Why the laser must stay dark until a person decides: one line on disk, so that no restart brings the light back.

As long as nobody has seen that the laser is dark again, the line says so, from before it emits: a daemon that is killed
meanwhile could not write any more. A file that cannot be read is a doubt as well. Written by the disk's thread; a disk
that hangs holds nobody up.
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
AGAIN_S: Final = 2.0
"""A disk that was full may have room again by then."""
EMITS: Final = "the laser was made to emit, and has not been seen dark since"
"""All that a daemon can leave that is killed while there is light. No doubt for one that finds the laser dark."""


class DoubtFile:
    """The doubt about a node's laser; the newest word wins."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.path = folder / NAME
        self._disk = disk
        self._doubt: str | None = None
        self._emits = False
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()

    async def load(self) -> str | None:
        """Return what an earlier run left: a doubt, ``EMITS``, or None."""
        try:
            async with asyncio.timeout(LOAD_S):
                found = await self._disk.read(_load, self.path)
        except TimeoutError:
            found = f"{self.path} could not be read within {LOAD_S:g} s"
        self._emits = found == EMITS
        self._doubt = None if self._emits else found
        return found

    def keep(self, doubt: str | None) -> None:
        """Have a doubt written, or with None the end of all doubts."""
        if doubt != self._doubt:
            self._doubt = doubt
            self._changed.set()

    def emits(self, emits: bool) -> None:
        """Have it written that the laser may emit from now on, or that it has been seen dark; doubts stay."""
        if emits is not self._emits:
            self._emits = emits
            self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            if not await self._written():
                await asyncio.sleep(AGAIN_S)

    async def flush(self) -> None:
        """Try once to write the newest word, if it is not written yet."""
        await self._written()

    async def _written(self) -> bool:
        """Write the newest word; return whether it could be."""
        async with self._writing:
            if not self._changed.is_set():
                return True
            self._changed.clear()
            what, loss, written = "why the laser stays dark", "a restart may give light again", False
            try:
                written = await self._disk.keep(what, loss, self.path, _write, self.path, self._line)
            finally:
                if not written:
                    # Refused; or cancelled while it still stood in the disk's queue, and gone from there.
                    self._changed.set()
            return written

    @property
    def _line(self) -> str | None:
        return self._doubt or (EMITS if self._emits else None)


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
