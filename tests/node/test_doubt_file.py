"""The doubt about a laser outlives the daemon, and a disk that does not answer counts as one."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from qnoded.node import doubt_file
from qnoded.node.disk import Disk
from qnoded.node.doubt_file import AGAIN_S, EMITS, NAME, DoubtFile
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


def test_light_is_there_for_the_next_run_until_the_laser_was_seen_dark_and_takes_no_doubt_away(tmp_path: Path) -> None:
    async def light(file: DoubtFile) -> None:
        file.emits(True)
        await file.flush()
        assert (tmp_path / NAME).read_text() == f"{EMITS}\n"

    async def killed(file: DoubtFile) -> None:
        assert await file.load() == EMITS
        file.keep("the laser went dark by itself")

    async def dark_but_doubted(file: DoubtFile) -> None:
        assert await file.load() == "the laser went dark by itself"
        file.emits(True)
        file.emits(False)

    async def decided(file: DoubtFile) -> None:
        assert await file.load() == "the laser went dark by itself"
        file.keep(None)
        file.emits(True)

    async def seen_dark(file: DoubtFile) -> None:
        assert await file.load() == EMITS
        file.emits(False)

    for scenario in (light, killed, dark_but_doubted, decided, seen_dark):
        run(tmp_path, scenario)
    assert not (tmp_path / NAME).exists()


def test_a_doubt_that_still_waits_for_the_disk_when_the_node_ends_is_written(tmp_path: Path) -> None:
    busy = threading.Event()

    async def end() -> None:
        pool = Pool(1)
        file = DoubtFile(tmp_path, Disk(pool, lambda _level, _text: None))
        other = asyncio.ensure_future(pool.write(busy.wait))
        writing = asyncio.ensure_future(file.run())
        file.keep("interlock")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait({writing})
        busy.set()
        await file.flush()
        await other
        pool.close()

    asyncio.run(end())
    assert (tmp_path / NAME).read_text() == "interlock\n"


def test_a_doubt_that_a_full_disk_refused_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, free = [], doubt_file.replace_file

    def full_at_first(path: Path, text: str) -> None:
        tries.append(text)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        free(path, text)

    monkeypatch.setattr(doubt_file, "replace_file", full_at_first)

    async def keep(file: DoubtFile) -> None:
        file.keep("interlock")
        await asyncio.sleep(1.5 * AGAIN_S)
        assert len(tries) == 2
        # At the end of the node it is tried once more.

    first, *_ = run(tmp_path, keep)
    assert "make room on it; a restart may give light again" in first
    assert (tmp_path / NAME).read_text() == "interlock\n"


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
