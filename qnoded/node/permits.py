"""The permit office: the node's laser emits only as long as this keeps saying so, twice a second.

A decision that there shall be light (``resume``) comes from a person, or from the start of a node whose config asks for
light. The office waits until laser and node are well, switches on, and renews the permit while they still are.

- With the first doubt about the laser it makes it dark, forgets the decision, and has the doubt remembered beyond the
  end of the process: nothing that comes back by itself, a cable, a laser, the daemon, brings the light back.
- What is wrong with the node alone, an event loop that was held up, makes dark as well. But the decision holds, and
  light comes back once the node has been well for a while, if the laser was there all the time.
- Dark is what the laser itself says after it was told so. Where it does not, there is a doubt, also where the light
  ends because the node stops.
- If the whole process dies or hangs, no permit is renewed, and the laser's driver or the instrument goes dark. That the
  laser emits is remembered from before it does: light comes back with the next start only if the laser is there then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

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
HEALED_S: Final = 5.0
"""A node that was unwell gives light again after it has been well for so long."""


@dataclass(frozen=True, slots=True)
class LightChanged:
    """The office has decided; for the node's list of events."""

    emitting: bool
    text: str
    """What and why, for people."""


class Memory(Protocol):
    """What the node's next run will know of the laser; ``DoubtFile`` is one, tests have others."""

    def keep(self, doubt: str | None) -> None:
        """Remember why the laser stays dark until a person decides, or that one has; returns at once."""
        ...

    def emits(self, emits: bool) -> None:
        """Remember that the laser may emit, or that it was seen dark; returns at once."""
        ...

    async def flush(self) -> None:
        """Return once all is written."""
        ...


class PermitOffice:
    """Decides over the light of one laser."""

    def __init__(
        self,
        devices: Devices,
        *,
        power_dbm: float,
        max_power_dbm: float,
        health: Mapping[str, Callable[[], bool]],
        tell: Callable[[LightChanged], None],
        memory: Memory,
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
        health
            What must hold of the node itself, by name, such as ``{"an event loop on time": ...}``; asked twice a
            second.
        tell
            Called with every change.
        memory
            Outlives the process. Whoever starts the node asks it what was remembered before he calls ``resume``.

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
        self._health, self._tell, self._memory = health, tell, memory
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
        return self._missing() if self._decision and not self._emitting else None

    def resume(self, reason: str) -> None:
        """Decide that there shall be light as soon as all is well, for ``DECISION_S`` from now on."""
        self._memory.keep(None)
        if self._decision is None or self._decision.revoked.is_set():
            self._decision = _Decision(reason, asyncio.get_running_loop().time())
            self._decided.set()

    def revoke(self, reason: str) -> None:
        """Decide that there shall be no light, now and until ``resume``, also if the node is started anew."""
        self._memory.keep(reason)
        self.stop(reason)

    def stop(self, reason: str) -> None:
        """Make dark because the node stops; its next start may give light again."""
        if self._decision is not None and not self._decision.revoked.is_set():
            self._decision.against = reason
            self._decision.revoked.set()

    async def run(self) -> None:
        """Issue and renew permits until cancelled; dark at the end."""
        while True:
            await self._decided.wait()
            decision = self._decision
            assert decision is not None
            why = await self._carry_out(decision)
            if self._decision is decision:
                self._decision = None
                self._decided.clear()
            self._tell(LightChanged(False, f"dark: {why}"))

    async def _carry_out(self, decision: _Decision) -> str:
        """Give light as long as the decision holds; return what ended it, with the laser dark in any case."""
        try:
            laser = await self._granted(decision)
            while True:
                try:
                    await self._shine(laser, decision)
                except _Unwell as illness:
                    text = f"dark: {illness}; light comes back once the node has been well for {HEALED_S:g} s"
                    self._tell(LightChanged(False, text))
                await self._healed(laser, decision)
        except _Dark as end:
            if isinstance(end, _Doubt) and not decision.revoked.is_set():
                self._memory.keep(str(end))
            if isinstance(end, _Faulty):
                # Only now: whoever connects the laser anew must not come between it and the look whether it is dark.
                self._devices.report(self._role, end.laser, end.error)
            return "; ".join(dict.fromkeys(filter(None, (str(end), decision.unseen))))

    async def _granted(self, decision: _Decision) -> Laser:
        """Wait until all is well; return the laser."""
        loop = asyncio.get_running_loop()
        while True:
            decision.check()
            missing, laser = self._missing(), self._laser()
            if missing is None and laser is not None:
                return laser
            if loop.time() - decision.made_s >= DECISION_S:
                problem = f"{missing} for {DECISION_S:g} s after {decision.reason}; switch it on once it is well"
                raise _Dark(problem)
            await decision.rest()

    async def _healed(self, laser: Laser, decision: _Decision) -> None:
        """Wait until the node has been well for a while, if it does not take too long."""
        loop = asyncio.get_running_loop()
        began_s = ill_s = loop.time()
        while loop.time() < ill_s + HEALED_S:
            await decision.rest()
            decision.check()
            self._check_same(laser)
            if (illness := self._illness()) is not None:
                ill_s = loop.time()
                if ill_s - began_s >= DECISION_S:
                    problem = f"{illness} for {DECISION_S:g} s; switch it on once it is well"
                    raise _Dark(problem)

    async def _shine(self, laser: Laser, decision: _Decision) -> None:
        """Emit under permits until something ends it, which is told by a ``_Dark``."""
        loop = asyncio.get_running_loop()
        try:
            self._memory.emits(True)
            with suppress(TimeoutError):
                # A disk that hangs holds nobody up.
                await asyncio.wait_for(self._memory.flush(), ANSWER_S)
            decision.check()
            permit = self._permit(laser, decision)
            await self._ask(laser.emit(self._power_dbm, permit), "emit")
            on_s = loop.time()
            self._emitting = True
            self._tell(LightChanged(True, f"emitting {self._power_dbm:g} dBm: {decision.reason}"))
            while True:
                await decision.rest()
                decision.check()
                self._check_same(laser)
                if loop.time() >= permit.expires_loop_s:
                    problem = f"the node was held up for longer than a permit lasts, {LEASE_S:g} s"
                    raise _Unwell(problem)
                self._check_lit(on_s)
                if (illness := self._illness()) is not None:
                    raise _Unwell(illness)
                permit = self._permit(laser, decision)
                await self._ask(laser.renew(permit), "renew")
        except QnodedError as error:
            if isinstance(error, InstrumentError) and not isinstance(error, EmissionRefused):
                raise _Faulty(laser, error) from error
            raise _Dark(str(error)) from error
        except asyncio.CancelledError:
            self._tell(LightChanged(False, "dark: the node stops"))
            raise
        finally:
            self._emitting = False
            await through(self._darken(laser, decision))

    async def _ask(self, call: Coroutine[Any, Any, None], what: str) -> None:
        await bounded(call, f"{self._role}: {what}", ANSWER_S)

    async def _darken(self, laser: Laser, decision: _Decision) -> None:
        """Make dark, and look whether it is: a driver's ``make_safe`` is quiet where the laser cannot be reached."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + SAFE_S + ANSWER_S
        try:
            await bounded(laser.make_safe(), f"{self._role}: make safe", SAFE_S)
            seen = await bounded(laser.read(), f"{self._role}: read", ends_s - loop.time())
            problem = f"the {self._role} says that it emits after it was made dark" if seen.emitting else None
        except QnodedError as error:
            problem = str(error)
        if problem is None:
            self._memory.emits(False)
            return
        decision.unseen = f"not seen dark: {problem}; the last permit lapses within {LEASE_S:g} s"
        self._memory.keep(decision.unseen)
        self._tell(LightChanged(False, decision.unseen))

    def _missing(self) -> str | None:
        """Return what speaks against light now."""
        return f"the {self._role} is not ready" if self._laser() is None else self._illness()

    def _illness(self) -> str | None:
        """Return what is wrong with the node itself."""
        return next((f"not {name}" for name, holds in self._health.items() if not holds()), None)

    def _check_same(self, laser: Laser) -> None:
        if self._laser() is not laser:
            problem = f"the {self._role} was lost or connected anew"
            raise _Doubt(problem)

    def _check_lit(self, on_s: float) -> None:
        """Look whether the laser is dark by itself: its interlock, its key, its watchdog."""
        seen = self._devices.snapshot(self._role)
        dark = isinstance(seen.reading, LaserReading) and not seen.reading.emitting
        if dark and seen.read_loop_s is not None and seen.read_loop_s >= on_s + SOFT_START_S:
            problem = f"the {self._role} went dark by itself; look at its interlock and key"
            raise _Doubt(problem)

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
    unseen: str | None = None
    """Why nobody knows that the laser is dark, after it was to be; None: it is."""
    revoked: asyncio.Event = field(default_factory=asyncio.Event)

    def check(self) -> None:
        """Look whether it still holds."""
        if self.revoked.is_set():
            raise _Dark(self.against)
        if self.unseen is not None:
            raise _Doubt(self.unseen)

    async def rest(self) -> None:
        """Wait until the next look is due, or light is revoked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RENEW_S):
                await self.revoked.wait()


class _Dark(Exception):
    """Why there is no light."""


class _Doubt(_Dark):
    """It is about the laser: a person has to look before there is light again."""


class _Faulty(_Doubt):
    """It has failed an order; it is to be connected anew."""

    def __init__(self, laser: Laser, error: InstrumentError) -> None:
        super().__init__(str(error))
        self.laser, self.error = laser, error


class _Unwell(_Dark):
    """It is about the node alone."""
