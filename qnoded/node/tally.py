"""What a link's reports add up to: the numbers of its status, over the last epochs and since the start."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.exchange.reports import (
    BlockDiscarded,
    BlockSifted,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    EpochWithdrawn,
    InterludePlanned,
    KeyMade,
    LockLost,
    NoKey,
    Reason,
    Revealed,
    ServiceMeasured,
)
from qnoded.exchange.terms import LinkTerms
from qnoded.node.status import ChshStatus, ClockStatus, Rates, Share
from qnoded.records import I64, SIDES
from qnoded.stages.estimation.bell import chsh
from qnoded.stages.estimation.intervals import proportion
from qnoded.stages.estimation.outcomes import bases_of, outcome_block
from qnoded.units import EPOCH_PS, seconds

RECENT_EPOCHS: Final = 36
"""Twenty seconds: long enough for a steady QBER, short enough to see a kick."""
RECENT_S: Final = 20.0
"""Older epochs say nothing of now: a link that rests shows no rates."""
GAP_S: Final = 3.0
"""Without a sifted epoch: this end's clicks of before may have been of another light."""
BASES_OF_CHSH: Final = 2


class Tally:
    """Adds up the reports of one link, across its sessions; ``role`` is this end's side."""

    def __init__(self, terms: LinkTerms, role: str) -> None:
        self.sifted_bits = 0
        self.epochs = 0
        self.sifted_loop_s: float | None = None
        """When the latest epoch was sifted."""
        self._sifting_since_s = -math.inf
        """When the first of those without a gap was."""
        self.blocks = 0
        self.discards: Counter[Reason] = Counter()
        self.withdrawn: Counter[Reason] = Counter()
        """Sifted epochs that went into no block."""
        self.withdrawn_bits = 0
        self.blocks_distilled = 0
        self.secret_bits = 0
        """Of their keys, as the bound allows."""
        self.keyless: Counter[NoKey] = Counter()
        """Blocks that gave no key."""
        self.chsh: ChshStatus | None = None
        self._receivers = terms.receiver("alice"), terms.receiver("bob")
        self._role = role
        self._clicks: deque[tuple[float, int]] = deque(maxlen=RECENT_EPOCHS)
        """``loop_s`` and clicks of this end's epochs."""
        self._recent: deque[tuple[float, EpochSifted]] = deque(maxlen=RECENT_EPOCHS)
        self._revealed: deque[Revealed] = deque(maxlen=RECENT_EPOCHS)
        self._tracked: tuple[ClockTracked, float | None] | None = None
        """The last report, and when photons last confirmed the clock, ``loop_s``."""
        self._service: I64 | None = None

    def add(self, report: object, loop_s: float) -> None:
        """Take a report of the script."""
        if isinstance(report, EpochSifted):
            self.epochs += 1
            if self.sifted_loop_s is None or loop_s - self.sifted_loop_s > GAP_S:
                self._sifting_since_s = loop_s
            self.sifted_loop_s = loop_s
            self.sifted_bits += report.sifted.bits.size
            self._recent.append((loop_s, report))
        elif isinstance(report, EpochDiscarded):
            self.discards[report.reason] += 1
        elif isinstance(report, EpochWithdrawn):
            self.withdrawn[report.reason] += 1
            self.withdrawn_bits += report.bits
        elif isinstance(report, BlockSifted):
            self.blocks += 1
        elif isinstance(report, KeyMade):
            self.blocks_distilled += 1
            self.secret_bits += report.account.key_bits
        elif isinstance(report, BlockDiscarded):
            self.keyless[report.reason] += 1
        elif isinstance(report, Revealed):
            self._revealed.append(report)
        elif isinstance(report, ClockTracked):
            confirmed_s = self._tracked[1] if self._tracked else None
            self._tracked = report, loop_s if report.report.reason is None else confirmed_s
        elif isinstance(report, LockLost):
            self.forget_clock()
        elif isinstance(report, InterludePlanned):
            self._service = None
        elif isinstance(report, ServiceMeasured):
            self._measure(report)

    def detected(self, clicks: int, loop_s: float) -> None:
        """Take note of a whole epoch of this end."""
        self._clicks.append((loop_s, clicks))

    def forget_clock(self) -> None:
        """Note that no lock is held any more."""
        self._tracked = None

    def clock(self, loop_s: float, *, locked: bool) -> ClockStatus:
        """Return the clock as last tracked; the revealing end knows only that it is ``locked``, from what is sifted."""
        if self._tracked is None:
            return ClockStatus(locked)
        tracked, then_s = self._tracked
        state = tracked.state
        return ClockStatus(
            tracked.report.locked,
            state.offset_ps,
            state.frequency_error,
            state.peak_sigma_ps,
            None if then_s is None else loop_s - then_s,
        )

    def rates(self, loop_s: float) -> Rates:
        """Return the rates of the last epochs that were sifted, this end's clicks since they are without a gap.

        Where none is sifted any more, this end's clicks are those since then, lest dark epochs are mixed with others.
        """
        recent = self._sifted(loop_s)
        alice_hz, bob_hz = (_mean_hz([one.clicks[side] for one in recent]) for side in range(len(SIDES)))
        own_hz = _mean_hz([clicks for then_s, clicks in self._clicks if then_s >= self._own_since_s(loop_s)])
        if own_hz is not None and self._role == SIDES[0]:
            alice_hz = own_hz
        elif own_hz is not None:
            bob_hz = own_hz
        return Rates(
            alice_hz,
            bob_hz,
            _mean_hz([one.coincidences for one in recent]),
            _mean_hz([one.sifted.bits.size for one in recent]),
        )

    def _own_since_s(self, loop_s: float) -> float:
        last_s = self.sifted_loop_s
        stretch_s = -math.inf
        if last_s is not None:
            stretch_s = self._sifting_since_s if loop_s - last_s <= GAP_S else last_s + GAP_S
        return max(stretch_s, loop_s - RECENT_S)

    def qber(self, loop_s: float) -> dict[str, Share]:
        """Return the share of wrong test bits of the last sifted epochs, by basis and in total, with 95 % intervals."""
        errors: Counter[str] = Counter()
        bits: Counter[str] = Counter()
        for test in (test for epoch in self._sifted(loop_s) for test in epoch.tests):
            for name in (test.basis, "total"):
                errors[name] += test.errors
                bits[name] += test.bits
        found = {name: proportion(errors[name], total) for name, total in bits.items() if total}
        return {name: Share(one.value, one.low, one.high) for name, one in found.items()}

    @property
    def bits_per_detection(self) -> float | None:
        """What revealing costs on the wire; None at the end that does not reveal."""
        detections = sum(one.detections for one in self._revealed)
        return sum(one.payload_bits for one in self._revealed) / detections if detections else None

    def _sifted(self, loop_s: float) -> list[EpochSifted]:
        return [one for then_s, one in self._recent if loop_s - then_s <= RECENT_S]

    def _measure(self, report: ServiceMeasured) -> None:
        self._service = report.matrix if self._service is None else self._service + report.matrix
        alice, bob = self._receivers
        pairs = [(mine, theirs) for mine in bases_of(alice) for theirs in bases_of(bob)]
        if len(pairs) != BASES_OF_CHSH**2:
            return
        counts = self._service.astype(np.float64)
        table = np.array([outcome_block(counts, alice, bob, *pair).reshape(4) for pair in pairs])
        try:
            found = chsh(table)
        except UsageError:
            return  # a setting without counts yet
        self.chsh = ChshStatus(found.s.value, found.s.error, report.epoch)


def _mean_hz(counts: Sequence[int]) -> float | None:
    """Return the rate of what was counted in some epochs; None if there are none."""
    return sum(counts) / (len(counts) * seconds(EPOCH_PS)) if counts else None
