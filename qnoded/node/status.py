"""What the daemon says of itself: records that one snapshot is made of, and their JSON.

The daemon fills them, ``control`` serves them, ``qnodectl`` reads them back: all show the same numbers. Missing
knowledge is None, never zero. No secrets, no arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from qnoded.instruments.reading import Reading

Level = Literal["info", "warning", "error"]

GOODBYE: Final = "the peer said goodbye"
"""How the reason of a link begins that the peer has ended in order."""

NO_KEY_QBER: Final = 0.11
"""Above it no key is left, whatever the block size: Shor and Preskill 2000, 1 - 2 h(e) = 0."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """The daemon as a whole."""

    name: str
    version: str
    simulation: bool
    state: str
    """``starting``, ``running`` or ``stopping``."""
    started_utc: str
    """ISO 8601."""
    uptime_s: float
    loop_lag_s: float
    """Longest time of the last seconds in which the event loop did not turn."""
    troubles: tuple[str, ...] = ()
    """What is wrong with the machine, such as a full disk, and what to do, a line each."""


@dataclass(frozen=True, slots=True)
class InstrumentStatus:
    """One instrument by role."""

    driver: str
    state: str
    """Name of its connection state, such as ``READY`` or ``FAULTED``."""
    simulated: bool | None = None
    """None until the driver has been loaded."""
    identity: str | None = None
    reading: Mapping[str, Any] | None = None
    """The latest reading, as ``reading_document`` gives it."""
    reading_age_s: float | None = None
    problem: str | None = None
    """Why it is not ready, or ready but not doing what the node wants of it, in one line."""
    retry_in_s: float | None = None
    """When the next attempt to connect begins."""


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """The lock between the two ends' clocks."""

    locked: bool
    offset_ps: int | None = None
    """Matcher's reading minus revealer's, fibre included."""
    frequency_error: float | None = None
    """Pure number: 1e-6 is 1 ppm."""
    sigma_ps: float | None = None
    """Width of the coincidence peak."""
    age_s: float | None = None
    """Since the lock was last confirmed by photons."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts per second over the last epochs."""

    alice_hz: float | None = None
    """Clicks of alice."""
    bob_hz: float | None = None
    """Clicks of bob."""
    coincidences_hz: float | None = None
    """In equal bases."""
    sifted_hz: float | None = None
    """Sifted bits left after test bits were taken out."""


@dataclass(frozen=True, slots=True)
class Share:
    """A measured share with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ChshStatus:
    """The latest CHSH interlude."""

    s: float
    sigma: float
    epoch: int
    """Last epoch of the interlude."""


@dataclass(frozen=True, slots=True)
class KeysStatus:
    """Keys of one link, in this node's store."""

    available: int
    """That applications here may be given."""
    waiting: int
    """Whose names the peer gives away: they wait here for those to whom its applications talk."""
    key_bits: int
    """Length of one."""
    low: bool
    """True if few are available."""
    blocks_distilled: int
    """Since the daemon started, as all that follows."""
    secret_bits: int
    """Of these blocks' keys, those that refill authentication included."""
    discarded: Mapping[str, int]
    """Blocks that gave no key, by name of the reason, such as ``QBER_LIMIT``."""
    authentication_bytes: tuple[int, int] | None = None
    """Key left to authenticate what is sent and what is received, as of the last block."""
    authentication_low: bool = False
    to_do: str = ""
    """Why no key is made or handed out, and what to do; empty: nothing hinders it here."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link."""

    role: str
    peer: str
    state: str
    """Name of its lifecycle state, such as ``SIFTING``."""
    since_s: float
    """How long it has been in this state."""
    reason: str = ""
    """Why it is in this state; empty where the state says all."""
    advice: str = ""
    """What to do, in one line; filled in by ``advice.advised``. Empty: nothing."""
    session: str | None = None
    """First 8 hexadecimal digits of the session's number."""
    clock: ClockStatus = field(default_factory=lambda: ClockStatus(locked=False))
    rates: Rates = field(default_factory=Rates)
    qber: Mapping[str, Share] = field(default_factory=dict)
    """By basis, such as ``HV``, and ``total``; over the last epochs."""
    chsh: ChshStatus | None = None
    sifted_bits: int = 0
    """Since the daemon started."""
    epochs: int = 0
    """Epochs that gave sifted bits."""
    sifted_age_s: float | None = None
    """Since the last of them; None: there was none."""
    discards: Mapping[str, int] = field(default_factory=dict)
    """Epochs that gave none, by name of the reason, such as ``NO_LOCK``."""
    withdrawn: Mapping[str, int] = field(default_factory=dict)
    """Epochs that gave sifted bits and then went into no block, by name of the reason; among ``epochs`` as well."""
    withdrawn_bits: int = 0
    """Sifted bits of theirs; among ``sifted_bits`` as well."""
    bits_per_detection: float | None = None
    """What revealing cost on the wire; None at the end that does not reveal."""
    blocks: int = 0
    """Blocks that both ends hold."""
    peer_age_s: float | None = None
    """Since the peer was last heard; None: never."""
    peer_light: str | None = None
    """What the peer says of its own laser: ``NONE``, ``DARK`` or ``EMITTING``; None: there is no session."""
    refused_keys: int = 0
    """Connections turned away because of their key."""
    keys: KeysStatus | None = None
    """None: the link makes none."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for people."""

    number: int
    """Counts up from 1 within one run of the daemon."""
    utc: str
    """ISO 8601."""
    level: Level
    source: str
    """Such as ``node``, ``tagger`` or ``link bob``."""
    text: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One snapshot."""

    node: NodeState
    instruments: Mapping[str, InstrumentStatus]
    links: Mapping[str, LinkStatus]
    events: tuple[Event, ...] = ()
    """The latest ones, oldest first."""


def to_document(record: NodeStatus | Event) -> dict[str, Any]:
    """Return a record as a JSON document; what is no finite number becomes null."""
    document: dict[str, Any] = _plain(asdict(record))
    return document


def reading_document(reading: Reading) -> dict[str, Any]:
    """Return an instrument's reading as a JSON document."""
    if isinstance(reading, tuple):
        return {"channels": [_plain(asdict(one)) for one in reading]}
    document: dict[str, Any] = _plain(asdict(reading))
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
