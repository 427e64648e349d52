"""Keys made of an agreement, alone or together with distilled key: HKDF-SHA-384, bound to all that they are for.

Secrets of fixed length follow each other into the extraction, as NIST SP 800-56C rev. 2 allows for hybrid secrets
(section 2) and ETSI TS 103 744 calls CatKDF; the result is secret while either input is. Every name that the key
stands under goes into the expansion with its length before it, so no two keys share a context. Computationally secret
only, as is all that HKDF gives: a distilled key that is delivered as ``qkd`` never comes through here.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qnoded.node.keys.key_ids import Mode
from qnoded.secret import Secret

AGREEMENT: Final = "X25519+ML-KEM-768"
_LABEL: Final = "qnoded delivered key 1"


def combined(mode: Mode, distilled: Secret | None, agreed: Secret, name: UUID, key_bytes: int, *context: str) -> Secret:
    """Return a hybrid key, or one of the agreement alone.

    Parameters
    ----------
    mode
        ``HYBRID`` or ``PQC``.
    distilled
        As long as the key; None for ``PQC``.
    agreed
        48 bytes of the newest agreement.
    name
        Under which the key is delivered.
    key_bytes
        Length of the result.
    context
        Link, master and slave.
    """
    parts = [_LABEL, AGREEMENT, mode.name, str(name), str(key_bytes), *context]
    info = b"".join(len(part.encode()).to_bytes(2, "big") + part.encode() for part in parts)
    secret = bytearray(distilled.view() if distilled is not None else b"")
    secret += agreed.view()
    try:
        return Secret(HKDF(SHA384(), key_bytes, salt=None, info=info).derive(bytes(secret)))
    finally:
        secret[:] = bytes(len(secret))
