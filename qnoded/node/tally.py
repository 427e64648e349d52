"""What a link's reports add up to: the numbers of its status, over the last epochs and since the start."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.exchange.reports import (
    BlockSifted,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    InterludePlanned,
    LockLost,
    Reason,
    Revealed,
    ServiceMeasured,
)
from qnoded.exchange.terms import LinkTerms
from qnoded.node.status import ChshStatus, ClockStatus, Rates, Share
from qnoded.records import I64
from qnoded.stages.estimation.bell import chsh
from qnoded.stages.estimation.intervals import proportion
from qnoded.stages.estimation.outcomes import bases_of, outcome_block
from qnoded.units import EPOCH_PS, seconds

RECENT_EPOCHS: Final = 36
"""Twenty seconds: long enough for a steady QBER, short enough to see a kick."""
BASES_OF_CHSH: Final = 2


class Tally:
    """Adds up the reports of one link, across its sessions."""

    def __init__(self, terms: LinkTerms) -> None:
        self.sifted_bits = 0
        self.epochs = 0
        self.sifted_loop_s: float | None = None
        """When the latest epoch was sifted."""
        self.blocks = 0
        self.discards: Counter[Reason] = Counter()
        self.chsh: ChshStatus | None = None
        self._receivers = terms.receiver("alice"), terms.receiver("bob")
        self._recent: deque[EpochSifted] = deque(maxlen=RECENT_EPOCHS)
        self._revealed: deque[Revealed] = deque(maxlen=RECENT_EPOCHS)
        self._tracked: tuple[ClockTracked, float] | None = None
        self._service: I64 | None = None

    def add(self, report: object, loop_s: float) -> None:
        """Take a report of the script."""
        if isinstance(report, EpochSifted):
            self.epochs += 1
            self.sifted_loop_s = loop_s
            self.sifted_bits += report.sifted.bits.size
            self._recent.append(report)
        elif isinstance(report, EpochDiscarded):
            self.discards[report.reason] += 1
        elif isinstance(report, BlockSifted):
            self.blocks += 1
        elif isinstance(report, Revealed):
            self._revealed.append(report)
        elif isinstance(report, ClockTracked):
            self._tracked = report, loop_s
        elif isinstance(report, LockLost):
            self.forget_clock()
        elif isinstance(report, InterludePlanned):
            self._service = None
        elif isinstance(report, ServiceMeasured):
            self._measure(report)

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
            tracked.report.locked, state.offset_ps, state.frequency_error, state.peak_sigma_ps, loop_s - then_s
        )

    @property
    def rates(self) -> Rates:
        """Rates over the last sifted epochs."""
        span_s = len(self._recent) * seconds(EPOCH_PS)
        if not span_s:
            return Rates()
        alice, bob = (sum(one.clicks[side] for one in self._recent) / span_s for side in (0, 1))
        return Rates(
            alice,
            bob,
            sum(one.coincidences for one in self._recent) / span_s,
            sum(one.sifted.bits.size for one in self._recent) / span_s,
        )

    @property
    def qber(self) -> dict[str, Share]:
        """Error rates of the test bits of the last sifted epochs, by basis and in total, with 95 % intervals."""
        errors: Counter[str] = Counter()
        bits: Counter[str] = Counter()
        for test in (test for epoch in self._recent for test in epoch.tests):
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
