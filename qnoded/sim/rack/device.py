"""What all simulated instruments have in common.

Each takes a question as a header (``do`` and its values) and returns the answer's header; it trusts nothing.
They live in the event loop; what they turn in the world is a command with a true time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.records import SIDES
from qnoded.sim.knobs import ArmKnobs, Knobs
from qnoded.sim.settings import WorldSettings

MAKER: Final = "qnoded simulated world"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an instrument sees of the world and may do to it."""

    settings: WorldSettings
    now_s: Callable[[], float]
    """The event loop's clock, which leases run by."""
    true_ps: Callable[[float], int]
    """True time at a moment of it."""
    command: Callable[[int, Callable[[Knobs], Knobs]], None]

    @property
    def now_ps(self) -> int:
        """True time now."""
        return self.true_ps(self.now_s())


def number(question: dict[str, Any], key: str, low: float, high: float, unit: str) -> float:
    """Return a number of a question.

    Raises
    ------
    UsageError
        If it is none or outside its range.
    """
    value = question.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        problem = f"{key} {str(value)[:40]} cannot be set; use {low:g} to {high:g} {unit}"
        raise UsageError(problem)
    return float(value)


class Device:
    """What all simulated instruments have in common."""

    model = ""

    def __init__(self, side: int, world: Surroundings) -> None:
        self.side, self.world = side, world

    @property
    def identity(self) -> dict[str, str]:
        """Who answers."""
        return {"maker": MAKER, "model": self.model, "serial": SIDES[self.side]}

    def describe(self) -> dict[str, Any]:
        """Return what a driver needs to know once."""
        return {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked; UsageError if that is not possible."""
        do = question.get("do")
        if do == "read":
            return self.read()
        if do == "safe":
            self.make_safe()
            return self.read()
        return self.act(str(do)[:40], question)

    def read(self) -> dict[str, Any]:
        """Return the present state."""
        return {}

    def make_safe(self) -> None:
        """Go to the safe state."""

    def act(self, do: str, question: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for those that can do more
        """Do what only this kind of instrument can do."""
        problem = f"a {self.model} knows no {do!r}"
        raise UsageError(problem)

    def released(self) -> None:
        """Its connection is gone."""

    def turn_arm(self, change: Callable[[ArmKnobs], ArmKnobs], true_ps: int | None = None) -> None:
        """Turn knobs of its own side, from now on."""
        self.world.command(
            self.world.now_ps if true_ps is None else true_ps,
            lambda knobs: knobs.with_arm(self.side, change(knobs.arm(self.side))),
        )
