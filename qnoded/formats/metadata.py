"""What our own recordings say of themselves, as one JSON object; read with the same distrust as everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NoReturn

from qnoded.errors import GarbledRecording
from qnoded.records import Gap, RecordingInfo

VERSION: Final = 1
LARGEST_METADATA: Final = 2**26
"""64 MiB: room for every gap that a recording may have."""
LARGEST_CHANNEL: Final = 255
LARGEST_ANGLE_DEG: Final = 360.0
MOST_NOTES: Final = 1000
_RATIO: Final = re.compile(r"\d{1,40}(?:/\d{1,40})?")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Facts of a recording besides its tags."""

    channels: Mapping[str, Mapping[str, int]]
    simulated: bool = False
    notes: tuple[str, ...] = ()
    tick_ps: Fraction = Fraction(1)
    """Tick of the instrument that made the tags; the tags themselves are in ps."""
    gaps: tuple[Gap, ...] = ()
    angles_deg: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Angles of linear analysers, side -> detector -> degrees, where they are known."""

    def to_json(self) -> str:
        """Return the JSON text that is stored."""
        return json.dumps(
            {
                "qnoded": VERSION,
                "tick_ps": str(self.tick_ps),
                "channels": {side: dict(named) for side, named in self.channels.items()},
                "angles_deg": {side: dict(named) for side, named in self.angles_deg.items()},
                "simulated": self.simulated,
                "notes": list(self.notes),
                "gaps": [[gap.start_ps, gap.stop_ps, gap.lost_tags, gap.reason] for gap in self.gaps],
            }
        )

    def info(self, path: Path, format_name: str, notes: tuple[str, ...] = ()) -> RecordingInfo:
        """Return it as the record that a reader hands out."""
        channels = {side: dict(named) for side, named in self.channels.items()}
        angles_deg = {side: dict(named) for side, named in self.angles_deg.items()}
        return RecordingInfo(
            str(path), format_name, self.tick_ps, channels, self.notes + notes, self.simulated, angles_deg
        )


def parse_metadata(text: str, path: Path) -> Metadata:
    """Read metadata; keys may be missing, but what is there must make sense.

    Raises
    ------
    GarbledRecording
        Names the key.
    """

    def refuse(key: str, wanted: str) -> NoReturn:
        problem = f"metadata: {key} is not {wanted}"
        raise GarbledRecording(path, None, problem, "write the recording again, or without metadata")

    try:
        table: Any = json.loads(text)
    except (ValueError, RecursionError):
        refuse("the text", "JSON")
    if not isinstance(table, dict):
        refuse("the text", "a JSON object")
    channels, notes = table.get("channels", {}), table.get("notes", [])
    if not _is_channel_map(channels):
        refuse("channels", "side -> detector -> channel from 0 to 255")
    angles_deg = table.get("angles_deg", {})
    if not _are_angles(angles_deg):
        refuse("angles_deg", "side -> detector -> degrees")
    if not (isinstance(notes, list) and len(notes) <= MOST_NOTES and all(isinstance(n, str) for n in notes)):
        refuse("notes", "a list of texts")
    simulated = table.get("simulated", False)
    if not isinstance(simulated, bool):
        refuse("simulated", "true or false")
    try:
        tick = table.get("tick_ps", "1")
        if not isinstance(tick, str) or not _RATIO.fullmatch(tick):
            refuse("tick_ps", "an exact ratio such as 625/8")
        tick_ps = Fraction(tick)
        gaps = tuple(_gap(entry) for entry in table.get("gaps", []))
    except (ValueError, TypeError, ZeroDivisionError):
        refuse("tick_ps or gaps", "as qnoded writes it")
    if tick_ps <= 0:
        refuse("tick_ps", "positive")
    in_order = tuple(sorted(gaps, key=lambda gap: gap.start_ps))
    return Metadata(channels, simulated, tuple(notes), tick_ps, in_order, angles_deg)


def _is_channel_map(channels: Any) -> bool:
    return isinstance(channels, dict) and all(
        isinstance(named, dict)
        and all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= LARGEST_CHANNEL for c in named.values())
        for named in channels.values()
    )


def _are_angles(angles_deg: Any) -> bool:
    return isinstance(angles_deg, dict) and all(
        isinstance(named, dict)
        and all(
            isinstance(a, int | float) and not isinstance(a, bool) and abs(a) <= LARGEST_ANGLE_DEG
            for a in named.values()
        )
        for named in angles_deg.values()
    )


def _gap(entry: Any) -> Gap:
    """Return one gap of ``[start, stop]``, ``[start, stop, lost]`` or ``[start, stop, lost, reason]``."""
    start, stop, *more = entry
    lost, reason = (*more, None, "gap")[0], (*more, None, "gap")[1] if len(more) > 1 else "gap"
    for number in (start, stop, 0 if lost is None else lost):
        if isinstance(number, bool) or not isinstance(number, int) or not -(2**63) <= number < 2**63:
            raise ValueError
    if stop < start or len(more) > 2 or not isinstance(reason, str):
        raise ValueError
    return Gap(start, stop, lost, reason)
