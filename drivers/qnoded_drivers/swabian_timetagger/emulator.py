"""A stand-in for the maker's library, call by call: one Time Tagger, and photons by chance on its inputs.

For tests on machines without the instrument: ``sys.modules["TimeTagger"] = EmulatedSdk()``. ``losses`` are told as the
instrument tells them, and ``present`` is the USB cable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from qnoded.formats.swabian import MISSED, OVERFLOW_BEGIN, OVERFLOW_END
from qnoded.records import I64
from qnoded.units import PS_PER_S
from qnoded_drivers.swabian_timetagger.codec import Events

T = TypeVar("T")

INPUTS: Final = (1, 2, 3, 4, 5, 6, 7, 8)
RATE_HZ: Final = 2000.0
"""On each input."""
STEP_V: Final = 2.5 / 1024
"""Of the trigger level."""
UNUSED: Final = -(2**27)
"""Input of events that belong to none."""


@dataclass(frozen=True)
class EmulatedBuffer:
    """What has come between two fetches."""

    events: Events

    def getTimestamps(self) -> I64:  # noqa: D102, N802 - the maker's name
        return self.events.time_ps

    def getChannels(self) -> NDArray[np.int32]:  # noqa: D102, N802 - the maker's name
        return self.events.inputs

    def getEventTypes(self) -> NDArray[np.uint8]:  # noqa: D102, N802 - the maker's name
        return self.events.kind

    def getMissedEvents(self) -> NDArray[np.uint16]:  # noqa: D102, N802 - the maker's name
        return self.events.missed


@dataclass
class EmulatedTimeTagger:
    """An instrument that is open; its time begins then."""

    sdk: EmulatedSdk
    began_s: float
    levels_v: dict[int, float] = field(default_factory=dict)
    overflows: int = 0

    def getSerial(self) -> str:  # noqa: D102, N802 - the maker's name
        return self.sdk.answer(self.sdk.serial)

    def getModel(self) -> str:  # noqa: D102, N802 - the maker's name
        return self.sdk.answer("Time Tagger Ultra")

    def getFirmwareVersion(self) -> str:  # noqa: D102, N802 - the maker's name
        return self.sdk.answer("emulated")

    def getChannelList(self) -> tuple[int, ...]:  # noqa: D102, N802 - the maker's name
        return self.sdk.answer((*INPUTS, *(-number for number in INPUTS)))

    def setTriggerLevel(self, channel: int, voltage: float) -> None:  # noqa: D102, N802 - the maker's name
        self.sdk.answer(None)
        self.levels_v[channel] = round(voltage / STEP_V) * STEP_V

    def getTriggerLevel(self, channel: int) -> float:  # noqa: D102, N802 - the maker's name
        return self.sdk.answer(self.levels_v.get(channel, 0.5))

    def setTestSignal(self, channel: int, enabled: bool) -> None:  # noqa: D102, N802 - the maker's name
        del channel, enabled
        self.sdk.answer(None)

    def setSoftwareClock(  # noqa: D102, N802 - the maker's name
        self, input_channel: int, input_frequency: float, averaging_periods: float, wait_until_locked: bool
    ) -> None:
        del input_channel, input_frequency, averaging_periods, wait_until_locked
        self.sdk.answer(None)

    def getOverflows(self) -> int:  # noqa: D102, N802 - the maker's name
        return self.sdk.answer(self.overflows)


class EmulatedStream:
    """A running copy of the tags of some inputs."""

    def __init__(self, tagger: EmulatedTimeTagger, most: int, inputs: Sequence[int]) -> None:
        self._tagger, self._most, self._inputs = tagger, most, np.array(inputs, np.int32)
        self._until_ps = self._now_ps()
        self._stopped = False

    def _now_ps(self) -> int:
        return int((self._tagger.sdk.clock() - self._tagger.began_s) * PS_PER_S)

    def getData(self) -> EmulatedBuffer:  # noqa: D102, N802 - the maker's name
        sdk = self._tagger.sdk
        begin_ps, self._until_ps = self._until_ps, sdk.answer(self._now_ps())
        count = int(sdk.chance.poisson(RATE_HZ * self._inputs.size * (self._until_ps - begin_ps) / PS_PER_S))
        # Beyond the buffer's end everything is lost, without a word.
        count = min(count, self._most) if not self._stopped else 0
        time_ps = np.sort(sdk.chance.integers(begin_ps, max(self._until_ps, begin_ps + 1), count))
        events = Events(
            np.zeros(count, np.uint8), np.zeros(count, np.uint16), sdk.chance.choice(self._inputs, count), time_ps
        )
        if sdk.losses and count:
            self._tagger.overflows += 1
            events = _with_a_loss(events, sdk.losses.pop(0))
        sdk.sent.extend(zip(events.inputs.tolist(), events.time_ps.tolist(), strict=True))
        return EmulatedBuffer(events)

    def stop(self) -> None:  # noqa: D102 - the maker's name
        self._stopped = True


class EmulatedSdk:
    """The module; ``clock`` is the time of its world, s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, serial: str = "1910000ABC", seed: int = 1) -> None:
        self.clock, self.serial = clock, serial
        self.present = True
        """Whether the instrument is plugged in."""
        self.chance = np.random.default_rng(seed)
        self.losses: list[int] = []
        """Tags that are lost in each of the next fetches."""
        self.sent: list[tuple[int, int]] = []
        """Input and time, ps, of all events so far."""
        self.open: list[EmulatedTimeTagger] = []

    def answer(self, value: T) -> T:
        """Return a value as long as there is an instrument."""
        if not self.present:
            problem = "The Time Tagger has been disconnected."
            raise RuntimeError(problem)
        return value

    def createTimeTagger(self, serial: str = "") -> EmulatedTimeTagger:  # noqa: D102, N802 - the maker's name
        if serial not in ("", self.serial) or self.open:
            problem = f"The serial number argument '{serial}' is not a valid Time Tagger serial number."
            raise RuntimeError(problem)
        self.answer(None)
        self.open.append(EmulatedTimeTagger(self, self.clock()))
        return self.open[-1]

    def createTimeTaggerNetwork(self, address: str) -> EmulatedTimeTagger:  # noqa: D102, N802 - the maker's name
        if not self.present:
            problem = f"Could not connect to Time Tagger server at {address}."
            raise RuntimeError(problem)
        self.open.append(EmulatedTimeTagger(self, self.clock()))
        return self.open[-1]

    def freeTimeTagger(self, tagger: EmulatedTimeTagger) -> None:  # noqa: D102, N802 - the maker's name
        self.open.remove(tagger)

    def TimeTagStream(  # noqa: D102, N802 - the maker's name
        self, tagger: EmulatedTimeTagger, n_max_events: int, channels: Sequence[int]
    ) -> EmulatedStream:
        return EmulatedStream(tagger, n_max_events, channels)


def _with_a_loss(events: Events, lost: int) -> Events:
    """Return events whose middle one has become the end of an overflow, and the ones before it its begin and count."""
    kind, missed, inputs = events.kind.copy(), events.missed.copy(), events.inputs.copy()
    middle = kind.size // 2
    first = max(0, middle - 2)
    specials = (OVERFLOW_BEGIN, MISSED, OVERFLOW_END)
    for place, special in zip(range(first, kind.size), specials, strict=False):
        kind[place], inputs[place] = special, UNUSED
        missed[place] = lost if special == MISSED else 0
    return Events(kind, missed, inputs, events.time_ps)
