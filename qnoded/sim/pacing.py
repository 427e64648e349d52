"""When the world may go on: true time that follows the clock on the wall, or waits for those who ask."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from qnoded.units import PS_PER_S, seconds

PATIENCE_S: Final = 0.5
"""A world that lags more than this gives up catching up: true time is slow from then on, and the truth says so."""


class Pace(Protocol):
    """How true time passes."""

    def begin(self) -> None:
        """Start at true time 0."""

    async def reach(self, true_ps: int) -> None:
        """Return once a moment of true time has come."""

    def true_ps(self, loop_s: float) -> int:
        """Return the true time at a moment of the event loop's clock."""

    def describe(self) -> dict[str, float | str]:
        """Return how time passed, for the truth record."""


class Paced:
    """True time follows the event loop's clock ``pace`` times as fast."""

    def __init__(self, pace: float = 1.0) -> None:
        self.pace = pace
        self.slowed_s = 0.0
        """Seconds on the wall by which true time was held up because photons were not drawn fast enough."""
        self._origin_s = 0.0

    def begin(self) -> None:
        """Start at true time 0 now."""
        self._origin_s = asyncio.get_running_loop().time()

    async def reach(self, true_ps: int) -> None:
        """Wait until a moment of true time, or hold true time up if it passed long ago."""
        left_s = self._origin_s + seconds(true_ps) / self.pace - asyncio.get_running_loop().time()
        if left_s < -PATIENCE_S:
            self._origin_s -= left_s
            self.slowed_s -= left_s
        await asyncio.sleep(max(left_s, 0.0))

    def true_ps(self, loop_s: float) -> int:
        """Return the true time at a moment of the event loop's clock, not below 0."""
        return max(round((loop_s - self._origin_s) * self.pace * PS_PER_S), 0)

    def describe(self) -> dict[str, float | str]:
        """Return how time passed."""
        return {"mode": "paced", "pace": self.pace, "slowed_s": self.slowed_s}


class Lockstep:
    """True time goes on by a stretch whenever every attached tagger waits for tags.

    Parameters
    ----------
    taggers : int
        Do not begin before so many are attached.
    """

    def __init__(self, taggers: int = 1) -> None:
        self._least = taggers
        self._reached_ps = 0
        self._free = False
        self._attached: dict[object, bool] = {}
        self._all_wait = asyncio.Event()

    def begin(self) -> None:
        """Start at true time 0."""

    def attach(self, tagger: object) -> None:
        """Count a tagger among those to wait for."""
        self._attached[tagger] = False
        self._look()

    def detach(self, tagger: object) -> None:
        """Wait for it no longer."""
        self._attached.pop(tagger, None)
        self._look()

    def ask(self, tagger: object, *, waits: bool) -> None:
        """Tell whether a tagger waits for tags that are not there yet."""
        if tagger in self._attached:
            self._attached[tagger] = waits
            self._look()

    def free(self, freely: bool) -> None:
        """Let time go on even while no tagger is attached."""
        self._free = freely
        self._look()

    def _look(self) -> None:
        enough = len(self._attached) >= self._least or self._free
        if enough and all(self._attached.values()):
            self._all_wait.set()
        else:
            self._all_wait.clear()

    async def reach(self, true_ps: int) -> None:
        """Wait until all wait."""
        await self._all_wait.wait()
        self._least = 1
        self._reached_ps = true_ps

    def true_ps(self, loop_s: float) -> int:  # noqa: ARG002 - the protocol's signature; time is where it was led
        """Return the true time that was reached."""
        return self._reached_ps

    def describe(self) -> dict[str, float | str]:
        """Return how time passed."""
        return {"mode": "lockstep"}
