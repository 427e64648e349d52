"""What the drivers of time taggers make of their instruments' bytes, tags a second of one core.

A driver that wants to be measured announces under its name what makes such bytes of tags and returns their decoding::

    [project.entry-points."qnoded.decoders"]
    acme-tagger = "acme_qnoded.bench:decoding"     # (time_ps int64[n] ascending, number int64[n] of 1 to 4) -> callable
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Final

import numpy as np

from qnoded.bench.measuring import Row, throughput
from qnoded.units import PS_PER_S

GROUP: Final = "qnoded.decoders"
TAGS: Final = 4_000_000
QUICK_TAGS: Final = 50_000
TARGET: Final = 50.0
"""Million tags a second: more than any of the instruments hands over."""
INPUTS: Final = 4
RATE_HZ: Final = 2e7
SEED: Final = 1


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure the suite.

    Parameters
    ----------
    quick : small data, for seeing that all runs
    repeat : repetitions that count
    """
    tags = QUICK_TAGS if quick else TAGS
    chance = np.random.default_rng(SEED)
    time_ps = np.sort(chance.integers(0, int(tags / RATE_HZ * PS_PER_S), tags))
    number = chance.integers(1, INPUTS + 1, tags)
    for entry in sorted(entry_points(group=GROUP)):
        run = entry.load()(time_ps, number)
        yield throughput(f"{entry.name}: bytes to tags", tags, run, repeat, target=None if quick else TARGET)
