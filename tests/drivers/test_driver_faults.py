"""Every driver, every fault, while connecting, reading and commanding: a correct value or a named error, in time.

The emulator knows the truth; what the driver says is compared with it. Afterwards the driver works again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import pytest
from driver_benches import CASES, Case, Stand, runner, standing
from driver_truths import TRUTHS, Truth

from qnoded.errors import InstrumentError
from qnoded.testing.contract.subject import Probe
from qnoded.testing.emulation import Fault, FaultKind, can_befall

MESSAGES = (0, 1, 4)
"""Which of the instrument's messages is spoilt in each phase."""
PLACES = {0: 0.2, 1: 0.99, 4: 0.5}
"""Where in it."""
READINGS = 3
ATTEMPTS = 8
PAUSE_S = 0.1


@dataclass
class Ordeal:
    case: Case
    stand: Stand
    truth: Truth
    driver: Any
    turn: int = 0

    async def ready(self) -> None:
        """Make it work again, as the node would, after what a person would do to a unit that hangs."""
        for emulation in self.stand.emulations:
            emulation.script()
            if emulation.afflicted or getattr(emulation.device, "hangs", False):
                emulation.power_cycle()
        for _ in range(ATTEMPTS):
            try:
                await self.driver.connect()
                await self.driver.configure()
                await self.truth.settle(self.driver)
                self.judge(await self.driver.read())
            except InstrumentError:
                await asyncio.sleep(PAUSE_S)
            else:
                return
        pytest.fail(f"it does not work again after {ATTEMPTS} attempts")

    def judge(self, reading: Any) -> None:
        self.truth.judge(reading, self.stand.emulations, self.driver.instrument)

    async def connecting(self, begin: Callable[[], None]) -> None:
        await self.driver.close()
        begin()
        identity = await self.driver.connect()
        assert identity.serial == self.truth.serial(self.stand.emulations)
        await self.driver.configure()
        self.judge(await self.driver.read())

    async def reading(self, begin: Callable[[], None]) -> None:
        await self.truth.work(self.driver, self.turn, self.stand.emulations)
        await self.truth.settle(self.driver)
        begin()
        for _ in range(READINGS):
            with suppress(InstrumentError):
                self.judge(await self.driver.read())

    async def commanding(self, begin: Callable[[], None]) -> None:
        begin()
        with suppress(InstrumentError):
            await self.truth.work(self.driver, self.turn, self.stand.emulations)
        for _ in range(READINGS):
            with suppress(InstrumentError):
                self.judge(await self.driver.read())


class Phase(Protocol):
    __name__: str

    def __call__(self, ordeal: Ordeal, begin: Callable[[], None]) -> Awaitable[None]: ...


PHASES: tuple[Phase, ...] = (Ordeal.connecting, Ordeal.reading, Ordeal.commanding)
ORDEALS = list(product(FaultKind, PHASES))


async def survives(case: Case, kind: FaultKind, phase: Phase) -> None:
    async with standing(case) as stand:
        ordeal = Ordeal(case, stand, TRUTHS[case.driver], Probe(case.driver_class(stand.settings)))
        try:
            for message in MESSAGES:
                await ordeal.ready()
                ordeal.turn += 1
                fault = Fault(kind, message, PLACES[message])
                with suppress(InstrumentError):
                    await phase(ordeal, lambda fault=fault: stand.emulations[0].script(fault))
            await ordeal.ready()
            await ordeal.truth.work(ordeal.driver, ordeal.turn, stand.emulations)
        finally:
            await ordeal.driver.close()
        # What was written last has to arrive.
        await asyncio.sleep(PAUSE_S)
        ordeal.truth.afterwards(stand.emulations)


@pytest.mark.parametrize("driver", CASES)
def test_a_fault_gives_a_correct_value_or_a_named_error(driver: str) -> None:
    case = CASES[driver]
    impossible = case.impossible | (set() if case.damage else {FaultKind.CORRUPTED})
    device = case.devices()[0]
    ordeals = [(kind, phase) for kind, phase in ORDEALS if kind not in impossible and can_befall(kind, device)]

    async def all_at_once() -> list[BaseException | None]:
        return await asyncio.gather(*(survives(case, kind, phase) for kind, phase in ordeals), return_exceptions=True)

    outcomes = runner(driver)(all_at_once())
    failed = {
        f"{kind} while {phase.__name__}": error
        for (kind, phase), error in zip(ordeals, outcomes, strict=True)
        if error is not None
    }
    for what, error in failed.items():
        error.add_note(what)
    if failed:
        message = f"{driver}: {', '.join(failed)}"
        raise BaseExceptionGroup(message, list(failed.values()))
