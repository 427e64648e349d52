"""The hot path: counting, listing, matrices, accidentals, histograms, sifting and filters, beside plain twins."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import numpy as np

from qnoded.bench import twins
from qnoded.bench.clicks import DEAD_TIME_PS, DETECTORS, FIELD, LAB, Link, epochs, receiver
from qnoded.bench.machine import usable_cores
from qnoded.bench.measuring import Row, throughput
from qnoded.kernels.filtering import NEVER_PS, drop_dead_time
from qnoded.kernels.histogramming import difference_histogram, pair_histograms
from qnoded.kernels.matching import count
from qnoded.kernels.merging import merge
from qnoded.records import DetectionEpoch
from qnoded.stages import coincidence, sifting
from qnoded.stages.tagging import MultiClick, choice_key, resolve_multi_clicks
from qnoded.units import EPOCH_PS, PS_PER_US

CLICKS: Final = 10_000_000
"""Per side: 80 MB of times, far beyond any cache."""
QUICK_CLICKS: Final = 50_000
WINDOW_PS: Final = 1000
"""Full width, +-500 ps: what the published figures of others are for."""
SHAPE: Final = (DETECTORS, DETECTORS)
RANGE_PS, BIN_PS = PS_PER_US, 100
DELAY_RANGE_PS: Final = 100_000
"""For delays of detectors, +-100 ns."""
SEED: Final = 1

TWO_CORES: Final = 1.7
"""What two cores must bring over one, as a factor."""
CHUNKING: Final = 0.9
"""What must be left of the speed however the clicks are cut."""


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure the suite, row by row.

    Parameters
    ----------
    quick : small data, for seeing that all runs
    repeat : repetitions that count
    """
    clicks = QUICK_CLICKS if quick else CLICKS
    alice, bob = epochs(LAB, clicks, SEED)
    yield from _matching(LAB, alice, bob, repeat, targets=not quick)
    yield from _histograms(alice, bob, repeat, targets=not quick)
    yield from _small_steps(alice, bob, repeat)
    yield from _matching(FIELD, *epochs(FIELD, clicks, SEED), repeat, targets=False)


def _matching(link: Link, alice: DetectionEpoch, bob: DetectionEpoch, repeat: int, *, targets: bool) -> Iterator[Row]:
    tags, half_ps = len(alice) + len(bob), WINDOW_PS // 2
    displacements_ps = coincidence.displacements(WINDOW_PS)
    clicks = alice.tag_ps, alice.detector, bob.tag_ps, bob.detector
    measure = partial(throughput, tags=tags, repeat=repeat)

    def goal(figure: float) -> float | None:
        return figure if targets else None

    def simply(shifts_ps: tuple[int, ...]) -> None:
        for shift_ps in shifts_ps:
            twins.tally_simply(*clicks, shift_ps, half_ps, DETECTORS, np.zeros(DETECTORS**2, np.int64))

    find = partial(coincidence.find, alice, bob, WINDOW_PS, SHAPE)
    yield measure(
        f"{link.name}: two channels, one-to-one count",
        own=lambda: count(alice.tag_ps, bob.tag_ps, 0, half_ps, 0, len(alice), 0),
        twins={
            "numba two-pointer": lambda: twins.count_simply(alice.tag_ps, bob.tag_ps, half_ps),
            "numpy, all pairs": lambda: twins.all_pairs_in_numpy(alice.tag_ps, bob.tag_ps, half_ps),
        },
        target=goal(700),
    )
    yield measure(
        f"{link.name}: 4x4 matrix with list of indices",
        own=lambda: find(displacements_ps=()),
        twins={
            "numba two-pointer, no list": lambda: simply((0,)),
            "numpy, all pairs": lambda: twins.pair_matrix_in_numpy(*clicks, half_ps, SHAPE),
        },
        target=goal(550),
    )
    yield measure(
        f"{link.name}: the same with {len(displacements_ps)} displaced windows",
        own=find,
        twins={"numba two-pointer, no list": lambda: simply((0, *displacements_ps))},
        target=goal(400),
    )
    pieces = [
        (_between(alice, start, start + EPOCH_PS), _between(bob, start, start + EPOCH_PS))
        for start in range(0, alice.stop_ps, EPOCH_PS)
    ]
    yield measure(
        f"{link.name}: the same, epoch by epoch ({len(pieces)})",
        own=lambda: [coincidence.find(a, b, WINDOW_PS, SHAPE) for a, b in pieces],
        twins={"in one piece": find},
        least_ratio=goal(CHUNKING),
        note="target: 90 % of it",
    )
    if usable_cores() > 1:
        with ThreadPoolExecutor(2) as pool:
            yield measure(
                f"{link.name}: 4x4 with list, 2 cores",
                own=lambda: find(displacements_ps=(), over=pool.map),
                twins={"1 core": lambda: find(displacements_ps=())},
                least_ratio=goal(TWO_CORES),
                note="target: 1.7 times it",
            )
            yield measure(
                f"{link.name}: 4x4 with displaced windows, 2 cores",
                own=lambda: find(over=pool.map),
                twins={"1 core": find},
                least_ratio=goal(TWO_CORES),
                note="target: 1.7 times it",
            )
    yield measure(
        f"{link.name}: 4x4 matrix of all pairs",
        own=lambda: coincidence.all_pairs(alice, bob, WINDOW_PS, SHAPE),
        twins={"numpy": lambda: twins.pair_matrix_in_numpy(*clicks, half_ps, SHAPE)},
    )


def _histograms(alice: DetectionEpoch, bob: DetectionEpoch, repeat: int, *, targets: bool) -> Iterator[Row]:
    a, b = alice.tag_ps, bob.tag_ps
    measure = partial(throughput, tags=a.size + b.size, repeat=repeat)
    yield measure(
        "lab: histogram +-1 us in bins of 100 ps",
        own=lambda: difference_histogram(a, b, RANGE_PS, BIN_PS),
        twins={
            "numba, one pointer and //": lambda: twins.histogram_simply(
                a, b, RANGE_PS, BIN_PS, np.zeros(2 * RANGE_PS // BIN_PS, np.int64)
            ),
            "numpy": lambda: twins.histogram_in_numpy(a, b, RANGE_PS, BIN_PS),
        },
        target=140 if targets else None,
    )
    if usable_cores() > 1:
        with ThreadPoolExecutor(2) as pool:
            yield measure(
                "lab: histogram, 2 cores",
                own=lambda: difference_histogram(a, b, RANGE_PS, BIN_PS, over=pool.map),
                twins={"1 core": lambda: difference_histogram(a, b, RANGE_PS, BIN_PS)},
                least_ratio=TWO_CORES if targets else None,
                note="target: 1.7 times it",
            )
    yield measure(
        "lab: 16 histograms +-100 ns in bins of 100 ps",
        own=lambda: pair_histograms(a, alice.detector, b, bob.detector, DELAY_RANGE_PS, BIN_PS, SHAPE),
    )


def _small_steps(alice: DetectionEpoch, bob: DetectionEpoch, repeat: int) -> Iterator[Row]:
    tags = len(alice) + len(bob)
    measure = partial(throughput, repeat=repeat)
    index = coincidence.find(alice, bob, WINDOW_PS, SHAPE)
    yield measure(
        "lab: sifting of the list",
        tags,
        lambda: sifting.sift(index, alice, bob, receiver("alice"), receiver("bob")),
        twins={
            "numpy": lambda: twins.sift_in_numpy(alice.detector[index.alice], bob.detector[index.bob]),
        },
    )
    tag_ps, detector = np.empty(tags, np.int64), np.empty(tags, np.uint8)
    yield measure(
        "lab: merge of two streams",
        tags,
        lambda: merge(alice.tag_ps, alice.detector, bob.tag_ps, bob.detector, True, tag_ps, detector),
        twins={"numpy": lambda: twins.merge_in_numpy(alice.tag_ps, alice.detector, bob.tag_ps, bob.detector)},
    )
    dead_time_ps, dropped = np.full(DETECTORS, DEAD_TIME_PS, np.int64), np.zeros(DETECTORS, np.int64)
    yield measure(
        "lab: dead-time filter, one side",
        len(alice),
        lambda: drop_dead_time(
            alice.tag_ps, alice.detector, dead_time_ps, np.full(DETECTORS, NEVER_PS), tag_ps, detector, dropped
        ),
        twins={"numpy": lambda: twins.drop_dead_time_in_numpy(alice.tag_ps, alice.detector, DEAD_TIME_PS, DETECTORS)},
    )
    yield measure(
        "lab: multi-click filter, one side",
        len(alice),
        lambda: resolve_multi_clicks(alice, WINDOW_PS, MultiClick.RANDOM, choice_key(SEED)),
    )


def _between(epoch: DetectionEpoch, start_ps: int, stop_ps: int) -> DetectionEpoch:
    first, last = np.searchsorted(epoch.tag_ps, [start_ps, stop_ps])
    return DetectionEpoch(epoch.detector[first:last], epoch.tag_ps[first:last], start_ps, stop_ps)
