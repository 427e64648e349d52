"""WebSQ's JSON: one object after the other, each a label and its value, with or without the byte 0x17 between.

Source: Single Quantum's own open Python client (WebSQControl). Currents are in microamperes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from qnoded.errors import InstrumentGarbled

END: Final = b"\x17"
LONGEST_OBJECT: Final = 1 << 18
"""Bytes. The longest is the history of a scan."""
BETWEEN: Final = END + b" \t\r\n"
OUTSIDE: Final = re.compile(rb'["{}\x17]')
IN_TEXT: Final = re.compile(rb'["\\\x17]')
"""What matters outside of a text, and in one."""

NUMBER: Final = "NumberOfDetectors"
ENABLED: Final = "DetectorEnable"
CURRENT: Final = "BiasCurrent"
VOLTAGE: Final = "BiasVoltage"


@dataclass(frozen=True, slots=True)
class Label:
    """One object that was told."""

    name: str
    value: Any
    listed: bool = False
    """Whether it came with unit and bounds, as in the answer to ``ASK_ALL``, and not by itself."""


class LabelDecoder:
    """Cuts bytes into labels."""

    def __init__(self) -> None:
        self._waiting = b""
        self._scanned = 0
        """Where to go on in what is waiting; beyond its end if it ends within an escape."""
        self._depth = 0
        self._in_text = False

    def feed(self, data: bytes) -> Iterator[Label]:
        """Yield the labels that are complete now; other objects are left out.

        Raises
        ------
        InstrumentGarbled
            If there is something else than objects.
        """
        self._waiting += data
        while (text := self._next_object()) is not None:
            label = _label(text)
            if label is not None:
                yield label
        if len(self._waiting) > LONGEST_OBJECT:
            problem = f"{len(self._waiting)} bytes without an end are no answer of a WebSQ"
            raise InstrumentGarbled(problem)

    def _next_object(self) -> bytes | None:
        """Take the next object off what is waiting, if it is complete."""
        if self._depth == 0:
            self._waiting = self._waiting.lstrip(BETWEEN)
            if self._waiting and not self._waiting.startswith(b"{"):
                problem = f"{self._waiting[:40]!r} is no JSON of a WebSQ; is this its control port (12000)?"
                raise InstrumentGarbled(problem)
        while found := (IN_TEXT if self._in_text else OUTSIDE).search(self._waiting, self._scanned):
            self._scanned = found.end()
            match found[0]:
                case b"{":
                    self._depth += 1
                case b"}":
                    self._depth -= 1
                case b'"':
                    self._in_text = not self._in_text
                case b"\\":
                    self._scanned += 1
                case _:
                    problem = f"an object ends early: {self._waiting[:80]!r}"
                    raise InstrumentGarbled(problem)
            if self._depth == 0:
                text, self._waiting = self._waiting[: self._scanned], self._waiting[self._scanned :]
                self._scanned = 0
                return text
        self._scanned = max(self._scanned, len(self._waiting))
        return None


def _label(text: bytes) -> Label | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        problem = f"{text[:80]!r} is no JSON"
        raise InstrumentGarbled(problem) from None
    if not isinstance(found.get("label"), str) or "value" not in found:
        return None
    value = found["value"]
    if isinstance(value, dict) and "value" in value:
        return Label(found["label"], value["value"], listed=True)
    return Label(found["label"], value)


def _object(**content: Any) -> bytes:
    return json.dumps(content).encode()


ASK_ALL: Final = _object(request="labelProps", value="None")
"""Answered by every label, with unit and bounds."""
ASK_VOLTAGES: Final = _object(request=VOLTAGE)
"""Answered by that label alone."""
SWITCH_OFF: Final = _object(command=ENABLED, label=ENABLED, value=False)
SWITCH_ON: Final = _object(command=ENABLED, label=ENABLED, value=True)
SAFE_ORDER: Final = SWITCH_OFF + ASK_ALL
"""Takes the bias off all detectors from any state and asks whether it is."""
SAFE: Final = rb'"label":\s*"DetectorEnable",\s*"value":\s*\{[^{}]*"value":\s*(?:false|0)\b'
"""Found in what it says after ``SAFE_ORDER``."""


def set_currents(currents_ua: Sequence[float]) -> bytes:
    """Return the order to set the bias currents of all detectors."""
    return _object(command="SetAllBiasCurrents", label=CURRENT, value=list(currents_ua))


def numbers_of(label: Label) -> tuple[float, ...]:
    """Return one number per detector.

    Raises
    ------
    InstrumentGarbled
        If they are none.
    """
    if isinstance(label.value, list) and all(
        isinstance(one, (int, float)) and not isinstance(one, bool) and isfinite(one) for one in label.value
    ):
        return tuple(map(float, label.value))
    problem = f"{label.name} was told as {str(label.value)[:80]}, which are no numbers"
    raise InstrumentGarbled(problem)


def trouble_of(label: Label) -> str | None:
    """Return what went wrong, if the label tells that."""
    if "Error" in label.name and label.value not in ("", None, False, 0, []):
        return f"{label.name}: {str(label.value)[:200]}"
    return None
