"""The seam to the maker's library: all that the driver asks of it, by name, and where it is found.

The library is optional (``pip install "qnoded[swabian]"``). Its calls block: the driver makes them in a thread of its
own. It raises bare ``RuntimeError`` for whatever goes wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, Protocol, cast

from numpy.typing import NDArray

from qnoded.errors import DependencyMissing

MODULES: Final = ("Swabian.TimeTagger", "TimeTagger")
"""Newer wheels, older installers."""
CALLS: Final = {
    "": {
        "createTimeTagger": ("serial",),
        "createTimeTaggerNetwork": ("address",),
        "freeTimeTagger": ("tagger",),
        "TimeTagStream": ("tagger", "n_max_events", "channels"),
    },
    "TimeTagger": {
        "getSerial": (),
        "getModel": (),
        "getFirmwareVersion": (),
        "getChannelList": (),
        "setTriggerLevel": ("channel", "voltage"),
        "getTriggerLevel": ("channel",),
        "setTestSignal": ("channel", "enabled"),
        "setSoftwareClock": ("input_channel", "input_frequency", "averaging_periods", "wait_until_locked"),
        "getOverflows": (),
    },
    "TimeTagStream": {"getData": (), "stop": ()},
    "TimeTagStreamBuffer": {
        "getTimestamps": (),
        "getChannels": (),
        "getEventTypes": (),
        "getMissedEvents": (),
    },
}
"""Owner of a call ("" is the module) -> call -> its parameters: what a library must offer to be driven."""


class Buffer(Protocol):
    """Events of all kinds in order of time, as columns of one length."""

    def getTimestamps(self) -> NDArray[Any]:  # noqa: N802 - the maker's name
        """Return int64, ps."""

    def getChannels(self) -> NDArray[Any]:  # noqa: N802 - the maker's name
        """Return int32; falling edges are negative."""

    def getEventTypes(self) -> NDArray[Any]:  # noqa: N802 - the maker's name
        """Return uint8."""

    def getMissedEvents(self) -> NDArray[Any]:  # noqa: N802 - the maker's name
        """Return uint16."""


class Stream(Protocol):
    """A running copy of the tags of some inputs."""

    def getData(self) -> Buffer:  # noqa: N802 - the maker's name
        """Return what has come since the last call."""

    def stop(self) -> None:
        """End it."""


class Tagger(Protocol):
    """An instrument that is open, on USB or through a server."""

    def getSerial(self) -> str: ...  # noqa: D102, N802 - the maker's name
    def getModel(self) -> str: ...  # noqa: D102, N802 - the maker's name
    def getFirmwareVersion(self) -> str: ...  # noqa: D102, N802 - the maker's name
    def getChannelList(self) -> Sequence[int]: ...  # noqa: D102, N802 - the maker's name
    def setTriggerLevel(self, channel: int, voltage: float) -> None: ...  # noqa: D102, N802 - the maker's name
    def getTriggerLevel(self, channel: int) -> float: ...  # noqa: D102, N802 - the maker's name
    def setTestSignal(self, channel: int, enabled: bool) -> None: ...  # noqa: D102, N802 - the maker's name
    def setSoftwareClock(  # noqa: D102, N802 - the maker's name
        self, input_channel: int, input_frequency: float, averaging_periods: float, wait_until_locked: bool
    ) -> None: ...
    def getOverflows(self) -> int: ...  # noqa: D102, N802 - the maker's name


class Sdk(Protocol):
    """The module."""

    def createTimeTagger(self, serial: str = "") -> Tagger: ...  # noqa: D102, N802 - the maker's name
    def createTimeTaggerNetwork(self, address: str) -> Tagger: ...  # noqa: D102, N802 - the maker's name
    def freeTimeTagger(self, tagger: Tagger) -> None: ...  # noqa: D102, N802 - the maker's name
    def TimeTagStream(self, tagger: Tagger, n_max_events: int, channels: Sequence[int]) -> Stream: ...  # noqa: D102, N802 - the maker's name


def find_sdk() -> Sdk:
    """Return the maker's library.

    Raises
    ------
    DependencyMissing
        If it is not installed.
    """
    for name in MODULES:
        try:
            return cast("Sdk", import_module(name))
        except ImportError:
            continue
    who, remedy = "driver swabian-timetagger", 'install it: pip install "qnoded[swabian]"'
    raise DependencyMissing(who, "swabian-timetagger", remedy)
