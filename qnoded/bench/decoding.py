"""What the drivers of time taggers make of their instruments' bytes, tags a second of one core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from qnoded_drivers.idq_id900 import codec as id900
from qnoded_drivers.s15_tdc1 import codec as tdc1
from qnoded_drivers.swabian_timetagger import codec as swabian

from qnoded.bench.measuring import Row, throughput
from qnoded.formats.swabian import RECORD
from qnoded.units import PS_PER_S

TAGS: Final = 4_000_000
QUICK_TAGS: Final = 50_000
TARGET: Final = 50.0
"""Million tags a second: more than any of the instruments hands over."""
INPUTS: Final = 4
RATE_HZ: Final = 2e7
SEED: Final = 1


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure the suite.

    Parameters
    ----------
    quick : small data, for seeing that all runs
    repeat : repetitions that count
    """
    tags = QUICK_TAGS if quick else TAGS
    chance = np.random.default_rng(SEED)
    time_ps = np.sort(chance.integers(0, int(tags / RATE_HZ * PS_PER_S), tags))
    number = chance.integers(1, INPUTS + 1, tags)
    for what, run in (
        ("Swabian: raw records of 16 bytes", _swabian(time_ps, number)),
        ("ID900: slices of four inputs, merged", _id900(time_ps, number)),
        ("TDC1: words of 4 bytes, without a frame", _tdc1(time_ps, number)),
    ):
        yield throughput(what, tags, run, repeat, target=None if quick else TARGET)


def _swabian(time_ps: np.ndarray, number: np.ndarray) -> Callable[[], object]:
    records = np.zeros(time_ps.size, RECORD)
    records["tag_ps"], records["channel"] = time_ps, number
    data = records.tobytes()
    return lambda: swabian.EventDecoder().feed(swabian.Events.of_records(data))


def _id900(time_ps: np.ndarray, number: np.ndarray) -> Callable[[], object]:
    # As many to a slice as the rate gives: its messages are in the cache no more than those of the instrument.
    messages = []
    for start_ps in range(0, int(time_ps[-1]) + 1, id900.SLICE_PS):
        inside = slice(*np.searchsorted(time_ps, [start_ps, start_ps + id900.SLICE_PS]))
        times_ps, inputs = time_ps[inside] - start_ps, number[inside]
        messages.append([times_ps[inputs == one].astype("<u8").tobytes() for one in id900.INPUTS])

    def run() -> None:
        slices = id900.Slices(id900.INPUTS)
        for told in messages:
            for one, message in zip(id900.INPUTS, told, strict=True):
                slices.take(one, message)
            slices.next()

    return run


def _tdc1(time_ps: np.ndarray, number: np.ndarray) -> Callable[[], object]:
    ticks = time_ps // tdc1.TICK_PS % tdc1.WRAP
    data = (ticks << tdc1.TIME_SHIFT | 1 << (number - 1)).astype("<u4").tobytes()
    return lambda: tdc1.EventDecoder().feed(data)
