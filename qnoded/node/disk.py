"""Files that the node can do without for a while: a disk that is full, read-only or slow is told, and stops nothing.

A trouble is said when it begins, again each hour, and when it is over; all the time it stands in the status. What must
be on disk before the node may go on, the ledger of the keys, does not come here: see ``keys``.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from qnoded.node.pool import Pool
from qnoded.node.status import Level

P = ParamSpec("P")
T = TypeVar("T")

AGAIN_S: Final = 3600.0
"""Between two words about a trouble that lasts."""
CALM_S: Final = 60.0
"""Without a word about what comes and goes: on a disk that is nearly full, some files still fit."""
SLOW_S: Final = 10.0
"""A small file takes some milliseconds, on a busy disk a second."""
_REMEDY: Final = {
    errno.ENOSPC: "make room on it",
    errno.EDQUOT: "raise the quota, or make room",
    errno.EROFS: "it was mounted read-only, perhaps after a fault: look at the kernel's log (dmesg)",
    errno.EACCES: "let the daemon's user write there",
    errno.EIO: "the disk fails: look at the kernel's log (dmesg)",
}


@dataclass(slots=True)
class _Trouble:
    text: str
    told_s: float | None
    """None: it began too soon after the last word about the same."""


class Disk:
    """The node's disk, as far as it is not vital.

    Parameters
    ----------
    pool
        Has the disk's thread.
    tell
        Takes events for people: level and text.
    """

    def __init__(self, pool: Pool, tell: Callable[[Level, str], None]) -> None:
        self._pool, self._tell = pool, tell
        self._troubles: dict[str, _Trouble] = {}
        self._told_s: dict[str, float] = {}
        """When the last word about what can be written again was said."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong now, a line each."""
        return tuple(trouble.text for trouble in self._troubles.values())

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that reads; its errors pass through."""
        return await self._pool.write(function, *args, **kwargs)

    async def keep(self, what: str, loss: str, where: Path, function: Callable[..., object], *args: Any) -> bool:
        """Run something that writes; return whether it could.

        Parameters
        ----------
        what : is written, such as ``"the clock lock of link bob"``
        loss : what it means if it is not, for people
        where : it is written
        function, args : write it, in the disk's thread
        """
        loop = asyncio.get_running_loop()
        slow = f"{what} waits for the disk of {where} since {SLOW_S:g} s; {loss}"
        alarm = loop.call_later(SLOW_S, self.fails, what, slow)
        try:
            await self._pool.write(function, *args)
        except OSError as error:
            remedy = _REMEDY.get(error.errno or 0, "look at the disk")
            self.fails(what, f"{what} cannot be written to {where}: {error.strerror or error}: {remedy}; {loss}")
            return False
        finally:
            alarm.cancel()
        self.works(what)
        return True

    def fails(self, what: str, text: str) -> None:
        """Note a trouble; the same again is told only after a while."""
        now_s = asyncio.get_running_loop().time()
        trouble = self._troubles.setdefault(what, _Trouble(text, None))
        trouble.text = text
        silent_s = now_s - (self._told_s.get(what, -math.inf) if trouble.told_s is None else trouble.told_s)
        if silent_s >= (CALM_S if trouble.told_s is None else AGAIN_S):
            trouble.told_s = now_s
            self._tell("warning", text)

    def works(self, what: str) -> None:
        """Note that something can be written, perhaps again."""
        trouble = self._troubles.pop(what, None)
        if trouble is not None and trouble.told_s is not None:
            self._told_s[what] = asyncio.get_running_loop().time()
            self._tell("info", f"{what} can be written again")
