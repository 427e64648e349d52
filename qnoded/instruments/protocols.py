"""One small protocol per kind of instrument; a driver is a class that fits one of them.

Rules that every driver keeps, and that the contract suite in ``qnoded.testing`` checks:

- ``__init__`` takes checked settings and touches nothing. ``connect`` opens and identifies, ``configure`` writes
  settings; after both the instrument is safe (dark, highest loss, tags not yet streaming).
- Every call ends within ``DEADLINE_S`` with a result or an error of ``qnoded.errors``: ``InstrumentUnavailable`` (not
  there, connection lost, no answer in time), ``InstrumentFault`` (it answered that it cannot), ``InstrumentGarbled``
  (nonsense arrived), ``EmissionRefused``, or ``UsageError`` for a value outside its capability. After a lost connection
  every call raises ``InstrumentUnavailable`` until ``connect`` is called again; the driver never reconnects by itself.
- ``make_safe`` and ``close`` may be called from any state, any number of times, also while another call is in flight,
  end within ``SAFE_S``, and do not raise because the instrument is gone. ``close`` releases all threads, sockets and
  tasks.
- A command that moves or toggles something is sent once; whether it arrived is read back, not repeated.
- Setting the value that is already set is allowed and changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from pydantic import BaseModel

from qnoded.instruments.capability import (
    AttenuatorCapability,
    Capability,
    Identity,
    LaserCapability,
    OpticalSwitchCapability,
    OvenCapability,
    PolarizationControllerCapability,
    PowerMeterCapability,
    SinglePhotonDetectorCapability,
    TimeTaggerCapability,
)
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.reading import (
    AttenuatorReading,
    DetectorReading,
    LaserReading,
    OvenReading,
    PolarizationReading,
    PowerReading,
    Reading,
    SwitchReading,
    TaggerReading,
)
from qnoded.records import TagBlock

DEADLINE_S: Final = 5.0
"""No call of a driver takes longer; moves of slow mechanics return once the move has begun."""
SAFE_S: Final = 2.0
"""Longest time for ``make_safe``, and for ``close``: a node that stops is dark and gone within five seconds."""


@runtime_checkable
class Instrument(Protocol):
    """What all kinds have in common."""

    Settings: ClassVar[type[BaseModel]]
    """Model of the driver's own settings, unknown keys forbidden; ``driver`` itself is not among them.

    Written ``Settings: ClassVar[type[BaseModel]] = LaserSettings``: type checkers accept no nested class here.
    """
    simulated: ClassVar[bool]
    """True where no real photon is involved (simulation, replay): marks every key that it takes part in, for life."""

    def __init__(self, settings: Any) -> None: ...

    @property
    def capability(self) -> Capability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def connect(self) -> Identity:
        """Open the connection and ask who is there; writes nothing else."""
        ...

    async def configure(self) -> None:
        """Write the settings, read them back, and leave the instrument safe."""
        ...

    async def read(self) -> Reading:
        """Return the present state, freshly read from the instrument."""
        ...

    async def make_safe(self) -> None:
        """Bring the instrument to its safe state: dark, blocked, not streaming."""
        ...

    async def close(self) -> None:
        """Make safe, as far as the connection still allows, and release everything."""
        ...


@runtime_checkable
class TimeTagger(Instrument, Protocol):
    """Gives time tags, pulled block by block."""

    @property
    def capability(self) -> TimeTaggerCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    @property
    def stream_id(self) -> str:
        """Name of the tagger's present time axis: the same as long as its counter runs on without a restart."""
        ...

    def stream(self) -> AsyncIterator[TagBlock]:
        """Yield tags in time order, blocks of 10 to 200 ms; what was lost is a ``Gap``.

        A slow consumer makes the instrument overflow, never the driver grow: the driver keeps at most one second of
        tags and turns what it had to drop into a ``Gap`` with reason ``"overflow"``. Ends by an exception when the
        connection is lost, and quietly after ``make_safe`` or ``close``.
        """
        ...

    async def read(self) -> TaggerReading:
        """Return the present state, freshly read from the instrument."""
        ...


@runtime_checkable
class Laser(Instrument, Protocol):
    """Emits under a permit, and is dark otherwise."""

    @property
    def capability(self) -> LaserCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def emit(self, power_dbm: float, permit: EmissionPermit) -> None:
        """Switch on, or change the power, under a permit; checks the permit first.

        Raises
        ------
        EmissionRefused
            If the permit does not cover it.
        """
        ...

    async def renew(self, permit: EmissionPermit) -> None:
        """Go on emitting under a new permit. A laser that has gone dark meanwhile stays dark."""
        ...

    async def read(self) -> LaserReading:
        """Return the present state, freshly read from the instrument."""
        ...


@runtime_checkable
class PolarizationController(Instrument, Protocol):
    """Turns the polarization in a fibre."""

    @property
    def capability(self) -> PolarizationControllerCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def move(self, settings_deg: tuple[float, ...]) -> None:
        """Begin to move every element to its setting; ``read`` tells when it rests."""
        ...

    async def read(self) -> PolarizationReading:
        """Return the present state, freshly read from the instrument."""
        ...


@runtime_checkable
class PowerMeter(Instrument, Protocol):
    """Measures optical power."""

    @property
    def capability(self) -> PowerMeterCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def read(self) -> PowerReading:
        """Return the present state, freshly read from the instrument."""
        ...


@runtime_checkable
class OpticalSwitch(Instrument, Protocol):
    """Leads inputs to outputs."""

    @property
    def capability(self) -> OpticalSwitchCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def route(self, source: int, output: int | None) -> None:
        """Lead an input (from 0) to an output (from 0), or to none."""
        ...

    async def read(self) -> SwitchReading:
        """Return the present state, freshly read from the instrument."""
        ...


@runtime_checkable
class Attenuator(Instrument, Protocol):
    """Attenuates by a variable amount; safe at its highest loss."""

    @property
    def capability(self) -> AttenuatorCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def attenuate(self, attenuation_db: float) -> None:
        """Set the attenuation."""
        ...

    async def read(self) -> AttenuatorReading:
        """Return the present state, freshly read from the instrument."""
        ...


@runtime_checkable
class SinglePhotonDetector(Instrument, Protocol):
    """Biases single-photon detectors."""

    @property
    def capability(self) -> SinglePhotonDetectorCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def enable(self, channel: int, bias: float) -> None:
        """Bias a channel."""
        ...

    async def disable(self, channel: int) -> None:
        """Take the bias off a channel."""
        ...

    async def read(self) -> tuple[DetectorReading, ...]:
        """Return the present state, freshly read from the instrument."""
        ...


@runtime_checkable
class Oven(Instrument, Protocol):
    """Keeps something warm; safe when it cannot get hotter than ``max_c``, be it regulated or off.

    A crystal needs long to settle, and is not cooled down because a node stops: ``make_safe`` and ``close`` leave a
    temperature regulated that is within the limit, and take away the heat where it is not.
    """

    @property
    def capability(self) -> OvenCapability:
        """What this instrument can do; final once ``connect`` has returned."""
        ...

    async def heat(self, target_c: float | None) -> None:
        """Begin to go to a temperature, or switch the heat off; ``read`` tells when it has settled."""
        ...

    async def read(self) -> OvenReading:
        """Return the present state, freshly read from the instrument."""
        ...


KINDS: Final[Mapping[str, type[object]]] = {
    "time_tagger": TimeTagger,
    "laser": Laser,
    "polarization_controller": PolarizationController,
    "power_meter": PowerMeter,
    "optical_switch": OpticalSwitch,
    "attenuator": Attenuator,
    "single_photon_detector": SinglePhotonDetector,
    "oven": Oven,
}
"""Kind by name, as ``qnoded drivers`` shows it and a driver's card states it."""
