"""Decoding to be measured by ``qnoded bench --suite decoding``: words of 4 bytes, without a frame."""

from __future__ import annotations

from collections.abc import Callable

from qnoded.records import I64
from qnoded_drivers.s15_tdc1.codec import TICK_PS, TIME_SHIFT, WRAP, EventDecoder


def decoding(time_ps: I64, number: I64) -> Callable[[], object]:
    """Return what decodes these tags, times in ps and inputs."""
    ticks = time_ps // TICK_PS % WRAP
    data = (ticks << TIME_SHIFT | 1 << (number - 1)).astype("<u4").tobytes()
    return lambda: EventDecoder().feed(data)
