"""The doubt about a laser outlives the daemon, and a disk that does not answer counts as one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from qnoded.node import doubt_file
from qnoded.node.disk import Disk
from qnoded.node.doubt_file import NAME, DoubtFile
from qnoded.node.pool import Pool
from qnoded.node.tasks import background
from qnoded.testing import virtual_time


def run(folder: Path, scenario: Callable[[DoubtFile], Coroutine[None, None, None]]) -> list[str]:
    """Return what was told of the disk."""
    told: list[str] = []

    async def with_file() -> None:
        pool = Pool(1)
        file = DoubtFile(folder, Disk(pool, lambda _level, text: told.append(text)))
        async with background(file.run()):
            await scenario(file)
            await file.flush()
        pool.close()

    virtual_time.run(with_file())
    return told


def test_a_doubt_is_there_for_the_next_run_until_a_person_decides(tmp_path: Path) -> None:
    folder = tmp_path / "state"

    async def keep(file: DoubtFile) -> None:
        assert await file.load() is None
        file.keep("the laser went dark by itself")

    async def find(file: DoubtFile) -> None:
        assert await file.load() == "the laser went dark by itself"
        file.keep("another\nline")
        file.keep(None)

    async def no_more(file: DoubtFile) -> None:
        assert await file.load() is None

    for scenario in (keep, find, no_more):
        run(folder, scenario)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_what_cannot_be_read_is_a_doubt(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / NAME
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    async def load(file: DoubtFile) -> None:
        assert await file.load()

    run(tmp_path, load)


def test_a_disk_that_hangs_is_a_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(doubt_file, "LOAD_S", 0.01)
    monkeypatch.setattr(doubt_file, "_load", lambda _: release.wait())

    async def load() -> str | None:
        pool = Pool(1)
        try:
            return await DoubtFile(tmp_path, Disk(pool, lambda _level, _text: None)).load()
        finally:
            release.set()
            pool.close()

    assert "could not be read within 0.01 s" in str(asyncio.run(load()))


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")

    async def keep(file: DoubtFile) -> None:
        file.keep("interlock")

    (said,) = run(tmp_path / "state", keep)
    assert said.endswith("a restart may give light again")
