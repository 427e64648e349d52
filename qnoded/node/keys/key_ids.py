"""Names of delivered keys: each says by itself which key it is, how long, and for which two applications it was made.

The master's node makes the name, the slave's node reads it, and neither has to ask the other. For that the name
carries two short tags, made with a secret that both nodes share (the link's *ticket*): one over the key and its
master, one that adds the slave. A name that nobody made fits no tag: not found. One that was made for another slave
fits the first tag only: refused.

The 128 bits, in the layout of a version-8 UUID (RFC 9562, section 5.8), first bit highest:

    40 serial number of the first stored key · 8 number of the agreement, modulo 256 · 4 version
    2 mode · 10 length in bytes less 1 · 2 variant · 30 tag of key and master · 32 tag that adds the slave

The tags cover the whole number of the agreement, so a name that is fetched late finds its own agreement or none.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from uuid import UUID

from qnoded.errors import KeyNotForCaller, KeyNotFound
from qnoded.secret import Secret

LONGEST_KEY_BYTES: Final = 1 << 10
LARGEST_SERIAL: Final = (1 << 40) - 1
AGREEMENTS: Final = 1 << 8
"""A name has the number of its agreement modulo this; a store keeps no two that are equal by it."""
TICKET_BYTES: Final = 32

_VERSION: Final = 8
_VARIANT: Final = 0b10
_MASTER_TAG_BITS: Final = 30
_SLAVE_TAG_BITS: Final = 32


class Mode(IntEnum):
    """What a delivered key is made of."""

    QKD = 0
    """Bits of distilled key, as they are."""
    HYBRID = 1
    """Distilled key and a post-quantum agreement: secret while either is."""
    PQC = 2
    """A post-quantum agreement alone: never passes for QKD."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """What the name of a delivered key says."""

    mode: Mode
    serial: int
    """Of the first stored key that it is made of, counted by its owner; for ``PQC`` a count of its own."""
    agreement: int
    """Number of the agreement; 0 for ``QKD``."""
    key_bytes: int
    """1 to 1024."""

    def issue(self, ticket: Secret, owner: str, master: str, slave: str) -> UUID:
        """Return the name for one master and one slave.

        Parameters
        ----------
        ticket
            The link's shared secret.
        owner
            ``"alice"`` or ``"bob"``: the end that hands the key out first.
        """
        head, agreement = self._head(), str(self.agreement)
        by_master = _tag(ticket, _MASTER_TAG_BITS, head, agreement, owner, master)
        by_slave = _tag(ticket, _SLAVE_TAG_BITS, head, agreement, owner, master, slave)
        low = _VARIANT << 62 | by_master << _SLAVE_TAG_BITS | by_slave
        return UUID(bytes=head + low.to_bytes(8, "big"))

    @classmethod
    def read(
        cls, name: UUID, ticket: Secret, agreements: Iterable[int], owner: str, master: str, slave: str
    ) -> KeyName:
        """Return what a name says.

        Parameters
        ----------
        agreements
            Numbers of those that are kept.
        ticket, owner, master, slave
            As for ``issue``.

        Raises
        ------
        KeyNotFound
            If nobody made this name for this master, or its agreement is kept no more.
        KeyNotForCaller
            If it was made for another slave.
        """
        head, low = name.bytes[:8], int.from_bytes(name.bytes[8:], "big")
        version = head[6] >> 4
        mode = head[6] >> 2 & 0b11
        tag = low >> _SLAVE_TAG_BITS & ((1 << _MASTER_TAG_BITS) - 1)
        candidates = (0,) if mode == Mode.QKD else agreements
        agreement = next((one for one in candidates if one % AGREEMENTS == head[5]), None)
        made = _tag(ticket, _MASTER_TAG_BITS, head, str(agreement), owner, master)
        fits = version == _VERSION and low >> 62 == _VARIANT and mode in list(Mode) and tag == made
        if agreement is None or not fits:
            problem = f"there is no key {name}"
            raise KeyNotFound(problem)
        if low & ((1 << _SLAVE_TAG_BITS) - 1) != _tag(
            ticket, _SLAVE_TAG_BITS, head, str(agreement), owner, master, slave
        ):
            problem = f"key {name} was not made for {slave}"
            raise KeyNotForCaller(problem)
        serial, key_bytes = int.from_bytes(head[:5], "big"), (int.from_bytes(head[6:8], "big") & 0x3FF) + 1
        return cls(Mode(mode), serial, agreement, key_bytes)

    def _head(self) -> bytes:
        word = _VERSION << 12 | self.mode << 10 | (self.key_bytes - 1)
        return self.serial.to_bytes(5, "big") + bytes([self.agreement % AGREEMENTS]) + word.to_bytes(2, "big")


def _tag(ticket: Secret, bits: int, head: bytes, *names: str) -> int:
    """Return the first bits of an HMAC over parts that each have their length before them."""
    parts = [head, *(name.encode() for name in names)]
    text = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return int.from_bytes(hmac.digest(ticket.view(), text, "sha256")[:8], "big") >> (64 - bits)
