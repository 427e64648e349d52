"""Worlds whose knobs are turned, for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from plain_counting import Side

from qnoded.sim.changes import load_world
from qnoded.sim.conductor import Conductor
from qnoded.sim.knobs import Knobs
from qnoded.sim.script import read_event
from qnoded.units import PS_PER_S

FROM_THE_BEGINNING = -PS_PER_S
"""Also before true time 0, while the world is lit already."""


def conduct(
    changes: list[str],
    seconds: float,
    *events: dict[str, Any],
    seed: int = 1,
    stops_s: Sequence[float] = (),
    **knobs: Any,
) -> tuple[Side, Side, Conductor]:
    """Run a world with a script and gather all tags; ``knobs`` are turned from the beginning, the pump is on."""
    script = [read_event({"at_s": 0.0} | event, "test", "event") for event in events]
    conductor = Conductor(load_world(None, changes), seed, script)
    conductor.command(FROM_THE_BEGINNING, lambda dark: replace(dark, **{"pump_mw": 1.0} | knobs))
    stretches = [conductor.advance(round(stop_s * PS_PER_S)) for stop_s in (*sorted(stops_s), seconds)]
    alice, bob = (
        Side(
            np.concatenate([one.blocks[side].tag_ps for one in stretches]),
            np.concatenate([one.blocks[side].channel for one in stretches]),
        )
        for side in (0, 1)
    )
    return alice, bob, conductor


def arm(**turned: Any) -> Any:
    """Return the knobs of one side."""
    return replace(Knobs().alice, **turned)
