"""One supervised instrument: connected, identified, configured, watched, and connected again, until the node stops.

``supervise`` is the whole story; ``qnoded.instruments.lifecycle`` has the states. Whatever the driver does, its
troubles stay here: they become a state, a sentence for people and a growing pause.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from qnoded.errors import (
    ConfigError,
    DriverBroken,
    DriverStuck,
    InstrumentFault,
    InstrumentGarbled,
    InstrumentUnavailable,
    QnodedError,
)
from qnoded.instruments.capability import Capability, Identity
from qnoded.instruments.lifecycle import Event, State, after
from qnoded.instruments.protocols import SAFE_S, Instrument
from qnoded.instruments.reading import Reading
from qnoded.instruments.registry import Binding, validate
from qnoded.node.driver_call import bounded, guarded, through

POLL_S: Final = 1.0
"""Pause between two readings of a healthy instrument."""
DOUBT_S: Final = 0.2
"""Pause after a reading that failed: soon known for sure, and late answers have time to drain."""
MISSES: Final = 3
"""Failed readings in a row after which the connection is given up."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0
"""An instrument that was plugged in is found within this time and a fifth."""
JITTER: Final = 0.2
"""Pauses differ by up to this share, so that instruments behind one failed hub do not come back in step."""
STABLE_S: Final = 10.0
"""An instrument that was ready for so long starts with the short pauses again."""

IN_USE: Final = (State.READY, State.DEGRADED)
RETRIED: Final = (State.ABSENT, State.FAULTED)


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """An instrument came into another state; for the node's list of events."""

    role: str
    state: State
    text: str
    """What happened, for people."""


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """All that is known of one instrument at one moment."""

    role: str
    driver: str
    kind: str | None
    """None as long as the driver cannot be loaded."""
    simulated: bool | None
    state: State
    since_loop_s: float
    """When it came into that state, ``loop.time()``."""
    identity: Identity | None
    """Who answered last."""
    capability: Capability | None
    """None unless it is in use."""
    reading: Reading | None
    """As last read; None unless it is in use."""
    read_loop_s: float | None
    problem: str | None
    """What keeps it from being ready; None if nothing does."""
    retry_loop_s: float | None
    """When it is tried again; None unless a try is pending."""


class Device:
    """An instrument of the node by its role; stays the same object when another driver takes the role over."""

    def __init__(
        self,
        role: str,
        table: Mapping[str, Any],
        where: str,
        *,
        simulation: bool,
        chance: random.Random,
        tell: Callable[[DeviceChanged], None],
    ) -> None:
        self.role = role
        self.state = State.ABSENT
        self.settled = asyncio.Event()
        """Set once the present driver has been tried: ready, or with a problem."""
        self._table, self._where, self._simulation = table, where, simulation
        self._chance, self._tell = chance, tell
        self._binding: Binding | None = None
        self._at_work: Instrument | None = None
        self._safe_asked = False
        self._changed = asyncio.Event()
        self._since_s = 0.0
        self._identity: Identity | None = None
        self._capability: Capability | None = None
        self._reading: Reading | None = None
        self._read_s: float | None = None
        self._problem: str | None = None
        self._retry_s: float | None = None
        self._next_pause_s = FIRST_PAUSE_S
        self._trouble: asyncio.Future[QnodedError] | None = None

    @property
    def instrument(self) -> Instrument | None:
        """The instrument, if it may be used now."""
        return self._at_work if self.state in IN_USE else None

    async def other_than(self, known: Instrument | None) -> Instrument:
        """Wait for an instrument that may be used and is not the one known already."""
        while (found := self.instrument) is None or found is known:
            await self._changed.wait()
        return found

    def snapshot(self) -> DeviceSnapshot:
        """Return all that is known of it now."""
        used, binding = self.instrument, self._binding
        return DeviceSnapshot(
            role=self.role,
            driver=str(self._table.get("driver")),
            kind=binding.kind if binding else None,
            simulated=binding.driver_class.simulated if binding else None,
            state=self.state,
            since_loop_s=self._since_s,
            identity=self._identity,
            capability=self._capability if used else None,
            reading=self._reading if used else None,
            read_loop_s=self._read_s if used else None,
            problem=self._problem,
            retry_loop_s=self._retry_s,
        )

    def bind(self, table: Mapping[str, Any]) -> Binding:
        """Check a table as this role's, and return what it says; nothing is changed.

        Raises
        ------
        ConfigError
            If it is wrong, or names a simulated driver on a node that makes real key.
        DependencyMissing
            If the driver's library is not installed.
        """
        binding = validate(self.role, table, self._where)
        if binding.driver_class.simulated and not self._simulation:
            problem = f"{binding.driver} is simulated, and this node is not (node.simulation is false)"
            remedy = "name the driver of a real instrument, or set simulation = true under [node]"
            raise ConfigError(self._where, f"instruments.{self.role}.driver", problem, remedy)
        return binding

    def take(self, table: Mapping[str, Any], binding: Binding | None) -> None:
        """Be another driver's from the next attempt on; nothing may be at work."""
        assert self._at_work is None
        if self.state is State.QUARANTINED:
            self._step(Event.SAFE, "a person has decided to go on")
            self._step(Event.MADE_SAFE, "nothing is connected")
        self._table, self._binding = table, binding
        self._identity, self._problem, self._next_pause_s = None, None, FIRST_PAUSE_S
        self.settled.clear()

    def report(self, instrument: Instrument, error: QnodedError) -> None:
        """Take note that somebody's use of an instrument failed: the connection is given up, and made anew.

        Reports about an instrument that has been replaced meanwhile are ignored.
        """
        if instrument is self._at_work and self._trouble is not None and not self._trouble.done():
            self._trouble.set_result(error)

    async def make_safe(self) -> None:
        """Make safe whatever is at work, within ``SAFE_S``; supervision goes on."""
        if self._at_work is not None:
            self._safe_asked = True
            await self._let_go(self._at_work.make_safe(), "make safe")

    def end(self) -> None:
        """Note that the node has stopped; supervision has ended before."""
        self._step(Event.CLOSE, "closed")

    async def supervise(self) -> None:
        """Keep the instrument connected until cancelled; return only once it is quarantined."""
        while True:
            await self._attempt()
            self.settled.set()
            if self.state not in RETRIED:
                return
            await self._pause()

    async def _attempt(self) -> None:
        self._step(Event.ATTEMPT, f"connecting {self._table.get('driver')}")
        try:
            await self._use(await self._made())
        except QnodedError as error:
            self._fail(error)
        except asyncio.CancelledError:
            self._step(Event.SAFE, "made safe on request")
            raise
        finally:
            await through(self._release(self._at_work))

    async def _made(self) -> Instrument:
        if self._binding is None:
            # Vendor libraries take seconds to import; the loop does not wait for them.
            self._binding = await asyncio.to_thread(self.bind, self._table)
        self._at_work = guarded(self._binding.instrument, f"{self.role}: __init__")
        return self._at_work

    async def _use(self, instrument: Instrument) -> None:
        """Go the way from connecting to ready, and stay there until something goes wrong."""
        assert self._binding is not None
        self._identity = await bounded(instrument.connect(), f"{self.role}: connect")
        self._step(Event.CONNECTED, f"{self._identity} answered")
        expected = self._binding.serial
        if expected is not None and expected != self._identity.serial:
            problem = (
                f"{self._identity} answered, expected is serial {expected}; it was not configured: "
                "plug in the right one or correct the serial, then swap the device to try again"
            )
            self._step(Event.STRANGER, problem)
            return
        self._capability = guarded(lambda: instrument.capability, f"{self.role}: capability")
        self._step(Event.RECOGNISED, "configuring")
        await bounded(instrument.configure(), f"{self.role}: configure")
        await self._read(instrument)
        self._trouble = asyncio.get_running_loop().create_future()
        self._step(Event.CONFIGURED, f"{self._identity} is ready")
        self.settled.set()
        await self._watch(instrument, self._trouble)

    async def _watch(self, instrument: Instrument, trouble: asyncio.Future[QnodedError]) -> None:
        misses, ready_s = 0, self._since_s
        while True:
            reported, _ = await asyncio.wait({trouble}, timeout=DOUBT_S if misses else POLL_S)
            if reported:
                raise trouble.result()
            try:
                await self._read(instrument)
            except (InstrumentUnavailable, InstrumentGarbled) as error:
                misses += 1
                if misses >= MISSES:
                    raise
                self._step(Event.MISSED, str(error))
            else:
                misses = 0
                if asyncio.get_running_loop().time() - ready_s >= STABLE_S:
                    self._next_pause_s = FIRST_PAUSE_S
                self._step(Event.ANSWERED, f"{self._identity} answers again")

    async def _read(self, instrument: Instrument) -> None:
        self._reading = await bounded(instrument.read(), f"{self.role}: read")
        self._read_s = asyncio.get_running_loop().time()

    async def _release(self, instrument: Instrument | None) -> None:
        """Make safe and close, each for itself."""
        if instrument is not None:
            # Closing makes safe as well: enough for a stranger's instrument, and for one that was just made safe.
            if self.state is not State.QUARANTINED and not self._safe_asked:
                await self._let_go(instrument.make_safe(), "make safe")
            if not await self._let_go(instrument.close(), "close") and self.state is not State.QUARANTINED:
                # It still holds the port, so another attempt would fight with it.
                self._step(Event.STUCK, f"{self.role}: the driver did not close within {SAFE_S:g} s")
            self._at_work, self._trouble, self._safe_asked = None, None, False
        if self.state is State.SAFING:
            self._step(Event.MADE_SAFE, "safe and closed")
        self._announce()

    async def _let_go(self, call: Coroutine[Any, Any, None], what: str) -> bool:
        """Await one of the two calls that end an instrument's use, telling what goes wrong; return whether it ended."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            await bounded(call, f"{self.role}: {what}", SAFE_S)
        except QnodedError as error:
            self._tell(DeviceChanged(self.role, self.state, f"{error}; its safe state is not confirmed"))
            return loop.time() - began_s < SAFE_S
        return True

    def _fail(self, error: QnodedError) -> None:
        match error:
            case DriverStuck():
                event = Event.STUCK
            case InstrumentFault() | DriverBroken():
                event = Event.FAULT
            case _:
                event = Event.LOST
        self._step(event, str(error))

    async def _pause(self) -> None:
        pause_s = self._next_pause_s * self._chance.uniform(1 - JITTER, 1 + JITTER)
        self._next_pause_s = min(2 * self._next_pause_s, LONGEST_PAUSE_S)
        self._retry_s = asyncio.get_running_loop().time() + pause_s
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._retry_s = None

    def _step(self, event: Event, text: str) -> None:
        before, self.state = self.state, after(self.state, event)
        if self.state is before and event is not Event.MISSED:
            return
        self._since_s = asyncio.get_running_loop().time() if self.state is not before else self._since_s
        self._problem = text if event in _PROBLEMS else self._problem if event in _STILL else None
        if self.state is not before:
            self._tell(DeviceChanged(self.role, self.state, text))
        self._announce()

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


_PROBLEMS: Final = (Event.MISSED, Event.LOST, Event.FAULT, Event.STUCK, Event.STRANGER)
_STILL: Final = (Event.ATTEMPT, Event.CONNECTED, Event.RECOGNISED)
"""Events on the way back: the old problem is worth showing until it is ready."""
