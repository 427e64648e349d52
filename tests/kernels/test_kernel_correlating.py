"""Kernels of the clock search against plain numpy twins, down to empty streams and single bins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.correlating import (
    add_cross_spectra,
    bin_residuals,
    bin_tags,
    count_near_pairs,
    list_near_pairs,
    scan_line,
    subtract_local_mean,
)

times = st.lists(st.integers(-2000, 2000), max_size=200).map(sorted)


def i64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def binned_plainly(places: np.ndarray, bins: int) -> np.ndarray:
    inside = places[(places >= 0) & (places < bins)]
    return np.bincount(np.floor(inside).astype(np.int64), minlength=bins)


@given(times, st.integers(-500, 500), st.integers(1, 300), st.integers(1, 50))
def test_bin_tags_equals_bincount(tags: list[int], origin_ps: int, bins: int, bin_ps: int) -> None:
    counts = np.ones(bins, np.float32)
    bin_tags(i64(tags), origin_ps, 1.0 / bin_ps, counts)
    expected = 1 + binned_plainly((i64(tags) - origin_ps) * (1.0 / bin_ps), bins)
    np.testing.assert_array_equal(counts, expected)


def test_bin_tags_loses_nothing_at_1e17_ps() -> None:
    origin = 10**17
    counts = np.zeros(4, np.float32)
    bin_tags(i64([origin - 1, origin, origin + 1, origin + 3, origin + 4]), origin, 1.0, counts)
    np.testing.assert_array_equal(counts, [1, 1, 0, 1])


@pytest.mark.parametrize("bins", [1, 5, 8, 64, 100])
@pytest.mark.parametrize("width", [1, 8, 200])
def test_subtract_local_mean_leaves_runs_of_mean_zero(bins: int, width: int) -> None:
    counts = np.random.default_rng(bins).poisson(3.0, bins).astype(np.float32)
    expected = np.concatenate([run - run.mean(dtype=np.float64) for run in np.split(counts, range(width, bins, width))])
    subtract_local_mean(counts, width)
    np.testing.assert_allclose(counts, expected, atol=1e-5)


@pytest.mark.parametrize(("blocks", "shifts", "frequencies"), [(1, 1, 3), (3, 1, 1025), (2, 4, 2500)])
def test_add_cross_spectra_equals_the_double_loop(blocks: int, shifts: int, frequencies: int) -> None:
    rng = np.random.default_rng(1)

    def spectra(rows: int) -> np.ndarray:
        real, imaginary = rng.normal(size=(2, rows, frequencies))
        return (real + 1j * imaginary).astype(np.complex64)

    early, late, sums = spectra(blocks), spectra(blocks + shifts - 1), spectra(shifts)
    expected = sums.astype(np.complex128)
    for m in range(shifts):
        for s in range(blocks):
            expected[m] += np.conj(early[s].astype(np.complex128)) * late[s + m]
    add_cross_spectra(early, late, sums)
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)


def scanned(rows: np.ndarray, first_lag: np.ndarray, lags: int, chunk: int) -> tuple[np.ndarray, ...]:
    chunks = math.ceil(lags / chunk)
    spread, excess, half_lag = np.empty(chunks), np.empty(chunks), np.empty(chunks, np.int64)
    scan_line(rows, first_lag, lags, chunk, spread, excess, half_lag)
    return spread, excess, half_lag


@pytest.mark.parametrize("lags", [1, 2, 63, 64, 65, 300])
@pytest.mark.parametrize("segments", [1, 3])
def test_scan_line_equals_sums_of_slices(lags: int, segments: int) -> None:
    rng = np.random.default_rng(lags)
    chunk = 64
    first_lag = rng.uniform(0.0, 9.0, segments)
    rows = rng.normal(size=(segments, lags + 12)).astype(np.float32)
    spread, excess, half_lag = scanned(rows, first_lag, lags, chunk)
    line = np.zeros(lags)
    for row, first in zip(rows.astype(np.float64), first_lag, strict=True):
        whole, part = int(first), first % 1.0
        line += (1.0 - part) * row[whole : whole + lags] + part * row[whole + 1 : whole + lags + 1]
    for c, part_of_line in enumerate(np.split(line, range(chunk, lags, chunk))):
        values = part_of_line - part_of_line.mean()
        sigma = values.std()
        assert spread[c] == pytest.approx(sigma, abs=1e-5)
        singles = {2 * k: value for k, value in enumerate(values)}
        variance = 2.0 * (values @ values + values[1:] @ values[:-1])
        scale = math.sqrt(values @ values / variance) if variance > 1e-9 else 0.0
        pairs = {2 * k + 1: (values[k] + values[k + 1]) * scale for k in range(values.size - 1)}
        heights = singles | pairs
        assert excess[c] == pytest.approx(max(heights.values()), abs=1e-4)
        assert heights[half_lag[c] - 2 * c * chunk] == pytest.approx(max(heights.values()), abs=1e-4)


def test_scan_line_of_nothing_is_nothing() -> None:
    spread, excess, half_lag = scanned(np.zeros((2, 200), np.float32), np.array([0.0, 1.5]), 150, 64)
    assert not spread.any()
    assert not excess.any()
    np.testing.assert_array_equal(half_lag, [0, 128, 256])


@given(times, times, st.integers(-300, 300), st.integers(0, 200), st.floats(-0.3, 0.3))
def test_list_near_pairs_equals_all_pairs(
    a: list[int], b: list[int], offset_ps: int, half_ps: int, frequency_error: float
) -> None:
    alice, bob, reference = i64(a), i64(b), 100
    elapsed = alice - reference
    expected = alice + offset_ps + np.rint(frequency_error * elapsed).astype(np.int64)
    delays = bob[None, :] - expected[:, None]
    i, j = np.nonzero(np.abs(delays) <= half_ps)
    delay, at = np.empty(i.size), np.empty(i.size)
    line = (reference, offset_ps, frequency_error, half_ps)
    assert list_near_pairs(alice, bob, *line, delay, at) == i.size
    np.testing.assert_array_equal(delay, delays[i, j])
    np.testing.assert_array_equal(at, elapsed[i])
    assert count_near_pairs(alice, bob, *line) == i.size
    short = np.empty(i.size // 2)
    assert list_near_pairs(alice, bob, *line, short, short.copy()) == short.size
    np.testing.assert_array_equal(short, delay[: short.size])


@given(
    st.lists(st.tuples(st.integers(-500, 500), st.integers(-1000, 1000)), max_size=100),
    st.floats(-0.2, 0.2),
    st.integers(1, 40),
)
def test_bin_residuals_equals_bincount(pairs: list[tuple[int, int]], slope: float, bin_ps: int) -> None:
    delay, elapsed = (np.array([pair[k] for pair in pairs], np.float64) for k in (0, 1))
    counts = np.zeros(50, np.int64)
    bin_residuals(delay, elapsed, slope, -400.0, float(bin_ps), counts)
    np.testing.assert_array_equal(
        counts, binned_plainly((delay - slope * elapsed + 400.0) * (1.0 / bin_ps), counts.size)
    )
