"""The driver; imports of qnoded only what is public for drivers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled
from qnoded.instruments.capability import AttenuatorCapability, Identity
from qnoded.instruments.limits import within
from qnoded.instruments.reading import AttenuatorReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, read_address

PORT: Final = SerialPort(9600)
ANSWER_S: Final = 1.0
LONGEST_LINE: Final = 80
MAX_DB: Final = 60.0
MODEL: Final = "VOA-60"


class StrangerVoaSettings(Addressed):
    """Where it is, and the least that it may attenuate."""

    min_db: float = Field(default=0.0, ge=0.0, lt=MAX_DB)


class LineDecoder:
    """Cuts bytes into lines of text."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> list[str]:
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        texts = [line.decode("latin-1").strip() for line in lines]
        if len(self._waiting) > LONGEST_LINE or not all(text.isascii() and text.isprintable() for text in texts):
            problem = f"{(*texts, self._waiting)} are no lines of text"
            raise InstrumentGarbled(problem)
        return texts


class StrangerVoa:
    """Attenuates; safe at its highest loss."""

    Settings: ClassVar[type[BaseModel]] = StrangerVoaSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._line = Line("Stranger VOA-60", read_address(settings.address), PORT, LineDecoder, _name)
        self._requested_db: float | None = None
        self.capability = AttenuatorCapability(settings.min_db, MAX_DB, settling_s=0.5)

    async def connect(self) -> Identity:
        self._requested_db = None
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            maker, model, serial, firmware = await _name(talk)
        return Identity(maker, model, serial, firmware)

    async def configure(self) -> None:
        await self._set(MAX_DB, Lane.COMMAND, ANSWER_S)

    async def attenuate(self, attenuation_db: float) -> None:
        low_db, high_db = self.capability.min_db, self.capability.max_db
        await self._set(within("attenuation", attenuation_db, low_db, high_db, "dB"), Lane.COMMAND, ANSWER_S)

    async def read(self) -> AttenuatorReading:
        async with self._line.turn(Lane.POLL, ANSWER_S) as talk:
            answer = await talk.ask(b"ATT?\n", lambda line: line)
        try:
            shown_db = float(answer)
        except ValueError:
            problem = f"ATT? was answered with {answer!r}, no number"
            raise InstrumentGarbled(problem) from None
        now_s = asyncio.get_running_loop().time()
        return AttenuatorReading(Setting(self._requested_db, self._requested_db, shown_db, now_s))

    async def make_safe(self) -> None:
        with suppress(InstrumentError):
            await self._set(MAX_DB, Lane.STOP, STOP_S)

    async def close(self) -> None:
        await self.make_safe()
        await self._line.end()

    async def _set(self, attenuation_db: float, lane: Lane, limit_s: float) -> None:
        async with self._line.turn(lane, limit_s) as talk:
            answer = await talk.ask(f"ATT {attenuation_db:.2f}\n".encode(), lambda line: line)
            if answer != "OK":
                problem = f"{attenuation_db:.2f} dB were answered with {answer!r}"
                raise InstrumentFault(problem)
        self._requested_db = attenuation_db


async def _name(talk: Talk[str]) -> tuple[str, str, str, str]:
    answer = await talk.ask(b"*IDN?\n", lambda line: line)
    parts = answer.split(",")
    if len(parts) != len(("maker", "model", "serial", "firmware")) or parts[1] != MODEL:
        problem = f"*IDN? was answered with {answer!r}; is this a {MODEL}?"
        raise InstrumentGarbled(problem)
    return parts[0], parts[1], parts[2], parts[3]
