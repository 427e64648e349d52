"""The twin: an emulated instrument that is given the orders of a real one, and whose answers are compared with its own.

What differs is news about the emulator, which all other tests rely on; it fails nothing. Compared is what the drivers
make of the bytes: values with their units, states, and kinds of errors. What is a unit's own (serial number, firmware,
moments) is not, nor are streams: photons come by chance. Twin and emulator live in a thread with an event loop of
their own: whatever becomes of them, the real instrument waits for nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from itertools import count
from typing import Any, Final

from qnoded.errors import QnodedError
from qnoded.hil.benches import standing
from qnoded.hil.rig import Rig, RigDevice
from qnoded.instruments.protocols import DEADLINE_S
from qnoded.node.driver_call import bounded
from qnoded.testing.emulation import find_kind

OWN: Final = frozenset({"serial", "firmware", "read_loop_s"})
"""Fields that tell one unit, or one moment, from another."""
EXACT: Final = 1e-9
"""For numbers whose unit the emulator has no tolerance for."""
READ: Final = "read"
AGAIN_S: Final = 0.3
"""A reading that differs is asked of the twin once more after this: what is under way in one is done in the other."""
LONGEST_S: Final = 60.0
"""For what the twin has still to do when the real instrument is done; then it is left behind."""

_inside: ContextVar[bool] = ContextVar("inside a call of a shadowed driver", default=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the twin differs."""

    what: str
    """Call and field, such as ``read.temperature_c``."""
    real: str
    twin: str
    tolerance: float | None
    """None where both must be the same."""


@dataclass(frozen=True, slots=True)
class _Order:
    """One call of one driver's object, as it begins."""

    number: int
    call: str
    values: tuple[Any, ...]
    outcome: Future[Any]
    """Becomes what the real instrument made of it: what was returned, or the error, which may be a cancellation."""


class Twin:
    """Follows the orders to a real instrument while it is ``living``."""

    def __init__(self, rig: Rig, device: RigDevice) -> None:
        self._rig, self._device = rig, device
        self.driver = _shadowing(device.binding.driver_class, self)
        """The real instrument's driver, of whose calls the twin hears."""
        self._tolerances = find_kind(device.rig.driver).tolerances
        self._numbers = count()
        self._line: tuple[asyncio.AbstractEventLoop, asyncio.Queue[_Order | None]] | None = None
        """To the thread in which it lives."""
        self._lost: set[int] = set()
        """Objects of which the twin does not know what their instrument was told; until they connect anew."""
        self.compared = 0
        self.differences: list[Difference] = []

    def new(self) -> int:
        """Return a number for another object of the driver."""
        return next(self._numbers)

    def follow(self, number: int, call: str, values: tuple[Any, ...]) -> Future[Any]:
        """Let it do what the real instrument does from now on; return where the outcome is to be told."""
        outcome: Future[Any] = Future()
        self._tell(_Order(number, call, values, outcome))
        return outcome

    def _tell(self, order: _Order | None) -> None:
        line = self._line
        if line is not None:
            loop, orders = line
            # It may have ended this very moment.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(orders.put_nowait, order)

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Let it follow; it has done everything at the end."""
        ready = threading.Event()
        thread = threading.Thread(target=self._run, args=(ready,), name="twin", daemon=True)
        thread.start()
        await asyncio.to_thread(ready.wait)
        try:
            yield
        finally:
            self._tell(None)
            await asyncio.to_thread(thread.join, LONGEST_S)
            self._line = None

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._live(ready))
        finally:
            # Whatever became of it, nobody waits for it, and the real instrument is given its orders all the same.
            self._line = None
            ready.set()

    async def _live(self, ready: threading.Event) -> None:
        orders: asyncio.Queue[_Order | None] = asyncio.Queue()
        drivers: dict[int, Any] = {}
        async with standing(self._rig, self._device.name, "emulated") as bench:
            self._line = asyncio.get_running_loop(), orders
            ready.set()
            while (order := await orders.get()) is not None:
                if order.number not in drivers:
                    drivers[order.number] = bench.device.binding.instrument()
                await self._obey(order, drivers[order.number])
            for driver in drivers.values():
                await driver.close()

    async def _obey(self, order: _Order, driver: Any) -> None:
        outcome = await _outcome(driver, order)
        real = await asyncio.wrap_future(order.outcome)
        if isinstance(real, asyncio.CancelledError):
            self._lost.add(order.number)
        elif order.call == "connect":
            self._lost.discard(order.number)
        if order.number in self._lost:
            return
        found = list(differences(order.call, real, outcome, self._tolerances))
        if found and order.call == READ:
            await asyncio.sleep(AGAIN_S)
            found = list(differences(order.call, real, await _outcome(driver, order), self._tolerances))
        self.compared += 1
        self.differences.extend(found)


async def _outcome(driver: Any, order: _Order) -> Any:
    try:
        return await bounded(getattr(driver, order.call)(*order.values), f"twin: {order.call}", DEADLINE_S)
    except QnodedError as error:
        return error


def _shadowing(driver: type[Any], twin: Twin) -> type[Any]:
    """Return the same driver, whose calls the twin hears of."""

    class Shadowed(driver):  # type: ignore[misc] # the base is known at run time only
        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            self._number_of_twin = twin.new()

    for name in dir(driver):
        if not name.startswith("_") and inspect.iscoroutinefunction(getattr(driver, name)):
            setattr(Shadowed, name, _told(getattr(driver, name), twin))
    return Shadowed


def _told(call: Any, twin: Twin) -> Any:
    @wraps(call)
    async def told(self: Any, *values: Any) -> Any:
        if _inside.get():
            # A driver that calls itself, or an alarm of its own: the twin's driver does so as well.
            return await call(self, *values)
        token, outcome = _inside.set(True), twin.follow(self._number_of_twin, call.__name__, values)
        try:
            returned = await call(self, *values)
        except BaseException as error:
            outcome.set_result(error)
            raise
        finally:
            _inside.reset(token)
        outcome.set_result(returned)
        return returned

    return told


def differences(what: str, real: Any, twin: Any, tolerances: Mapping[str, float]) -> Iterator[Difference]:
    """Compare two outcomes of a call.

    Parameters
    ----------
    what
        The call, or a field of what it returned; the end of its name says the unit.
    real, twin
        Records, tuples, numbers, states, or errors.
    tolerances
        End of a name, such as ``_dbm``, to how far numbers may be apart.
    """
    if is_dataclass(real) and type(real) is type(twin):
        for field in fields(real):
            if field.name not in OWN:
                # A setting's three numbers have the unit of the quantity.
                one, other = getattr(real, field.name), getattr(twin, field.name)
                yield from differences(f"{what}.{field.name}", one, other, tolerances)
    elif isinstance(real, tuple) and isinstance(twin, tuple) and len(real) == len(twin):
        for place, (one, other) in enumerate(zip(real, twin, strict=True)):
            yield from differences(f"{what}.{place}", one, other, tolerances)
    elif _is_number(real) and _is_number(twin):
        tolerance = next((most for unit, most in tolerances.items() if _has_unit(what, unit)), EXACT)
        if not abs(real - twin) <= tolerance:
            yield Difference(what, f"{real:g}", f"{twin:g}", tolerance)
    elif isinstance(real, Exception) or isinstance(twin, Exception):
        if type(real) is not type(twin):
            yield Difference(what, _told_as(real), _told_as(twin), None)
    elif real != twin:
        yield Difference(what, str(real), str(twin), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_unit(what: str, unit: str) -> bool:
    return any(part.endswith(unit) for part in what.split("."))


def _told_as(outcome: Any) -> str:
    return f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else "done"
