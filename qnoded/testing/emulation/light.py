"""What emulated instruments have to do with light, for the place of one in a simulated world.

Moments are the instrument's own, as everywhere in its emulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from qnoded.records import TagBlock


@dataclass(frozen=True, slots=True)
class Retarder:
    """A wave plate, a paddle or a squeezed piece of fibre."""

    axis_deg: float
    """Angle of its fast axis from horizontal."""
    retardance_deg: float
    """A half-wave plate has 180."""


@runtime_checkable
class Shines(Protocol):
    """A laser."""

    def light_dbm(self, now_s: float) -> float | None:
        """Return the power of its light; None: it is dark."""
        ...


@runtime_checkable
class Turns(Protocol):
    """A polarization controller."""

    def retarders(self, now_s: float) -> Sequence[Retarder]:
        """Return what light passes, in this order."""
        ...


@runtime_checkable
class Detects(Protocol):
    """A time tagger with detectors on its inputs."""

    def detect(self, block: TagBlock, until_ps: int) -> None:
        """Take what its inputs have seen since the last time.

        Parameters
        ----------
        block
            Its inputs, counted from 0, and its own clock, ps.
        until_ps
            What that clock has certainly shown: nothing earlier comes any more.
        """
        ...


@runtime_checkable
class Measures(Protocol):
    """A power meter."""

    def illuminate(self, power_dbm: float) -> None:
        """Let light of this power fall upon its sensor."""
        ...


@runtime_checkable
class Attenuates(Protocol):
    """A variable attenuator."""

    def attenuation_db(self, now_s: float) -> float:
        """Return what it does to light, also on its way."""
        ...


@runtime_checkable
class Biases(Protocol):
    """A supply of detectors, in the order H V D A."""

    def biases_ua(self) -> Sequence[float | None]:
        """Return the bias with which each can detect; None: it cannot."""
        ...


@runtime_checkable
class Heats(Protocol):
    """The oven of a crystal in which pairs are made, or an instrument that has one in it."""

    def heated_c(self, now_s: float) -> float:
        """Return the temperature of what it heats."""
        ...
