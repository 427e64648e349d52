"""Rules of variable attenuators: safe at their highest loss."""

from __future__ import annotations

from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.instruments.capability import AttenuatorCapability
from qnoded.instruments.reading import AttenuatorReading
from qnoded.testing.contract.kind import Check, Kind, judge_safe, judge_setting, ordered
from qnoded.testing.contract.subject import Subject, comes, demand, refused

TOLERANCE_DB: Final = 1.0
"""Between an attenuation that was asked for and the one read back."""
LATE_S: Final = 1.0


def _judge_capability(capability: AttenuatorCapability) -> None:
    ordered(range_db=(capability.min_db, capability.max_db))
    demand(capability.min_db >= -TOLERANCE_DB, f"min_db is {capability.min_db}: attenuation counts as positive")
    demand(0.0 <= capability.settling_s <= 600.0, f"settling_s is {capability.settling_s}: a wrong unit?")


def _judge_reading(reading: AttenuatorReading, capability: AttenuatorCapability) -> None:
    judge_setting("attenuation_db", reading.attenuation_db, capability.min_db, capability.max_db, TOLERANCE_DB)


def _danger(reading: AttenuatorReading, capability: AttenuatorCapability) -> str | None:
    shown = reading.attenuation_db.read_back
    if shown is None or shown < capability.max_db - TOLERANCE_DB:
        return f"its attenuation is {shown} dB instead of {capability.max_db}"
    return None


async def _work(_: Subject, attenuator: Any) -> None:
    await _set(attenuator, attenuator.capability.min_db)


async def _set(attenuator: Any, target_db: float) -> None:
    await attenuator.attenuate(target_db)

    async def arrived() -> bool:
        shown = (await attenuator.read()).attenuation_db
        # On its way it may not know where it is.
        known = shown.read_back is not None
        return bool(known and shown.requested == target_db and abs(shown.read_back - target_db) <= TOLERANCE_DB)

    limit_s = attenuator.capability.settling_s + LATE_S
    await comes(arrived, limit_s, f"asked for {target_db} dB, reads {(await attenuator.read()).attenuation_db}")


async def attenuates_as_told(subject: Subject) -> None:
    """Read back what was asked for after the settling time; asked for again, stay."""
    attenuator = await subject.ready()
    capability = attenuator.capability
    middle_db = (capability.min_db + capability.max_db) / 2
    for target_db in (capability.min_db, middle_db, middle_db, capability.max_db):
        await _set(attenuator, target_db)


async def refuses_attenuations_outside_its_range(subject: Subject) -> None:
    """Refuse an attenuation that cannot be had, instead of clipping it, and change nothing."""
    attenuator = await subject.ready()
    capability = attenuator.capability
    for wrong_db in (capability.min_db - 2.0, capability.max_db + 2.0, float("nan")):
        await refused(attenuator.attenuate(wrong_db), (UsageError,), f"attenuate to {wrong_db} dB")
    await judge_safe(KIND, attenuator, "after refused attenuations")


CHECKS: Final[tuple[Check, ...]] = (attenuates_as_told, refuses_attenuations_outside_its_range)
KIND: Final = Kind(AttenuatorCapability, AttenuatorReading, _judge_capability, _judge_reading, _danger, _work, CHECKS)
