"""What a person may ask of an analysis, checked before any tag is read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from qnoded.errors import UsageError
from qnoded.settings import ChannelMap, load_channel_map
from qnoded.stages.tagging import MultiClick
from qnoded.units import PS_PER_MS, PS_PER_S, tick

LATEST_PS: Final = 2**62
"""Times and offsets beyond this cannot be subtracted from each other within int64."""


LONGEST_PULSE_PERIOD_PS: Final = PS_PER_MS
"""1 kHz. Accidentals are counted some periods away, where rates must still be the same."""


@dataclass(frozen=True, slots=True)
class ClockOptions:
    """What is known beforehand of bob's clock against alice's."""

    offset_ps: int = 0
    """Known or expected: bob's reading minus alice's at alice's first tag."""
    frequency_error: float = 0.0
    """Known or expected."""
    offset_range_ps: int = PS_PER_S // 2
    """Half width of the search around ``offset_ps``."""
    frequency_range: float = 20e-6
    """Half width of the search around ``frequency_error``."""
    known: bool = False
    """Take offset and frequency error as they are: track, but do not search."""
    pair_fraction: float | None = None
    """Expected ratio of pairs to singles, where somebody knows it."""


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """One request for an analysis."""

    channels: ChannelMap | None = None
    format: str | None = None
    tick_ps: Fraction | None = None
    columns: str | None = None
    window_ps: int | None = None
    """Full width of the coincidence window; None: three times the width of the measured peak."""
    multi_click: MultiClick = MultiClick.RANDOM
    pulse_period_ps: Fraction | None = None
    """Of a pulsed source, in alice's clock: accidentals are counted a whole number of pulses away."""
    clock: ClockOptions = ClockOptions()
    sifted: Path | None = None
    """Folder for the sifted bits of both sides."""


def options_from(
    *,
    channels: Path | None = None,
    format: str | None = None,  # noqa: A002 - the option's own name
    tick_ps: str | None = None,
    columns: str | None = None,
    window_ps: int | None = None,
    multi_click: str = "random",
    pulse_period_ps: str | None = None,
    offset_ps: int | None = None,
    frequency_error: float | None = None,
    offset_range_s: float = 0.5,
    frequency_range: float = 20e-6,
    known_clock: bool = False,
    pair_fraction: float | None = None,
    sifted: Path | None = None,
) -> AnalysisOptions:
    """Check what was asked for, each value by itself and all together.

    Raises
    ------
    UsageError, ConfigError
        With the option, its value and what would be accepted.
    """
    channel_map = load_channel_map(channels) if channels is not None else None
    if window_ps is None and channel_map is not None:
        window_ps = channel_map.window_ps
    _demand(window_ps is None or 0 < window_ps <= PS_PER_S // 1000, "--window-ps", window_ps, "from 1 to 10**9 ps")
    pulse_ps = tick(pulse_period_ps, "pulse period") if pulse_period_ps is not None else None
    _demand(
        pulse_ps is None or 1 <= pulse_ps <= LONGEST_PULSE_PERIOD_PS,
        "--pulse-period-ps",
        pulse_period_ps,
        "from 1 to 10**9 ps",
    )
    _demand(offset_ps is None or abs(offset_ps) <= LATEST_PS, "--offset-ps", offset_ps, "within 2**62 ps (53 days)")
    _demand(0 <= offset_range_s <= 3600, "--offset-range-s", offset_range_s, "from 0 to 3600 s")
    _demand(0 <= frequency_range <= 1e-3, "--frequency-range", frequency_range, "from 0 to 1e-3")
    _demand(
        frequency_error is None or abs(frequency_error) <= 1e-3, "--frequency-error", frequency_error, "within 1e-3"
    )
    _demand(pair_fraction is None or 0 < pair_fraction <= 1, "--pair-fraction", pair_fraction, "above 0, at most 1")
    if known_clock and offset_ps is None:
        message = "--known-clock needs --offset-ps: bob's reading minus alice's at alice's first tag"
        raise UsageError(message)
    return AnalysisOptions(
        channels=channel_map,
        format=format,
        tick_ps=tick(tick_ps) if tick_ps is not None else (channel_map.tick_ps if channel_map else None),
        columns=columns,
        window_ps=window_ps,
        multi_click=MultiClick(multi_click),
        pulse_period_ps=pulse_ps,
        clock=ClockOptions(
            offset_ps=offset_ps or 0,
            frequency_error=frequency_error or 0.0,
            offset_range_ps=round(offset_range_s * PS_PER_S),
            frequency_range=frequency_range,
            known=known_clock,
            pair_fraction=pair_fraction,
        ),
        sifted=sifted,
    )


def _demand(holds: bool, option: str, value: object, accepted: str) -> None:
    if not holds:
        message = f"{option} {value} is out of range; give a value {accepted}"
        raise UsageError(message)
