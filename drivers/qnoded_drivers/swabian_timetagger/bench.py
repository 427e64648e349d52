"""Decoding to be measured by ``qnoded bench --suite decoding``: raw records of 16 bytes, as the library has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnoded.formats.swabian import RECORD
from qnoded.records import I64
from qnoded_drivers.swabian_timetagger.codec import EventDecoder, Events


def decoding(time_ps: I64, number: I64) -> Callable[[], object]:
    """Return what decodes these tags, times in ps and inputs."""
    records = np.zeros(time_ps.size, RECORD)
    records["tag_ps"], records["channel"] = time_ps, number
    data = records.tobytes()
    return lambda: EventDecoder().feed(Events.of_records(data))
