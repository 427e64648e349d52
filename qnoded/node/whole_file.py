"""Small files that are there whole or not at all, also after a loss of power; for the disk's thread."""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600


def write_all(file: FileIO, content: bytes | memoryview) -> None:
    """Write all of it to an unbuffered file, which takes at once only what there is room for."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def create_file(path: Path, content: bytes | memoryview, mode: int = PRIVATE) -> None:
    """Write a new file whole or not at all, and never over another one; no copy of the content stays in a buffer.

    Raises
    ------
    OSError
        If there is such a file already (``FileExistsError``), or it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            # Where the mask of the process leaves out what the mode grants.
            os.fchmod(descriptor, mode)
            write_all(file, content)
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    _sync_folder(path.parent)


def replace_file(path: Path, text: str) -> None:
    """Write a small file whole or not at all, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        # What lies half written on a full disk takes the room that others need.
        with suppress(OSError):
            beside.unlink()
        raise
    _sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
