"""A dead man's switch for drivers of lasers whose instrument has none: dark once the permit has lapsed.

It is an alarm of the daemon's event loop. So it helps when the permit office, the task that renews, or the supervision
is dead; while the loop is held up it rings late, as soon as the loop turns again, and a dead process rings no alarm.
Against those two only a watchdog in the instrument helps: a laser that has one has it armed as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from qnoded.instruments.permit import EmissionPermit


class DeadMan:
    """Holds a laser's latest permit and calls ``darken`` when it lapses."""

    def __init__(self, darken: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take what switches the laser off; it must not raise, and may call ``release``."""
        self._darken = darken
        self._number = -1
        self._alarm: asyncio.TimerHandle | None = None
        self._darkening: set[asyncio.Task[None]] = set()

    @property
    def holds(self) -> bool:
        """Whether a permit is held that has not lapsed."""
        return self._alarm is not None

    def hold(self, permit: EmissionPermit, longest_s: float) -> None:
        """Watch over a permit, at most for the laser's ``longest_permit_s``; call it before switching on."""
        if permit.number < self._number:
            return
        loop = asyncio.get_running_loop()
        self._number = permit.number
        self._disarm()
        self._alarm = loop.call_at(min(permit.expires_loop_s, loop.time() + longest_s), self._lapse)

    def renew(self, permit: EmissionPermit, longest_s: float) -> None:
        """Watch over a new permit, unless the laser is dark: a renewal lights nothing."""
        if self.holds:
            self.hold(permit, longest_s)

    async def release(self) -> None:
        """Watch no longer, since the laser is dark; wait for the end of a darkening that has begun."""
        self._disarm()
        others = self._darkening - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _lapse(self) -> None:
        self._alarm = None
        task = asyncio.get_running_loop().create_task(self._darken(), name="dead man")
        self._darkening.add(task)
        task.add_done_callback(self._darkening.discard)
