"""Every epoch counts once: what one end of a link owes an answer for, from the moment it sees an epoch.

::

    seen = sifted + measured in an interlude + discarded + open

holds at each end at every moment of a session, and nothing is open once the session has ended, whatever ended it. The
revealer sees the epochs that its acquisition finishes, one after the other; the matcher sees the same ones as they are
told, and when the session ends those of which it was told nothing. What becomes of sifted epochs afterwards is counted
by blocks: in a ``BlockSifted``, or in an ``EpochWithdrawn``.
"""

from __future__ import annotations

from qnoded.exchange.effects import Script, emit
from qnoded.exchange.reports import EpochDiscarded, EpochSifted, Reason, ServiceMeasured


class Account:
    """Of one end in one session."""

    def __init__(self) -> None:
        self.seen = 0
        self._open: dict[int, None] = {}
        """In the order in which they were seen."""

    @property
    def open(self) -> tuple[int, ...]:
        """Epochs that are neither sifted nor measured nor discarded yet."""
        return tuple(self._open)

    def see(self, epoch: int) -> None:
        """Take an epoch on; the caller has not seen it before."""
        self.seen += 1
        self._open[epoch] = None

    def gives(self, report: EpochSifted | ServiceMeasured) -> Script[None]:
        """Tell what an open epoch has given."""
        del self._open[report.epoch]
        yield from emit(report)

    def discard(self, epoch: int, reason: Reason, numbers: str = "") -> Script[None]:
        """Tell that an open epoch gives nothing; one that is not open any more is counted already."""
        if epoch in self._open:
            del self._open[epoch]
            yield from emit(EpochDiscarded(epoch, reason, numbers or reason.value))

    def close(self, why: str) -> Script[None]:
        """Discard what is open, since the session has ended."""
        for epoch in sorted(self._open):
            yield from self.discard(epoch, Reason.PEER_LOST, why)
