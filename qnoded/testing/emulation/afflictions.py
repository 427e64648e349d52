"""What befalls an instrument rather than its messages: it has one of these protocols, or cannot have the fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

from qnoded.errors import UsageError
from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.faults import Fault, FaultKind


@runtime_checkable
class Interlocked(Protocol):
    """It gives no light while its interlock is open."""

    interlock_open: bool
    """Turned by whoever plays the person at the door."""


@runtime_checkable
class Overheats(Protocol):
    """It tells when it is too hot, and may switch itself off."""

    too_hot: bool


@runtime_checkable
class Limited(Protocol):
    """It has a limit of its own, and makes of a higher value the limit."""

    def clip(self) -> None:
        """Let a person lower the limit, so that what it gives is clipped; forgotten without power."""
        ...


@runtime_checkable
class Overflows(Protocol):
    """It has a buffer that can be too small."""

    def overflow(self) -> None:
        """Lose what came, and tell so as it does."""
        ...


@runtime_checkable
class Checksummed(Protocol):
    """Its messages can be seen to be damaged."""

    def misreckoned(self, message: bytes) -> bytes:
        """Return one of its messages with the checksum alone wrong."""
        ...


NEEDS: Final[Mapping[FaultKind, type]] = {
    FaultKind.INTERLOCK_OPEN: Interlocked,
    FaultKind.OVER_TEMPERATURE: Overheats,
    FaultKind.CLIPPED: Limited,
    FaultKind.FIFO_OVERFLOW: Overflows,
    FaultKind.WRONG_CHECKSUM: Checksummed,
}
"""Fault -> what an instrument has to have for it; every other fault befalls all of them."""
LASTING: Final = frozenset({FaultKind.INTERLOCK_OPEN, FaultKind.OVER_TEMPERATURE, FaultKind.CLIPPED, FaultKind.HUNG})
"""Until the instrument is switched off and on by a person, who looks what is wrong with it."""


def can_befall(kind: FaultKind, device: Device) -> bool:
    """Return whether an instrument can have a fault."""
    return kind not in NEEDS or isinstance(device, NEEDS[kind])


def check_possible(fault: Fault, device: Device) -> None:
    """Raise ``UsageError`` if an instrument cannot have a fault."""
    if not can_befall(fault.kind, device):
        own = ", ".join(kind for kind in FaultKind if can_befall(kind, device))
        problem = f"{fault} cannot befall this instrument; it can have {own}"
        raise UsageError(problem)


def afflict(device: Device, kind: FaultKind) -> None:
    """Do to an instrument what a fault does to it."""
    if kind is FaultKind.BUSY:
        device.busy = True
    elif kind is FaultKind.INTERLOCK_OPEN and isinstance(device, Interlocked):
        device.interlock_open = True
    elif kind is FaultKind.OVER_TEMPERATURE and isinstance(device, Overheats):
        device.too_hot = True
    elif kind is FaultKind.CLIPPED and isinstance(device, Limited):
        device.clip()
    elif kind is FaultKind.FIFO_OVERFLOW and isinstance(device, Overflows):
        device.overflow()


def relieve(device: Device) -> None:
    """Close its interlock and let it cool down; what else lasts ends with its power."""
    if isinstance(device, Interlocked):
        device.interlock_open = False
    if isinstance(device, Overheats):
        device.too_hot = False
