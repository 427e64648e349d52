"""An emulated WebSQ with its nanowires, which latch when they are biased above their switching current."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import Field

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import Positive
from qnoded_drivers.single_quantum_websq.codec import CURRENT, ENABLED, NUMBER, VOLTAGE

HARD_LIMIT_UA: Final = 90.0
LATCHED_MV_PER_UA: Final = 40.0
"""Of a nanowire that conducts normally, beside the resistor through which it is biased."""
COLD_MV_PER_UA: Final = 0.05
"""Of the cables."""
SEPARATOR: Final = b"\x17"

Currents = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=64)]


class EmulatedWebsq(Device):
    """A supply whose switch is off, with no currents, when it is supplied."""

    serial = ""

    def __init__(
        self, *, switching_ua: Currents = (25.0, 24.0, 26.0, 25.0), separator: bool = True, together: bool = True
    ) -> None:
        """Make one.

        Parameters
        ----------
        switching_ua
            Of each detector: with more bias it latches, and stays so until its bias is off.
        separator
            Whether the byte 0x17 follows each object.
        together
            Whether all labels come in one message.
        """
        self._switching_ua, self._separator, self._together = switching_ua, separator, together

    def switch_on(self, now_s: float) -> None:
        """Forget the currents."""
        del now_s
        self._heard = ""
        self.enabled = False
        self.currents_ua = [0.0] * len(self._switching_ua)
        self.latched = [False] * len(self._switching_ua)

    @property
    def voltages_mv(self) -> list[float]:
        """What the supply measures at each detector."""
        scales = [LATCHED_MV_PER_UA if one else COLD_MV_PER_UA for one in self.latched]
        flows_ua = self.currents_ua if self.enabled else [0.0] * len(self.currents_ua)
        return [round(scale * one, 3) for scale, one in zip(scales, flows_ua, strict=True)]

    def biases_ua(self) -> list[float | None]:
        """Return the bias of each detector that is on and does not latch."""
        on = [
            self.enabled and one != 0.0 and not late for one, late in zip(self.currents_ua, self.latched, strict=True)
        ]
        return [abs(current_ua) if live else None for current_ua, live in zip(self.currents_ua, on, strict=True)]

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer requests, and obey commands in silence."""
        del now_s
        self._heard += data.decode("utf-8", "replace")
        said: list[bytes] = []
        while self._heard:
            try:
                asked, end = json.JSONDecoder().raw_decode(self._heard)
            except ValueError:
                break
            self._heard = self._heard[end:].lstrip()
            said += self._answers(asked)
        return said

    def _answers(self, asked: Any) -> list[bytes]:
        if not isinstance(asked, dict):
            return []
        if self.busy:
            self.busy = False
            return [self._written("ErrorMessage", "busy: an IV scan is running")]
        if asked.get("request") == "labelProps":
            labels = [self._written(name, value) for name, value in self._labels().items()]
            return [b"".join(labels)] if self._together else labels
        if asked.get("request") == VOLTAGE:
            return [self._written(VOLTAGE, self.voltages_mv)]
        return self._obeyed(asked.get("command"), asked.get("value"))

    def _obeyed(self, command: object, value: Any) -> list[bytes]:
        if command == ENABLED and isinstance(value, bool):
            self.enabled = value
        elif command == "SetAllBiasCurrents" and len(value) == len(self.currents_ua):
            self.currents_ua = [min(max(float(one), -HARD_LIMIT_UA), HARD_LIMIT_UA) for one in value]
        else:
            return [self._written("ErrorMessage", f"unknown command {command}")]
        self.latched = [
            self.enabled and current != 0.0 and (was or abs(current) > limit)
            for was, current, limit in zip(self.latched, self.currents_ua, self._switching_ua, strict=True)
        ]
        return []

    def _labels(self) -> dict[str, dict[str, Any]]:
        bounds = [-HARD_LIMIT_UA, HARD_LIMIT_UA]
        return {
            NUMBER: {"value": len(self.currents_ua), "unit": ""},
            "InptMeasurementPeriod": {"value": 100, "unit": "ms", "bounds": [10, 100_000]},
            CURRENT: {"value": self.currents_ua, "unit": "uA", "bounds": bounds},
            "TriggerLevel": {"value": [100.0] * len(self.currents_ua), "unit": "mV", "bounds": [-1000, 1000]},
            ENABLED: {"value": self.enabled, "unit": ""},
        }

    def _written(self, label: str, value: Any) -> bytes:
        return json.dumps({"label": label, "value": value}).encode() + (SEPARATOR if self._separator else b"")
