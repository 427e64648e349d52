"""The clock lock on disk: read back bit for bit, refused when it is not one, and a disk that hangs harms nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnoded.node import lock_file
from qnoded.node.disk import Disk
from qnoded.node.lock_file import LockFile, PersistedLock
from qnoded.node.pool import Pool
from qnoded.records import ClockModel
from qnoded.stages.synchronization.clock_state import ClockState, start
from qnoded.testing import virtual_time

STREAMS = {"alice": "tagger-a/7", "bob": "tagger-b/1"}
STATE = start(ClockModel(123_456_789_012_345_678, -987_654_321_098, 1.25e-6, 12.5, 3e-10), 87.5, 31_000.0)


def ignored(_level: str, _text: str) -> None: ...


def lock(state: ClockState = STATE) -> PersistedLock:
    return PersistedLock("bob", STREAMS, state)


def test_a_lock_comes_back_bit_for_bit(tmp_path: Path) -> None:
    async def there_and_back() -> PersistedLock | None:
        pool = Pool(1)
        file = LockFile(tmp_path / "bob" / "lock.json", Disk(pool, ignored))
        assert await file.load() is None
        file.keep(lock())
        await file.flush()
        found = await LockFile(file.path, Disk(pool, ignored)).load()
        pool.close()
        return found

    assert virtual_time.run(there_and_back()) == lock()
    assert (tmp_path / "bob" / "lock.json").stat().st_mode & 0o777 == 0o600


def test_what_it_says_depends_on_who_matches_and_on_the_streams() -> None:
    assert lock().known("bob", STREAMS, 5).same_streams
    restarted = lock().known("bob", STREAMS | {"alice": "tagger-a/8"}, 5)
    assert (restarted.state, restarted.same_streams, restarted.offset_ps) == (STATE, False, 5)
    assert lock().known("alice", STREAMS, 5).state is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: "{" * 100_000,
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"white_fm": 1e-09', '"white_fm": NaN'),
        lambda text: text.replace('"white_fm": 1e-09', '"white_fm": "x"'),
        lambda text: text.replace('"peakless_epochs": 0', '"peakless_epochs": 0.5'),
        lambda text: text.replace('"reference_ps"', '"reference"'),
        lambda text: text.replace('"streams": {', '"streams": [], "other": {'),
        lambda text: text + " " * (1 << 20),
    ],
)
def test_a_spoilt_file_is_no_lock(
    tmp_path: Path, spoil: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lock.json"
    text = spoil(lock().text())
    assert text != lock().text()
    path.write_text(text)

    async def load() -> PersistedLock | None:
        pool = Pool(1)
        try:
            return await LockFile(path, Disk(pool, ignored)).load()
        finally:
            pool.close()

    assert virtual_time.run(load()) is None
    assert "is not usable" in caplog.text


def test_a_disk_that_hangs_makes_the_file_old_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    released, begun = threading.Event(), threading.Event()
    written: list[PersistedLock] = []

    def slow(path: Path, text: str) -> None:
        begun.set()
        released.wait()
        written.append(PersistedLock.read(text))

    monkeypatch.setattr(lock_file, "replace_file", slow)

    async def ten_locks() -> None:
        pool = Pool(1)
        file = LockFile(tmp_path / "lock.json", Disk(pool, ignored))
        writer = asyncio.create_task(file.run())
        file.keep(lock())
        await asyncio.to_thread(begun.wait)
        for number in range(10):
            file.keep(lock(start(STATE.clock, 50.0 + number, 1.0)))
        released.set()
        await asyncio.sleep(2 * lock_file.LEAST_INTERVAL_S)
        writer.cancel()
        await asyncio.wait({writer})
        pool.close()

    virtual_time.run(ten_locks())
    assert [one.state.peak_sigma_ps for one in written] == [STATE.peak_sigma_ps, 59.0]


def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class HangingPool(Pool):
        async def write(self, *_: object, **__: object) -> Any:
            await asyncio.Event().wait()

    async def load() -> PersistedLock | None:
        pool = HangingPool(1)
        try:
            return await LockFile(tmp_path / "lock.json", Disk(pool, ignored)).load()
        finally:
            pool.close()

    assert virtual_time.run(load()) is None
    assert "could not be read within 2 s" in caplog.text
