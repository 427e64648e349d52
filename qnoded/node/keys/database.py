"""One SQLite file, one thread that writes it, and one commit for all that waits: durable and still fast.

A commit costs the disk's flush, some milliseconds, whatever it holds. So jobs queue up while a commit runs and share
the next one; a job's future is done only once its commit is on disk. Jobs are functions of a ``Work``; one may run
twice (when a neighbour in the batch fails), so it changes nothing but the database, and leaves what else is to follow
to ``Work.after``.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, NamedTuple, TypeVar

from qnoded.errors import ConfigError, KeyStoreBroken

T = TypeVar("T")

MOST_JOBS: Final = 256
"""Of one commit: bounds how long the first of them waits."""
CHECKPOINT_PAGES: Final = 4096
"""The log is folded into the database at 16 MiB: rarely enough not to be felt, and quickly done."""
PRIVATE: Final = 0o600

_PRAGMAS: Final = (
    "locking_mode = EXCLUSIVE",  # one daemon, and no shared-memory file beside the database
    "journal_mode = WAL",
    "synchronous = FULL",  # each commit is flushed: NORMAL would lose the last ones with the power
    "secure_delete = ON",
    "temp_store = MEMORY",
    "foreign_keys = ON",
    f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
)
_TRANSIENT: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_TOOBIG})
"""Failures after which the file is as it was before; after any other nobody knows what is on disk."""
_RUINED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
DAMAGED: Final = (
    "the file is damaged: check the disk, move the file away, and begin each link anew at both ends (docs/keys.md); an "
    "old copy must never take its place, since its keys were used"
)


class Work:
    """What a job works with: the open transaction."""

    __slots__ = ("_connection", "effects")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.effects: list[Callable[[], object]] = []

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return all its rows."""
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement and return its first row, or None."""
        return self._connection.execute(sql, values).fetchone()

    def many(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        self._connection.executemany(sql, values)

    def after(self, effect: Callable[[], object]) -> None:
        """Have something done once the transaction is on disk."""
        self.effects.append(effect)


Job = Callable[[Work], T]


class _Waiting(NamedTuple, Generic[T]):
    job: Job[T]
    future: Future[T]


class _Order(Enum):
    FOLD = "fold the log into the file"
    CLOSE = "and then close it"


class Database:
    """The file and its thread.

    Parameters
    ----------
    path
        The file; made if it is not there, readable by its owner alone.
    prepare
        Run first, in a transaction: makes or checks the tables.
    undone
        Called whenever jobs were undone: whatever they remembered of rows that they wrote is void.

    Raises
    ------
    ConfigError
        If the file cannot be opened, is no database, or is open in another process.
    """

    def __init__(self, path: Path, prepare: Job[None], undone: Callable[[], None] = lambda: None) -> None:
        self._path, self._undone = path, undone
        self._queue: SimpleQueue[_Waiting[Any] | _Order] = SimpleQueue()
        self._broken: KeyStoreBroken | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._connection = _opened(path, prepare)
        self._thread = threading.Thread(target=self._write, name="key store", daemon=True)
        self._thread.start()

    def submit(self, job: Job[T]) -> Future[T]:
        """Queue a job; the future is done when its commit is on disk, or with the error that undid it.

        Errors of the job itself are raised as they are, ``KeyStoreBroken`` stands for those of the disk.
        """
        future: Future[T] = Future()
        with self._closing:
            if self._closed:
                future.set_exception(KeyStoreBroken(f"the key store {self._path} is closed; start the node again"))
            else:
                self._queue.put(_Waiting(job, future))
        return future

    def fold(self) -> None:
        """Fold the log into the file and empty it after what is queued, so that nothing erased stays behind in it."""
        with self._closing:
            if not self._closed:
                self._queue.put(_Order.FOLD)

    def close(self) -> None:
        """Let what is queued come to its end, fold the log into the file, and close it; may be called again."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(_Order.CLOSE)
        self._thread.join()

    def _write(self) -> None:
        going_on = True
        while going_on:
            batch: list[_Waiting[Any]] = []
            order: _Order | None = None
            with suppress(Empty):
                waiting = self._queue.get()
                while isinstance(waiting, _Waiting):
                    batch.append(waiting)
                    if len(batch) == MOST_JOBS:
                        break
                    waiting = self._queue.get_nowait()
                order = waiting if isinstance(waiting, _Order) else None
            batch = [one for one in batch if one.future.set_running_or_notify_cancel()]
            if batch:
                self._commit(batch)
            if order is not None:
                with suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            going_on = order is not _Order.CLOSE
        self._connection.close()

    def _commit(self, batch: list[_Waiting[Any]]) -> None:
        """Run all jobs in one transaction; if one fails, all again, each undone on its own."""
        work = Work(self._connection)
        try:
            self._refuse_if_broken()
            self._connection.execute("BEGIN IMMEDIATE")
            results = [one.job(work) for one in batch]
            self._connection.execute("COMMIT")
        except Exception as error:
            self._undo()
            if self._broken is None and not _is_the_files(error) and len(batch) > 1:
                self._commit_each(batch)
                return
            for one in batch:
                one.future.set_exception(self._translated(error))
            return
        for effect in work.effects:
            effect()
        for one, result in zip(batch, results, strict=True):
            one.future.set_result(result)

    def _commit_each(self, batch: list[_Waiting[Any]]) -> None:
        """Keep what succeeds of a batch in which something fails; still one commit."""
        effects: list[Callable[[], object]] = []
        done: list[tuple[_Waiting[Any], Any]] = []
        failed: list[tuple[_Waiting[Any], Exception]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for one in batch:
                work = Work(self._connection)
                self._connection.execute("SAVEPOINT one")
                try:
                    done.append((one, one.job(work)))
                    effects += work.effects
                except Exception as error:
                    if _is_the_files(error):
                        raise
                    self._connection.execute("ROLLBACK TO one")
                    self._undone()
                    failed.append((one, error))
                self._connection.execute("RELEASE one")
            self._connection.execute("COMMIT")
        except Exception as error:
            self._undo()
            for one in batch:
                one.future.set_exception(self._translated(error))
            return
        for effect in effects:
            effect()
        for one, result in done:
            one.future.set_result(result)
        for one, refusal in failed:
            one.future.set_exception(refusal)

    def _undo(self) -> None:
        self._undone()
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _translated(self, error: Exception) -> Exception:
        """Return our word for a failure of the disk, and remember one that leaves the file in doubt."""
        if not _is_the_files(error):
            return error
        problem = f"{self._path}: {error}; nothing was handed out; check the disk's space and health"
        if _code(error) in _TRANSIENT:
            return KeyStoreBroken(problem)
        self._broken = KeyStoreBroken(f"{problem}, then start the node again")
        return self._broken


def _is_the_files(error: Exception) -> bool:
    """Tell whether the file or the disk failed, not the job."""
    return isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError)


def _code(error: Exception) -> int:
    """Return SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def demand_private(path: Path, facts: os.stat_result) -> None:
    """Refuse a store that others may read or change.

    Raises
    ------
    ConfigError
        If its mode lets them.
    """
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        problem = f"has mode {stat.S_IMODE(facts.st_mode):04o}: others may read it"
        raise ConfigError(path, "key store", problem, f"run chmod 600 {path}, and see who could have the KEK as well")


def _opened(path: Path, prepare: Job[None]) -> sqlite3.Connection:
    remedy = "check the path, its owner and the disk"
    try:
        # Made here, since SQLite would let the umask decide who may read it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            demand_private(path, os.fstat(descriptor))
        finally:
            os.close(descriptor)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(path, "key store", str(error), remedy) from None
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        prepare(Work(connection))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        if _code(error) == sqlite3.SQLITE_BUSY:
            problem, remedy = "is open in another process", "stop the other daemon: a key store has one"
            raise ConfigError(path, "key store", problem, remedy) from None
        raise ConfigError(path, "key store", str(error), DAMAGED if _code(error) in _RUINED else remedy) from None
    except BaseException:
        connection.close()
        raise
    return connection
