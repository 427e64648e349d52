"""The store's writer: one commit for many jobs, each undone alone, and a failing disk told from a failing job."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from qnoded.errors import ConfigError, KeyNotFound, KeyStoreBroken, UsageError
from qnoded.node.keys.database import Database, Work


def make(work: Work) -> None:
    work.row("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b BLOB)")


@contextmanager
def database(path: Path) -> Iterator[Database]:
    opened = Database(path / "t.sqlite", make)
    try:
        yield opened
    finally:
        opened.close()


def add(number: int, size_bytes: int = 1, effects: list[int] | None = None) -> Callable[[Work], int]:
    def job(work: Work) -> int:
        work.row("INSERT INTO t VALUES (?, zeroblob(?))", (number, size_bytes))
        if effects is not None:
            work.after(lambda: effects.append(number))
        return number

    return job


def refuse(_work: Work) -> None:
    problem = "not here"
    raise KeyNotFound(problem)


def held(base: Database) -> threading.Event:
    """Keep the writer busy until the event is set, so that what is submitted meanwhile shares one commit."""
    event = threading.Event()
    base.submit(lambda _work: event.wait())
    return event


def rows(path: Path) -> list[int]:
    with closing(sqlite3.connect(path / "t.sqlite")) as connection:
        return [a for (a,) in connection.execute("SELECT a FROM t ORDER BY a")]


def test_failures_undo_their_own_work_and_no_other(tmp_path: Path) -> None:
    effects: list[int] = []

    def add_and_refuse(work: Work) -> None:
        add(100)(work)
        work.after(lambda: effects.append(100))
        refuse(work)

    def mistake(work: Work) -> None:
        add(101)(work)
        raise ZeroDivisionError

    with database(tmp_path) as base:
        go = held(base)
        good = [base.submit(add(number, effects=effects)) for number in range(3)]
        bad = [base.submit(job) for job in (add_and_refuse, mistake, add(1))]
        more = base.submit(add(7, effects=effects))
        go.set()
        assert [one.result() for one in [*good, more]] == [0, 1, 2, 7]
        assert [type(one.exception()) for one in bad] == [KeyNotFound, ZeroDivisionError, sqlite3.IntegrityError]
    assert rows(tmp_path) == sorted(effects) == [0, 1, 2, 7]


def test_a_lone_failure_leaves_the_store_usable(tmp_path: Path) -> None:
    with database(tmp_path) as base:
        with pytest.raises(KeyNotFound):
            base.submit(refuse).result()
        base.submit(add(1)).result()
        with pytest.raises(sqlite3.IntegrityError):
            base.submit(add(1)).result()
        base.submit(add(2)).result()
    assert rows(tmp_path) == [1, 2]


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    with database(tmp_path) as base:
        base.submit(lambda work: work.row("PRAGMA max_page_count = 20")).result()
        go = held(base)
        failing = [base.submit(add(number, 50_000)) for number in range(3)]
        go.set()
        for one in failing:
            with pytest.raises(KeyStoreBroken, match="check the disk's space"):
                one.result()
        base.submit(add(9)).result()
    assert rows(tmp_path) == [9]


def test_a_failing_disk_is_not_written_again(tmp_path: Path) -> None:
    with database(tmp_path) as base:
        base.submit(add(1)).result()
        with pytest.raises(KeyStoreBroken, match="start the node again"):
            base.submit(lambda work: work._connection.close()).result()
        with pytest.raises(KeyStoreBroken, match="start the node again"):
            base.submit(add(2)).result()
    assert rows(tmp_path) == [1]


def test_a_cancelled_job_is_not_done_and_closing_waits_for_the_others(tmp_path: Path) -> None:
    with database(tmp_path) as base:
        go = held(base)
        waiting = [base.submit(add(number)) for number in range(5)]
        assert waiting[2].cancel()
        base.fold()
        go.set()
        base.close()
        base.close()
        assert all(one.done() for one in waiting)
        with pytest.raises(KeyStoreBroken, match="closed"):
            base.submit(add(8)).result()
    assert rows(tmp_path) == [0, 1, 3, 4]


def test_what_jobs_remember_is_void_when_they_are_undone(tmp_path: Path) -> None:
    undone: list[str] = []
    base = Database(tmp_path / "t.sqlite", make, lambda: undone.append("undone"))
    with pytest.raises(KeyNotFound):
        base.submit(refuse).result()
    base.close()
    assert undone == ["undone"]


def test_a_table_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    def refused(_work: Work) -> None:
        problem = "no"
        raise UsageError(problem)

    with pytest.raises(UsageError):
        Database(tmp_path / "t.sqlite", refused)
    with database(tmp_path) as base:
        base.submit(add(1)).result()


def test_a_damaged_store_and_one_that_others_may_read_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with database(tmp_path) as base:
        for number in range(100):
            base.submit(add(number, 1000))
    path = tmp_path / "t.sqlite"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="has mode 0640: others may read it; run chmod 600"), database(tmp_path):
        pass
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:8192])
    words = "key store: database disk image is malformed; the file is damaged: .*begin each link anew at both ends"
    with pytest.raises(ConfigError, match=words), database(tmp_path):
        pass
