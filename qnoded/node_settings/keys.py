"""The node's keys: where they are stored, how long, and which applications may fetch them."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, model_validator

from qnoded.node_settings.links import LocatedPath, Name, Number

LONGEST_KEY_BITS: Final = 8192
"""What the name of a key can say (``node.keys.key_ids``)."""
MOST_STORED_KEYS: Final = 10**7
MOST_KEYS_PER_REQUEST: Final = 1024
LONGEST_APPLICATION: Final = 128
"""Bytes of an application's name."""
LONGEST_LIFETIME_S: Final = 10 * 366 * 86400.0

_LISTEN: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]*):(?P<port>\d{1,5})")
_LARGEST_PORT: Final = 65535


def _is_an_address(text: str) -> str:
    address = _LISTEN.fullmatch(text)
    if not address or int(address["port"]) > _LARGEST_PORT:
        problem = "is no address; write for example 192.0.2.7:8443"
        raise ValueError(problem)
    return text


def _is_an_application(text: str) -> str:
    if not 0 < len(text.encode()) <= LONGEST_APPLICATION or not text.isprintable():
        problem = (
            f"must be 1 to {LONGEST_APPLICATION} printable characters; write the name in the application's certificate"
        )
        raise ValueError(problem)
    return text


Count = Annotated[int, Strict(), Field(ge=0)]
Application = Annotated[str, Strict(), AfterValidator(_is_an_application)]
"""Identifier of a secure application entity (SAE), as its certificate says it."""
KeyBits = Annotated[int, Strict(), Field(ge=8, le=LONGEST_KEY_BITS, multiple_of=8)]


class KeysSettings(BaseModel):
    """``[keys]``: the key store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kek: LocatedPath | None = None
    """File with the 32 bytes that seal the store, made by ``qnodectl keys new-kek``; absent: the systemd credential."""
    identity: LocatedPath | None = None
    """File with the private identity of this node, made by ``qnodectl pki identity``; absent: the systemd credential.
    Links with ``peer_identity`` need one of both."""
    stored_key_bits: KeyBits = 256
    """Length of one stored key; longer ones are joined. Alice's node decides for a link."""
    lifetime_s: Annotated[Number, Field(gt=0.0, le=LONGEST_LIFETIME_S)] = 30 * 86400.0
    """A key that nobody fetched is erased this long after it was made."""
    most_keys: Annotated[int, Strict(), Field(gt=0, le=MOST_STORED_KEYS)] = 100_000
    """Stored keys per link and direction; what blocks bring beyond is not kept."""
    low_keys: Count = 100
    """With fewer the stock is reported as low."""
    authentication_bytes: Count = 4096
    """Key bytes that each direction of a link is filled up to for its own authentication."""
    low_authentication_bytes: Count = 512
    """With fewer the link is reported as running dry."""


class LocalApplication(BaseModel):
    """``[delivery.local.NAME]``: an application that may fetch keys at this node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reserved_keys: Count = 0
    """Stored keys of each link that only this application may bring down to nothing."""
    modes: Annotated[tuple[Literal["qkd", "hybrid", "pqc"], ...], Field(min_length=1)] = ("qkd", "hybrid")
    """What its keys may be made of; ``pqc`` keys hold no distilled bit, and only who names that mode here gets any."""


class RemoteApplication(BaseModel):
    """``[delivery.remote.NAME]``: an application at a peer's node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    link: Name
    """Which of ``[links]`` leads to its node."""
    kme_id: Application
    """What its node is called in key delivery."""


class DeliverySettings(BaseModel):
    """``[delivery]``: keys to applications over HTTPS, ETSI GS QKD 014."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Annotated[str, Strict(), AfterValidator(_is_an_address)]
    """Address and port, such as ``127.0.0.1:8443``."""
    kme_id: Application
    """What this node is called in key delivery."""
    certificate: LocatedPath
    """Of this node, PEM, with the chain below the applications' root."""
    private_key: LocatedPath
    """Of the certificate; nobody else may read it."""
    client_ca: LocatedPath
    """Root of the applications' certificates, PEM."""
    key_bits: KeyBits = 256
    """Length of a key whose request names none."""
    min_key_bits: KeyBits = 64
    max_key_bits: KeyBits = LONGEST_KEY_BITS
    max_keys_per_request: Annotated[int, Strict(), Field(gt=0, le=MOST_KEYS_PER_REQUEST)] = 128
    local: dict[Application, LocalApplication] = Field(default_factory=dict)
    remote: dict[Application, RemoteApplication] = Field(default_factory=dict)

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Return where to listen."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @model_validator(mode="after")
    def _hold_together(self) -> DeliverySettings:
        if not self.min_key_bits <= self.key_bits <= self.max_key_bits:
            problem = (
                f"key_bits = {self.key_bits} is not between min_key_bits = {self.min_key_bits} and max_key_bits = "
                f"{self.max_key_bits}; change one of the three"
            )
            raise ValueError(problem)
        both = self.local.keys() & self.remote.keys()
        if both:
            problem = f"{', '.join(sorted(both))} cannot be here and at a peer; remove it from local or from remote"
            raise ValueError(problem)
        return self
