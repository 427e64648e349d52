"""The clock lock on disk: what lets a link resume from the neighbourhood of what it knew.

Written whole or not at all, at most once a second, by the disk's thread: a slow disk makes the file old, nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from qnoded.exchange.happenings import KnownClock
from qnoded.node.disk import Disk
from qnoded.node.whole_file import replace_file
from qnoded.stages.synchronization.clock_state import ClockState

LEAST_INTERVAL_S: Final = 1.0
LOAD_S: Final = 2.0
"""What a disk does not give in this time is searched for instead."""
LARGEST_FILE_BYTES: Final = 1 << 20
_VERSION: Final = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PersistedLock:
    """A lock, and the time axes for which it holds."""

    matcher: str
    """Side that made it: bob's clock of the state is this side's, alice's the other's."""
    streams: dict[str, str]
    """``stream_id`` of both taggers, by side."""
    state: ClockState

    def known(self, matcher: str, streams: dict[str, str], offset_ps: int) -> KnownClock:
        """Return what it says to a session in which ``matcher`` matches, and the hosts' clocks give ``offset_ps``."""
        if matcher != self.matcher:
            return KnownClock(None, False, offset_ps)
        return KnownClock(self.state, streams == self.streams, offset_ps)

    def text(self) -> str:
        """Return it as the file holds it."""
        document = {
            "version": _VERSION,
            "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "matcher": self.matcher,
            "streams": self.streams,
            "clock": self.state.as_dict(),
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    @classmethod
    def read(cls, text: str) -> PersistedLock:
        """Return what ``text`` wrote.

        Raises
        ------
        ValueError
            If it is something else, with the reason.
        """
        document = json.loads(text, parse_constant=_refuse_constant)
        try:
            if document["version"] != _VERSION:
                problem = f"version {document['version']!r} is not {_VERSION}"
                raise ValueError(problem)
            streams = {side: str(document["streams"][side]) for side in ("alice", "bob")}
            state = ClockState.from_dict(document["clock"])
        except (KeyError, TypeError, AttributeError) as error:
            problem = f"{error} is missing or of the wrong kind"
            raise ValueError(problem) from None
        _check_numbers(state)
        return cls(str(document["matcher"]), streams, state)


class LockFile:
    """The file of one link; the newest lock wins."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self._disk = disk
        self._newest: PersistedLock | None = None
        self._changed = asyncio.Event()

    async def load(self) -> PersistedLock | None:
        """Return what an earlier run left, None where there is nothing or nothing usable."""
        try:
            async with asyncio.timeout(LOAD_S):
                return await self._disk.read(_load, self.path)
        except TimeoutError:
            log.warning("%s could not be read within %g s; the clock is searched anew", self.path, LOAD_S)
            return None

    def keep(self, lock: PersistedLock) -> None:
        """Have a lock written soon."""
        self._newest = lock
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            await self.flush()
            await asyncio.sleep(LEAST_INTERVAL_S)

    async def flush(self) -> None:
        """Write the newest lock now, if it is not written yet."""
        self._changed.clear()
        lock, self._newest = self._newest, None
        if lock is None:
            return
        what, loss = f"the clock lock of link {self.path.parent.name}", "a restart will search longer for the clock"
        await self._disk.keep(what, loss, self.path, replace_file, self.path, lock.text())


def _load(path: Path) -> PersistedLock | None:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            problem = f"more than {LARGEST_FILE_BYTES} bytes"
            raise ValueError(problem)
        return PersistedLock.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s is not usable (%s); the clock is searched anew", path, error)
        return None


def _check_numbers(state: ClockState) -> None:
    whole = {"reference_ps", "offset_ps", "peakless_epochs"}
    for name, value in state.as_dict().items():
        values = value if isinstance(value, tuple) else () if value is None and name == "last_seen_ps" else (value,)
        for one in values:
            integral = isinstance(one, int) and not isinstance(one, bool)
            if not (integral or (isinstance(one, float) and name not in whole)):
                problem = f"clock.{name} is {one!r}"
                raise ValueError(problem)


def _refuse_constant(name: str) -> Any:
    problem = f"{name} is no number"
    raise ValueError(problem)
