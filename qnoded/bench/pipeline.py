"""Whether a node can run for months: memory and speed of the live pipeline while photons are replayed for minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Final

import numpy as np

from qnoded.bench import live_pipeline
from qnoded.bench.channel import BUSY, QUICK_LINK
from qnoded.bench.measuring import Row
from qnoded.node.memory import resident_bytes

QUICK_S: Final = 2.0
SAMPLE_S: Final = 0.5
WARM_SHARE: Final = 0.5
"""Of the time, at its beginning: caches and queues fill up, and the C library's heap grows in steps of some MiB as long
as large arrays have not yet met at their worst; neither says anything of months."""
LEAST_MINUTES: Final = 2.0
"""Shorter runs say nothing of a slope."""
FLAT: Final = 1.0
"""MiB a minute; 43 GiB a month, so that what is a leak is seen against what the C library keeps for later."""
A_SIDE: Final = 2.0
"""Million tags a second that each node has to sustain."""
MIB: Final = 1 << 20


def rows(*, quick: bool, repeat: int, minutes: float) -> Iterator[Row]:  # noqa: ARG001 - one run, a long one, counts
    """Measure the suite, row by row.

    Parameters
    ----------
    quick : small data, for seeing that all runs
    repeat : not used, as one long run is what counts
    minutes : how long photons are replayed
    """
    replay = live_pipeline.Replay.of(QUICK_LINK if quick else BUSY)
    live_pipeline.run(replay, 1)
    began_s = time.perf_counter()
    live_pipeline.run(replay, 1)
    once_s = time.perf_counter() - began_s
    with _Sampling() as sampling:
        began_s = time.perf_counter()
        alice, _ = live_pipeline.run(replay, max(math.ceil((QUICK_S if quick else 60.0 * minutes) / once_s), 1))
        took_s = time.perf_counter() - began_s
    start_mib, end_mib, slope = sampling.line()
    what = replay.link.name
    aims = not quick
    yield Row(
        f"{what}: tags to sifted blocks, of one side",
        "Mtag/s",
        alice.tags / took_s / 1e6,
        target=A_SIDE if aims else None,
        note=f"{took_s:.0f} s, {alice.tags:.3g} tags a side, {alice.sifted} epochs sifted, {alice.discarded} not",
    )
    yield Row(f"{what}: memory at half time", "MiB", start_mib, higher_is_better=False)
    yield Row(f"{what}: memory at the end", "MiB", end_mib, higher_is_better=False)
    yield Row(
        f"{what}: slope of the memory",
        "MiB/min",
        slope,
        target=FLAT if aims and minutes >= LEAST_MINUTES else None,
        higher_is_better=False,
        note="both ends in one process; ask for --minutes 10 to judge it",
    )


class _Sampling:
    """Looks at the memory of the process, in a thread of its own, as long as it is entered."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._done = Event()
        self._thread = Thread(target=self._run, name="sampling")

    def line(self) -> tuple[float, float, float]:
        """Return the memory at the beginning and at the end, MiB, and its growth, MiB a minute, without the warm-up."""
        seconds, mib = np.array(self._samples[int(WARM_SHARE * len(self._samples)) :]).T
        slope = float(np.polyfit(seconds, mib, 1)[0]) if seconds.size > 1 else 0.0
        return float(mib[0]), float(mib[-1]), 60.0 * slope

    def _run(self) -> None:
        while True:
            self._samples.append((time.perf_counter(), resident_bytes() / MIB))
            if self._done.wait(SAMPLE_S):
                return

    def __enter__(self) -> _Sampling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
