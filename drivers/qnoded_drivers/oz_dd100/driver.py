"""``oz-dd100``: a variable attenuator that claims no attenuation before it has been home.

After it was switched on it does not know where it is. ``configure`` sends it home, which takes longer than a call may:
the node shows how far it is and connects again until it is there. Position and configuration are asked in turn, which
cannot be taken for each other, and looked at twice.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from pydantic import BaseModel

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import AttenuatorCapability, Identity
from qnoded.instruments.limits import within
from qnoded.instruments.reading import AttenuatorReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.oz_dd100.codec import (
    ASK_CONFIGURATION,
    ASK_POSITION,
    HOME,
    Block,
    BlockDecoder,
    Configuration,
    attenuate,
    configuration_of,
    granted,
    is_order_done,
    position_of,
)

PORT: Final = SerialPort(9600)
PATIENCE_S: Final = 2.0
"""How long a unit that moves is waited for; it hears nothing meanwhile."""
LOOK_S: Final = 3.0
"""For that, and for two looks: a configuration has 200 characters."""
MOVE_S: Final = 3.9
"""For that, and for an order between two looks."""
BEGIN_S: Final = 1.0
"""A short move ends within this time; a longer one goes on by itself."""
STOPPING_S: Final = STOP_S - 0.1
LONGEST_MOVE_S: Final = 10.0
"""Some thousands of steps of about a millisecond."""
HOMING_S: Final = 1.8
"""How long ``configure`` waits for a unit to come home."""
LONGEST_HOMING_S: Final = 40
TOLERANCE_DB: Final = 0.2
"""Between an attenuation that was set and the one read back: the motor has steps."""


class Dd100Settings(Addressed):
    """An attenuator."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the unit says at one moment."""

    attenuation_db: float | None
    configuration: Configuration


class Dd100:
    """Safe at its highest loss, where it stays without power."""

    Settings: ClassVar[type[BaseModel]] = Dd100Settings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        place = read_address(settings.address)
        self._line = Line("OZ Optics DD-100-MC", place, PORT, BlockDecoder, self._find_step)
        self._configuration: Configuration | None = None
        self._requested_db: float | None = None
        self._moving_until_s = 0.0
        """When a move that is under way should have ended, event loop's clock; 0: it rests."""
        self.capability = AttenuatorCapability(0.0, 0.0, 0.0)

    async def connect(self) -> Identity:
        """Open the line and ask who is there; a unit that is on its way home does not answer."""
        self._configuration = self._requested_db = None
        self._moving_until_s = 0.0
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, LOOK_S) as talk:
            look = await confirmed(partial(_look, talk), Look.__eq__, "its configuration")
        told = self._configuration = look.configuration
        self.capability = AttenuatorCapability(told.lowest_db, told.highest_db, LONGEST_MOVE_S)
        return Identity("OZ Optics", told.model, told.serial, told.firmware)

    async def configure(self) -> None:
        """Go home if it does not know where it is, and then to the highest loss."""
        async with self._line.turn(Lane.COMMAND, MOVE_S) as talk:
            if (await self._looked(talk)).attenuation_db is None:
                await self._home(talk)
            await self._go(talk, self.capability.max_db, BEGIN_S)

    async def _home(self, talk: Talk[Block]) -> None:
        await self._order(talk, HOME, HOMING_S)
        if self._moving_until_s:
            # It hears nothing until it is there: whoever asks has to come again.
            self._moving_until_s = 0.0
            self._line.close()
            problem = (
                f"{self._line}: it does not know where it is and has begun to look for its home position; "
                f"that takes up to {LONGEST_HOMING_S} s, until which it does not answer"
            )
            raise InstrumentFault(problem)

    async def attenuate(self, attenuation_db: float) -> None:
        """Begin to go to an attenuation."""
        capability = self.capability
        wanted_db = within("attenuation_db", attenuation_db, capability.min_db, capability.max_db, "dB")
        async with self._line.turn(Lane.COMMAND, MOVE_S) as talk:
            if await self._moves(talk):
                problem = (
                    f"{self._line}: it is still on its way to {self._requested_db} dB; tell it again when it is there"
                )
                raise InstrumentFault(problem)
            self._attenuation_db(await self._looked(talk))
            await self._go(talk, wanted_db, BEGIN_S)

    async def _go(self, talk: Talk[Block], wanted_db: float, wait_s: float) -> None:
        self._requested_db = wanted_db
        await self._order(talk, attenuate(wanted_db), wait_s)
        if self._moving_until_s:
            return
        shown_db = self._attenuation_db(await self._looked(talk))
        if abs(shown_db - wanted_db) > TOLERANCE_DB:
            problem = f"{self._line}: {wanted_db:.2f} dB were set, it has {shown_db:.2f} dB"
            raise InstrumentFault(problem)

    async def _order(self, talk: Talk[Block], order: bytes, wait_s: float) -> None:
        """Send an order once; one that is not done in time goes on by itself."""
        self._moving_until_s = _loop_s() + LONGEST_MOVE_S
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await talk.ask(order, lambda block: is_order_done(granted(block)) or None)
                self._moving_until_s = 0.0

    async def _moves(self, talk: Talk[Block]) -> bool:
        """Whether it is still on its way, having been waited for: any answer shows that it is not."""
        if not self._moving_until_s:
            return False
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _ask_configuration(talk)
        except TimeoutError:
            if _loop_s() < self._moving_until_s:
                return True
            problem = (
                f"{self._line}: it did not arrive at {self._requested_db} dB in {LONGEST_MOVE_S:g} s; is it stuck?"
            )
            raise InstrumentFault(problem) from None
        self._moving_until_s = 0.0
        return False

    async def read(self) -> AttenuatorReading:
        """Return the attenuation; unknown while it moves."""
        async with self._line.turn(Lane.POLL, LOOK_S) as talk:
            if await self._moves(talk):
                return AttenuatorReading(Setting(self._requested_db, None, None))
            shown_db = self._attenuation_db(await self._looked(talk))
        return AttenuatorReading(Setting(self._requested_db, None, shown_db, _loop_s()))

    def _attenuation_db(self, look: Look) -> float:
        if look.attenuation_db is None:
            problem = (
                f"{self._line}: it does not know where it is, since it was switched on or its motor was lost; "
                "connect again, and it is sent home"
            )
            raise InstrumentFault(problem)
        return look.attenuation_db

    async def make_safe(self) -> None:
        """Go to the highest loss."""
        if self._configuration is None:
            return
        highest_db = self.capability.max_db
        # While it moves it answers nothing that could bring the line back into step, but may hear later.
        moving_elsewhere = self._moving_until_s and self._requested_db != highest_db
        order = attenuate(highest_db) if moving_elsewhere else b""
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S, order) as talk:
                if self._requested_db != highest_db or not self._moving_until_s:
                    await self._go(talk, highest_db, STOPPING_S)

    async def close(self) -> None:
        """Go to the highest loss and hang up."""
        await self.make_safe()
        await self._line.end()

    async def _looked(self, talk: Talk[Block]) -> Look:
        look = await confirmed(partial(_look, talk), Look.__eq__, "its position")
        if look.configuration != self._configuration:
            problem = f"{self._line}: {look.configuration} instead of {self._configuration}; connect again"
            raise InstrumentGarbled(problem)
        return look

    async def _find_step(self, talk: Talk[Block]) -> None:
        configuration = await _ask_configuration(talk)
        if self._configuration not in (None, configuration):
            problem = f"{configuration} instead of {self._configuration}"
            raise InstrumentGarbled(problem)


async def _look(talk: Talk[Block]) -> Look:
    position = await talk.ask(ASK_POSITION, lambda block: position_of(granted(block)))
    return Look(position.attenuation_db, await _ask_configuration(talk))


async def _ask_configuration(talk: Talk[Block]) -> Configuration:
    return await talk.ask(ASK_CONFIGURATION, lambda block: configuration_of(granted(block)))


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
