"""An emulated instrument plugged into a wire, and a fault script between the two."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from qnoded.testing.emulation.afflictions import LASTING, Checksummed, afflict, check_possible, relieve
from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.faults import Fault, FaultKind, spoilt

TICK_S: Final = 0.01
AWAY_S: Final = 0.3
"""How long a port that vanished stays away."""
MERGING_S: Final = 0.03
"""How long a message waits for the next one to come along."""
OTHER_SERIAL: Final = "99999999"


@dataclass(frozen=True, slots=True)
class Wire:
    """One connection as the emulation sees it."""

    send: Callable[[bytes], None]
    end: Callable[[], None]


class Emulation:
    """Carries bytes between a device and the wire that is plugged in.

    Parameters
    ----------
    device
        The instrument; it is switched on at once.
    pace
        Seconds of its own that pass in a second: slow mechanics need not make tests slow.
    """

    def __init__(self, device: Device, pace: float = 1.0) -> None:
        self.device = device
        self._pace = pace
        self.hung = False
        self.afflicted = False
        """Whether it has a fault that lasts until a person comes."""
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._away_until_s = 0.0
        self._script: list[Fault] = []
        self._said = 0
        self._previous = b""
        self._merging = b""
        self._queue: deque[tuple[float, bytes]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        device.switch_on(self.now_s)

    @property
    def now_s(self) -> float:
        """Moment of the instrument's own clock."""
        return self._loop.time() * self._pace

    def script(self, *faults: Fault) -> None:
        """Let faults happen from now on, counting messages anew; ``UsageError`` for one that it cannot have."""
        for fault in faults:
            check_possible(fault, self.device)
        self._script, self._said = list(faults), 0

    @property
    def pending(self) -> Sequence[Fault]:
        """Faults that have not happened yet."""
        return tuple(self._script)

    def power_cycle(self) -> None:
        """Switch the instrument off and on, its interlock closed and itself cool again."""
        self.hung = self.afflicted = False
        self._queue.clear()
        self._merging = b""
        relieve(self.device)
        self.device.switch_on(self.now_s)

    @property
    def away(self) -> bool:
        """Whether the port is away."""
        return self._loop.time() < self._away_until_s

    def pull(self) -> None:
        """Pull its cable: the connection ends, and there is no other until it is put back."""
        self._away_until_s = math.inf
        self.unplug()

    def put_back(self) -> None:
        """Put the cable back."""
        self._away_until_s = 0.0

    def plug(self, wire: Wire) -> bool:
        """Take a new connection, unless the port is away; the former one ends."""
        if self.away:
            return False
        self.unplug()
        self._wire = wire
        if not self.hung:
            self._say(self.device.greet())
        return True

    def unplug(self, wire: Wire | None = None) -> None:
        """Let go of the connection, or only of this one."""
        if self._wire is not None and wire in (None, self._wire):
            former, self._wire = self._wire, None
            self._queue.clear()
            former.end()

    def hear(self, data: bytes) -> None:
        """Take bytes from the wire."""
        if not self.hung:
            self._say(self.device.hear(data, self.now_s))

    async def live(self) -> None:
        """Let the instrument speak by itself, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            messages = self.device.tick(self.now_s)
            if not self.hung:
                self._say(messages)

    def _say(self, messages: list[bytes]) -> None:
        for message in messages:
            befalling = [fault for fault in self._script if fault.message == self._said]
            self._said += 1
            if befalling:
                self._script = [fault for fault in self._script if fault not in befalling]
                if self._befall(befalling):
                    return
            if any(fault.kind is FaultKind.MERGED for fault in befalling):
                self._merging += message
                self._queue_up(MERGING_S, b"")
            else:
                for wait_s, piece in spoilt(self._reckoned(message, befalling), self._previous, befalling):
                    self._queue_up(wait_s, piece)
            self._previous = message

    def _reckoned(self, message: bytes, faults: Sequence[Fault]) -> bytes:
        wrong = any(fault.kind is FaultKind.WRONG_CHECKSUM for fault in faults)
        return self.device.misreckoned(message) if wrong and isinstance(self.device, Checksummed) else message

    def _befall(self, faults: Sequence[Fault]) -> bool:
        """Do to the instrument what is in the script; return whether it falls silent."""
        silent = False
        for fault in faults:
            self.afflicted |= fault.kind in LASTING
            afflict(self.device, fault.kind)
            match fault.kind:
                case FaultKind.VANISHED | FaultKind.OTHER_SERIAL:
                    if fault.kind is FaultKind.OTHER_SERIAL:
                        self.device.serial = OTHER_SERIAL
                    self._away_until_s = self._loop.time() + AWAY_S
                    self.unplug()
                    silent = True
                case FaultKind.POWER_CYCLE:
                    self.power_cycle()
                    silent = True
                case FaultKind.HUNG:
                    self.hung = silent = True
                case _:
                    pass
        return silent

    def _queue_up(self, wait_s: float, piece: bytes) -> None:
        self._queue.append((wait_s, piece))
        if self._alarm is None:
            self._send_due()

    def _send_due(self) -> None:
        """Send pieces in order, each after its wait; whatever was merging goes along with the next."""
        self._alarm = None
        while self._queue:
            wait_s, piece = self._queue[0]
            if wait_s > 0.0:
                self._queue[0] = (0.0, piece)
                self._alarm = self._loop.call_later(wait_s, self._send_due)
                return
            self._queue.popleft()
            together, self._merging = self._merging + piece, b""
            if self._wire is not None and together:
                self._wire.send(together)

    def end(self) -> None:
        """Let go of everything."""
        self.unplug()
        if self._alarm is not None:
            self._alarm.cancel()
