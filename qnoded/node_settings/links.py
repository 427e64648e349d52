"""A link of the node: where its peer is, whose keys count, and what both ends must agree on."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    model_validator,
)

from qnoded.exchange.terms import LinkTerms
from qnoded.settings import LARGEST_DELAY_PS, OUTCOMES
from qnoded.stages.estimation.outcomes import BellState

LONGEST_NAME: Final = 64
"""Characters; names become parts of paths and URLs."""
LARGEST_OFFSET_PS: Final = 10**16
"""2.8 hours: two hosts whose clocks differ by more need an operator, not a search."""
LARGEST_FREQUENCY_ERROR: Final = 1e-3
"""A clock that is off by more is broken."""
MOST_EPOCHS: Final = 10**6
"""Six days of epochs."""
SMALLEST_EPSILON: Final = 1e-30
"""Smaller failure probabilities promise what no instrument keeps; hashes would have to be longer than they are."""
LARGEST_BLOCK_BITS: Final = 10**8
"""A block of this size is the largest that is distilled in one piece (docs/amplification.md)."""

_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}")
_TCP: Final = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9*._-]+):(?P<port>\d{1,5})")
_LARGEST_PORT: Final = 65535
_DEFAULTS: Final[dict[str, Any]] = {field.name: field.default for field in fields(LinkTerms)}
"""Usual values stand in one place: the terms themselves."""


def _is_a_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        problem = f"must be 1 to {LONGEST_NAME} letters, digits, - and _; choose a short name such as bob"
        raise ValueError(problem)
    return text


def _located(value: Any, info: ValidationInfo) -> Any:
    """Take a relative path from the folder of the settings file."""
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        problem = 'must be a path in quotes; write for example "keys/alice.key_secret"'
        raise ValueError(problem)
    return Path((info.context or {}).get("folder", ".")) / value


def _is_an_endpoint(text: str) -> str:
    tcp = _TCP.fullmatch(text)
    if tcp is None or int(tcp["port"]) > _LARGEST_PORT:
        problem = "is no address; write for example tcp://192.0.2.7:7401"
        raise ValueError(problem)
    return text


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


Name = Annotated[str, Strict(), AfterValidator(_is_a_name)]
LocatedPath = Annotated[Path, BeforeValidator(_located)]
Endpoint = Annotated[str, Strict(), AfterValidator(_is_an_endpoint)]
Switch = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Epsilon = Annotated[Number, Field(ge=SMALLEST_EPSILON, lt=1.0)]


class TermsSettings(BaseModel):
    """``[links.NAME.terms]``: must say the same at both ends; what is left out has its usual value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    link: Name | None = None
    """Name of the link; absent: the names of alice's and bob's nodes, such as ``alice-bob``."""
    state: BellState = _DEFAULTS["state"]
    """The source's Bell state."""
    window_ps: Annotated[int, Strict(), Field(gt=0, le=LARGEST_DELAY_PS)] = _DEFAULTS["window_ps"]
    """Full width of the coincidence window."""
    revealer: Literal["auto", "alice", "bob"] = _DEFAULTS["revealer"]
    """Who reveals times and bases; auto: whoever has fewer detections."""
    multi_click: Literal["random", "discard"] = _DEFAULTS["multi_click"]
    """What becomes of clicks of several detectors of a side within one window."""
    test_share: Annotated[Number, Field(gt=0.0, lt=1.0)] = _DEFAULTS["test_share"]
    """Share of the sifted bits that is revealed to measure the QBER, and thrown away."""
    search_offset_ps: Annotated[int, Strict(), Field(gt=0, le=LARGEST_OFFSET_PS)] = _DEFAULTS["search_offset_ps"]
    """The clock is searched this far around what the hosts' clocks say."""
    search_frequency: Annotated[Number, Field(gt=0.0, le=LARGEST_FREQUENCY_ERROR)] = _DEFAULTS["search_frequency"]
    """And frequency errors up to this, a pure number: 2e-5 is 20 ppm."""
    block_bits: Annotated[int, Strict(), Field(gt=0, le=LARGEST_BLOCK_BITS)] = _DEFAULTS["block_bits"]
    """A block is closed once it holds this many sifted bits, test bits included."""
    chsh_side: Literal["alice", "bob", "none"] = _DEFAULTS["chsh_side"]
    """Whose polarization controller turns for the CHSH interlude."""
    chsh_every_epochs: Annotated[int, Strict(), Field(ge=0, le=MOST_EPOCHS)] = _DEFAULTS["chsh_every_epochs"]
    """Epochs (0.55 s) from one interlude to the next; 0: only on request."""
    chsh_epochs: Annotated[int, Strict(), Field(gt=0, le=MOST_EPOCHS)] = _DEFAULTS["chsh_epochs"]
    """Epochs of an interlude in which all outcomes are revealed."""
    settling_epochs: Annotated[int, Strict(), Field(ge=0, le=MOST_EPOCHS)] = _DEFAULTS["settling_epochs"]
    """Epochs left out before and after, while the controller moves."""
    reconciliation: Literal["cascade", "ldpc"] = _DEFAULTS["reconciliation"]
    """How errors are corrected: cascade leaks least, ldpc needs few round trips."""
    eps_sec: Epsilon = _DEFAULTS["eps_sec"]
    """Secrecy of one block's key: its distance from one that nobody else knows anything about."""
    eps_cor: Epsilon = _DEFAULTS["eps_cor"]
    """Probability that the two ends of a block hold different keys."""
    qber_limit: Annotated[Number, Field(gt=0.0, lt=0.5)] = _DEFAULTS["qber_limit"]
    """A block with a larger share of wrong test bits is discarded at both ends."""

    @model_validator(mode="after")
    def _leaves_time_for_key(self) -> TermsSettings:
        taken = self.chsh_epochs + 2 * self.settling_epochs
        if 0 < self.chsh_every_epochs <= taken:
            problem = (
                f"chsh_every_epochs = {self.chsh_every_epochs} leaves no time for key: an interlude takes "
                f"{taken} epochs with its settling; use more than {taken}, or 0 for none"
            )
            raise ValueError(problem)
        return self


class LinkSettings(BaseModel):
    """``[links.NAME]``: one peer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["alice", "bob"]
    """What this node is on the link; its peer is the other."""
    listen: Endpoint | None = None
    """Address on which this end waits for its peer; exactly one end of a link listens."""
    connect: Endpoint | None = None
    """Address of the peer that listens."""
    secret_key: LocatedPath
    """CURVE secret key of this end, made by ``qnodectl keygen``."""
    peer_key: LocatedPath
    """CURVE public key of the peer; no other is let in."""
    first_secret: LocatedPath | None = None
    """What both ends share before their first key, made by ``qnodectl keys new-secret``; used once. Absent: the link
    begins with a signed exchange."""
    peer_identity: LocatedPath | None = None
    """Public identity of the peer's node, made there by ``qnodectl pki identity``; needed for a signed exchange, and
    for keys of modes ``hybrid`` and ``pqc``."""
    peer_detectors: tuple[Annotated[str, Strict()], ...] | None = None
    """Names of the peer's detectors in its order; absent: the same as here."""
    terms: TermsSettings = TermsSettings()

    @property
    def peer_role(self) -> Literal["alice", "bob"]:
        """What the peer is on the link."""
        return "bob" if self.role == "alice" else "alice"

    @model_validator(mode="after")
    def _has_one_address(self) -> LinkSettings:
        if (self.listen is None) == (self.connect is None):
            problem = "needs exactly one of listen and connect; one end of a link listens, the other connects to it"
            raise ValueError(problem)
        if self.connect is not None and ("*" in self.connect or _port(self.connect) == 0):
            problem = f"cannot connect to {self.connect!r}; write the host and port on which the peer listens"
            raise ValueError(problem)
        for name in self.peer_detectors or ():
            if name not in OUTCOMES:
                problem = f"peer_detectors: {name!r} is no detector name; use {', '.join(OUTCOMES)}"
                raise ValueError(problem)
        return self
