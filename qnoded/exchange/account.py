"""Every epoch counts once: what one end of a link owes an answer for, from the moment it sees an epoch.

::

    seen = sifted + measured in an interlude + discarded + open

holds at each end at every moment of a session, and nothing is open once the session has ended, whatever ended it. The
revealer sees the epochs that its acquisition finishes, one after the other; the matcher sees the same ones as they are
told, and those of which it is told nothing once they have been over for long, or when the session ends. What becomes of
sifted epochs afterwards is counted by blocks: in a ``BlockSifted``, or in an ``EpochWithdrawn``.
"""

from __future__ import annotations

from qnoded.exchange.effects import Script, emit
from qnoded.exchange.reports import EpochDiscarded, EpochSifted, Reason, ServiceMeasured


class Account:
    """Of one end in one session."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        """Epochs that are neither sifted nor measured nor discarded yet."""

    def see(self, epoch: int) -> None:
        """Take an epoch on; the caller has not seen it before."""
        self._open.add(epoch)

    def gives(self, report: EpochSifted | ServiceMeasured) -> Script[None]:
        """Tell what an open epoch has given."""
        self._open.remove(report.epoch)
        yield from emit(report)

    def discard(self, epoch: int, reason: Reason, numbers: str = "") -> Script[None]:
        """Tell that an open epoch gives nothing; one that is not open any more is counted already."""
        if epoch in self._open:
            self._open.remove(epoch)
            yield from emit(EpochDiscarded(epoch, reason, numbers or reason.value))

    def close(self, why: str) -> Script[None]:
        """Discard what is open, since the session has ended."""
        for epoch in sorted(self._open):
            yield from self.discard(epoch, Reason.PEER_LOST, why)
