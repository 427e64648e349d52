"""Settings files, checked: for now the channel map of a recording. Unknown keys are errors.

A channel map says which input of the tagger is which detector::

    tick_ps = "625/8"          # only for recordings that do not know their own tick
    window_ps = 2000           # full width of the coincidence window

    [alice]
    H = 0
    V = 1
    D = 2
    A = 3

    [alice.delays_ps]          # measured earlier; absent: measured from the recording
    V = 6250

    [alice.dead_time_ps]       # drop a click this soon after the same detector's previous one
    H = 23400

    [alice.angles_deg]         # analyser angles, for CHSH; absent: H 0, V 90, D 45, A -45
    H = 0

    [bob]
    H = 4
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from qnoded.errors import UsageError
from qnoded.explaining import explained
from qnoded.records import Detector, Receiver
from qnoded.toml_file import read_table
from qnoded.units import tick

OUTCOMES: Final = {
    "H": ("HV", 0),
    "V": ("HV", 1),
    "D": ("DA", 0),
    "A": ("DA", 1),
    "R": ("RL", 0),
    "L": ("RL", 1),
}
"""Detector name -> (basis, bit)."""

LINEAR_ANGLES_DEG: Final = {"H": 0.0, "V": 90.0, "D": 45.0, "A": -45.0}
"""Where a detector of that name stands unless the map says otherwise; R and L are not linear."""

LARGEST_DELAY_PS: Final = 10**9
"""1 ms of channel delay: 200 km of cable, so a larger one is a typing error."""

Channel = Annotated[int, Field(ge=0, le=255)]
Delay = Annotated[int, Field(ge=-LARGEST_DELAY_PS, le=LARGEST_DELAY_PS)]
DeadTime = Annotated[int, Field(ge=0, le=LARGEST_DELAY_PS)]

REMEDY: Final = "see the example in config/channels.toml"
_PER_DETECTOR: Final = ("delays_ps", "dead_time_ps", "angles_deg")


class SideMap(BaseModel):
    """One side's inputs and what is known of its detectors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    channels: dict[str, Channel]
    """Detector name -> the tagger's input number."""
    delays_ps: dict[str, Delay] | None = None
    """Detector name -> how much later it clicks; None: measure."""
    dead_time_ps: dict[str, DeadTime] = Field(default_factory=dict)
    """Detector name -> dead time to impose, ps, 0 for none; a detector without: echoes are measured and removed."""
    angles_deg: dict[str, Annotated[float, Field(ge=-360.0, le=360.0)]] = Field(default_factory=dict)
    """Detector name -> linear analyser angle."""

    @model_validator(mode="before")
    @classmethod
    def _gather_channels(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        # No input is a table: one of another name is a misspelt one, and is left for pydantic to find.
        apart = {key for key in table if key in _PER_DETECTOR or (isinstance(table[key], dict) and key != "channels")}
        channels = {key: value for key, value in table.items() if key not in apart}
        return {"channels": channels} | {key: table[key] for key in apart}

    @model_validator(mode="after")
    def _names_are_known(self) -> SideMap:
        if not self.channels:
            message = "names no detector; give each its input, such as H = 0"
            raise ValueError(message)
        for name in self.channels:
            if name not in OUTCOMES:
                message = f"{name!r} is no detector name; use {', '.join(OUTCOMES)}"
                raise ValueError(message)
        if len(set(self.channels.values())) < len(self.channels):
            message = f"two detectors share one channel ({_listed(self.channels)}); give each its own input"
            raise ValueError(message)
        for table in (self.delays_ps or {}, self.dead_time_ps, self.angles_deg):
            for name in table:
                if name not in self.channels:
                    message = f"{name!r} has no channel on this side; name its input above, or leave it out"
                    raise ValueError(message)
        if self.delays_ps is not None and self.delays_ps.keys() != self.channels.keys():
            given = ", ".join(self.delays_ps) or "no detector"
            message = f"delays_ps gives {given} only; give all detectors of the side or none"
            raise ValueError(message)
        return self

    def receiver(self, side: str) -> Receiver:
        """Return the side's detectors as the record that the stages use."""
        delays = self.delays_ps or {}
        return Receiver(
            side,
            tuple(
                Detector(
                    name,
                    channel,
                    *OUTCOMES[name],
                    delay_ps=delays.get(name, 0),
                    dead_time_ps=self.dead_time_ps.get(name),
                    angle_deg=self.angles_deg.get(name, LINEAR_ANGLES_DEG.get(name)),
                )
                for name, channel in self.channels.items()
            ),
        )


class ChannelMap(BaseModel):
    """Which input of which tagger is which detector of which side."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alice: SideMap
    bob: SideMap | None = None
    tick_ps: Fraction | None = None
    window_ps: Annotated[int, Field(gt=0, le=LARGEST_DELAY_PS, strict=True)] | None = None

    @field_validator("tick_ps", mode="before")
    @classmethod
    def _read_tick(cls, value: Any) -> Fraction | None:
        if value is None or isinstance(value, Fraction):
            return value
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            message = 'is not exact; write it as a whole number or in quotes, such as 1 or "625/8"'
            raise ValueError(message)
        try:
            return tick(str(value))
        except UsageError as error:
            raise ValueError(str(error)) from None


def load_channel_map(path: Path) -> ChannelMap:
    """Read a channel map from TOML.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML or holds a wrong key or value; names file, key, value and remedy.
    """
    return check_channel_map(read_table(path, REMEDY), str(path))


def check_channel_map(table: dict[str, Any], where: str) -> ChannelMap:
    """Turn a table into a channel map, or raise a ``ConfigError`` that names ``where``, key, value and remedy."""
    try:
        return ChannelMap.model_validate(table)
    except ValidationError as error:
        raise explained(error, ChannelMap, table, where, REMEDY)[0] from None


def _listed(channels: dict[str, int]) -> str:
    return ", ".join(f"{name} = {channel}" for name, channel in channels.items())
