"""Is the node alive: how late its event loop runs, and whether work that was begun comes to an end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from qnoded.node.notify import Notifier

LAG_SAMPLE_S: Final = 0.05
HELD_UP_S: Final = 1.0
"""Half of what a permit lasts; instruments and peers that waited for this node so long may be thought lost."""
LAG_SAMPLES: Final = 100
"""Lag is the worst of the last five seconds."""
FEEDS_PER_INTERVAL: Final = 3
"""sd_watchdog_enabled(3) asks for at least two."""

log = logging.getLogger(__name__)


class LoopLag:
    """Measures how late the event loop wakes a task: what every other task of the node suffers as well.

    Parameters
    ----------
    held_up
        Called with the seconds when the loop stood still for more than ``HELD_UP_S``.
    """

    def __init__(self, held_up: Callable[[float], None] = lambda _: None) -> None:
        self._held_up = held_up
        self._late_s: deque[float] = deque(maxlen=LAG_SAMPLES)
        self.worst_s = 0.0
        """Since the start."""

    @property
    def recent_s(self) -> float:
        """Worst of the last five seconds."""
        return max(self._late_s, default=0.0)

    def forget(self) -> None:
        """Begin anew, after a start that compiled."""
        self._late_s.clear()
        self.worst_s = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LAG_SAMPLE_S
            await asyncio.sleep(LAG_SAMPLE_S)
            late_s = max(loop.time() - due_s, 0.0)
            self._late_s.append(late_s)
            self.worst_s = max(self.worst_s, late_s)
            if late_s > HELD_UP_S:
                self._held_up(late_s)


class Progress:
    """Work of one kind: begun and finished. Idle is what has nothing begun and unfinished."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = 0
        self.finished = 0
        self._seen = 0

    def begin(self) -> None:
        """Note that there is something to do."""
        self.begun += 1

    def finish(self) -> None:
        """Note that one thing was done, or given up and counted."""
        self.finished += 1

    def moved(self) -> bool:
        """Return whether anything was finished since the last call, or nothing is waiting."""
        before, self._seen = self._seen, self.finished
        return self.finished > before or self.begun == self.finished


class Watchdog:
    """Feeds the service manager's watchdog while every kind of work moves; a bare timer would hide a stuck node."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._kinds: list[Progress] = []

    def watch(self, name: str) -> Progress:
        """Return the record of a new kind of work, watched from now on."""
        self._kinds.append(Progress(name))
        return self._kinds[-1]

    async def run(self) -> None:
        """Feed until cancelled; returns at once where nobody watches."""
        if self._notifier.watchdog_s is None:
            return
        while True:
            stuck = [kind.name for kind in self._kinds if not kind.moved()]
            if stuck:
                log.error("no progress in %s: the watchdog is not fed", ", ".join(stuck))
            else:
                self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog_s / FEEDS_PER_INTERVAL)
