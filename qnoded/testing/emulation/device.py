"""What an emulated instrument is: bytes and moments in, bytes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import ClassVar, Final

from qnoded.errors import UsageError
from qnoded.explaining import nearest

GROUP: Final = "qnoded.emulators"


TOLERANCES: Final[Mapping[str, float]] = {
    "_dbm": 0.5,
    "_db": 0.5,
    "_c": 1.0,
    "_deg": 1.0,
    "_nm": 0.1,
    "_hz": 1.0,
    "_v": 0.05,
    "_ma": 0.5,
}
"""About what differs from unit to unit of one model."""


class Device(ABC):
    """An instrument as it hears and speaks; moments are seconds of one clock that never runs backwards.

    The arguments of its constructor are what a personality file may tell of a unit: each is annotated with what it can
    be and has a usual value. What it has to do with light, if anything, is one of the protocols of ``light``.
    """

    serial: str
    """Serial number, as it stands in its messages; a fault script may change it."""
    tolerances: ClassVar[Mapping[str, float]] = TOLERANCES
    """How far a real unit's values may be from its own, by the unit at the end of their names."""
    busy: bool = False
    """Answer the next message as the instrument does when it cannot now; the device itself clears it."""

    @abstractmethod
    def switch_on(self, now_s: float) -> None:
        """Forget everything that the instrument forgets without power: called first, and at each power cycle."""

    @abstractmethod
    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes as they arrive, however they are cut; return what it says, message by message."""

    def greet(self) -> list[bytes]:
        """Return what it says to a new connection."""
        return []

    def tick(self, now_s: float) -> list[bytes]:
        """Return what it says by itself since the last call; called every few milliseconds."""
        del now_s
        return []


def find_device(driver: str) -> Device:
    """Return a new emulated instrument for a driver; ``UsageError`` if there is none."""
    return find_kind(driver)()


def find_kind(driver: str) -> type[Device]:
    """Return the kind of emulated instrument that a driver talks to.

    Raises
    ------
    UsageError
        If there is none.
    """
    announced = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = announced.get(driver)
    if entry is None:
        near = nearest(driver, announced)
        known = f"did you mean {near}?" if near else f"there are {', '.join(sorted(announced)) or 'none'}"
        problem = f"there is no emulator for {driver!r}; {known}"
        raise UsageError(problem)
    kind = entry.load()
    assert isinstance(kind, type), f"{entry.value} is no class"
    assert issubclass(kind, Device), f"{entry.value} is no Device"
    return kind
