"""How a figure is measured and what a row of a suite says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

OWN: Final = "own"
FEWEST_REPETITIONS: Final = 5
"""Below this a median is not worth the name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one suite beside its twins and its target."""

    what: str
    unit: str
    """Such as ``"Mtag/s"`` (tags of both sides together) or ``"s"``."""
    own: float
    twins: Mapping[str, float] = field(default_factory=dict)
    """Name of the twin -> its figure in the same unit, from the same run."""
    target: float | None = None
    higher_is_better: bool = True
    note: str = ""
    """What a reader must know to judge the figure, in a few words."""

    @property
    def ratios(self) -> dict[str, float]:
        """How many times better than each twin."""
        return {
            name: self.own / figure if self.higher_is_better else figure / self.own
            for name, figure in self.twins.items()
        }

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return self.own >= self.target if self.higher_is_better else self.own <= self.target


def median_seconds(contestants: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Run each contestant once to warm up and then all of them by turns; return the median time of each.

    By turns, so that what else the machine does hits all alike and ratios hold where absolute figures swing.

    Parameters
    ----------
    contestants : name -> what to run
    repeat : repetitions that count
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(repeat):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def throughput(
    what: str,
    tags: int,
    own: Callable[[], object],
    repeat: int,
    *,
    twins: Mapping[str, Callable[[], object]] | None = None,
    target: float | None = None,
    least_ratio: float | None = None,
    note: str = "",
) -> Row:
    """Measure how many million tags a second ``own`` and its twins process.

    Parameters
    ----------
    what : what is measured
    tags : tags of both sides together that one run processes
    own, twins : what to run
    repeat : repetitions that count
    target : Mtag/s
    least_ratio : in place of a target, how many times as fast as the first twin
    note : see ``Row``
    """
    seconds = median_seconds({OWN: own, **(twins or {})}, repeat)
    speeds = {name: tags / duration / 1e6 for name, duration in seconds.items()}
    own_speed = speeds.pop(OWN)
    if least_ratio is not None:
        target = least_ratio * next(iter(speeds.values()))
    return Row(what, "Mtag/s", own_speed, speeds, target, note=note)
