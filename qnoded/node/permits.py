"""The permit office: the node's laser emits only as long as this keeps saying so, twice a second.

A decision that there shall be light (``resume``) comes from a person, or from the start of a node whose config asks for
light. The office waits until all conditions hold, switches on, and renews the permit while they still hold. With the
first doubt, the laser's own or the node's, it makes the laser dark and forgets the decision: nothing that comes back by
itself, a cable, a tagger, a laser, brings the light back. If the whole process dies or hangs, no permit is renewed, and
the laser's driver or the instrument goes dark by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from qnoded.errors import EmissionRefused, InstrumentError, QnodedError, UsageError
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.protocols import SAFE_S, Laser
from qnoded.instruments.reading import LaserReading
from qnoded.node.devices import Devices
from qnoded.node.driver_call import bounded, guarded, through

LEASE_S: Final = 2.0
"""A permit lapses after this: how long light can outlive a healthy node."""
RENEW_S: Final = 0.5
"""Three renewals may be late before a permit lapses."""
ANSWER_S: Final = 1.0
"""A laser that does not take a renewal within this is given up while its permit still holds."""
DECISION_S: Final = 120.0
"""A decision waits this long for its conditions, as a first start compiles for a minute; later nobody expects light."""
SOFT_START_S: Final = 2.0
"""A laser that was switched on may say for so long that it does not emit yet."""


@dataclass(frozen=True, slots=True)
class LightChanged:
    """The office has decided; for the node's list of events."""

    emitting: bool
    text: str
    """What and why, for people."""


class PermitOffice:
    """Decides over the light of one laser."""

    def __init__(
        self,
        devices: Devices,
        *,
        power_dbm: float,
        max_power_dbm: float,
        conditions: Mapping[str, Callable[[], bool]],
        tell: Callable[[LightChanged], None],
        role: str = "laser",
    ) -> None:
        """Start without a decision: dark.

        Parameters
        ----------
        devices
            The node's instruments, of which ``role`` is the laser.
        power_dbm
            Power at which it emits.
        max_power_dbm
            The most that any permit covers.
        conditions
            What must hold for light, such as ``{"tagger ready": ...}``, by name; asked twice a second.
        tell
            Called with every change.

        Raises
        ------
        UsageError
            If the power is above the limit.
        """
        if not power_dbm <= max_power_dbm:
            problem = (
                f"laser power of {power_dbm} dBm is above the limit of {max_power_dbm} dBm; "
                "lower operate.laser_power_dbm or raise operate.max_power_dbm"
            )
            raise UsageError(problem)
        self._devices, self._role = devices, role
        self._power_dbm, self._max_power_dbm = power_dbm, max_power_dbm
        self._conditions, self._tell = conditions, tell
        self._decision: _Decision | None = None
        self._decided = asyncio.Event()
        self._number = 0
        self._emitting = False

    @property
    def emitting(self) -> bool:
        """Whether the laser has been switched on under a permit that is being renewed."""
        return self._emitting

    @property
    def waiting_for(self) -> str | None:
        """What a decision for light still waits for; None if there is no decision, or light."""
        return self._doubt(self._decision) if self._decision and not self._emitting else None

    def resume(self, reason: str) -> None:
        """Decide that there shall be light as soon as all conditions hold, for ``DECISION_S`` from now on."""
        if self._decision is None or self._decision.revoked.is_set():
            self._decision = _Decision(reason, asyncio.get_running_loop().time())
            self._decided.set()

    def revoke(self, reason: str) -> None:
        """Decide that there shall be no light, now."""
        if self._decision is not None:
            self._decision.against = reason
            self._decision.revoked.set()

    async def run(self) -> None:
        """Issue and renew permits until cancelled; dark at the end."""
        while True:
            await self._decided.wait()
            decision = self._decision
            assert decision is not None
            laser, why = await self._granted(decision)
            if laser is not None:
                try:
                    why = await self._shine(laser, decision)
                except asyncio.CancelledError:
                    self._tell(LightChanged(False, "dark: the node stops"))
                    raise
            if self._decision is decision:
                self._decision = None
                self._decided.clear()
            self._tell(LightChanged(False, f"dark: {why}"))

    async def _granted(self, decision: _Decision) -> tuple[Laser | None, str]:
        """Wait until all conditions hold; without a laser and with the reason if they do not in time."""
        loop = asyncio.get_running_loop()
        while (doubt := self._doubt(decision)) is not None:
            if decision.revoked.is_set():
                return None, doubt
            if loop.time() - decision.made_s >= DECISION_S:
                return None, f"{doubt} for {DECISION_S:g} s after {decision.reason}; resume once it is well"
            await decision.rest()
        return self._laser(), "no laser"

    async def _shine(self, laser: Laser, decision: _Decision) -> str:
        """Emit under permits until something is in doubt; return what it was, with the laser dark in any case."""
        loop = asyncio.get_running_loop()
        try:
            await self._ask(laser.emit(self._power_dbm, self._permit(laser, decision)), "emit")
            on_s = loop.time()
            self._emitting = True
            self._tell(LightChanged(True, f"emitting {self._power_dbm:g} dBm: {decision.reason}"))
            while (doubt := self._doubt(decision) or self._darkness(laser, on_s)) is None:
                await self._ask(laser.renew(self._permit(laser, decision)), "renew")
                await decision.rest()
        except QnodedError as error:
            if isinstance(error, InstrumentError) and not isinstance(error, EmissionRefused):
                self._devices.report(self._role, laser, error)
            return str(error)
        else:
            return doubt
        finally:
            self._emitting = False
            await through(self._darken(laser))

    async def _ask(self, call: Coroutine[Any, Any, None], what: str) -> None:
        await bounded(call, f"{self._role}: {what}", ANSWER_S)

    async def _darken(self, laser: Laser) -> None:
        try:
            await bounded(laser.make_safe(), f"{self._role}: make safe", SAFE_S)
        except QnodedError as error:
            self._tell(LightChanged(False, f"{error}; the last permit lapses within {LEASE_S:g} s"))

    def _doubt(self, decision: _Decision) -> str | None:
        """Return what speaks against light now."""
        if decision.revoked.is_set():
            return decision.against
        if self._laser() is None:
            return f"the {self._role} is not ready"
        return next((f"not {name}" for name, holds in self._conditions.items() if not holds()), None)

    def _darkness(self, laser: Laser, on_s: float) -> str | None:
        """Return what shows that the laser is another one, or dark by itself: its interlock, its key, its watchdog."""
        if self._laser() is not laser:
            return f"the {self._role} was connected anew"
        seen = self._devices.snapshot(self._role)
        dark = isinstance(seen.reading, LaserReading) and not seen.reading.emitting
        if dark and seen.read_loop_s is not None and seen.read_loop_s >= on_s + SOFT_START_S:
            return f"the {self._role} went dark by itself; look at its interlock and key"
        return None

    def _laser(self) -> Laser | None:
        found = self._devices.get(self._role)
        return found if isinstance(found, Laser) else None

    def _permit(self, laser: Laser, decision: _Decision) -> EmissionPermit:
        self._number += 1
        capability = guarded(lambda: laser.capability, f"{self._role}: capability")
        expires_s = asyncio.get_running_loop().time() + min(LEASE_S, capability.longest_permit_s)
        return EmissionPermit(self._number, expires_s, self._max_power_dbm, decision.reason)


@dataclass(slots=True)
class _Decision:
    """That there shall be light, once; used up by whatever ends it."""

    reason: str
    made_s: float
    against: str = ""
    revoked: asyncio.Event = field(default_factory=asyncio.Event)

    async def rest(self) -> None:
        """Wait until the next look is due, or light is revoked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RENEW_S):
                await self.revoked.wait()
