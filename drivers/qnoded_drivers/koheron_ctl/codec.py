"""The text that Koheron's laser controllers speak: a command, its echo, a value, a prompt.

Sources: three open drivers, of the CTL200 and of the CTL300E, agree on what is used here. A name alone asks for the
value; a name with a value sets it, and is answered in the same way. Currents are in mA, the diode's temperature is the
resistance of its thermistor in ohm, errors are flags in hexadecimal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from qnoded.errors import InstrumentFault, InstrumentGarbled

PROMPT: Final = b">>"
LONGEST_ANSWER: Final = 512
OFF: Final = b"\r\nlason 0\r\n"
"""Switches the diode off from any state, and leaves its temperature alone. The first line end finishes a command of
which half has been sent. A controller that is just answering may not hear it: it is sent until it is answered."""
DARK: Final = rb"lason 0\r?\n0\r?\n"
"""Found in what it says after ``OFF`` once the diode is off; for a moment longer it says 1."""
NUMBER: Final = re.compile(r"[+-]?\d{1,9}(?:\.\d{0,9})?(?:[eE][+-]?\d{1,3})?")
FLAGS: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{1,8}")
ZERO_C_K: Final = 273.15
NOMINAL_K: Final = ZERO_C_K + 25.0
"""Temperature for which a thermistor's resistance is given."""

INTERLOCK: Final = "interlock"
CTL200_ERRORS: Final = (
    "its input has overflowed",
    "a command came before its prompt",
    "the diode is too cold",
    "the diode is too hot",
    "it does not know a command",
    "it does not take a value",
    f"it was switched on with an open {INTERLOCK}",
    f"its {INTERLOCK} was opened",
)
"""From the lowest bit; some are about commands, and nothing is wrong with the laser."""
OTHER_ERRORS: Final = {8: "the diode is too hot"}
"""By bit, of the CTL300E; no more is known of them."""


class AnswerDecoder:
    """Cuts bytes into what stands before each prompt, as lines of text without empty ones."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[list[str]]:
        """Yield the answers that are complete now; ``InstrumentGarbled`` if one does not end."""
        # Zero bytes stand between answers of some units.
        self._waiting += data.replace(b"\0", b"")
        while PROMPT in self._waiting:
            answer, _, self._waiting = self._waiting.partition(PROMPT)
            lines = answer.decode("ascii", "replace").splitlines()
            yield [line.strip() for line in lines if line.strip()]
        if len(self._waiting) > LONGEST_ANSWER:
            problem = f"{len(self._waiting)} bytes without a prompt; is this a Koheron CTL at 115200 baud?"
            raise InstrumentGarbled(problem)


def value_of(answer: list[str], command: str) -> str | None:
    """Return what a command was answered with; None if this is the answer to another one.

    Raises
    ------
    InstrumentFault
        If the controller does not know the command.
    InstrumentGarbled
        If it is no answer.
    """
    if not answer or answer[0] != command:
        return None
    match answer[1:]:
        case [value]:
            return value
        case []:
            problem = f"the laser answered {command!r} with nothing; its model may not have it"
            raise InstrumentFault(problem)
    problem = f"the laser answered {command!r} with {answer[1:]}, expected is one value"
    raise InstrumentGarbled(problem)


def number_of(value: str, command: str) -> float:
    """Return a value that is a number; ``InstrumentGarbled`` if it is none."""
    if NUMBER.fullmatch(value):
        return float(value)
    problem = f"the laser answered {command!r} with {value[:80]!r}, which is no number"
    raise InstrumentGarbled(problem)


def errors_of(flags: str, model: str) -> list[str]:
    """Return what the flags of ``err`` mean; ``InstrumentGarbled`` if they are none."""
    if not FLAGS.fullmatch(flags):
        problem = f"the laser answered 'err' with {flags[:80]!r}, which is no hexadecimal number"
        raise InstrumentGarbled(problem)
    number = int(flags, 16)
    known = dict(enumerate(CTL200_ERRORS)) if model.startswith("CTL200") else OTHER_ERRORS
    return [
        known.get(bit, f"error {1 << bit:#x}, see its manual")
        for bit in range(number.bit_length())
        if number >> bit & 1
    ]


def ohm_of(temperature_c: float, nominal_ohm: float, beta_k: float) -> float:
    """Return a thermistor's resistance: the hotter, the less."""
    return nominal_ohm * math.exp(beta_k * (1.0 / (temperature_c + ZERO_C_K) - 1.0 / NOMINAL_K))


def temperature_of(resistance_ohm: float, nominal_ohm: float, beta_k: float) -> float:
    """Return the temperature, degrees Celsius, at which a thermistor has this resistance."""
    if not resistance_ohm > 0.0:
        problem = f"a thermistor of {resistance_ohm} ohm; is it connected?"
        raise InstrumentFault(problem)
    inverse = math.log(resistance_ohm / nominal_ohm) / beta_k + 1.0 / NOMINAL_K
    return 1.0 / inverse - ZERO_C_K
