"""The search for the clock: time, data and reliability, beside the plain search of one transform per frequency."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from qnoded.bench.machine import usable_cores
from qnoded.bench.measuring import FEWEST_REPETITIONS, OWN, Row, median_seconds
from qnoded.records import I64
from qnoded.sim.pairs import pair_streams
from qnoded.stages.synchronization.acquisition import Acquisition, SearchRange, acquire
from qnoded.stages.synchronization.feasibility import overlap_of, rung_of
from qnoded.units import PS_PER_MS, PS_PER_S

JITTER_PS: Final = 100.0
"""Of each click: 140 ps for a pair, as with good silicon detectors."""
RIGHT_PS: Final = 100.0
"""An offset further off than this is not right."""
FALSE_PS: Final = 10_000.0
"""A lock further off than this is no poor one but a false one."""
SEEDS: Final = 100
QUICK_SEEDS: Final = 3
TWO: Final = 2
"""Threads where two cores are measured."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link with free-running clocks, and what is known of it before the search."""

    name: str
    rate_hz: float
    """Clicks of each side."""
    pair_fraction: float
    seconds: float
    """Data that are offered; the search takes less where it can."""
    where: SearchRange
    frequency_error: float
    drift_per_s: float = 1e-9
    hinted: bool = True
    """True if the search is told the pair fraction."""

    def streams(self, seed: int) -> tuple[I64, I64, int]:
        """Return both streams and the true offset at time 0, ps, which is anywhere in the range."""
        reach = self.where.offset_range_ps
        offset = int(np.random.default_rng(seed).integers(-reach * 95 // 100, reach * 95 // 100))
        alice, bob = pair_streams(
            self.rate_hz,
            self.rate_hz,
            self.pair_fraction * self.rate_hz,
            self.seconds,
            seed,
            jitter_ps=JITTER_PS,
            offset_ps=offset,
            frequency_error=self.frequency_error,
            drift_per_s=self.drift_per_s,
        )
        return alice, bob, offset

    def acquire(self, alice: I64, bob: I64, pool: ThreadPoolExecutor | None = None) -> Acquisition:
        """Search with what is known of the link."""
        hint = self.pair_fraction if self.hinted else None
        return acquire(alice, bob, self.where, pair_fraction=hint, over=pool.map if pool else map)

    def error_ps(self, found: Acquisition, offset_ps: int) -> float:
        """Return how far off the offset is at its reference; infinite without a lock."""
        if found.clock is None:
            return float("inf")
        at = found.clock.reference_ps
        drifted = 0.5 * self.drift_per_s * at * (at / PS_PER_S)
        return abs(found.clock.offset_ps - (offset_ps + self.frequency_error * at + drifted))


WIDE: Final = SearchRange(0, PS_PER_S, 0.0, 10e-6)
ONE_PERCENT: Final = Link("1 %, 0.5 Mcps, +-1 s, +-10 ppm", 5e5, 0.01, 4.0, WIDE, 6.5e-6)
UNKNOWN: Final = Link("1 %, the same, nothing known", 5e5, 0.01, 4.0, WIDE, 6.5e-6, hinted=False)
FIELD: Final = Link(
    "5 %, 0.1 Mcps, +-0.2 s, +-20 ppm, nothing known",
    1e5,
    0.05,
    3.0,
    SearchRange(0, 200 * PS_PER_MS, 0.0, 20e-6),
    6.5e-6,
    hinted=False,
)
FAINT: Final = Link("0.3 %, 0.5 Mcps, +-1 s, +-10 ppm", 5e5, 0.003, 12.0, WIDE, 6.5e-6)
FAINTEST: Final = Link(
    "0.1 %, 0.5 Mcps, +-1 s, +-100 ppb", 5e5, 0.001, 20.0, SearchRange(0, PS_PER_S, 0.0, 100e-9), 50e-9, 1e-11
)
HOPELESS: Final = Link("no pairs, 0.5 Mcps, default range and effort", 5e5, 0.0, 4.0, SearchRange(), 0.0, hinted=False)


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure the suite, row by row.

    Parameters
    ----------
    quick : only the link of 0.1 Mcps, for seeing that all runs
    repeat : repetitions that count; searches of many seconds take fewer
    """
    yield from _timed(FIELD, repeat, cores=(1,), targets=(None if quick else 5.0,))
    yield _data(FIELD, None if quick else 3.0)
    yield _reliability(FIELD, QUICK_SEEDS if quick else SEEDS, quick=quick)
    if quick:
        return
    yield from _timed(ONE_PERCENT, repeat, cores=(1, TWO), targets=(0.7, 0.4), plain=True)
    yield _data(ONE_PERCENT, 4.0)
    yield _reliability(ONE_PERCENT, SEEDS, quick=False)
    yield from _timed(UNKNOWN, repeat, cores=(1,), targets=(None,))
    yield from _timed(FAINT, FEWEST_REPETITIONS, cores=(TWO,), targets=(20.0,))
    yield from _timed(FAINTEST, FEWEST_REPETITIONS, cores=(TWO,), targets=(15.0,))
    yield from _timed(HOPELESS, 1, cores=(1,), targets=(None,))


def _timed(
    link: Link, repeat: int, *, cores: tuple[int, ...], targets: tuple[float | None, ...], plain: bool = False
) -> Iterator[Row]:
    """Measure one seed's search on one or two threads, with the outcome as a note."""
    alice, bob, offset = link.streams(0)
    for threads, target in zip(cores, targets, strict=True):
        with ThreadPoolExecutor(threads) as pool:
            over = pool if threads > 1 else None
            contestants: dict[str, Callable[[], object]] = {OWN: partial(link.acquire, alice, bob, over)}
            if plain and threads == 1:
                contestants["plain search"] = partial(search_plainly, alice, bob, link.where, link.pair_fraction)
            seconds = median_seconds(contestants, repeat)
            found = link.acquire(alice, bob, over)
        note = f"{link.error_ps(found, offset):.0f} ps off" if found.locked else found.sentence.split(";")[0]
        if threads > usable_cores():
            note += f", {threads} threads on {usable_cores()} core"
        what = link.name if threads == 1 else f"{link.name}, {threads} threads"
        yield Row(what, "s", seconds.pop(OWN), seconds, target, higher_is_better=False, note=note)


def _data(link: Link, target: float | None) -> Row:
    """Report how much of the data the search took."""
    alice, bob, _ = link.streams(0)
    found = link.acquire(alice, bob)
    note = f"coarse peak {found.coarse_significance:.1f} sigma, bins of {found.bin_ps / 1e6:.2f} us"
    return Row("   data taken", "s", found.data_s, {}, target, higher_is_better=False, note=note)


def _reliability(link: Link, seeds: int, *, quick: bool) -> Row:
    """Count the seeds that lock to the right clock and those that lock to a false one."""
    errors = []
    for seed in range(seeds):
        alice, bob, offset = link.streams(seed)
        errors.append(link.error_ps(link.acquire(alice, bob), offset))
    right = sum(error < RIGHT_PS for error in errors)
    false = sum(FALSE_PS < error < float("inf") for error in errors)
    unlocked = sum(error == float("inf") for error in errors)
    note = f"{right} of {seeds} within {RIGHT_PS:.0f} ps, {false} false, {unlocked} without a lock"
    return Row("   right", "%", 100.0 * right / seeds, {}, None if quick else 99.0, note=note)


def search_plainly(alice_ps: I64, bob_ps: I64, where: SearchRange, pair_fraction: float) -> tuple[float, float]:
    """Return offset (ps) and frequency error of the highest coarse peak: one pair of transforms per frequency error.

    The twin does only the coarse step, with the bins and steps that the own search would take.
    """
    rung = rung_of(pair_fraction, overlap_of(alice_ps, bob_ps, where), where)
    if rung is None:
        return 0.0, 0.0
    reach = where.offset_range_ps
    start = int(alice_ps[0] + alice_ps[-1]) // 2 - rung.duration_ps // 2
    bins = int((rung.duration_ps + 2 * reach) / rung.bin_ps)
    points = 1 << bins.bit_length()
    inside = alice_ps[(alice_ps >= start) & (alice_ps < start + rung.duration_ps)]
    early = np.bincount(((inside - start) / rung.bin_ps).astype(np.int64), minlength=points).astype(np.float64)
    early[: int(rung.duration_ps / rung.bin_ps)] -= early.sum() / int(rung.duration_ps / rung.bin_ps)
    spectrum = np.conj(np.fft.rfft(early))
    best = (0.0, 0.0, 0.0)
    elapsed = bob_ps - (start + where.offset_ps)
    for error in np.linspace(-where.frequency_range, where.frequency_range, rung.trials):
        place = ((elapsed / (1.0 + error) + reach) / rung.bin_ps).astype(np.int64)
        late = np.bincount(place[(place >= 0) & (place < bins)], minlength=points).astype(np.float64)
        line = np.fft.irfft(spectrum * np.fft.rfft(late), points)[: int(2 * reach / rung.bin_ps)]
        peak = int(np.argmax(line))
        height = float((line[peak] - line.mean()) / line.std())
        best = max(best, (height, peak * rung.bin_ps - reach, float(error)))
    return best[1], best[2]
