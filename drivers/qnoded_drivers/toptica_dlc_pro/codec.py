"""The command line of Toptica's DeCoF: questions in the manner of Scheme, answers of one line before a prompt.

Sources: two public simulators of the DLC pro and several open drivers agree on what is used here. The answer may be
preceded by an echo of the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from qnoded.errors import InstrumentFault, InstrumentGarbled

PROMPT: Final = re.compile(rb"(?:\A|\r?\n)> ")
LONGEST_ANSWER: Final = 1 << 14
BANNER: Final = "DeCoF"
"""Word of the greeting that comes before the first prompt."""
INTEGER: Final = re.compile(r"[+-]?\d{1,18}")
DECIMAL: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?")
ERROR: Final = re.compile(r"Error: (-?\d{1,6}) ?(.*)")

Value = bool | int | float | str

ENABLED: Final = "laser1:dl:cc:enabled"
"""The current, and with it the light."""
DARK: Final = rb"(?:\n|> )0\r?\n> (?:\(param-ref[^\n]*\n)?#f\r?\n> "
"""Found in what it says after ``safe_order``, echo or not, once its current is off; both answers, as a late one may
come first."""


class AnswerDecoder:
    """Cuts bytes into what stands before each prompt."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the answers that are complete now.

        Raises
        ------
        InstrumentGarbled
            If an answer does not end.
        """
        self._waiting += data
        while found := PROMPT.search(self._waiting):
            answer, self._waiting = self._waiting[: found.start()], self._waiting[found.end() :]
            yield answer.decode("utf-8", "replace").strip()
        if len(self._waiting) > LONGEST_ANSWER:
            problem = f"{len(self._waiting)} bytes without a prompt; is this the command line of a DLC pro (port 1998)?"
            raise InstrumentGarbled(problem)


def question(name: str) -> bytes:
    """Return the question for a parameter."""
    return f"(param-ref '{name})\r\n".encode()


def order(name: str, value: Value) -> bytes:
    """Return the order to set a parameter."""
    return f"(param-set! '{name} {written(value)})\r\n".encode()


def safe_order() -> bytes:
    """Return what makes it dark from any state and asks whether it is; the line end before it ends half a question."""
    return b"\r\n" + order(ENABLED, value=False) + question(ENABLED)


def written(value: Value) -> str:
    """Return a value as it is written in questions and answers."""
    if isinstance(value, bool):
        return "#t" if value else "#f"
    if isinstance(value, str):
        return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def value_of(answer: str, asked: bytes) -> Value:
    """Return the value that an answer holds.

    Parameters
    ----------
    answer
        What stood before the prompt.
    asked
        The question, which may be echoed.

    Raises
    ------
    InstrumentFault
        If it is an error.
    InstrumentGarbled
        If it is no value.
    """
    lines = answer.splitlines()
    if len(lines) > 1 and lines[0].strip() == asked.decode().strip():
        del lines[0]
    text = lines[0].strip() if len(lines) == 1 else answer
    if text in ("#t", "#f"):
        return text == "#t"
    if INTEGER.fullmatch(text):
        return int(text)
    if DECIMAL.fullmatch(text):
        return float(text)
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if error := ERROR.fullmatch(text):
        problem = f"the laser answered {asked.decode().strip()} with error {error[1]}: {error[2]}"
        raise InstrumentFault(problem)
    problem = f"the laser answered {asked.decode().strip()} with {text[:80]!r}, which is no value"
    raise InstrumentGarbled(problem)
