"""An emulated liquid-crystal driver with four cells, which follow their voltages with a lag."""

from __future__ import annotations

import math
import re
from typing import Annotated, Final

from pydantic import Field

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.light import Retarder
from qnoded.testing.emulation.personality import Finite, Positive
from qnoded_drivers.s15_lcr.codec import CHANNELS, HIGHEST_V, MARK
from qnoded_drivers.s15_lcr.curve import Cell

ORDER: Final = re.compile(r"AMPL?(?:ITUDE)? ([1-4]) (\d{1,2}(?:\.\d{0,9})?)")
QUESTION: Final = re.compile(r"AMP\? ([1-4])")
SWITCHES: Final = frozenset({"ON", "DARK"})
FREQUENCY: Final = re.compile(r"FREQ \d{1,5}")
CURVE_RAD: Final = (
    (0.0, 4.615), (0.9, 4.578), (1.2, 4.446), (1.4, 4.134), (1.6, 3.727), (1.8, 3.357), (2.0, 2.935), (2.3, 2.518),
    (2.6, 2.188), (3.0, 1.872), (3.5, 1.621), (4.0, 1.456), (4.5, 1.339), (5.0, 1.255), (5.5, 1.182), (10.0, 0.909),
)  # fmt: skip
"""Amplitude, V, and retardance as S-Fifteen measured it of one cell (QKDServer, lookup table of its compensator)."""
CURVE: Final = tuple((amplitude_v, math.degrees(retardance_rad)) for amplitude_v, retardance_rad in CURVE_RAD)
UNDRIVEN_DEG: Final = CURVE[0][1]

Axes = Annotated[tuple[Finite, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]


class EmulatedS15Lcr(Device):
    """A board that is off when it is supplied, with all amplitudes at zero."""

    serial = ""

    def __init__(
        self,
        *,
        firmware: str = "LCDD-001 svn-12",
        axes_deg: Axes = (0.0, 45.0, 0.0, 45.0),
        lag_s: Positive = 0.03,
    ) -> None:
        """Make one whose cells, in the order of the light, have fast axes at ``axes_deg`` and follow in ``lag_s``."""
        self._firmware, self._axes_deg, self._lag_s = firmware, axes_deg, lag_s
        self._curve = Cell(channel=1, axis_deg=0.0, calibration=CURVE)
        self._from_deg = [UNDRIVEN_DEG] * CHANNELS
        self._changed_s = 0.0

    def switch_on(self, now_s: float) -> None:
        """Forget the amplitudes."""
        self._heard = ""
        self.on = False
        self.amplitudes_v = [0.0] * CHANNELS
        self._from_deg, self._changed_s = [UNDRIVEN_DEG] * CHANNELS, now_s

    def retarders(self, now_s: float) -> tuple[Retarder, ...]:
        """Return the cells."""
        return tuple(map(Retarder, self._axes_deg, self._present_deg(now_s)))

    def _present_deg(self, now_s: float) -> list[float]:
        gone = math.exp((self._changed_s - now_s) / self._lag_s)
        return [to + (begun - to) * gone for begun, to in zip(self._from_deg, self._target_deg(), strict=True)]

    def _target_deg(self) -> list[float]:
        shown = [self._curve.retardance_deg(one, 0.0) if self.on else UNDRIVEN_DEG for one in self.amplitudes_v]
        return [UNDRIVEN_DEG if one is None else one for one in shown]

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer questions, obey orders in silence, and complain of anything else."""
        self._heard += data.decode("latin-1").replace(";", "\n")
        *lines, self._heard = self._heard.split("\n")
        said = [self._obeyed(line.strip().upper(), now_s) for line in lines if line.strip()]
        return [f"{line}\r\n".encode() for line in said if line is not None]

    def _obeyed(self, line: str, now_s: float) -> str | None:
        if self.busy:
            self.busy = False
            return "Busy."
        if line == "*IDN?":
            return f"{MARK}, {self._firmware}"
        if found := QUESTION.fullmatch(line):
            return f"{self.amplitudes_v[int(found[1]) - 1]:.3f}"
        if (found := ORDER.fullmatch(line)) and float(found[2]) < HIGHEST_V:
            self._begin(now_s)
            self.amplitudes_v[int(found[1]) - 1] = float(found[2])
            return None
        if line in SWITCHES or FREQUENCY.fullmatch(line):
            self._begin(now_s)
            self.on = self.on or line == "ON"
            return None
        if line == "*RST":
            self.switch_on(now_s)
            return None
        return f"Unknown command: {line}"

    def _begin(self, now_s: float) -> None:
        """Let the cells go on from where they are."""
        self._from_deg, self._changed_s = self._present_deg(now_s), now_s
