"""An emulated ITLA: registers, its time to light up, and answers that can be asked for again."""

from __future__ import annotations

import math
from typing import Final, Literal

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import NotNegative
from qnoded_drivers.itla_msa.codec import (
    FATAL,
    FRAME_BYTES,
    PER_DB,
    READY,
    SENA,
    Alarm,
    Answer,
    Question,
    Refusal,
    Register,
    Status,
    answered,
    damaged,
    question_of,
    signed,
)

LIGHTING: Final = 1 << 8
"""The bit of what is pending."""
OFF_BY_DB: Final = 0.02
"""What it emits is so much more than what was set."""
DARK_DBM: Final = -60.0
FORGETTING_S: Final = 0.1
"""A question that is not complete by then is forgotten."""
CONSTANTS: Final = {
    Register.STATUS_FATAL: 0,
    Register.TEMPERATURE: 3214,
    Register.LOWEST_POWER: 700,
    Register.HIGHEST_POWER: 1350,
    Register.LOWEST_THZ: 191,
    Register.LOWEST_STEPS: 5000,
    Register.HIGHEST_THZ: 196,
    Register.HIGHEST_STEPS: 2500,
}
HOT: Final = {Register.STATUS_FATAL: Alarm.TEMPERATURE | FATAL, Register.TEMPERATURE: 7800}
"""What some of them become when it is too hot."""
PARITY_BIT: Final = 1 << 4
"""The lowest of the four in the first byte."""
AT_START: Final = {
    Register.CHANNEL: 1,
    Register.POWER_SET: 1000,
    Register.OUTPUT: 0,
    Register.FIRST_THZ: 191,
    Register.FIRST_STEPS: 5000,
    Register.FIRST_MHZ: 0,
}
"""What can be written, as it stands without having been."""
IN_THE_DARK: Final = {Register.FIRST_THZ, Register.FIRST_STEPS, Register.FIRST_MHZ}
"""What can be written only while the output is off."""


class EmulatedItla(Device):
    """A laser of edition 1.3, or of 1.2."""

    def __init__(
        self,
        serial: str = "CRTMJ00123",
        edition: Literal["1.2", "1.3"] = "1.3",
        *,
        maker: str = "Pure Photonics",
        model: str = "PPCL200",
        warm_up_s: NotNegative = 0.5,
    ) -> None:
        """Make one that lights up within ``warm_up_s``; real ones take up to 30 s."""
        self.serial = serial
        self._edition, self._warm_up_s = edition, warm_up_s
        self.too_hot = False
        self._texts = {Register.MAKER: maker, Register.MODEL: model}

    def switch_on(self, now_s: float) -> None:
        """Be dark, at the frequency of the factory."""
        del now_s
        self.constants = dict(CONSTANTS)
        self.written = dict(AT_START)
        if self._edition == "1.2":
            del self.written[Register.FIRST_MHZ]
        self.lit_s = -math.inf
        """When it was switched on last."""
        self._heard = b""
        self._heard_s = 0.0
        self._text = b""
        self._refusal = Refusal.NONE
        self._said = answered(Answer(Status.OK, Register.NOP, READY))

    @property
    def emits(self) -> bool:
        """Whether its output is on."""
        return bool(self.written[Register.OUTPUT] & SENA)

    @property
    def set_dbm(self) -> float:
        """Power that was set."""
        return signed(self.written[Register.POWER_SET]) / PER_DB

    def power_dbm(self, now_s: float) -> float:
        """Power at its output."""
        return self.set_dbm + OFF_BY_DB if self.emits and not self._lighting(now_s) else DARK_DBM

    def _lighting(self, now_s: float) -> bool:
        return self.emits and now_s - self.lit_s < self._warm_up_s

    def light_dbm(self, now_s: float) -> float | None:
        """Return the power of its light."""
        return self.power_dbm(now_s) if self.emits and not self._lighting(now_s) else None

    def misreckoned(self, message: bytes) -> bytes:
        """Return an answer with another parity."""
        return bytes([message[0] ^ PARITY_BIT]) + message[1:]

    def constant(self, register: Register) -> int:
        """Return what stands in a register that cannot be written; too hot, it says so and goes on emitting."""
        return (HOT if self.too_hot else {}).get(register, self.constants[register])

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer each question of four bytes."""
        if now_s - self._heard_s > FORGETTING_S:
            self._heard = b""
        self._heard_s = now_s
        self._heard += data
        said = []
        while len(self._heard) >= FRAME_BYTES:
            frame, self._heard = self._heard[:FRAME_BYTES], self._heard[FRAME_BYTES:]
            said.append(self._answer(frame, now_s))
        return said

    def _answer(self, frame: bytes, now_s: float) -> bytes:
        question = question_of(frame)
        if question is None:
            return damaged(frame[1])
        if not question.again:
            self._said = answered(self._done(question, now_s))
        return self._said

    def _done(self, question: Question, now_s: float) -> Answer:
        register = question.register
        if register == Register.NOP:
            pending = LIGHTING if self._lighting(now_s) else 0
            refusal, self._refusal = self._refusal, Refusal.NONE
            return Answer(Status.OK, register, pending | READY | refusal)
        if self.busy:
            self.busy = False
            return self._refused(register, Refusal.STILL_PENDING)
        return self._written(question, now_s) if question.writes else self._read(register, now_s)

    def _read(self, register: int, now_s: float) -> Answer:
        texts = {**self._texts, Register.SERIAL: self.serial}
        if register in texts:
            self._text = texts[Register(register)].encode() + b"\0"
            return Answer(Status.TEXT, register, len(self._text))
        if register == Register.TEXT:
            pair, self._text = self._text[:2].ljust(2, b"\0"), self._text[2:]
            return Answer(Status.OK, register, int.from_bytes(pair, "big"))
        if register == Register.POWER:
            return Answer(Status.OK, register, round(self.power_dbm(now_s) * PER_DB))
        if register in self.written:
            return Answer(Status.OK, register, self.written[Register(register)])
        if register in self.constants:
            return Answer(Status.OK, register, self.constant(Register(register)))
        return self._refused(register, Refusal.NOT_IMPLEMENTED)

    def _written(self, question: Question, now_s: float) -> Answer:
        register, value = question.register, question.value
        if register not in self.written:
            known = register in self.constants
            return self._refused(register, Refusal.NOT_WRITABLE if known else Refusal.NOT_IMPLEMENTED)
        if register in IN_THE_DARK and self.emits:
            return self._refused(register, Refusal.OUTPUT_IS_ON)
        if register == Register.POWER_SET and self._lighting(now_s):
            return self._refused(register, Refusal.STILL_PENDING)
        low, high = self.constants[Register.LOWEST_POWER], self.constants[Register.HIGHEST_POWER]
        if register == Register.POWER_SET and not low <= signed(value) <= high:
            return self._refused(register, Refusal.OUT_OF_RANGE)
        lights = register == Register.OUTPUT and bool(value & SENA) and not self.emits
        self.written[Register(register)] = value
        if lights:
            self.lit_s = now_s
        return Answer(Status.PENDING if lights else Status.OK, register, value)

    def _refused(self, register: int, refusal: Refusal) -> Answer:
        self._refusal = refusal
        return Answer(Status.REFUSED, register, 0)
