"""An emulated EPC-400."""

from __future__ import annotations

import re
from typing import Final

from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.light import Retarder
from qnoded.testing.emulation.personality import Positive
from qnoded_drivers.oz_epc400.codec import CHANNELS, END, LARGEST_MV, REFUSED, Mode

VOLTAGE: Final = re.compile(r"V([1-4]),([+-]?\d{1,5})")
EXTREME: Final = re.compile(r"V([HLZ])([1-4])")
AXES_DEG: Final = (0.0, 45.0, 0.0, 45.0)
"""Of the squeezers, in the order in which light passes them."""
SCRAMBLING_TURNS_PER_S: Final = (7.0, 11.0, 13.0, 17.0)
"""No two of them come back together within a second."""
TURN_DEG: Final = 360.0
EXTREMES_MV: Final = {"H": LARGEST_MV, "L": -LARGEST_MV, "Z": 0}


class EmulatedEpc400(Device):
    """A unit that scrambles when it is switched on, with or without echo."""

    serial = ""

    def __init__(self, *, echo: bool = False, volts_per_turn: Positive = 3.0) -> None:
        """Make one that echoes or does not, and whose squeezers turn by 360 degrees at ``volts_per_turn``."""
        self._echo, self._volts_per_turn = echo, volts_per_turn

    def switch_on(self, now_s: float) -> None:
        """Scramble, with all voltages at zero."""
        del now_s
        self._heard = ""
        self.mode = Mode.SCRAMBLES
        self.voltages_mv = [0] * CHANNELS

    def retarders(self, now_s: float) -> tuple[Retarder, ...]:
        """Return the squeezers."""
        if self.mode is Mode.SCRAMBLES:
            turns = [now_s * turns_per_s for turns_per_s in SCRAMBLING_TURNS_PER_S]
        else:
            turns = [mv / 1000.0 / self._volts_per_turn for mv in self.voltages_mv]
        return tuple(Retarder(axis_deg, TURN_DEG * one) for axis_deg, one in zip(AXES_DEG, turns, strict=True))

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Obey each line."""
        del now_s
        self._heard += data.decode("latin-1")
        said = []
        while "\r\n" in self._heard:
            command, _, self._heard = self._heard.partition("\r\n")
            told = None if self.busy else self._obeyed(command)
            self.busy = False
            lines = [command] if self._echo else []
            lines += [REFUSED] if told is None else [told, END]
            said.append("".join(f"{line}\r\n" for line in lines).encode("latin-1"))
        return said

    def _obeyed(self, command: str) -> str | None:
        """Do what a command says and return the line that it is answered with; None: it cannot be done."""
        if command == "V?":
            return "Voltage(mV): " + " ".join(
                f"CH{channel} {mv:+05d}" for channel, mv in enumerate(self.voltages_mv, 1)
            )
        if command == "M?":
            return f"Operating mode: {self.mode}"
        if command in ("MAC", "MDC"):
            self.mode = Mode(command[1:])
            return command
        if found := EXTREME.fullmatch(command):
            self.voltages_mv[int(found[2]) - 1] = EXTREMES_MV[found[1]]
            return command
        if (found := VOLTAGE.fullmatch(command)) and abs(int(found[2])) <= LARGEST_MV:
            self.voltages_mv[int(found[1]) - 1] = int(found[2])
            return command
        return None
