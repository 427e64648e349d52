"""An emulated TDC1: its commands, and photons by chance on its inputs as long as it streams."""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.records import I64, U32, TagBlock
from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import NotNegative
from qnoded_drivers.s15_tdc1.codec import DUMMY, OVERFLOW, TICK_PS, TICKS_PER_S, TIME_SHIFT, WRAP

DUMMY_TICKS: Final = TICKS_PER_S * 140 // 1000
"""A dummy comes when nothing has for so long."""
MODES: Final = {"SINGLES": 0, "PAIRS": 1, "TIMESTAMP": 3}
STREAMING: Final = 3
RATES_HZ: Final = (8000.0, 6000.0, 5000.0, 4000.0)


class EmulatedTdc1(Device):
    """Four inputs with light on them."""

    def __init__(
        self,
        serial: str = "TDC1-00042",
        rates_hz: tuple[NotNegative, NotNegative, NotNegative, NotNegative] = RATES_HZ,
        seed: int = 1,
    ) -> None:
        """Make one that sees light by chance, ``rates_hz`` on its inputs, unless it stands in a world."""
        self.serial = serial
        self._rates_hz = rates_hz
        self._chance = np.random.default_rng(seed)
        self._heard = ""
        self._on_s = 0.0
        self._until: int | None = None
        """Tick up to which it has made events; None: it does not stream."""
        self._shown: int | None = None
        """Tick that the clock of a world has shown; None: it stands in none."""
        self._unsent: list[bytes] = []
        """Words of the world's photons."""
        self._overflown = False
        self._loses = False
        """Whether the events since the last time are lost."""
        self._last_word = 0
        self.sent: list[I64] = []
        """Ticks and input patterns of the events by chance of the present stream, int64[2, n] each."""
        self._settings: dict[str, str] = {}

    def switch_on(self, now_s: float) -> None:
        """Forget settings and stream; the counter begins anew."""
        self._on_s, self._until, self._heard, self._overflown = now_s, None, "", False
        self._settings = {"MODE": "0", "TIME": "1000", "REFCLK": "0", "LEVEL": "-0.5 V"}

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Obey commands, which end with a semicolon or the line."""
        self._heard += data.decode("ascii", "replace").replace(";", "\n").replace("\r", "\n")
        *commands, self._heard = self._heard.split("\n")
        said = []
        for command in filter(None, (command.strip().upper() for command in commands)):
            if self.busy:
                self.busy = False
            elif self._until is None or command == "ABORT":
                answer = self._obey(command, now_s)
                if answer is not None:
                    said.append(f"{answer}\r\n".encode())
        return said

    def _obey(self, command: str, now_s: float) -> str | None:
        match command.split():
            case ["*IDN?"]:
                return f"TDC1 usb counter unit, SN {self.serial}"
            case ["STATUS?"]:
                return f"{OVERFLOW if self._overflown else 0:04X} "
            case [("MODE?" | "TIME?" | "REFCLK?" | "LEVEL?") as name]:
                return self._settings[name.rstrip("?")]
            case [("SINGLES" | "PAIRS" | "TIMESTAMP") as mode]:
                self._settings["MODE"] = str(MODES[mode])
            case [("TIME" | "REFCLK") as name, value]:
                # As a signed number of 16 bits.
                self._settings[name] = str((int(value) + 2**15) % 2**16 - 2**15)
            case [("POS" | "NEG"), value]:
                self._settings["LEVEL"] = f"{value} V"
            case ["NIM" | "TTL" | "INPKT"]:
                pass
            case ["COUNTS?"] if self._settings["MODE"] == str(STREAMING):
                self._until = self._last_word = self._tick(now_s)
                self.sent, self._unsent, self._overflown = [], [], False
            case ["ABORT"]:
                self._until = None
            case _:
                return "Unknown command"
        return None

    def detect(self, block: TagBlock, until_ps: int) -> None:
        """Take what a world's photons gave, which is lost while it does not stream."""
        self._shown = until_ps // TICK_PS
        if self._until is not None:
            self._until = self._shown
            self._overflown |= bool(block.gaps)
            words = self._words(block.tag_ps // TICK_PS, 1 << block.channel.astype(np.int64), self._shown)
            self._unsent.append(words.astype("<u4").tobytes())

    def overflow(self) -> None:
        """Lose what comes next of a stream, and show that in its status."""
        self._overflown = self._loses = self._until is not None

    @property
    def overflown(self) -> bool:
        """Whether its status says that events of the latest stream were lost."""
        return self._overflown

    def tick(self, now_s: float) -> list[bytes]:
        """Send the events since the last time."""
        if self._until is None:
            return []
        if self._shown is not None:
            unsent, self._unsent = self._unsent, []
            return [words for words in unsent if words]
        begin, self._until = self._until, self._tick(now_s)
        lost, self._loses = self._loses, False
        if lost:
            return []
        words = self._events(begin, self._until)
        return [words.astype("<u4").tobytes()] if words.size else []

    def _tick(self, now_s: float) -> int:
        return int((now_s - self._on_s) * TICKS_PER_S) if self._shown is None else self._shown

    def _events(self, begin: int, end: int) -> U32:
        counts = self._chance.poisson([rate * (end - begin) / TICKS_PER_S for rate in self._rates_hz])
        ticks = self._chance.integers(begin, end, counts.sum()) if end > begin else np.empty(0, np.int64)
        patterns = np.repeat(1 << np.arange(len(counts)), counts)[: ticks.size]
        return self._words(ticks, patterns, end)

    def _words(self, ticks: I64, patterns: I64, end: int) -> U32:
        # Clicks of several inputs in one tick are one event.
        times, place = np.unique(ticks, return_inverse=True)
        together = np.zeros(times.size, np.int64)
        np.bitwise_or.at(together, place, patterns)
        if times.size:
            if self._shown is None:
                self.sent.append(np.stack([times, together]))
            self._last_word = int(times[-1])
        elif end - self._last_word > DUMMY_TICKS:
            times, together = np.array([end]), np.array([DUMMY])
            self._last_word = end
        return np.asarray((times % WRAP) << TIME_SHIFT | together, np.uint32)
