"""Rules of ovens: safe when they cannot get too hot."""

from __future__ import annotations

from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.instruments.capability import OvenCapability
from qnoded.instruments.reading import OvenReading
from qnoded.testing.contract.kind import Check, Kind, finite, judge_safe, ordered
from qnoded.testing.contract.subject import Subject, comes, demand, refused

TOLERANCE_C: Final = 0.5
"""Between a temperature that was asked for and the instrument's set-point."""
OVERSHOOT_C: Final = 5.0
"""Above its limit, before it counts as too hot."""
COLDEST_C: Final = -50.0
LATE_S: Final = 1.0


def _judge_capability(capability: OvenCapability) -> None:
    ordered(range_c=(capability.min_c, capability.max_c))
    demand(capability.min_c >= COLDEST_C, f"min_c is {capability.min_c}: a wrong unit?")
    demand(capability.max_c <= 500.0, f"max_c is {capability.max_c}: a wrong unit?")


def _judge_reading(reading: OvenReading, _: OvenCapability) -> None:
    shown = reading.temperature_c
    finite(requested=shown.requested, accepted=shown.accepted, read_back=shown.read_back)
    demand(shown.read_back is not None, "an oven must tell its temperature")
    demand(shown.read_back is None or shown.read_back >= COLDEST_C, f"it reads {shown.read_back} C: a wrong unit?")
    demand(shown.read_loop_s is not None, "temperature_c was read back, but not when (read_loop_s)")
    demand(reading.heating or not reading.settled, "it has settled without being regulated")


def _danger(reading: OvenReading, capability: OvenCapability) -> str | None:
    shown, limit_c = reading.temperature_c, capability.max_c
    if shown.read_back is None or shown.read_back > limit_c + OVERSHOOT_C:
        return f"it has {shown.read_back} C, its limit is {limit_c} C"
    if reading.heating and (shown.accepted is None or shown.accepted > limit_c):
        return f"it heats to {shown.accepted} C, its limit is {limit_c} C"
    return None


async def _work(_: Subject, oven: Any) -> None:
    await _heat(oven, oven.capability.min_c)


async def _heat(oven: Any, target_c: float | None) -> None:
    await oven.heat(target_c)

    async def obeyed() -> bool:
        reading = await oven.read()
        if target_c is None:
            return not reading.heating
        shown = reading.temperature_c
        return bool(reading.heating and shown.requested == target_c and abs(shown.accepted - target_c) <= TOLERANCE_C)

    await comes(obeyed, LATE_S, f"asked for {target_c} C, reads {await oven.read()}")


async def heats_as_told(subject: Subject) -> None:
    """Take a temperature and show it as set-point, and switch the heat off; told again, change nothing."""
    oven = await subject.ready()
    capability = oven.capability
    middle_c = (capability.min_c + capability.max_c) / 2
    for target_c in (capability.min_c, middle_c, middle_c, None, None, middle_c):
        await _heat(oven, target_c)


async def refuses_temperatures_outside_its_range(subject: Subject) -> None:
    """Refuse a temperature that cannot be had, instead of clipping it, and change nothing."""
    oven = await subject.ready()
    capability = oven.capability
    await _heat(oven, capability.min_c)
    for wrong_c in (capability.min_c - 1.0, capability.max_c + 1.0, float("nan")):
        await refused(oven.heat(wrong_c), (UsageError,), f"heat to {wrong_c} C")
    accepted_c = (await oven.read()).temperature_c.accepted
    changed = abs(accepted_c - capability.min_c) > TOLERANCE_C
    demand(not changed, f"refused temperatures have left a set-point of {accepted_c} C")
    await judge_safe(KIND, oven, "after refused temperatures")


CHECKS: Final[tuple[Check, ...]] = (heats_as_told, refuses_temperatures_outside_its_range)
KIND: Final = Kind(OvenCapability, OvenReading, _judge_capability, _judge_reading, _danger, _work, CHECKS)
