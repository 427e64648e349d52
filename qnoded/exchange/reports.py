"""What the scripts of a live link tell whoever watches: records, complete, without secrets but for the sifted bits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from qnoded.exchange.committing import BlockAccount
from qnoded.records import I64, SiftedEpoch, frozen
from qnoded.stages.synchronization.clock_state import ClockState
from qnoded.stages.synchronization.lock import TrackingReport
from qnoded.stages.synchronization.outcome import Acquisition


class Reason(Enum):
    """Why an epoch gave no sifted bits; each is counted."""

    NO_LOCK = "no clock lock yet"
    LOCK_LOST = "clock lock lost"
    NO_CLICKS = "no clicks"
    GAP = "tags lost by the tagger"
    OVERLOAD = "dropped under overload"
    LATE = "came too late"
    PEER_LOST = "peer or network went away"
    SETTLING = "polarization controller moving"
    REFUSED = "the peer had discarded it"
    GARBLED = "could not be decoded"


@dataclass(frozen=True, slots=True)
class Tests:
    """Test bits of one epoch in one basis."""

    basis: str
    errors: int
    bits: int


@dataclass(frozen=True, slots=True)
class EpochSifted:
    """An epoch that both ends have sifted; test bits are already gone from the bits."""

    epoch: int
    """Number in the revealer's clock: ``start_ps // EPOCH_PS``."""
    sifted: SiftedEpoch
    tests: tuple[Tests, ...]
    clicks: tuple[int, int]
    """Clicks of alice and of bob in the epoch, multi-clicks resolved."""
    coincidences: int
    """Coincidences in equal bases, tests included."""
    accidentals: float
    """How many of them are expected to be accidental."""
    digest: bytes
    """SHA-256 of all that became public of it: coincidences, bases, tests and both ends' test bits; equal at both."""


@dataclass(frozen=True, slots=True)
class EpochDiscarded:
    """An epoch that gives nothing; never repaired."""

    epoch: int
    reason: Reason
    numbers: str
    """For people: what was found and what was needed."""


@dataclass(frozen=True, slots=True)
class EpochWithdrawn:
    """A sifted epoch that goes into no block; it stays counted as sifted."""

    epoch: int
    reason: Reason
    bits: int
    """Sifted bits that are thrown away."""
    numbers: str
    """For people: why."""


@dataclass(frozen=True, slots=True)
class ServiceMeasured:
    """An epoch whose outcomes were all revealed: never key."""

    epoch: int
    matrix: I64
    """int64[alice detectors, bob detectors], all pairs within the window."""
    accidentals: I64
    """Same shape: pairs of all displaced windows."""
    displaced_windows: int

    def __post_init__(self) -> None:
        frozen(self.matrix)
        frozen(self.accidentals)


@dataclass(frozen=True, slots=True)
class ClockTracked:
    """The matcher's clock after an epoch; the node persists it."""

    epoch: int
    state: ClockState
    report: TrackingReport


@dataclass(frozen=True, slots=True)
class ClockAcquired:
    """A search has ended, with a lock or with a reason."""

    epoch: int
    acquisition: Acquisition
    seconds_of_data: float
    cold: bool
    """False where only the neighbourhood of a known clock was searched."""


@dataclass(frozen=True, slots=True)
class LockLost:
    """The lock was declared lost; a search begins."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class InterludePlanned:
    """Both ends have agreed on an interlude; the node moves its controller at the named epochs."""

    settle_epoch: int
    """First epoch, revealer's number, in which the controller moves away from the key setting."""
    service_epoch: int
    return_epoch: int
    key_epoch: int
    """First epoch that is key again."""


@dataclass(frozen=True, slots=True)
class ControllerDue:
    """The controller of this node has to go to a setting now; told only at the end whose controller turns.

    The node answers with ``ControllerStands`` when the controller leaves and when it has come to rest.
    """

    setting: str
    """``"chsh"`` or ``"key"``."""
    epoch: int
    """The epoch, revealer's number, that has just begun or is about to, as far as it is known."""


@dataclass(frozen=True, slots=True)
class ResolutionChosen:
    """Resolution at which times are revealed from an epoch on."""

    from_epoch: int
    resolution_ps: int


@dataclass(frozen=True, slots=True)
class Revealed:
    """What revealing one epoch cost."""

    epoch: int
    detections: int
    payload_bits: int
    """Coded times and bases, without the frame around them."""
    entropy_bits: float
    """Entropy of Poisson gaps at that rate and resolution plus one basis bit, times the detections."""


@dataclass(frozen=True, slots=True)
class BlockSifted:
    """A block that both ends hold with the same epochs: what distillation starts from."""

    block: int
    epochs: tuple[int, ...]
    sifted: SiftedEpoch
    """Bits of all its epochs in order."""
    tests: tuple[Tests, ...]
    """Sums over its epochs."""
    public_digest: bytes
    """SHA-256 of its epochs' digests: equal at both ends, and no secret."""


class NoKey(Enum):
    """Why a block gave no key; each is counted."""

    QBER_LIMIT = "more test bits are wrong than the link allows"
    NOT_CORRECTED = "errors could not be corrected"
    NOT_EQUAL = "the two ends' corrected blocks differ"
    NO_LENGTH = "no bits are left by the bound on the key's length"
    BASES_UNEVEN = "a basis has too large a share of the bits"
    TESTS_APART = "more errors were corrected than the test bits tell of"
    NOT_COMMITTED = "the two ends do not hold the same key"
    SESSION_ENDED = "the session ended while the block was in work"
    OVERLOAD = "too many blocks are in work"


@dataclass(frozen=True, slots=True)
class KeyMade:
    """A block's key lies in the key stores of both ends."""

    block: int
    account: BlockAccount


@dataclass(frozen=True, slots=True)
class BlockDiscarded:
    """A block that gives no key."""

    block: int
    reason: NoKey
    numbers: str
    """For people: what was found, and what to do."""
