"""Decoding to be measured by ``qnoded bench --suite decoding``: slices of four inputs, merged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnoded.records import I64
from qnoded_drivers.idq_id900.codec import INPUTS, SLICE_PS, Slices


def decoding(time_ps: I64, number: I64) -> Callable[[], object]:
    """Return what decodes these tags, times in ps and inputs."""
    # As many to a slice as the rate gives: its messages are in the cache no more than those of the instrument.
    messages = []
    for start_ps in range(0, int(time_ps[-1]) + 1, SLICE_PS):
        inside = slice(*np.searchsorted(time_ps, [start_ps, start_ps + SLICE_PS]))
        times_ps, inputs = time_ps[inside] - start_ps, number[inside]
        messages.append([times_ps[inputs == one].astype("<u8").tobytes() for one in INPUTS])

    def run() -> None:
        slices = Slices(INPUTS)
        for told in messages:
            for one, message in zip(INPUTS, told, strict=True):
                slices.take(one, message)
            slices.next()

    return run
