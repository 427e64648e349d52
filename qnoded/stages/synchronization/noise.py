"""How much two clocks wander against each other, found by comparing what each noise level would predict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from qnoded.kernels.tracking import noise_likelihood
from qnoded.stages.synchronization.clock_state import ClockState, walk_density, white_density

if TYPE_CHECKING:
    from qnoded.records import F64

WHITE_FM: Final = tuple(float(level) for level in 10.0 ** np.arange(-12.0, -7.9, 0.25))
"""Levels of white FM compared, Allan deviation at 1 s: from a good rubidium pair to worse than any quartz."""
RANDOM_WALK_FM: Final = tuple(float(level) for level in 10.0 ** np.arange(-12.0, -8.9, 1.0))
"""Levels of random-walk FM compared, Allan deviation at 1 s; a drift of 1e-9 per second acts as one too."""
MEMORY: Final = 0.97
"""Share of the evidence that stays from epoch to epoch: some thirty epochs, 16 s. More noise shows at once
all the same, since too small a level is punished without limit and too large a one only by a logarithm."""
CAUTION: Final = 1.0
"""Of all levels of white FM within this log-likelihood of the best the noisiest is taken: an overconfident
filter loses the lock, a cautious one a few percent."""

USUAL_WALK: Final = 0.11
"""Random-walk FM over white FM, Allan deviations at 1 s, of usual quartz and rubidium oscillators.
Taken where an epoch is too short to tell, since it rules how wide to search after minutes without light."""


def weigh(state: ClockState, slots: F64, initial: F64) -> tuple[float, float, tuple[float, ...]]:
    """Return the levels of white and random-walk FM that explain the phases best, and the evidence for each.

    Parameters
    ----------
    state : state with the evidence so far
    slots : float64[n, COLUMNS], phases of the epoch
    initial : float64[5], state at the start of the epoch

    Returns
    -------
    tuple
        White FM and random-walk FM as Allan deviations at 1 s; fading log-likelihoods, white FM outermost.
    """
    if not slots.shape[0]:
        return state.white_fm, state.random_walk_fm, state.evidence
    grid = [(white, walk) for white in WHITE_FM for walk in RANDOM_WALK_FM]
    likelihood = np.empty(len(grid))
    white = np.array([white_density(level) for level, _ in grid])
    walk = np.array([walk_density(level) for _, level in grid])
    noise_likelihood(slots, initial, white, walk, likelihood)
    evidence = likelihood - likelihood.max()
    if state.evidence:
        evidence += MEMORY * np.asarray(state.evidence)
    table = evidence.reshape(len(WHITE_FM), len(RANDOM_WALK_FM))
    noisiest = int(np.flatnonzero(table.max(axis=1) > evidence.max() - CAUTION)[-1])
    row = table[noisiest]
    acceptable = [level for level, value in zip(RANDOM_WALK_FM, row, strict=True) if value > row.max() - CAUTION]
    usual = [level for level in acceptable if level <= USUAL_WALK * WHITE_FM[noisiest]]
    walk_fm = usual[-1] if usual else acceptable[0]
    return WHITE_FM[noisiest], walk_fm, tuple(float(value) for value in evidence)
