"""A node's detectors and its tagger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.records import SIDES
from qnoded.sim.rack.device import Device, Surroundings, number
from qnoded.sim.settings import NAMES

NOMINAL_BIAS_UA: Final = 20.0
"""Bias from which on a nanowire's efficiency is the settings' one; below it falls in proportion."""
LARGEST_BIAS_UA: Final = 25.0


class Supply(Device):
    """Biases the node's four detectors, channels 0 to 3; on until a driver takes it."""

    model = "detector supply"

    def __init__(self, side: int, world: Surroundings) -> None:
        super().__init__(side, world)
        self._bias_ua: list[float | None] = [NOMINAL_BIAS_UA] * len(NAMES)

    def describe(self) -> dict[str, Any]:
        return {"channels": list(range(len(NAMES))), "min_bias": 0.0, "max_bias": LARGEST_BIAS_UA, "bias_unit": "uA"}

    def read(self) -> dict[str, Any]:
        return {"bias": list(self._bias_ua)}

    def make_safe(self) -> None:
        self._bias_ua = [None] * len(NAMES)
        self._turn()

    def act(self, do: str, question: dict[str, Any]) -> dict[str, Any]:
        if do not in ("enable", "disable"):
            return super().act(do, question)
        channel = question.get("channel")
        if isinstance(channel, bool) or not isinstance(channel, int) or channel not in range(len(NAMES)):
            problem = f"there is no channel {str(channel)[:40]}; use 0 to {len(NAMES) - 1}"
            raise UsageError(problem)
        bias = number(question, "bias", 0.0, LARGEST_BIAS_UA, "uA") if do == "enable" else None
        self._bias_ua[channel] = bias
        self._turn()
        return self.read()

    def _turn(self) -> None:
        biased = tuple(min((bias or 0.0) / NOMINAL_BIAS_UA, 1.0) for bias in self._bias_ua)
        self.turn_arm(lambda arm: replace(arm, biased=biased))


class Tagger(Device):
    """The node's time tagger; its tags have a connection of their own."""

    model = "time tagger"

    def __init__(self, side: int, world: Surroundings, serial: str) -> None:
        super().__init__(side, world)
        self._serial, self._power_cycles = serial, 0
        self.overflows = 0
        self.hang_up: Callable[[], None] | None = None
        """Ends the connection of its tags while there is one."""

    def describe(self) -> dict[str, Any]:
        tagger = (self.world.settings.alice, self.world.settings.bob)[self.side].tagger
        return {
            "channels": list(range(len(NAMES))),
            "resolution_ps": str(tagger.bin_ps),
            "dead_time_ps": tagger.dead_time_ps,
            "stream_id": self.stream_id,
        }

    @property
    def stream_id(self) -> str:
        """Name of the present time axis."""
        return f"{self._serial}-{SIDES[self.side]}-{self._power_cycles}"

    def read(self) -> dict[str, Any]:
        return {"running": self.hang_up is not None, "overflows": self.overflows}

    def make_safe(self) -> None:
        if self.hang_up is not None:
            self.hang_up()

    def restarted(self) -> None:
        """Its power was cycled."""
        self._power_cycles += 1
        self.overflows = 0
