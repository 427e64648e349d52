"""Rules of lasers: light only under a permit, and dark by itself."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, Final

from qnoded.errors import EmissionRefused, InstrumentError, UsageError
from qnoded.instruments.capability import LaserCapability
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.reading import LaserReading
from qnoded.testing.contract.kind import Check, Kind, finite, judge_safe, judge_setting, ordered
from qnoded.testing.contract.subject import NotApplicable, Subject, comes, demand, refused

TOLERANCE_DB: Final = 1.0
"""Between a power that was asked for and the one read back; a wrong unit is off by far more."""
SWITCH_ON_S: Final = 3.0
"""Soft starts of pump diodes included."""
LEASE_S: Final = 1.0
LAPSE_S: Final = 0.5
"""How late after its permit's end a laser may still read as emitting."""
LONGEST_WAIT_S: Final = 10.0
"""A longest permit of more than this is not waited for."""

_numbers = count(1)


def _permit(lease_s: float, max_power_dbm: float = 100.0) -> EmissionPermit:
    now_s = asyncio.get_running_loop().time()
    return EmissionPermit(next(_numbers), now_s + lease_s, max_power_dbm, "contract of drivers")


def _judge_capability(capability: LaserCapability) -> None:
    ordered(power_dbm=(capability.min_power_dbm, capability.max_power_dbm))
    demand(100.0 <= capability.wavelength_nm <= 20_000.0, f"wavelength_nm is {capability.wavelength_nm}: a wrong unit?")
    demand(0.0 < capability.longest_permit_s <= 3600.0, f"longest_permit_s is {capability.longest_permit_s}")


def _judge_reading(reading: LaserReading, capability: LaserCapability) -> None:
    first, last = capability.min_power_dbm, capability.max_power_dbm
    # A dark laser may read any low power, or none.
    judge_setting("power_dbm", reading.power_dbm, first if reading.emitting else -200.0, last, TOLERANCE_DB)
    finite(temperature_c=reading.temperature_c)
    demand(isinstance(reading.emitting, bool), f"emitting is {reading.emitting!r}")


def _danger(reading: LaserReading, _: LaserCapability) -> str | None:
    return "it emits" if reading.emitting else None


async def _work(_: Subject, laser: Any) -> None:
    """Emit at the lowest power for as long as the checks take at most."""
    await laser.emit(laser.capability.min_power_dbm, _permit(laser.capability.longest_permit_s))
    await _lights_up(laser)


async def _lights_up(laser: Any) -> None:
    async def emitting() -> bool:
        return bool((await laser.read()).emitting)

    await comes(emitting, SWITCH_ON_S, "it was told to emit under a valid permit, and reads dark")


async def _stays_dark(laser: Any, when: str) -> None:
    await judge_safe(KIND, laser, when)
    await asyncio.sleep(LAPSE_S)
    await judge_safe(KIND, laser, f"{LAPSE_S:g} s later, {when}")


async def emits_what_it_is_told(subject: Subject) -> None:
    """Emit the power asked for under a valid permit, and read it back; asked again, go on."""
    laser = await subject.ready()
    power_dbm = laser.capability.min_power_dbm
    for _ in range(2):
        await laser.emit(power_dbm, _permit(laser.capability.longest_permit_s))
        await _lights_up(laser)
    shown = (await laser.read()).power_dbm
    demand(shown.requested == power_dbm, f"asked for {power_dbm} dBm, power_dbm.requested is {shown.requested}")
    told = shown.read_back if shown.read_back is not None else shown.accepted
    close = told is None or abs(told - power_dbm) <= TOLERANCE_DB
    demand(close, f"asked for {power_dbm} dBm, reads {told} dBm")


async def refuses_a_lapsed_permit(subject: Subject) -> None:
    """Refuse to emit under a permit that is over, and stay dark."""
    laser = await subject.ready()
    await refused(laser.emit(laser.capability.min_power_dbm, _permit(0.0)), (EmissionRefused,), "emit, permit lapsed")
    await _stays_dark(laser, "after a lapsed permit")


async def refuses_more_power_than_permitted(subject: Subject) -> None:
    """Refuse a power above the permit's, also one that is not a number, and emit nothing."""
    laser = await subject.ready()
    lowest_dbm = laser.capability.min_power_dbm
    mean = _permit(laser.capability.longest_permit_s, lowest_dbm - 1.0)
    await refused(laser.emit(lowest_dbm, mean), (EmissionRefused,), "emit above the permit's power")
    generous = _permit(laser.capability.longest_permit_s)
    await refused(
        laser.emit(float("nan"), generous), (EmissionRefused, UsageError), "emit of a power that is no number"
    )
    await _stays_dark(laser, "after a refused power")


async def refuses_power_outside_its_capability(subject: Subject) -> None:
    """Refuse a power outside the capability, instead of clipping it, and emit nothing."""
    laser = await subject.ready()
    for power_dbm in (laser.capability.max_power_dbm + 1.0, laser.capability.min_power_dbm - 1.0):
        permit = _permit(laser.capability.longest_permit_s)
        await refused(laser.emit(power_dbm, permit), (UsageError,), f"emit of {power_dbm} dBm")
    await _stays_dark(laser, "after a power outside its capability")


async def goes_dark_when_its_permit_lapses(subject: Subject) -> None:
    """Go dark by itself when the permit ends, and stay so when it is renewed too late."""
    laser = await subject.ready()
    lease_s = min(LEASE_S, laser.capability.longest_permit_s)
    await laser.emit(laser.capability.min_power_dbm, _permit(lease_s))
    await asyncio.sleep(lease_s + LAPSE_S)
    await judge_safe(KIND, laser, f"{LAPSE_S:g} s after its permit of {lease_s:g} s ended")
    await _renewed(laser)
    await _stays_dark(laser, "renewed after it had gone dark")


async def goes_on_while_renewed(subject: Subject) -> None:
    """Go on emitting while renewals come, and go dark when the last of them ends."""
    laser = await subject.ready()
    lease_s = min(LEASE_S, laser.capability.longest_permit_s)
    await laser.emit(laser.capability.min_power_dbm, _permit(lease_s))
    await _lights_up(laser)
    for _ in range(4):
        await asyncio.sleep(lease_s / 2)
        await laser.renew(_permit(lease_s))
        demand((await laser.read()).emitting, "it went dark although its permit was renewed in time")
    await asyncio.sleep(lease_s + LAPSE_S)
    await judge_safe(KIND, laser, f"{LAPSE_S:g} s after its last renewal ended")


async def a_lapsed_renewal_extends_nothing(subject: Subject) -> None:
    """Refuse a renewal that is over itself, and go dark when the last valid permit ends."""
    laser = await subject.ready()
    lease_s = min(LEASE_S, laser.capability.longest_permit_s)
    await laser.emit(laser.capability.min_power_dbm, _permit(lease_s))
    await refused(laser.renew(_permit(0.0)), (EmissionRefused,), "renew, permit lapsed")
    await asyncio.sleep(lease_s + LAPSE_S)
    await judge_safe(KIND, laser, "after a refused renewal and the end of its permit")


async def only_emit_makes_light(subject: Subject) -> None:
    """Stay dark under a renewal: never lit before, made safe, or connected anew."""
    laser = await subject.ready()
    await _renewed(laser)
    await _stays_dark(laser, "renewed without having been lit")
    await _work(subject, laser)
    await laser.make_safe()
    await _renewed(laser)
    await _stays_dark(laser, "renewed after make_safe")
    await _work(subject, laser)
    await laser.close()
    await laser.connect()
    await laser.configure()
    await _renewed(laser)
    await _stays_dark(laser, "connected anew and renewed")


async def no_permit_lasts_longer_than_it_says(subject: Subject) -> None:
    """Go dark when nothing was renewed for ``longest_permit_s``, whatever the permit allows."""
    laser = await subject.ready()
    longest_s = laser.capability.longest_permit_s
    if longest_s > LONGEST_WAIT_S:
        reason = f"its longest permit lasts {longest_s:g} s, more than the {LONGEST_WAIT_S:g} s that a check waits"
        raise NotApplicable(reason)
    await laser.emit(laser.capability.min_power_dbm, _permit(10.0 * longest_s))
    await asyncio.sleep(longest_s + LAPSE_S)
    await judge_safe(KIND, laser, f"{longest_s:g} s after its last renewal, under a longer permit")


async def _renewed(laser: Any) -> None:
    """Renew a laser that is dark: it may refuse or take it; light is what must not come."""
    try:
        await laser.renew(_permit(laser.capability.longest_permit_s))
    except InstrumentError:
        return


CHECKS: Final[tuple[Check, ...]] = (
    emits_what_it_is_told,
    refuses_a_lapsed_permit,
    refuses_more_power_than_permitted,
    refuses_power_outside_its_capability,
    goes_dark_when_its_permit_lapses,
    goes_on_while_renewed,
    a_lapsed_renewal_extends_nothing,
    only_emit_makes_light,
    no_permit_lasts_longer_than_it_says,
)
KIND: Final = Kind(LaserCapability, LaserReading, _judge_capability, _judge_reading, _danger, _work, CHECKS)
