"""What both ends of a link must agree on, as one record, and how a disagreement is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from qnoded.errors import TermsMismatch
from qnoded.records import SIDES, Detector, Receiver
from qnoded.stages.estimation.outcomes import BellState

BASES: Final = ("HV", "DA", "RL")
"""Each is named by its detectors, that of bit 0 first."""

PROTOCOL_VERSION: Final = 2
"""Of the wire and of the conversations; ends of different versions do not talk."""

_ELSEWHERE: Final = {
    "link": "the [links.NAME] table of each end is named after the peer's node.name, or both ends give one name as "
    "link in its terms",
    "simulation": "node.simulation",
    "alice_detectors": "[receiver.channels] at alice, peer_detectors of the link at bob",
    "bob_detectors": "[receiver.channels] at bob, peer_detectors of the link at alice",
    "makes_keys": "whether there is a [keys] table",
    "signed_exchange": "whether the link has a peer_identity",
}
"""Fields that do not stand in a link's own table of terms -> where they come from."""


@dataclass(frozen=True, slots=True)
class LinkTerms:
    """Settings that must be equal at both ends; sent as text in the greeting, compared by hash, then field by field."""

    link: str
    """Name of the link."""
    simulation: bool
    """True if photons may be simulated; such a link delivers no key unless both ends say so."""
    alice_detectors: tuple[str, ...]
    """Names of alice's detectors in the order of her receiver, such as H V D A."""
    bob_detectors: tuple[str, ...]
    state: BellState = "Phi+"
    """The source's Bell state: whether equal or opposite outcomes are the same bit."""
    window_ps: int = 1000
    """Full width of the coincidence window."""
    revealer: Literal["auto", "alice", "bob"] = "auto"
    """Who reveals times and bases; auto: whoever has fewer detections at the session's start."""
    multi_click: Literal["random", "discard"] = "random"
    """What becomes of clicks of several detectors of a side within one window."""
    test_share: float = 0.05
    """Share of the sifted bits that is revealed to measure the QBER, and thrown away."""
    search_offset_ps: int = 500_000_000_000
    """Cold acquisition searches offsets up to this far from what the hosts' clocks say."""
    search_frequency: float = 2e-5
    """And frequency errors up to this, a pure number."""
    block_bits: int = 100_000
    """A block is closed once it holds this many sifted bits, test bits included."""
    chsh_side: Literal["alice", "bob", "none"] = "bob"
    """Whose polarization controller turns for the CHSH interlude."""
    chsh_every_epochs: int = 0
    """Epochs from the start of one interlude to the next; 0: only on request."""
    chsh_epochs: int = 8
    """Epochs of an interlude in which all outcomes are revealed."""
    settling_epochs: int = 2
    """Epochs left out before and after, while the controller moves."""
    makes_keys: bool = False
    """True if blocks become secret keys; both nodes then have a key store."""
    signed_exchange: bool = False
    """True if both nodes pin each other's identity: what they share without photons is signed by it."""
    reconciliation: Literal["cascade", "ldpc"] = "cascade"
    """How errors are corrected."""
    eps_sec: float = 1e-10
    """Secrecy of one block's key: its distance from one that nobody else knows anything about."""
    eps_cor: float = 1e-15
    """Probability that the two ends of a block hold different keys."""
    qber_limit: float = 0.11
    """A block with a larger share of wrong test bits is discarded at both ends."""

    def text(self) -> str:
        """Return the terms as canonical JSON, keys sorted: what is hashed and sent."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def receiver(self, side: str) -> Receiver:
        """Return a side's detectors by name; their channels, delays and dead times are that node's own business."""
        names = self.alice_detectors if side == SIDES[0] else self.bob_detectors
        outcomes = {name: (basis, bit) for basis in BASES for bit, name in enumerate(basis)}
        return Receiver(side, tuple(Detector(name, place, *outcomes[name]) for place, name in enumerate(names)))

    def digest(self) -> bytes:
        """Return the SHA-256 of ``text``."""
        return hashlib.sha256(self.text().encode()).digest()


def compare(mine: LinkTerms, theirs: Mapping[str, Any]) -> None:
    """Refuse a peer whose terms differ.

    Parameters
    ----------
    mine
        The terms here.
    theirs
        The peer's, from the JSON of its greeting.

    Raises
    ------
    TermsMismatch
        Names the first field that differs, with both values.
    """
    own: dict[str, Any] = json.loads(mine.text())
    names = [field.name for field in fields(LinkTerms)]
    for name in names + sorted(theirs.keys() - set(names)):
        if own.get(name) != theirs.get(name):
            raise TermsMismatch(name, own.get(name), theirs.get(name), _ELSEWHERE.get(name, ""))
