"""Which input is which detector: from the map, from the recording itself, or from its four inputs in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.analysis.prologue import Prologue
from qnoded.errors import ConfigError, UsageError
from qnoded.formats import Recording
from qnoded.kernels.tagging import CHANNELS, count_channels
from qnoded.records import SIDES, Receiver
from qnoded.settings import ChannelMap, SideMap, check_channel_map

USUAL_ORDER: Final = ("H", "V", "D", "A")
"""Detectors of four inputs in ascending order where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Receivers:
    """Both sides' detectors, and where that knowledge comes from."""

    alice: Receiver
    bob: Receiver
    measure_delays: bool
    """False where the map gives the delays of both sides."""
    source: str
    """For people: the map, the recording, or the usual order."""


def choose_receivers(
    recordings: Sequence[Recording], prologues: Sequence[Prologue], channels: ChannelMap | None
) -> Receivers | None:
    """Return the detectors of both sides, or None for one recording of which nothing is known.

    Raises
    ------
    ConfigError
        If map and recordings do not fit each other.
    UsageError
        If two recordings come without a map and without four inputs each.
    """
    if channels is not None:
        if channels.bob is None:
            where, key = "channel map", "bob"
            raise ConfigError(where, key, "the table is missing", "add [bob] with his detectors")
        if len(recordings) == 1:
            _no_channel_twice(channels.alice, channels.bob)
        return _from_map(channels.alice, channels.bob, "the channel map")
    carried = {side: table for recording in recordings for side, table in recording.info.channels.items()}
    if len(recordings) == 2:
        # Each file speaks for its own side first: alice's map may name bob's inputs as well.
        for side, recording in zip(SIDES, recordings, strict=True):
            carried[side] = recording.info.channels.get(side, carried.get(side, {}))
    if all(carried.get(side) for side in SIDES):
        angles = {side: table for recording in recordings for side, table in recording.info.angles_deg.items()}
        tables = {side: carried[side] | {"angles_deg": angles.get(side, {})} for side in SIDES}
        found = check_channel_map(tables, recordings[0].info.path)
        assert found.bob is not None
        return _from_map(found.alice, found.bob, "the recordings' own maps")
    if len(recordings) == 1:
        return None
    alice, bob = (_usual(side, prologue) for side, prologue in zip(SIDES, prologues, strict=True))
    return _from_map(alice, bob, "the usual order of four inputs, H V D A")


def _from_map(alice: SideMap, bob: SideMap, source: str) -> Receivers:
    given = alice.delays_ps is not None and bob.delays_ps is not None
    return Receivers(alice.receiver("alice"), bob.receiver("bob"), not given, source)


def _no_channel_twice(alice: SideMap, bob: SideMap) -> None:
    shared = set(alice.channels.values()) & set(bob.channels.values())
    if shared:
        problem = f"channel {min(shared)} belongs to both sides of one recording"
        where, key = "channel map", "bob"
        raise ConfigError(where, key, problem, "give each input to one detector")


def _usual(side: str, prologue: Prologue) -> SideMap:
    counts = np.zeros(CHANNELS, np.int64)
    for block in prologue.beginning():
        count_channels(block.channel, counts)
    inputs = np.flatnonzero(counts).tolist()
    if len(inputs) != len(USUAL_ORDER):
        message = (
            f"{side}'s recording has tags on {len(inputs)} inputs ({', '.join(map(str, inputs[:8])) or 'none'}) "
            "and no channel map; name the detectors with --channels MAP.toml"
        )
        raise UsageError(message)
    return SideMap.model_validate(dict(zip(USUAL_ORDER, inputs, strict=True)))
