"""Which coincidence window gives most key, from the pairs of a wide window. Recommended, never applied.

A wider window takes more pairs of the peak and more accidentals, half of which are errors. Sorted by their
distance from the centre, the pairs in equal bases give errors and counts of every narrower window by counting
up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import UsageError
from qnoded.records import F64, I64, U8, frozen
from qnoded.stages.estimation.key_rate import RECONCILIATION_EFFICIENCY, asymptotic_share
from qnoded.units import PS_PER_NS

LEAST_PAIRS: Final = 200
"""Fewer pairs in equal bases give no curve: at 5 % errors that is ten errors."""
STEPS: Final = 128
"""Windows of the curve, evenly spaced in their logarithm from the narrowest with 20 pairs to the widest."""
LEAST_PAIRS_OF_STEP: Final = 20
NEARLY_BEST: Final = 0.99
"""The narrowest window with 99 % of the best key is recommended: the maximum is flat and its place is
noise."""


@dataclass(frozen=True, slots=True)
class WindowRecommendation:
    """Key against window, and the window to be recommended."""

    window_ps: int | None
    """Recommended full width; None where no window gives key or the pairs are too few."""
    windows_ps: I64
    """int64[k], full widths of the curve, ascending; empty where the pairs are too few."""
    sifted: I64
    """int64[k], sifted bits in each."""
    qber: F64
    """float64[k], errors in each."""
    secret_bits: F64
    """float64[k], asymptotic secret bits in each."""
    sentence: str
    """The recommendation or why there is none, for the operator."""

    def __post_init__(self) -> None:
        for array in (self.windows_ps, self.sifted, self.qber, self.secret_bits):
            frozen(array)


def recommend_window(
    residual_ps: I64,
    wrong: NDArray[np.bool_],
    basis: U8 | None = None,
    *,
    efficiency: float = RECONCILIATION_EFFICIENCY,
    window_ps: int | None = None,
) -> WindowRecommendation:
    """Recommend the window with most asymptotic key from the pairs found in a wide one.

    Parameters
    ----------
    residual_ps : int64[n], ps
        Bob minus alice of all pairs in equal bases, delays and clock removed, within a window some times
        wider than the peak.
    wrong : bool[n], whether the outcomes of the pair are an error
    basis : uint8[n], optional, index of the basis; phase errors are then the other basis' bit errors
    efficiency : reconciliation efficiency f, at least 1
    window_ps : int, ps, optional, the window in use, for comparison in the sentence

    Returns
    -------
    WindowRecommendation

    Raises
    ------
    UsageError
        If the arrays differ in length or the efficiency is below 1.
    """
    if residual_ps.shape != wrong.shape or (basis is not None and basis.shape != wrong.shape):
        problem = f"{residual_ps.size} residuals and {wrong.size} outcomes do not belong together"
        raise UsageError(problem)
    if residual_ps.size < LEAST_PAIRS:
        sentence = f"no window is recommended: {residual_ps.size} pairs in equal bases are too few of {LEAST_PAIRS}"
        empty = np.empty(0)
        return WindowRecommendation(None, np.empty(0, np.int64), np.empty(0, np.int64), empty, empty.copy(), sentence)
    distance_ps = np.abs(residual_ps)
    ascending = np.sort(distance_ps)
    narrowest = 2 * max(int(ascending[LEAST_PAIRS_OF_STEP - 1]), 1)
    widest = 2 * max(int(ascending[-1]), 1)
    windows_ps = np.unique(np.geomspace(narrowest, widest, STEPS).round().astype(np.int64))
    groups = [np.ones(wrong.size, np.bool_)] if basis is None else [basis == b for b in np.unique(basis)]
    # Two clicks meet when twice their distance is within the window: the same rule as for coincidences.
    sifted = np.array([np.searchsorted(np.sort(distance_ps[g]), windows_ps // 2, side="right") for g in groups])
    errors = np.array([np.searchsorted(np.sort(distance_ps[g & wrong]), windows_ps // 2, side="right") for g in groups])
    share = errors / np.maximum(sifted, 1)
    secret = np.zeros(windows_ps.size)
    for k in range(len(groups)):
        phase = np.delete(share, k, axis=0).max(axis=0) if len(groups) > 1 else share[k]
        secret += sifted[k] * asymptotic_share(share[k], phase, efficiency)
    total, all_errors = sifted.sum(axis=0), errors.sum(axis=0)
    curve = windows_ps, total, all_errors / np.maximum(total, 1), secret
    best = float(secret.max())
    if best <= 0.0:
        sentence = f"no window is recommended: none gives key; the best has {100 * curve[2].min():.1f} % errors"
        return WindowRecommendation(None, *curve, sentence)
    chosen = int(np.argmax(secret >= NEARLY_BEST * best))
    sentence = _said(curve, chosen, window_ps)
    return WindowRecommendation(int(windows_ps[chosen]), *curve, sentence)


def _said(curve: tuple[I64, I64, F64, F64], chosen: int, window_ps: int | None) -> str:
    windows_ps, _, share, secret = curve
    sentence = (
        f"a window of {windows_ps[chosen] / PS_PER_NS:.2f} ns gives most key "
        f"(asymptotic, {100 * share[chosen]:.2f} % errors)"
    )
    if chosen == windows_ps.size - 1:
        return sentence + "; it is the widest that was looked at, so look wider"
    if window_ps is None or not windows_ps[0] <= window_ps <= windows_ps[-1]:
        return sentence
    now = float(np.interp(window_ps, windows_ps, secret))
    if now <= 0.0:
        return sentence + f"; the present {window_ps / PS_PER_NS:.2f} ns gives none"
    gain = 100.0 * (secret[chosen] / now - 1.0)
    if gain < 100.0 * (1.0 - NEARLY_BEST):
        return sentence + f"; the present {window_ps / PS_PER_NS:.2f} ns is as good"
    return sentence + f", {gain:.0f} % more than the present {window_ps / PS_PER_NS:.2f} ns"
