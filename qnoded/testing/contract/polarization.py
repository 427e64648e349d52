"""Rules of polarization controllers."""

from __future__ import annotations

from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.instruments.capability import PolarizationControllerCapability
from qnoded.instruments.reading import PolarizationReading
from qnoded.testing.contract.kind import Check, Kind, finite, judge_setting, ordered
from qnoded.testing.contract.subject import Subject, comes, demand, refused

TOLERANCE_DEG: Final = 2.0
"""Between an angle that was asked for and the one read back; fibre paddles are no better."""
LATE_S: Final = 1.0
"""How much later than its settling time it may read as resting."""


def _judge_capability(capability: PolarizationControllerCapability) -> None:
    ordered(range_deg=(capability.min_deg, capability.max_deg))
    demand(len(capability.elements) > 0, "it has no elements")
    demand(all(isinstance(one, str) and one.strip() for one in capability.elements), "an element has no name")
    finite(settling_s=capability.settling_s)
    demand(0.0 <= capability.settling_s <= 600.0, f"settling_s is {capability.settling_s}: a wrong unit?")


def _judge_reading(reading: PolarizationReading, capability: PolarizationControllerCapability) -> None:
    shown, elements = len(reading.settings_deg), len(capability.elements)
    demand(shown == elements, f"{shown} settings are read of {elements} elements")
    demand(isinstance(reading.moving, bool), f"moving is {reading.moving!r}")
    for number, setting in enumerate(reading.settings_deg):
        judge_setting(f"settings_deg[{number}]", setting, capability.min_deg, capability.max_deg, TOLERANCE_DEG)


def _danger(_: PolarizationReading, __: PolarizationControllerCapability) -> str | None:
    # No position harms anybody, and many controllers cannot stop on their way.
    return None


async def _work(_: Subject, controller: Any) -> None:
    await controller.move(_across(controller.capability, 0.75))


def _across(capability: PolarizationControllerCapability, share: float) -> tuple[float, ...]:
    """Return the same share of the way for all elements."""
    return (capability.min_deg + share * (capability.max_deg - capability.min_deg),) * len(capability.elements)


async def _rests_at(controller: Any, target: tuple[float, ...]) -> None:
    async def rests() -> bool:
        return not (await controller.read()).moving

    await comes(rests, controller.capability.settling_s + LATE_S, "it still moves after its settling time")
    for number, (setting, wanted) in enumerate(zip((await controller.read()).settings_deg, target, strict=True)):
        demand(setting.requested == wanted, f"element {number}: requested is {setting.requested}, was {wanted} deg")
        told = setting.read_back if setting.read_back is not None else setting.accepted
        close = told is None or abs(told - wanted) <= TOLERANCE_DEG
        demand(close, f"element {number}: asked for {wanted} deg, reads {told} deg")


async def moves_where_it_is_told(subject: Subject) -> None:
    """End a move within the settling time, where it was told, and read that back; told again, stay."""
    controller = await subject.ready()
    for share in (0.25, 0.5, 0.5):
        target = _across(controller.capability, share)
        await controller.move(target)
        await _rests_at(controller, target)


async def refuses_angles_outside_its_range(subject: Subject) -> None:
    """Refuse angles outside the range, a wrong number of them and what is no number, and move nothing."""
    controller = await subject.ready()
    capability = controller.capability
    target = _across(capability, 0.5)
    await controller.move(target)
    await _rests_at(controller, target)
    wrong = (
        (*target[:-1], capability.max_deg + 1.0),
        (*target[:-1], capability.min_deg - 1.0),
        (*target[:-1], float("nan")),
        target[:-1],
        (*target, target[-1]),
    )
    for each in wrong:
        await refused(controller.move(each), (UsageError,), f"move to {each}")
    await _rests_at(controller, target)


CHECKS: Final[tuple[Check, ...]] = (moves_where_it_is_told, refuses_angles_outside_its_range)
KIND: Final = Kind(
    PolarizationControllerCapability,
    PolarizationReading,
    _judge_capability,
    _judge_reading,
    _danger,
    _work,
    CHECKS,
)
