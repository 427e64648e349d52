"""A disk that is full, read-only or slow is told once, again after an hour, and shown until it heals."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from qnoded.node.disk import AGAIN_S, CALM_S, SLOW_S, Disk
from qnoded.node.pool import Pool
from qnoded.node.whole_file import replace_file
from qnoded.testing import virtual_time

WHERE = Path("/state/bob")


def refusing(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device: make room on it"),
        (errno.EROFS, "Read-only file system: it was mounted read-only"),
        (errno.EACCES, "Permission denied: let the daemon's user write there"),
        (errno.EIO, "Input/output error: the disk fails"),
        (errno.EMFILE, "Too many open files: look at the disk"),
    ],
)
def test_a_trouble_is_told_rarely_and_shown_until_it_is_over(number: int, words: str) -> None:
    async def story() -> None:
        pool, told = Pool(1), []
        disk = Disk(pool, lambda level, text: told.append((level, text)))
        for _ in range(20):
            assert not await disk.keep("the lock", "a search is longer", WHERE, refusing, number)
            await asyncio.sleep(AGAIN_S / 15)
        ((level, text), again) = told
        assert level == "warning"
        assert text == again[1] == disk.troubles[0]
        assert text.startswith(f"the lock cannot be written to /state/bob: {words}")
        assert text.endswith("; a search is longer")
        assert not await disk.keep("a story", "gone", WHERE, refusing, number)
        assert len(disk.troubles) == 2
        assert await disk.keep("the lock", "a search is longer", WHERE, lambda: None)
        assert told[-1] == ("info", "the lock can be written again")
        assert len(disk.troubles) == 1
        pool.close()

    virtual_time.run(story())


def test_what_comes_and_goes_is_shown_at_once_and_told_once_a_minute() -> None:
    async def story() -> None:
        pool, told = Pool(1), []
        disk = Disk(pool, lambda _level, text: told.append(text))
        for second in range(int(2 * CALM_S)):
            fails = second % 2 == 0
            work = (refusing, errno.ENOSPC) if fails else (len, "")
            assert await disk.keep("the lock", "no matter", WHERE, *work) is not fails
            assert len(disk.troubles) == fails
            await asyncio.sleep(1)
        assert len(told) == 4
        pool.close()

    virtual_time.run(story())


def test_a_disk_that_is_slow_is_a_trouble_until_it_has_written() -> None:
    class Hanging(Pool):
        async def write(self, *_: object, **__: object) -> None:
            await asyncio.sleep(3 * SLOW_S)

    async def story() -> None:
        pool, told = Hanging(1), []
        disk = Disk(pool, lambda _level, text: told.append(text))
        writing = asyncio.create_task(disk.keep("the lock", "a search is longer", WHERE, refusing, 0))
        await asyncio.sleep(SLOW_S - 1)
        assert disk.troubles == ()
        await asyncio.sleep(2)
        assert disk.troubles == ("the lock waits for the disk of /state/bob since 10 s; a search is longer",)
        assert await writing
        assert disk.troubles == ()
        assert told[1:] == ["the lock can be written again"]
        pool.close()

    virtual_time.run(story())


def test_a_file_that_could_not_be_written_whole_leaves_the_old_one_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock.json"
    replace_file(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
