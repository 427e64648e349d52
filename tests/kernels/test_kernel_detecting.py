"""The detector and tagger model against plain twins: the same clicks, whatever the cut into calls."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnoded.kernels import detecting as kernels

N = 4
MASK64 = 2**64 - 1
LONG_AGO_PS = -(10**18)


class PlainChance:
    """SplitMix64 as published, in Python integers."""

    def __init__(self, state: int) -> None:
        self.state = state

    def draw(self) -> float:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        z ^= z >> 31
        return (z >> 11) / 2**53


class PlainDetector:
    """One detector, one excitation after the other."""

    def __init__(self, which: int, dead_ps: int, paralysable: int, faults: np.ndarray, seed: int) -> None:
        self.which, self.dead_ps, self.paralysable = which, dead_ps, paralysable
        self.recovery, self.after, self.fast, self.tau_fast, self.tau_slow, self.echo, self.lag, self.lag_to = faults
        self.chance = PlainChance(seed)
        self.last_ps = LONG_AGO_PS
        self.pending: list[int] = []
        self.clicks: list[tuple[int, int]] = []

    def excite(self, moment: int) -> None:
        waited = moment - self.last_ps
        if waited < self.dead_ps:
            if self.paralysable:
                self.last_ps = moment
            return
        if self.recovery > 0 and self.chance.draw() < math.exp(-((waited / self.recovery) ** 2)):
            return
        self.last_ps = moment
        self.clicks.append((moment, self.which))
        if self.echo > 0 and self.chance.draw() < self.echo:
            lag = int(self.lag + self.chance.draw() * (self.lag_to - self.lag + 1.0))
            self.clicks.append((moment + lag, self.which))
        if self.after > 0 and self.chance.draw() < self.after:
            decay = self.tau_fast if self.chance.draw() < self.fast else self.tau_slow
            self.pending.append(moment + self.dead_ps - int(decay * math.log(1.0 - self.chance.draw())))
            self.pending.sort()

    def until(self, moment: int) -> None:
        while self.pending and self.pending[0] < moment:
            self.excite(self.pending.pop(0))


def plain_detect(arrivals, until_ps, dead_ps, paralysable, faults, seeds) -> list[tuple[int, int]]:
    detectors = [PlainDetector(k, int(dead_ps[k]), int(paralysable[k]), faults[k], int(seeds[k])) for k in range(N)]
    for moment, which in arrivals:
        detectors[which].until(moment)
        detectors[which].excite(moment)
    for detector in detectors:
        detector.until(until_ps)
    return sorted(click for detector in detectors for click in detector.clicks)


def run_kernel(arrivals, stops_ps, dead_ps, paralysable, faults, seeds, room) -> list[tuple[int, int]]:
    """Call the kernel once per stop, with outputs of ``room`` clicks, and gather all clicks."""
    last_ps = np.full(N, LONG_AGO_PS, np.int64)
    pending_ps = np.zeros((N, kernels.PENDING), np.int64)
    pending = np.zeros(N, np.int64)
    chance = seeds.copy()
    packed = np.array(sorted((t << kernels.DETECTOR_BITS) | d for t, d in arrivals), np.int64)
    found = []
    start = 0
    for stop_ps in stops_ps:
        stop = int(np.searchsorted(packed, stop_ps << kernels.DETECTOR_BITS))
        part = packed[start:stop].copy()
        start = stop
        consumed = np.zeros(1, np.int64)
        while True:
            clicks = np.empty(room, np.int64)
            filled = kernels.detect(
                part, stop_ps, dead_ps, paralysable, faults, last_ps, pending_ps, pending, chance, consumed, clicks
            )
            found += clicks[:filled].tolist()
            if consumed[0] == part.size and filled < room - 1:
                break
    return sorted((click >> kernels.DETECTOR_BITS, click & 3) for click in found)


def faulty(recovery=0.0, after=0.0, fast=0.5, tau_fast=3e4, tau_slow=2e5, echo=0.0, lag=16e3, lag_to=17.6e3):
    return np.array([[recovery, after, fast, tau_fast, tau_slow, echo, lag, lag_to]] * N)


def some_arrivals(seed: int, n: int, span_ps: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    moments = np.sort(rng.integers(-span_ps // 10, span_ps, n))
    return sorted(zip(moments.tolist(), rng.integers(0, N, n).tolist(), strict=True))


SEEDS = np.array([3, 1, 4, 2**64 - 1], np.uint64)
SPAN_PS = 10_000_000


@pytest.mark.parametrize(
    ("faults", "paralysable"),
    [
        (faulty(), 0),
        (faulty(), 1),
        (faulty(recovery=5e4), 0),
        (faulty(after=0.4), 0),
        (faulty(after=0.4), 1),
        (faulty(echo=0.7), 0),
        (faulty(recovery=5e4, after=0.3, echo=0.7), 1),
    ],
    ids=["dead time", "paralysable", "recovery", "afterpulses", "paralysable afterpulses", "echoes", "all"],
)
def test_detect_equals_the_plain_twin(faults: np.ndarray, paralysable: int) -> None:
    arrivals = some_arrivals(1, 900, SPAN_PS)
    dead_ps = np.array([0, 25_000, 40_000, 300_000])
    kinds = np.array([paralysable, 0, paralysable, 0], np.uint8)
    expected = plain_detect(arrivals, SPAN_PS, dead_ps, kinds, faults, SEEDS)
    assert run_kernel(arrivals, [SPAN_PS], dead_ps, kinds, faults, SEEDS, 4096) == expected
    assert len(expected) > 100


@settings(max_examples=60)
@given(
    cuts=st.lists(st.integers(-SPAN_PS // 5, SPAN_PS), max_size=8),
    room=st.integers(3, 60),
    n=st.integers(0, 300),
    seed=st.integers(0, 2**16),
    dead_ps=st.lists(st.sampled_from([0, 1, 20_000, 200_000]), min_size=N, max_size=N),
    kinds=st.lists(st.integers(0, 1), min_size=N, max_size=N),
    mix=st.sampled_from([faulty(), faulty(after=0.5), faulty(recovery=4e4, after=0.2, echo=0.5)]),
)
def test_detect_is_the_same_however_it_is_cut(cuts, room, n, seed, dead_ps, kinds, mix) -> None:
    # A cut may also fall where the output is full: any room of at least three clicks gives the same.
    arrivals = some_arrivals(seed, n, SPAN_PS)
    dead, paralysable = np.array(dead_ps), np.array(kinds, np.uint8)
    whole = plain_detect(arrivals, SPAN_PS, dead, paralysable, mix, SEEDS)
    assert run_kernel(arrivals, [*sorted(cuts), SPAN_PS], dead, paralysable, mix, SEEDS, room) == whole


def test_excitation_at_the_very_end_of_the_dead_time_clicks() -> None:
    arrivals = [(0, 0), (39_999, 0), (40_000, 0), (79_999, 0)]
    dead_ps = np.full(N, 40_000)
    found = run_kernel(arrivals, [SPAN_PS], dead_ps, np.zeros(N, np.uint8), faulty(), SEEDS, 64)
    assert found == [(0, 0), (40_000, 0)]


def test_a_full_queue_of_afterpulses_drops_the_newest_and_nothing_else() -> None:
    # 300 clicks within 300 ps, each followed by an afterpulse in a far future: 128 of them can be kept.
    arrivals = [(t, 0) for t in range(300)]
    faults = faulty(after=1.0, tau_fast=1e9, tau_slow=1e9)
    dead_ps = np.zeros(N, np.int64)
    assert len(run_kernel(arrivals, [10_000], dead_ps, np.zeros(N, np.uint8), faults, SEEDS, 4096)) == 300


def test_uniform_is_splitmix64() -> None:
    chance = SEEDS.copy()
    twin = PlainChance(int(SEEDS[3]))
    drawn = [kernels.uniform(chance, 3) for _ in range(1000)]
    assert drawn == [twin.draw() for _ in range(1000)]
    assert min(drawn) >= 0.0
    assert max(drawn) < 1.0
    # Mean of 1000 uniform numbers: 0.5 +- 0.0091.
    assert abs(np.mean(drawn) - 0.5) < 4 * 0.0091


@given(
    moments=st.lists(st.tuples(st.integers(-(10**6), 10**17), st.integers(0, 3)), max_size=200),
    dead_ps=st.sampled_from([0, 1, 2000, 10**16]),
    cut=st.integers(0, 200),
)
def test_register_equals_the_plain_twin(moments, dead_ps, cut) -> None:
    last = [LONG_AGO_PS] * N
    expected = []
    for moment, which in sorted(moments):
        if moment - last[which] >= dead_ps:
            last[which] = moment
            expected.append((moment, which))
    packed = np.array(sorted((t << kernels.DETECTOR_BITS) | d for t, d in moments), np.int64)
    last_ps = np.full(N, LONG_AGO_PS, np.int64)
    found = []
    for part in (packed[:cut].copy(), packed[cut:].copy()):
        channel, edge_ps = np.empty(part.size, np.uint8), np.empty(part.size, np.int64)
        kept = kernels.register(part, dead_ps, last_ps, channel, edge_ps)
        found += zip(edge_ps[:kept].tolist(), channel[:kept].tolist(), strict=True)
    assert found == expected


@given(
    edges=st.lists(st.integers(0, 9_999), max_size=100),
    leads=st.lists(st.floats(-1e6, 1e6), min_size=11, max_size=11),
    offset_ps=st.integers(-(10**17), 10**17),
    bin_ps=st.sampled_from(
        [Fraction(1), Fraction(625, 8), Fraction(4), Fraction(3, 2), Fraction(16191, 200), Fraction(999_983, 7)]
    ),
)
def test_read_clock_equals_the_plain_twin(edges, leads, offset_ps, bin_ps) -> None:
    start_ps, step_ps = 5 * 10**12, 1000
    edge_ps = start_ps + np.sort(np.array(edges, np.int64))
    tag_ps = np.empty(edge_ps.size, np.int64)
    lead_ps = np.array(leads)
    kernels.read_clock(edge_ps, start_ps, step_ps, lead_ps, offset_ps, bin_ps.numerator, bin_ps.denominator, tag_ps)
    for edge, tag in zip(edge_ps.tolist(), tag_ps.tolist(), strict=True):
        k, into = divmod(edge - start_ps, step_ps)
        lead = leads[k] + into / step_ps * (leads[k + 1] - leads[k])
        reading = edge + offset_ps + math.floor(lead + 0.5)
        ticks = reading // bin_ps if bin_ps != 1 else reading
        assert tag == math.floor(ticks * bin_ps + Fraction(1, 2))
