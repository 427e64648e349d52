"""What the shared checks need to know of one kind of instrument."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from qnoded.instruments.reading import Setting
from qnoded.testing.contract.subject import Subject, demand

Check = Callable[[Subject], Awaitable[None]]
"""Raises ``Broken`` if the rule that its docstring tells is broken, ``NotApplicable`` if that cannot be found out."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of instrument."""

    capability: type
    reading: type
    judge_capability: Callable[[Any], None]
    """Demands that a capability makes sense."""
    judge_reading: Callable[[Any, Any], None]
    """Demands that a reading makes sense for a capability."""
    danger: Callable[[Any, Any], str | None]
    """What in a reading, for a capability, is not the safe state."""
    work: Callable[[Subject, Any], Awaitable[None]]
    """Brings a ready instrument out of its safe state."""
    checks: tuple[Check, ...]
    """Rules of this kind alone."""


async def judge_safe(kind: Kind, probe: Any, when: str) -> None:
    """Demand that a connected instrument is in its safe state."""
    reading = await probe.read()
    danger = kind.danger(reading, probe.capability)
    demand(danger is None, f"{when}, {danger}: {reading}")


def finite(**values: float | None) -> None:
    """Demand that numbers are numbers; None is allowed."""
    for name, value in values.items():
        demand(value is None or math.isfinite(value), f"{name} is {value}")


def ordered(**ends: tuple[float, float]) -> None:
    """Demand that ranges begin before they end."""
    for name, (first, last) in ends.items():
        finite(**{name: first})
        finite(**{name: last})
        demand(first <= last, f"{name} runs from {first} to {last}")


def judge_setting(name: str, setting: Setting, first: float, last: float, tolerance: float) -> None:
    """Demand that a setting lies within its range as far as it is known, and is dated."""
    demand(isinstance(setting, Setting), f"{name} is {setting!r}, no Setting")
    finite(requested=setting.requested, accepted=setting.accepted, read_back=setting.read_back)
    shown = setting.read_back
    within = shown is None or first - tolerance <= shown <= last + tolerance
    demand(within, f"{name} reads {shown}, outside of {first} to {last}: a wrong unit?")
    demand(shown is None or setting.read_loop_s is not None, f"{name} was read back, but not when (read_loop_s)")
