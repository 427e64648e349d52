"""Two plain streams of tags that share photon pairs: no optics, no detectors, only time."""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.records import I64
from qnoded.units import PS_PER_S

DEFAULT_JITTER_PS: Final = 50.0
"""Standard deviation of one click, ps: a superconducting detector and a tagger with a margin."""


def pair_streams(
    rate_a_hz: float,
    rate_b_hz: float,
    pair_rate_hz: float,
    seconds: float,
    seed: int,
    *,
    jitter_ps: float = DEFAULT_JITTER_PS,
    offset_ps: int = 0,
    frequency_error: float = 0.0,
    drift_per_s: float = 0.0,
) -> tuple[I64, I64]:
    """Return the tags of two nodes that share Poissonian pairs, each in its own clock.

    Births of pairs and the clicks that have no partner are independent Poisson processes of true time. Alice's clock
    is true time; bob's reads ``t + offset + frequency_error * t + drift * t**2 / 2``, so a ``ClockModel`` with its
    reference at 0 and these numbers is the truth.

    Parameters
    ----------
    rate_a_hz, rate_b_hz
        All clicks of alice and of bob per second of true time, those of pairs included.
    pair_rate_hz
        Pairs of which both photons click, per second.
    seconds
        Length of the streams in true time.
    seed
        Same seed, same tags.
    jitter_ps
        Standard deviation of every single click, ps; a coincidence peak is sqrt(2) wider.
    offset_ps
        Bob's reading minus alice's at true time 0.
    frequency_error
        Bob's clock rate over alice's minus 1 at true time 0.
    drift_per_s
        Change of the frequency error per second.

    Returns
    -------
    tuple[ndarray, ndarray]
        int64[n] and int64[m], ps, each ascending.

    Raises
    ------
    UsageError
        If a rate is negative or there are more pairs than clicks.
    """
    if not 0.0 <= pair_rate_hz <= min(rate_a_hz, rate_b_hz):
        problem = (
            f"{pair_rate_hz:g} pairs/s do not fit into {rate_a_hz:g} and {rate_b_hz:g} clicks/s; "
            "the rates of clicks include the pairs"
        )
        raise UsageError(problem)
    rng = np.random.Generator(np.random.Philox(seed))
    span_ps = round(seconds * PS_PER_S)
    births = rng.integers(0, span_ps, rng.poisson(pair_rate_hz * seconds))

    def clicks(lonely_hz: float) -> I64:
        lonely = rng.integers(0, span_ps, rng.poisson(lonely_hz * seconds))
        jitter = np.rint(rng.normal(0.0, jitter_ps, births.size)).astype(np.int64)
        return np.sort(np.concatenate((births + jitter, lonely)))

    alice = clicks(rate_a_hz - pair_rate_hz)
    true_b = clicks(rate_b_hz - pair_rate_hz)
    elapsed_s = true_b / PS_PER_S
    run_ps = np.rint(true_b * frequency_error + 0.5 * drift_per_s * elapsed_s * true_b).astype(np.int64)
    return alice, true_b + offset_ps + run_ps
