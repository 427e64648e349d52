"""The plain two-stream generator: rates, clock and jitter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from plain_counting import Side, residuals

from qnoded.errors import UsageError
from qnoded.sim.pairs import pair_streams


def test_rates_clock_and_jitter() -> None:
    seconds, offset_ps, frequency, drift = 2.0, 300_000_000_000, 5e-6, 1e-9
    a_ps, b_ps = pair_streams(
        2e5, 1e5, 2e4, seconds, 3, jitter_ps=100.0, offset_ps=offset_ps, frequency_error=frequency, drift_per_s=drift
    )
    assert a_ps.dtype == b_ps.dtype == np.int64
    assert (np.diff(a_ps) >= 0).all()
    assert (np.diff(b_ps) >= 0).all()
    assert abs(a_ps.size - 4e5) < 4 * math.sqrt(4e5)
    assert abs(b_ps.size - 2e5) < 4 * math.sqrt(2e5)
    expected = a_ps + np.rint(frequency * a_ps + drift / 2 * a_ps * (a_ps * 1e-12)).astype(np.int64) + offset_ps
    none = np.empty(0, np.uint8)
    dt, _, _ = residuals(Side(expected, none), Side(b_ps, none), 1000)
    # 4e4 pairs in a peak of 141 ps rms, on 80 accidentals in 2 ns.
    assert abs(dt.size - 40_080) < 4 * math.sqrt(40_080)
    core = dt[np.abs(dt) < 600]
    assert np.std(core) == pytest.approx(math.sqrt(2) * 100, rel=0.03)
    assert abs(np.mean(core)) < 4 * 142 / 200


def test_same_seed_same_tags() -> None:
    first, again = pair_streams(1e4, 1e4, 1e3, 0.1, 5), pair_streams(1e4, 1e4, 1e3, 0.1, 5)
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left, right)


def test_no_pairs_no_clicks() -> None:
    a_ps, b_ps = pair_streams(0.0, 0.0, 0.0, 1.0, 1)
    assert a_ps.size == b_ps.size == 0


@pytest.mark.parametrize("rates", [(1e3, 1e4, 2e3), (1e4, 1e3, 2e3), (1e3, 1e3, -1.0)])
def test_pairs_must_fit_into_the_clicks(rates: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="pairs/s do not fit"):
        pair_streams(*rates, 1.0, 1)
