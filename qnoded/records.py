"""Frozen records that pass between the stages, with dtype, shape, unit and provenance.

A record only moves forward: detection -> epoch -> coincidences -> sifted bits -> estimate. Arrays are read-only.
``tag_ps`` is always int64 picoseconds of that node's own clock with roll-overs unwrapped; ``link_ps`` is the clock
that both ends share once the clock model is applied (alice's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]


SIDES: Final = ("alice", "bob")
"""The roles of a link, in the order of all pairs of things."""


def frozen(array: NDArray[np.generic]) -> None:
    """Make an array read-only, in place; a record calls it on each array that it is given."""
    array.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which tags were lost; kept, never filled."""

    start_ps: int
    """Last moment before the loss that is certain, ``tag_ps``."""
    stop_ps: int
    """First moment after it, ``tag_ps``."""
    lost_tags: int | None
    """Number of lost tags where the instrument tells it."""
    reason: str
    """What the instrument said, in a few words, such as ``"overflow"``."""


@dataclass(frozen=True, slots=True)
class TagBlock:
    """Tags in time order as the instrument numbered its channels."""

    channel: U8
    """uint8[n], the instrument's own input number."""
    tag_ps: I64
    """int64[n], ps, ascending (equal neighbours are allowed)."""
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        assert self.channel.dtype == np.uint8
        assert self.tag_ps.dtype == np.int64
        assert self.channel.shape == self.tag_ps.shape
        frozen(self.channel)
        frozen(self.tag_ps)

    def __len__(self) -> int:
        return int(self.tag_ps.size)


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector of a node: which input, which outcome, and what is known of its faults."""

    name: str
    """H, V, D, A, R or L; the outcome that a click stands for."""
    channel: int
    """The instrument's input number, 0 to 255."""
    basis: str
    """``"HV"``, ``"DA"`` or ``"RL"``."""
    bit: int
    """0 for H, D, R; 1 for V, A, L."""
    delay_ps: int = 0
    """The click comes this much later than the reference detector's; subtracted in tagging."""
    dead_time_ps: int | None = None
    """A click closer than this to the previous one of the same detector is dropped; 0 keeps all, None says that nobody
    has chosen: a survey measures it, tagging keeps all."""
    angle_deg: float | None = None
    """Linear analyser angle, for CHSH; None where nothing is known."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """The detectors of one node in the order of the rows of its matrices."""

    side: str
    """``"alice"`` or ``"bob"``: the role in this link."""
    detectors: tuple[Detector, ...]

    def __len__(self) -> int:
        return len(self.detectors)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the detectors in order."""
        return tuple(detector.name for detector in self.detectors)


@dataclass(frozen=True, slots=True)
class DetectionEpoch:
    """Clicks of one node between two moments of its clock, labelled, with delays and dead times applied."""

    detector: U8
    """uint8[n], index into ``Receiver.detectors``."""
    tag_ps: I64
    """int64[n], ps, ascending."""
    start_ps: int
    """First moment that belongs to the epoch, ``tag_ps``."""
    stop_ps: int
    """First moment that no longer belongs to it."""
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        assert self.detector.dtype == np.uint8
        assert self.tag_ps.dtype == np.int64
        assert self.detector.shape == self.tag_ps.shape
        frozen(self.detector)
        frozen(self.tag_ps)

    def __len__(self) -> int:
        return int(self.tag_ps.size)


def joined(epochs: Sequence[DetectionEpoch]) -> DetectionEpoch:
    """Return the clicks of following epochs of one side as one epoch."""
    if not epochs:
        return DetectionEpoch(np.empty(0, np.uint8), np.empty(0, np.int64), 0, 0)
    if len(epochs) == 1:
        return epochs[0]
    return DetectionEpoch(
        np.concatenate([epoch.detector for epoch in epochs]),
        np.concatenate([epoch.tag_ps for epoch in epochs]),
        epochs[0].start_ps,
        epochs[-1].stop_ps,
        tuple(gap for epoch in epochs for gap in epoch.gaps),
    )


@dataclass(frozen=True, slots=True)
class ClockModel:
    """How bob's clock runs against alice's: ``bob = alice + offset + frequency_error * (alice - reference)``.

    Swapping the sides flips both signs. The frequency error is a pure number (5 ppm is 5e-6) and is multiplied
    only with time differences, so float64 loses less than a picosecond over years while tags stay int64.
    """

    reference_ps: int
    """Moment of alice's clock at which ``offset_ps`` holds."""
    offset_ps: int
    """Bob's reading minus alice's at the reference."""
    frequency_error: float
    """Bob's clock rate over alice's, minus 1."""
    offset_sigma_ps: float = 0.0
    """Standard deviation of the offset at the reference."""
    frequency_sigma: float = 0.0
    """Standard deviation of the frequency error."""

    def bob_at(self, alice_ps: int) -> int:
        """Return bob's reading at a moment of alice's clock, ps."""
        return alice_ps + self.offset_at(alice_ps)

    def offset_at(self, alice_ps: int) -> int:
        """Return bob's reading minus alice's at a moment of alice's clock, ps."""
        return self.offset_ps + round(self.frequency_error * (alice_ps - self.reference_ps))

    def moved_to(self, alice_ps: int) -> ClockModel:
        """Return the same line with its reference moved, and the uncertainty grown accordingly."""
        sigma = float(np.hypot(self.offset_sigma_ps, self.frequency_sigma * (alice_ps - self.reference_ps)))
        return ClockModel(alice_ps, self.offset_at(alice_ps), self.frequency_error, sigma, self.frequency_sigma)


@dataclass(frozen=True, slots=True)
class MatchedClicks:
    """Which click of alice met which click of bob; each click is used at most once."""

    alice: U32
    """uint32[n], index into alice's epoch, ascending."""
    bob: U32
    """uint32[n], index into bob's epoch, ascending."""

    def __post_init__(self) -> None:
        frozen(self.alice)
        frozen(self.bob)


@dataclass(frozen=True, slots=True)
class CoincidenceIndex(MatchedClicks):
    """The clicks that met, counted by detector, and what chance alone would have let meet."""

    matrix: I64
    """int64[len(alice receiver), len(bob receiver)], coincidences per pair of detectors."""
    displaced: I64
    """int64, same shape: coincidences found in the windows displaced to where no pair can be."""
    displaced_windows: int
    """Number of displaced windows that ``displaced`` sums."""
    window_ps: int
    """Full width of the coincidence window."""

    def __post_init__(self) -> None:
        for array in (self.alice, self.bob, self.matrix, self.displaced):
            frozen(array)

    @property
    def accidentals(self) -> F64:
        """Expected accidental coincidences per pair of detectors, float64, same shape as ``matrix``."""
        return np.asarray(self.displaced / max(self.displaced_windows, 1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class SiftedEpoch:
    """Bits of coincidences in equal bases. Not secret: sifted only."""

    bits: U8
    """uint8[n], 0 or 1, unpacked."""
    basis: U8
    """uint8[n], index into the bases in the order they first appear in the receiver."""
    side: str

    def __post_init__(self) -> None:
        frozen(self.bits)
        frozen(self.basis)


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What a recording says of itself."""

    path: str
    format: str
    """Name of the format, as for ``--format``."""
    tick_ps: Fraction
    """Length of the recording's own time unit, ps; exact."""
    channels: dict[str, dict[str, int]] = field(default_factory=dict)
    """Channel map that the file carries, side -> detector name -> channel; empty where it carries none."""
    notes: tuple[str, ...] = ()
    """What a reader should know, such as the tagger's name; for people."""
    simulated: bool = False
    """True if any simulated instrument took part; stays with everything that is derived from it."""
    angles_deg: dict[str, dict[str, float]] = field(default_factory=dict)
    """Angles of linear analysers that the file carries, side -> detector name -> degrees."""


@dataclass(slots=True)
class ReadingReport:
    """What was found while reading; complete once all blocks have been read."""

    records: int = 0
    """Records of the file, special ones included."""
    tags: int = 0
    """Tags handed out."""
    rollovers: int = 0
    """Roll-over or overflow-of-the-counter records: normal, not a loss."""
    disordered: int = 0
    """Tags that stood before an earlier one and were moved."""
    disorder_ps: int = 0
    """Largest step backwards that was repaired."""
    gaps: list[Gap] = field(default_factory=list)
