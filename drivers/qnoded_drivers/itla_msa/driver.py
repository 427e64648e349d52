"""``itla-msa``: tunable telecom lasers that keep to OIF ITLA-MSA, over a serial port.

Such a laser has no watchdog: with its cable pulled it goes on as it was told last. As long as the driver can reach it,
it is switched off when its permit lapses, when somebody asks for it, and whenever a reading finds light without a
permit. Its frequency can be set in the dark only, and is forgotten without power: it is written and read back each time
before the laser is switched on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from qnoded.errors import EmissionRefused, InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import Identity, LaserCapability
from qnoded.instruments.dead_man import DeadMan
from qnoded.instruments.limits import within
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.raw_safe import RawSafe
from qnoded.instruments.reading import LaserReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.itla_msa.codec import (
    DARK,
    PENDING,
    PER_DB,
    PER_DEGREE,
    REFUSAL,
    SENA,
    Answer,
    AnswerDecoder,
    Refusal,
    Register,
    Status,
    alarms_of,
    in_registers,
    of_registers,
    read,
    safe_order,
    signed,
    write,
)

IDENTITY_S: Final = 3.0
"""Three texts, twice, two bytes at a time: about 80 answers of 30 ms at 9600 baud."""
COMMAND_S: Final = 1.5
"""About 20 answers; with that of ``make_safe`` after a failure it stays within the limit of a call."""
LOOK_S: Final = 1.5
"""For four looks of five answers at most."""
RETRY_S: Final = 0.05
"""Between two orders to switch off, if the first is refused."""
LONGEST_PERMIT_S: Final = 5.0
LONGEST_TEXT: Final = 80
"""Bytes; the agreement's limit for texts."""
FIRST_CHANNEL: Final = 1
OFF: Final = write(Register.OUTPUT, 0)
C_NM_MHZ: Final = 299_792_458_000.0
"""Speed of light, nm times MHz."""


class ItlaSettings(Addressed):
    """A laser and its frequency."""

    frequency_ghz: float = Field(gt=100_000.0, lt=400_000.0)
    """In vacuum, to 0.1 GHz; lasers of edition 1.3 can be set to 0.001 GHz."""
    baud: Literal[9600, 19200, 38400, 57600, 115200] = 9600


@dataclass(frozen=True, slots=True)
class Look:
    """What a laser says at one moment."""

    emits: bool
    """Whether it may emit: switched on, though perhaps not there yet."""
    pending: bool
    """Whether it is still getting there."""
    accepted_dbm: float
    power_dbm: float
    temperature_c: float

    def agrees(self, other: Look) -> bool:
        """Whether two looks, one after the other, can both be true."""
        return (self.emits, self.accepted_dbm) == (other.emits, other.accepted_dbm)


class Itla:
    """One laser."""

    Settings: ClassVar[type[BaseModel]] = ItlaSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._frequency_mhz = round(settings.frequency_ghz * 1000)
        place = read_address(settings.address)
        self._line = Line("ITLA", place, SerialPort(settings.baud), AnswerDecoder, self._find_step, parting=OFF)
        self.capability = LaserCapability(C_NM_MHZ / self._frequency_mhz, 0.0, 0.0, LONGEST_PERMIT_S)
        self._requested_dbm: float | None = None
        self._dead_man = DeadMan(self.make_safe)
        self._stops = 0
        """Orders to go dark so far."""

    @classmethod
    def raw_safe(cls, settings: Any) -> tuple[RawSafe, ...]:
        """Return what makes it dark without this driver."""
        return (RawSafe(settings.address, settings.baud, safe_order(), DARK),)

    async def connect(self) -> Identity:
        """Open the line and ask who is there, and for the ranges of power and frequency."""
        self._requested_dbm = None
        await self._line.open()
        try:
            async with self._line.turn(Lane.COMMAND, IDENTITY_S) as talk:
                # The parts of a text look alike: one that came twice shows only in a second look.
                identity = await confirmed(partial(_identity, talk), Identity.__eq__, "its identity")
                low_dbm = signed(await _value(talk, Register.LOWEST_POWER)) / PER_DB
                high_dbm = signed(await _value(talk, Register.HIGHEST_POWER)) / PER_DB
                low_mhz = of_registers(
                    await _value(talk, Register.LOWEST_THZ), await _value(talk, Register.LOWEST_STEPS)
                )
                high_mhz = of_registers(
                    await _value(talk, Register.HIGHEST_THZ), await _value(talk, Register.HIGHEST_STEPS)
                )
                if not low_mhz <= self._frequency_mhz <= high_mhz:
                    problem = (
                        f"{self._line}: frequency_ghz {self._frequency_mhz / 1000} cannot be set; "
                        f"this laser has {low_mhz / 1000} to {high_mhz / 1000} GHz"
                    )
                    raise InstrumentFault(problem)
        except InstrumentError:
            self._line.close()
            raise
        self.capability = LaserCapability(self.capability.wavelength_nm, low_dbm, high_dbm, LONGEST_PERMIT_S)
        return identity

    async def configure(self) -> None:
        """Switch off and set the frequency."""
        async with self._line.turn(Lane.COMMAND, COMMAND_S) as talk:
            await self._darken(talk)
            await self._tune(talk)
        await self._dead_man.release()

    async def emit(self, power_dbm: float, permit: EmissionPermit) -> None:
        """Switch on, or change the power, under a permit."""
        permit.check(power_dbm, _loop_s())
        within("power_dbm", power_dbm, self.capability.min_power_dbm, self.capability.max_power_dbm, "dBm")
        stops = self._stops
        try:
            async with self._line.turn(Lane.COMMAND, COMMAND_S) as talk:
                goes_on = bool(await _value(talk, Register.OUTPUT) & SENA) and self._dead_man.holds
                if not goes_on:
                    await self._darken(talk)
                    await self._tune(talk)
                # Talking has taken time: what was allowed when it began may be so no longer.
                permit.check(power_dbm, _loop_s())
                self._check_stops(stops)
                self._requested_dbm = power_dbm
                self._dead_man.hold(permit, LONGEST_PERMIT_S)
                # A laser that is still lighting up refuses even the power that it has.
                if signed(await _value(talk, Register.POWER_SET)) != (power := round(power_dbm * PER_DB)):
                    await _set(talk, Register.POWER_SET, power)
                self._check_stops(stops)
                if not goes_on:
                    await _order(talk, Register.OUTPUT, SENA)
        except Exception:
            # Whether it emits now is not known. Of a cancelled call the dead man's switch takes care.
            await self.make_safe()
            raise

    def _check_stops(self, stops: int) -> None:
        """Refuse light that was asked for before the last order to go dark, such as that of a permit's end."""
        if self._stops != stops:
            problem = f"{self._line}: it was made safe after it had been told to emit; tell it again"
            raise EmissionRefused(problem)

    async def renew(self, permit: EmissionPermit) -> None:
        """Go on emitting under a new permit."""
        power_dbm = self.capability.min_power_dbm if self._requested_dbm is None else self._requested_dbm
        permit.check(power_dbm, _loop_s())
        self._dead_man.renew(permit, LONGEST_PERMIT_S)

    async def read(self) -> LaserReading:
        """Return what the laser says of its light; none is left on without a permit."""
        async with self._line.turn(Lane.POLL, LOOK_S) as talk:
            look = await _looked(talk)
            if look.emits and not self._dead_man.holds:
                await self._darken(talk)
                look = await _looked(talk)
            alarms = alarms_of(await _value(talk, Register.STATUS_FATAL))
        # A dark laser is out of the limits of its power, and one that is on its way is out of all.
        if alarms and look.emits and not look.pending:
            problem = f"{self._line}: out of its limits in {alarms.name}; check its cooling and supply"
            raise InstrumentFault(problem)
        settled_dbm = look.power_dbm if look.emits and not look.pending else None
        power = Setting(self._requested_dbm, look.accepted_dbm, settled_dbm, _loop_s())
        return LaserReading(look.emits, power, look.temperature_c)

    async def make_safe(self) -> None:
        """Switch off."""
        self._stops += 1
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S, OFF) as talk:
                await self._darken(talk)
            await self._dead_man.release()

    async def close(self) -> None:
        """Switch off and hang up."""
        await self.make_safe()
        await self._dead_man.release()
        self._line.close()

    async def _darken(self, talk: Talk[Answer]) -> None:
        """Switch off until that is read back; the turn's limit ends it."""
        while True:
            with suppress(InstrumentFault):
                await _order(talk, Register.OUTPUT, 0)
                if not await _value(talk, Register.OUTPUT) & SENA:
                    return
            await asyncio.sleep(RETRY_S)

    async def _tune(self, talk: Talk[Answer]) -> None:
        """Set the frequency of a dark laser."""
        thz, steps, mhz = in_registers(self._frequency_mhz)
        await _set(talk, Register.CHANNEL, FIRST_CHANNEL)
        await _set(talk, Register.FIRST_THZ, thz)
        await _set(talk, Register.FIRST_STEPS, steps)
        knows_mhz = await _ask(talk, Register.FIRST_MHZ, read(Register.FIRST_MHZ))
        if knows_mhz.status is not Status.REFUSED:
            await _set(talk, Register.FIRST_MHZ, mhz)
        elif (refusal := await _refusal(talk)) is not Refusal.NOT_IMPLEMENTED:
            raise _fault(Register.FIRST_MHZ, refusal)
        elif mhz:
            problem = f"{self._line}: it takes frequencies in steps of 0.1 GHz; round frequency_ghz"
            raise InstrumentFault(problem)

    async def _find_step(self, talk: Talk[Answer]) -> None:
        await _value(talk, Register.NOP)


async def _ask(talk: Talk[Answer], register: Register, question: bytes) -> Answer:
    """Return the answer for a register; others are late ones."""
    return await talk.ask(question, lambda answer: answer if answer.register == register else None)


async def _value(talk: Talk[Answer], register: Register) -> int:
    """Return what stands in a register."""
    answer = await _ask(talk, register, read(register))
    if answer.status is Status.REFUSED:
        raise _fault(register, await _refusal(talk))
    if answer.status is not Status.OK:
        problem = f"register {register.name} was answered with status {answer.status.name}, it holds a number"
        raise InstrumentGarbled(problem)
    return answer.value


async def _order(talk: Talk[Answer], register: Register, value: int) -> None:
    """Write a register, once."""
    answer = await _ask(talk, register, write(register, value))
    if answer.status is Status.REFUSED:
        raise _fault(register, await _refusal(talk))


async def _set(talk: Talk[Answer], register: Register, value: int) -> None:
    """Write a register and read it back."""
    await _order(talk, register, value)
    shown = await _value(talk, register)
    if shown != value & 0xFFFF:
        problem = f"{value} was written into register {register.name}, {shown} is read back"
        raise InstrumentFault(problem)


async def _refusal(talk: Talk[Answer]) -> Refusal:
    answer = await _ask(talk, Register.NOP, read(Register.NOP))
    try:
        return Refusal(answer.value & REFUSAL)
    except ValueError:
        problem = f"NOP was answered with {answer.value:#06x}: no known reason for a refusal"
        raise InstrumentGarbled(problem) from None


def _fault(register: Register, refusal: Refusal) -> InstrumentFault:
    reason = refusal.name.lower().replace("_", " ")
    return InstrumentFault(f"the laser refuses register {register.name}: {reason}")


async def _text(talk: Talk[Answer], register: Register) -> str:
    answer = await _ask(talk, register, read(register))
    if answer.status is Status.REFUSED:
        raise _fault(register, await _refusal(talk))
    if answer.status is not Status.TEXT or answer.value > LONGEST_TEXT:
        problem = f"register {register.name} was answered with {answer}; is this an ITLA?"
        raise InstrumentGarbled(problem)
    text = b""
    while len(text) < answer.value:
        text += (await _value(talk, Register.TEXT)).to_bytes(2, "big")
    try:
        return text.split(b"\0")[0].decode("ascii").strip()
    except UnicodeDecodeError:
        problem = f"register {register.name} holds {text!r}, no text"
        raise InstrumentGarbled(problem) from None


async def _identity(talk: Talk[Answer]) -> Identity:
    texts = [await _text(talk, register) for register in (Register.MAKER, Register.MODEL, Register.SERIAL)]
    if not all(texts):
        problem = f"the laser says that its maker, model and serial number are {texts}; one is missing"
        raise InstrumentGarbled(problem)
    return Identity(*texts)


async def _looked(talk: Talk[Answer]) -> Look:
    """Look twice: an answer that was very late could be taken for that to the same question now."""
    return await confirmed(partial(_look, talk), Look.agrees, "its state")


async def _look(talk: Talk[Answer]) -> Look:
    busy = await _value(talk, Register.NOP)
    emits = bool(await _value(talk, Register.OUTPUT) & SENA)
    accepted_dbm = signed(await _value(talk, Register.POWER_SET)) / PER_DB
    power_dbm = signed(await _value(talk, Register.POWER)) / PER_DB
    temperature_c = signed(await _value(talk, Register.TEMPERATURE)) / PER_DEGREE
    return Look(emits, bool(busy & PENDING), accepted_dbm, power_dbm, temperature_c)


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
