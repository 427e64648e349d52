"""What makes an instrument safe without its driver: an address, bytes, and how it says that it is safe.

A guard process (``qnoded.hil.guard``) sends this when the daemon that held the instrument is dead or hangs. So it is
plain data, made before anything is switched on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class RawSafe:
    """One instrument's way into its safe state, by bytes alone."""

    address: str
    """``tcp://HOST:PORT``, the path of a serial port, or the name of a VISA resource."""
    baud: int
    """Of the serial port, where it is one."""
    order: bytes
    """Makes it safe from any state, then asks whether it is; may be sent again and again."""
    confirmed: bytes
    """Regular expression that is found in its answer only if it is safe."""


@runtime_checkable
class Guarded(Protocol):
    """A driver that publishes its raw way; every driver of something dangerous does."""

    @classmethod
    def raw_safe(cls, settings: Any) -> tuple[RawSafe, ...]:
        """Return what makes its instruments safe; pure.

        Parameters
        ----------
        settings
            Of the driver, checked.
        """
        ...
