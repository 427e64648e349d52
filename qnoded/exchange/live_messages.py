"""What two ends of a live link say to each other: who they are, that they live, and epoch by epoch what clicked when.

All of it is public. Limits stand in the types and are held by ``wire``; what must fit the epoch at hand the scripts
check. Epochs are counted by the revealer's clock, ``start_ps // EPOCH_PS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from qnoded.exchange.limits import LATEST_EPOCH, LATEST_PS, Between, Exactly, Most
from qnoded.exchange.messages import Message, PackedBits
from qnoded.exchange.reports import NoKey, Reason
from qnoded.records import I64
from qnoded.stages.revealing import COARSEST_PS, FINEST_PS, MOST_CLICKS, Coded
from qnoded.units import EPOCH_PS

NONCE_BYTES: Final = 16
NOBODY: Final = bytes(NONCE_BYTES)
"""In place of the peer's nonce, as long as none was heard."""
DIGEST_BYTES: Final = 32
LONGEST_TERMS: Final = 64 * 1024
LONGEST_REASON: Final = 200
MOST_DETECTORS: Final = 16
MOST_EPOCHS: Final = 1 << 16
"""Of one block: ten hours, for a link that gives some bits an epoch."""

Epoch = Annotated[int, Between(-LATEST_EPOCH, LATEST_EPOCH)]
Moment = Annotated[int, Between(-LATEST_PS, LATEST_PS)]
Clicks = Annotated[int, Between(0, MOST_CLICKS)]
Resolution = Annotated[int, Between(FINEST_PS, COARSEST_PS)]
Expected = Annotated[float, Between(0.0, float(MOST_CLICKS))]


@dataclass(frozen=True, slots=True)
class Greeting(Message):
    """Who speaks and on what terms; the first message of a link, repeated until the peer has heard it."""

    version: Annotated[int, Between(0, 2**16 - 1)]
    """Of the conversations, ``PROTOCOL_VERSION``."""
    software: Annotated[str, Most(64)]
    """For people: name and version."""
    role: Annotated[str, Most(8)]
    nonce: Annotated[bytes, Exactly(NONCE_BYTES)]
    """Fresh whenever an end starts to greet; all that follows is fixed with it."""
    seen_nonce: Annotated[bytes, Exactly(NONCE_BYTES)]
    """The peer's, or ``NOBODY``."""
    terms: Annotated[str, Most(LONGEST_TERMS)]
    """``LinkTerms.text()``."""
    terms_digest: Annotated[bytes, Exactly(DIGEST_BYTES)]
    stream_id: Annotated[str, Most(64)]
    """Another one whenever the tagger's clock has started anew."""
    utc_minus_tag_ns: int
    """The host's UTC less the tagger's reading, ns, good to some ten milliseconds."""
    detections_hz: Annotated[float, Between(0.0, 1e12)]


class Light(Enum):
    """What a node's own laser does."""

    NONE = "the node has none"
    DARK = "dark"
    EMITTING = "emitting"


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """Each second: how far the sender's data have come."""

    detected: Epoch
    """Newest epoch that its tagger has completed, in its own clock."""
    settled: Epoch
    """Newest epoch that was sifted or discarded, in the revealer's clock."""
    backlog: Annotated[int, Between(0, 2**31)]
    """Epochs that wait."""
    light: Light = Light.NONE
    """For the peer's people, who look for a cause where they see no clicks."""


@dataclass(frozen=True, slots=True)
class Goodbye(Message):
    """The sender ends the session on purpose."""

    reason: Annotated[str, Most(LONGEST_REASON)]


@dataclass(frozen=True, slots=True)
class RevealedEpoch(Message):
    """Revealer: times and bases of all her clicks in an epoch."""

    epoch: Epoch
    start_ps: Moment
    """First moment of the epoch, of the revealer's clock."""
    duration_ps: Annotated[int, Between(1, EPOCH_PS)]
    resolution_ps: Resolution
    settling: bool
    """True while a controller moves: for the clock only, no bit comes of it."""
    clicks: Coded
    """Labels are bases."""


@dataclass(frozen=True, slots=True)
class EpochSkipped(Message):
    """Revealer: an epoch gives nothing, or nothing any more."""

    epoch: Epoch
    reason: Reason


@dataclass(frozen=True, slots=True)
class EpochRefused(Message):
    """Matcher: a revealed epoch gives nothing."""

    epoch: Epoch
    reason: Reason


@dataclass(frozen=True, slots=True)
class Coincidences(Message):
    """Matcher: which of the revealed clicks met one in an equal basis, and which of them test the channel."""

    epoch: Epoch
    clicks: Clicks
    """The matcher's clicks of the epoch."""
    accidentals: Expected
    """Of the coincidences in equal bases, expected."""
    matched: Coded
    """Indices of the revealed clicks."""
    tests: Coded
    """Indices of the test bits among the coincidences."""
    bits: PackedBits
    """The matcher's test bits."""
    digest: Annotated[bytes, Exactly(DIGEST_BYTES)]
    """Of what both ends now know of the epoch, see ``stages.matching.public_digest``."""


@dataclass(frozen=True, slots=True)
class Confirmation(Message):
    """Revealer: her test bits; she has sifted the epoch."""

    epoch: Epoch
    bits: PackedBits
    digest: Annotated[bytes, Exactly(DIGEST_BYTES)]
    """Of the same and of her test bits."""


@dataclass(frozen=True, slots=True)
class ResolutionWanted(Message):
    """Matcher: the coincidence peak allows times of this resolution; the revealer's next epoch has it."""

    resolution_ps: Resolution


@dataclass(frozen=True, slots=True)
class ServiceRevealed(Message):
    """Revealer, in an interlude: times of all her clicks and the detectors that clicked; never key."""

    epoch: Epoch
    start_ps: Moment
    duration_ps: Annotated[int, Between(1, EPOCH_PS)]
    resolution_ps: Resolution
    clicks: Coded
    """Labels are detectors."""


@dataclass(frozen=True, slots=True)
class ServiceCounted(Message):
    """Matcher, in an interlude: coincidences of all pairs of detectors."""

    epoch: Epoch
    matrix: Annotated[I64, Most(MOST_DETECTORS**2)]
    """int64[alice's detectors times bob's], row by row."""
    accidentals: Annotated[I64, Most(MOST_DETECTORS**2)]
    """The same of all displaced windows together."""
    displaced_windows: Annotated[int, Between(1, 64)]


@dataclass(frozen=True, slots=True)
class InterludeProposed(Message):
    """Alice: epochs in which a controller moves and all outcomes are revealed."""

    settle_epoch: Epoch
    service_epoch: Epoch
    return_epoch: Epoch
    key_epoch: Epoch


@dataclass(frozen=True, slots=True)
class InterludeAnswered(Message):
    """Bob: whether he takes part."""

    settle_epoch: Epoch
    accepted: bool


@dataclass(frozen=True, slots=True)
class BlockProposed(Message):
    """Alice: the epochs that make the next block."""

    block: Annotated[int, Between(0, 2**62)]
    stream_id: Annotated[str, Most(64)]
    """The revealer's, whose clock counts the epochs."""
    epochs: Annotated[I64, Most(MOST_EPOCHS)]
    """Ascending."""
    digest: Annotated[bytes, Exactly(DIGEST_BYTES)]
    """Of what both ends know of the block, see ``blocks.public_digest``."""


@dataclass(frozen=True, slots=True)
class BlockAnswered(Message):
    """Bob: which of the proposed epochs he does not hold, or holds otherwise; without any, the block is closed."""

    block: Annotated[int, Between(0, 2**62)]
    missing: Annotated[I64, Most(MOST_EPOCHS)]


@dataclass(frozen=True, slots=True)
class BlockGivenUp(Message):
    """Both ways, in a block's own conversation: the sender does no more about it."""

    reason: NoKey


@dataclass(frozen=True, slots=True)
class Seal(Message):
    """Both ways: all that the sender has said about photons, blocks and keys until now is what it said.

    Behind each message from which a key may come to count, which waits for it (see ``authenticating``); a session that
    makes no key has none.
    """

    seal: Annotated[bytes, Most(64)]
