"""How a link's state follows what its script tells: the lock, the light, interludes.

``SIFTING`` means that epochs are sifted. The clock's lock may be held through the dark, so the lock alone does not say
so: three epochs in a row without a coincidence peak, or none at all for some seconds, and the link is ``RELOCKING``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from qnoded.exchange.lifecycle import Event, State
from qnoded.exchange.reports import (
    BlockDiscarded,
    ClockAcquired,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    InterludePlanned,
    LockLost,
    NoKey,
    Reason,
    ServiceMeasured,
)
from qnoded.node.standing import Standing
from qnoded.node.status import Level

DARK_EPOCHS: Final = 3
"""In a row without a coincidence peak: loss of sync is declared."""
SILENT_S: Final = 5.0
"""Nine epochs in a row of which nothing is heard: a tagger that gives nothing, or a machine that is held up."""

LOCKED: Final = (State.SIFTING, State.INTERLUDE)
_UNLOCKED: Final = (Reason.LOCK_LOST, Reason.NO_LOCK)
"""Of epochs: all that the revealer learns of the clock, which the matcher keeps."""
_PEAKLESS: Final = (Reason.NO_CLICKS, *_UNLOCKED)


class Following:
    """Moves one link's state.

    Parameters
    ----------
    standing
        The state.
    tell
        Takes events for people: level and text.
    """

    def __init__(self, standing: Standing, tell: Callable[[Level, str], None]) -> None:
        self.clock_held = False
        """Whether the clock's lock outlasts the dark: then nothing is searched for."""
        self._standing, self._tell = standing, tell
        self._matches = False
        self._dark_epochs = 0
        self._settled_s = 0.0
        self._interlude: InterludePlanned | None = None

    def begin(self, *, matches: bool) -> None:
        """Follow another session, in which this end matches or reveals."""
        self._matches, self._interlude, self.clock_held = matches, None, False
        self._dark_epochs, self._settled_s = 0, _now_s()

    def take(self, report: object) -> None:
        """Take a report of the script."""
        if isinstance(report, BlockDiscarded) and report.reason is not NoKey.SESSION_ENDED:
            self._tell("warning", f"block {report.block} gives no key: {report.reason.value}; {report.numbers}")
        elif isinstance(report, LockLost):
            self.clock_held = False
            self._standing.enter(Event.LOCK_LOST, report.reason)
        elif isinstance(report, ClockAcquired):
            self._dark_epochs = 0
            self._tell("info", f"clock, {'wide' if report.cold else 'near'} search: {report.acquisition.sentence}")
        elif isinstance(report, InterludePlanned):
            self._interlude = report
            self._tell("info", f"CHSH interlude from epoch {report.service_epoch} to {report.return_epoch}")
        elif isinstance(report, ClockTracked):
            if report.report.reason is None and self._dark_epochs < DARK_EPOCHS:
                self._standing.enter(Event.LOCKED, "")
        elif isinstance(report, (EpochSifted, EpochDiscarded, ServiceMeasured)):
            self._settled(report)

    def look(self) -> None:
        """Look whether epochs still come to their end; to be called each second or so."""
        if self._standing.state in LOCKED and _now_s() > self._settled_s + SILENT_S:
            self.clock_held = True
            problem = f"no epoch has come to its end for {SILENT_S:g} s: a tagger gives nothing, or a node is held up"
            self._standing.enter(Event.LOCK_LOST, problem)

    def _settled(self, report: EpochSifted | EpochDiscarded | ServiceMeasured) -> None:
        self._settled_s = _now_s()
        if not isinstance(report, EpochDiscarded):
            self._dark_epochs, self.clock_held = 0, True
        elif report.reason in _PEAKLESS:
            self._peakless(report)
        if isinstance(report, EpochSifted):
            self._standing.enter(Event.LOCKED, "")
        if self._interlude is None:
            return
        if report.epoch >= self._interlude.key_epoch:
            self._interlude = None
            self._standing.enter(Event.SERVICE_ENDED, "")
        elif report.epoch >= self._interlude.settle_epoch:
            self._standing.enter(Event.SERVICE_BEGAN, "")

    def _peakless(self, report: EpochDiscarded) -> None:
        self._dark_epochs += 1
        if report.reason in _UNLOCKED and not self._matches:
            self.clock_held = False
            self._standing.enter(Event.LOCK_LOST, report.numbers)
        elif self._dark_epochs == DARK_EPOCHS:
            because = report.numbers or report.reason.value
            self._standing.enter(Event.LOCK_LOST, f"{DARK_EPOCHS} epochs in a row gave nothing: {because}")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
