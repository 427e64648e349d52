"""What the classical channel costs: the gap code beside a plain one, bits per detection, and the live pipeline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Final

import numpy as np

from qnoded.bench import live_pipeline
from qnoded.bench.clicks import FIELD, LAB, Link, epochs
from qnoded.bench.machine import usable_cores
from qnoded.bench.measuring import Row, throughput
from qnoded.records import I64, U8, DetectionEpoch
from qnoded.stages import revealing

CLICKS: Final = 2_000_000
"""Of the revealer: an epoch of the brightest link."""
QUICK_CLICKS: Final = 50_000
RESOLUTION_PS: Final = 125
"""What the published figures of others are for; a power of two is as fast."""
OVERHEAD_BITS: Final = 0.15
"""That a detection may cost beyond its entropy."""
CODING: Final = 100.0
"""Million detections a second of one core."""
BASES: Final = np.array([0, 0, 1, 1] + [0] * 252, np.uint8)
BUSY: Final = Link("2 Mcps a side", 2.0e6, 0.10)
"""What a node has to sustain."""
SUSTAINED: Final = 4.0
"""Million tags a second, both sides together."""
TIMES: Final = 6
QUICK_LINK: Final = Link("0.1 Mcps a side", 1.0e5, 0.10)


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure the suite, row by row.

    Parameters
    ----------
    quick : small data, for seeing that all runs
    repeat : repetitions that count
    """
    for link in (LAB, FIELD):
        epoch, _ = epochs(link, QUICK_CLICKS if quick else CLICKS, 1)
        yield from _coding(link, epoch, repeat, targets=not quick)
    yield from _indices(repeat, quick=quick)
    yield from _pipeline(QUICK_LINK if quick else BUSY, 1 if quick else TIMES, repeat, targets=not quick)


def _coding(link: Link, epoch: DetectionEpoch, repeat: int, *, targets: bool) -> Iterator[Row]:
    coded = revealing.encode(epoch, BASES, 1, RESOLUTION_PS)
    label = BASES[epoch.detector]
    yield throughput(
        f"{link.name}: code times and bases, one core",
        len(epoch),
        partial(revealing.encode, epoch, BASES, 1, RESOLUTION_PS),
        repeat,
        twins={"numpy, the same code": partial(encode_in_numpy, epoch.tag_ps, label, RESOLUTION_PS)},
        target=CODING if targets else None,
        note="detections a second",
    )
    yield throughput(
        f"{link.name}: read them, one core",
        len(epoch),
        partial(revealing.decode, coded, epoch.start_ps, epoch.stop_ps, 1, RESOLUTION_PS),
        repeat,
        target=CODING if targets else None,
        note="detections a second",
    )
    entropy = revealing.entropy_bits(len(epoch) / (epoch.stop_ps / 1e12), RESOLUTION_PS, 2)
    yield Row(
        f"{link.name}: a detection at {RESOLUTION_PS} ps, basis included",
        "bit",
        coded.bits / len(epoch),
        {"time and channel as they are": 72.0},
        entropy + OVERHEAD_BITS if targets else None,
        higher_is_better=False,
        note=f"entropy of Poisson gaps and an even basis {entropy:.2f} bit",
    )


def _indices(repeat: int, *, quick: bool) -> Iterator[Row]:
    clicks = QUICK_CLICKS if quick else CLICKS
    share = 0.1
    indices = np.flatnonzero(np.random.default_rng(1).random(clicks) < share)
    coded = revealing.encode_indices(indices)
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) / share
    yield Row(
        "a coincidence told back, one detection in ten",
        "bit",
        coded.bits / indices.size,
        higher_is_better=False,
        note=f"entropy {entropy:.2f} bit",
    )
    yield throughput(
        "code the indices of coincidences, one core",
        indices.size,
        partial(revealing.encode_indices, indices),
        repeat,
        note="coincidences a second",
    )


def _pipeline(link: Link, times: int, repeat: int, *, targets: bool) -> Iterator[Row]:
    """Time both ends from tags to blocks; the search for the clock is part of it."""
    replay = live_pipeline.Replay.of(link)
    live_pipeline.run(replay, 1)
    seconds, tags, dropped = [], 0, 0
    for _ in range(repeat):
        start = time.perf_counter()
        alice, bob = live_pipeline.run(replay, times)
        seconds.append(time.perf_counter() - start)
        tags, dropped = alice.tags + bob.tags, alice.discarded
        per_click = alice.payload_bits / alice.detections
    yield Row(
        f"{link.name}: tags to sifted blocks, both ends, 2 threads",
        "Mtag/s",
        tags / median(seconds) / 1e6,
        target=SUSTAINED if targets else None,
        note=f"{alice.sifted} epochs sifted, {dropped} not, {per_click:.2f} bit a detection, {usable_cores()} cores",
    )


def encode_in_numpy(tag_ps: I64, label: U8, resolution_ps: int) -> tuple[U8, U8]:
    """Return raw bits and quotients of a Rice code with one parameter for all, from whole-array operations."""
    gaps = np.diff(tag_ps // resolution_ps, prepend=0)
    width = max(int(np.log2(max(float(gaps.mean()), 1.0) / 2.078)) + 1, 0)
    raw = (gaps & (1 << width) - 1) << 1 | label
    shifts = np.arange(width + 1)
    bits = (raw[:, np.newaxis] >> shifts & 1).astype(np.uint8)
    ends = np.cumsum((gaps >> width) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1, np.uint8)
    unary[ends] = 1
    return np.packbits(bits), np.packbits(unary)
