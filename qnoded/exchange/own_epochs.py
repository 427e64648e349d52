"""The matcher's own clicks, kept until the revealed epochs that they belong to have been matched."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from qnoded.errors import LocalProtocolError
from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.exchange.reports import Reason
from qnoded.records import DetectionEpoch
from qnoded.units import EPOCH_PS

MOST_EPOCHS: Final = 64
"""35 seconds: what a search for the clock may want, and a peer may come late."""
MOST_CLICKS: Final = 1 << 24
"""150 MB."""


class OwnEpochs:
    """Epochs in this node's clock, in order, with the stretches that were lost; bounded, the oldest go first."""

    def __init__(self) -> None:
        self._pieces: deque[DetectionEpoch | DetectionLost] = deque()
        self._clicks = 0
        self._forgetful = False
        """True once an epoch was dropped."""

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def start_ps(self) -> int | None:
        """First moment that is still known, ps of this node's clock; None before the first epoch."""
        return self._pieces[0].start_ps if self._pieces else None

    @property
    def stop_ps(self) -> int | None:
        """First moment that is not known yet."""
        return self._pieces[-1].stop_ps if self._pieces else None

    @property
    def epochs(self) -> tuple[DetectionEpoch, ...]:
        """All epochs that are there."""
        return tuple(piece for piece in self._pieces if isinstance(piece, DetectionEpoch))

    def add(self, happened: Detected | DetectionLost) -> int:
        """Append what acquisition has finished; return how many epochs that are.

        Raises
        ------
        LocalProtocolError
            If it lies before what is there: the tagger's clock has started anew, which takes a new session.
        """
        piece = happened.epoch if isinstance(happened, Detected) else happened
        if self.stop_ps is not None and piece.start_ps < self.stop_ps:
            problem = f"an epoch from {piece.start_ps} ps follows one until {self.stop_ps} ps; begin a new session"
            raise LocalProtocolError(problem)
        if self.stop_ps is not None and piece.start_ps > self.stop_ps:
            self._append(DetectionLost(self.stop_ps, piece.start_ps, Reason.GAP.value))
        self._append(piece)
        while len(self._pieces) > MOST_EPOCHS or (self._clicks > MOST_CLICKS and len(self._pieces) > 1):
            self._drop()
        return -(-(piece.stop_ps - piece.start_ps) // EPOCH_PS)

    def forget_before(self, moment_ps: int) -> None:
        """Drop the epochs that end before a moment; the newest stays, so that its end is known."""
        while len(self._pieces) > 1 and self._pieces[0].stop_ps <= moment_ps:
            self._drop()

    def outruns(self, moment_ps: int) -> bool:
        """Return whether all that reached up to a moment was dropped."""
        return self._forgetful and self._pieces[0].start_ps >= moment_ps

    def overlapping(self, low_ps: int, high_ps: int) -> tuple[DetectionEpoch, ...]:
        """Return the epochs that reach into a stretch, whole."""
        return tuple(epoch for epoch in self.epochs if epoch.start_ps < high_ps and epoch.stop_ps > low_ps)

    def fault(self, low_ps: int, high_ps: int) -> Reason | None:
        """Return why a stretch is not complete, or None if it is."""
        if self.start_ps is None or low_ps < self.start_ps:
            # Before the session began nobody kept this end's clicks.
            return Reason.LATE if self._forgetful else Reason.PEER_LOST
        for piece in self._pieces:
            if piece.start_ps >= high_ps or piece.stop_ps <= low_ps:
                continue
            if isinstance(piece, DetectionLost):
                return Reason(piece.reason)
            if any(gap.start_ps < high_ps and gap.stop_ps >= low_ps for gap in piece.gaps):
                return Reason.GAP
        return None

    def _append(self, piece: DetectionEpoch | DetectionLost) -> None:
        self._pieces.append(piece)
        self._clicks += len(piece) if isinstance(piece, DetectionEpoch) else 0

    def _drop(self) -> None:
        piece = self._pieces.popleft()
        self._forgetful = True
        self._clicks -= len(piece) if isinstance(piece, DetectionEpoch) else 0


def between(epochs: Sequence[DetectionEpoch], low_ps: int, high_ps: int) -> DetectionEpoch:
    """Return the clicks of a stretch as one epoch, from epochs in order."""
    detectors, times = [np.empty(0, np.uint8)], [np.empty(0, np.int64)]
    for epoch in epochs:
        first, last = np.searchsorted(epoch.tag_ps, (low_ps, high_ps))
        detectors.append(epoch.detector[first:last])
        times.append(epoch.tag_ps[first:last])
    return DetectionEpoch(np.concatenate(detectors), np.concatenate(times), low_ps, high_ps)
