"""The polarization controller goes where it is due, also when it comes back; a bad value does not reconnect it."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from qnoded.errors import InstrumentFault, QnodedError, UsageError
from qnoded.exchange.happenings import ControllerStands
from qnoded.exchange.reports import ControllerDue
from qnoded.instruments.capability import Identity, PolarizationControllerCapability
from qnoded.instruments.reading import PolarizationReading, Setting
from qnoded.node.tasks import background
from qnoded.node.turning import Turning
from qnoded.testing import virtual_time

POSITIONS = {"key": (0.0, 0.0, 0.0), "chsh": (90.0, 45.0, 270.0)}


class Controller:
    """Notes its moves; raises what it is given."""

    Settings = None
    simulated = True
    capability = PolarizationControllerCapability(("a", "b", "c"), 0.0, 360.0, 0.1)

    def __init__(
        self, error: QnodedError | None = None, looks: float = 0, shown: Callable[[float], float | None] = float
    ) -> None:
        self.moves: list[tuple[float, ...]] = []
        self._error, self._looks, self._shown = error, looks, shown

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        if self._error is not None:
            raise self._error
        self.moves.append(settings_deg)

    async def connect(self) -> Identity:
        return Identity("a", "b", "c")

    async def configure(self) -> None: ...

    async def read(self) -> PolarizationReading:
        self._looks -= 1
        settings = tuple(Setting(one, None, self._shown(one)) for one in self.moves[-1])
        return PolarizationReading(self._looks >= 0, settings)

    async def make_safe(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class Rack:
    """The part of the node's instruments that turning asks."""

    coming: asyncio.Queue[Controller] = field(default_factory=asyncio.Queue)
    present: Controller | None = None
    reports: list[QnodedError] = field(default_factory=list)

    def get(self, _role: str) -> Controller | None:
        return self.present

    async def appearances(self, _role: str) -> AsyncIterator[Controller]:
        while True:
            self.present = await self.coming.get()
            yield self.present

    def report(self, _role: str, _instrument: Controller, error: QnodedError) -> None:
        self.reports.append(error)


def test_it_moves_when_due_and_again_when_it_comes_back() -> None:
    async def turn() -> None:
        rack, told = Rack(), []
        turning = Turning(rack, POSITIONS, "key", lambda level, text: told.append((level, text)))
        first, second = Controller(), Controller()
        async with background(turning.run()):
            await rack.coming.put(first)
            await asyncio.sleep(1)
            turning.take("another report")
            turning.take(ControllerDue("chsh", 7))
            await asyncio.sleep(1)
            assert first.moves == [POSITIONS["key"], POSITIONS["chsh"]]
            rack.present = None
            turning.take(ControllerDue("key", 9))
            await asyncio.sleep(1)
            assert told[-1] == ("warning", "position 'key' is due, and no controller is ready: it moves later")
            await rack.coming.put(second)
            await asyncio.sleep(1)
            assert second.moves == [POSITIONS["key"]]

    virtual_time.run(turn())


@pytest.mark.parametrize(("looks", "rests"), [(0, True), (3, True), (math.inf, False)])
def test_links_are_told_when_it_leaves_and_when_it_rests(looks: float, rests: bool) -> None:
    """At once, after three looks, and never: then it is at fault, and nobody knows where it stands."""

    async def turn() -> tuple[list[ControllerStands], list[QnodedError]]:
        rack, stands = Rack(), []
        turning = Turning(rack, POSITIONS, "key", lambda _level, _text: None)
        turning.followers.append(stands.append)
        assert turning.problem is not None
        async with background(turning.run()):
            await asyncio.sleep(0)
            assert stands == [ControllerStands(None, 0)]
            stands.clear()
            await rack.coming.put(Controller(looks=looks))
            await asyncio.sleep(10)
            turning.take(ControllerDue("chsh", 7))
            await asyncio.sleep(10)
        return stands, rack.reports

    stands, reports = virtual_time.run(turn())
    assert stands[0] == ControllerStands(None, 1)
    if rests:
        assert stands[1:] == [ControllerStands("key", 1), ControllerStands(None, 2), ControllerStands("chsh", 2)]
        assert reports == []
    else:
        assert stands[1:] == [ControllerStands(None, 2)]
        assert "still moving" in str(reports[0])


def test_a_fault_is_reported_for_reconnection_and_a_refused_value_is_not() -> None:
    async def fail(error: QnodedError) -> list[QnodedError]:
        rack, told = Rack(), []
        turning = Turning(rack, POSITIONS, "key", lambda level, text: told.append((level, text)))
        async with background(turning.run()):
            await rack.coming.put(Controller(error))
            await asyncio.sleep(1)
        assert told == [("error", str(error))]
        return rack.reports

    fault, refusal = InstrumentFault("it is stuck"), UsageError("400 deg is more than 360")
    assert virtual_time.run(fail(fault)) == [fault]
    assert virtual_time.run(fail(refusal)) == []


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (lambda asked_deg: 0.9 * asked_deg, r"element 0 stands at 81\.00 deg, 'key' is 90\.00 deg: see whether it is"),
        (lambda _asked_deg: math.nan, "element 0 stands at nan deg"),
        (lambda _asked_deg: None, "element 0 does not say where it stands"),
    ],
)
def test_a_controller_that_stays_short_of_its_position_is_a_problem_until_it_gets_there(
    shown: Callable[[float], float | None], words: str
) -> None:
    async def turn() -> None:
        rack, stands = Rack(), []
        turning = Turning(rack, {"key": (90.0, 45.0, 270.0)}, "key", lambda _level, _text: None)
        turning.followers.append(stands.append)
        async with background(turning.run()):
            await rack.coming.put(Controller(shown=shown))
            await asyncio.sleep(1)
            assert re.search(words, turning.problem or "")
            assert re.search(words, str(rack.reports[0]))
            assert {one.setting for one in stands} == {None}
            await rack.coming.put(Controller(shown=lambda asked_deg: asked_deg + 360.5))
            await asyncio.sleep(1)
            assert turning.problem is None
            assert stands[-1] == ControllerStands("key", 2)

    virtual_time.run(turn())


def test_a_controller_of_another_number_of_elements_is_a_problem() -> None:
    async def turn() -> None:
        rack = Rack()
        turning = Turning(rack, {"key": (0.0, 0.0)}, "key", lambda _level, _text: None)
        fitting = Controller()
        fitting.read = lambda: three_elements()
        async with background(turning.run()):
            await rack.coming.put(fitting)
            await asyncio.sleep(1)
        assert turning.problem == "polarization: shows 3 elements, position 'key' has 2 angles"

    async def three_elements() -> PolarizationReading:
        return PolarizationReading(False, (Setting(0.0, None, 0.0),) * 3)

    virtual_time.run(turn())
