"""From the instrument's inputs to detectors: count, label, subtract delays."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from qnoded.kernels.compiling import I64_IN, I64_OUT, U8_IN, U8_OUT, kernel
from qnoded.records import I64, U8

CHANNELS: Final = 256
"""Inputs that a uint8 can name."""
NO_DETECTOR: Final = 255
"""Entry of ``label``'s table for an input that is not in use."""


@kernel(types.void, U8_IN, I64_OUT)
def count_channels(channel: U8, counts: I64) -> None:
    """Add the number of tags per input to ``counts``.

    Parameters
    ----------
    channel : uint8[n]
    counts : int64[256], added to

    See Also
    --------
    numpy.bincount : the plain twin.
    """
    # Four tables, since equal neighbours would wait for each other's store.
    banks = np.zeros((4, CHANNELS), np.int64)
    whole = channel.size & ~3
    for n in range(0, whole, 4):
        k = np.uint64(n)
        banks[0, channel[k]] += 1
        banks[1, channel[k + np.uint64(1)]] += 1
        banks[2, channel[k + np.uint64(2)]] += 1
        banks[3, channel[k + np.uint64(3)]] += 1
    for n in range(whole, channel.size):
        banks[0, channel[n]] += 1
    for c in range(CHANNELS):
        counts[c] += banks[0, c] + banks[1, c] + banks[2, c] + banks[3, c]


@kernel(types.int64, U8_IN, I64_IN, U8_IN, I64_IN, U8_OUT, I64_OUT)
def label(channel: U8, tag_ps: I64, detector_of: U8, delay_ps: I64, detector: U8, corrected_ps: I64) -> int:
    """Keep the tags of known inputs, name their detectors and subtract the detectors' delays.

    Parameters
    ----------
    channel : uint8[n]
    tag_ps : int64[n], ps
    detector_of : uint8[256], detector index of each input, or ``NO_DETECTOR``
    delay_ps : int64[256], ps, delay of each *input*
    detector : uint8[>= n], filled
    corrected_ps : int64[>= n], ps, filled; out of order by at most the spread of the delays

    Returns
    -------
    int
        Number of tags kept.
    """
    kept = np.uint64(0)
    for n in range(np.uint64(channel.size)):
        c = channel[n]
        found = detector_of[c]
        # Always store and advance only on a hit: no branch to mispredict.
        detector[kept] = found
        corrected_ps[kept] = tag_ps[n] - delay_ps[c]
        kept += np.uint64(found != NO_DETECTOR)
    return int(kept)
