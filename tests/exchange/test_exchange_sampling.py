"""The test bits: as many as agreed on, each subset equally likely, whatever the length."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from qnoded.exchange.sampling import _choose


@pytest.mark.parametrize(("size", "test_bits"), [(2, 1), (5, 2), (5, 4), (1 << 16, 3_277), (100_003, 60_000)])
def test_exactly_so_many_places_are_marked(size: int, test_bits: int) -> None:
    chosen = _choose(size, test_bits, random.Random(size).randbytes)
    assert chosen.shape == (size,)
    assert np.count_nonzero(chosen) == test_bits


@pytest.mark.parametrize("test_bits", [2, 4])
def test_each_subset_is_equally_likely(test_bits: int) -> None:
    """6 places, 15 subsets, 15,000 samples: chi squared of 14 degrees of freedom is below 36 with 99.9 %."""
    randomness = random.Random(11).randbytes
    met = Counter(_choose(6, test_bits, randomness).tobytes() for _ in range(15_000))
    assert len(met) == 15
    assert sum((count - 1000) ** 2 / 1000 for count in met.values()) < 36
