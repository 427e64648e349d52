"""No key lies on disk in the clear: each is sealed by AES-256-GCM under its block's own key, and that under the node's.

The node's key (KEK) seals one random key per block and nothing else, so random nonces suffice by far. A block's key
seals each of the block's secrets once, so that a number is nonce enough. What is sealed is bound to its place: link,
owner, number and state are authenticated with it, and a row that was moved, copied or renamed in the file does not
open. Erasing the sealed key of a block makes all that is left of the block, in old pages or backups, unreadable for
whoever has no older copy.
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qnoded.errors import ConfigError, KeyStoreBroken
from qnoded.secret import Secret

BLOCK_KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12

_PROOF: Final = b"qnoded key store 1"


class Use(IntEnum):
    """What a block's key seals; part of the nonce, so that no two uses share one."""

    WHOLE_BLOCK = 0
    KEY_OF_ALICE = 1
    KEY_OF_BOB = 2
    TAGS_OF_ALICE = 3
    TAGS_OF_BOB = 4
    TICKET = 5
    """The secret that names keys, see ``key_ids``."""
    AGREED = 6
    """What the ends agreed upon by post-quantum key exchange."""


class BlockKey:
    """Seals what belongs to one block."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, secret: Secret | memoryview, use: Use, number: int, *place: str | int | bytes) -> bytes:
        """Return a secret encrypted and bound to its place; at most once for each use and number."""
        content = secret.view() if isinstance(secret, Secret) else secret
        return self._cipher.encrypt(_nonce(use, number), content, _bound(use, number, place))

    def open(self, sealed: bytes, use: Use, number: int, *place: str | int | bytes) -> Secret:
        """Return what was sealed.

        Raises
        ------
        KeyStoreBroken
            If the bytes or their place are not what was sealed.
        """
        try:
            return Secret(self._cipher.decrypt(_nonce(use, number), sealed, _bound(use, number, place)))
        except InvalidTag:
            problem = (
                f"secret {number} of {'/'.join(map(str, place[:1]))} in the key store is not what was written there; "
                "restore the disk, and look for who changed it"
            )
            raise KeyStoreBroken(problem) from None


class Keyring:
    """The node's own key, which seals the keys of blocks."""

    def __init__(self, kek: Secret) -> None:
        self._cipher = AESGCM(kek.reveal())

    def new_block_key(self, *place: str | int | bytes) -> tuple[BlockKey, bytes]:
        """Return a new block's key, ready for use and sealed."""
        key, nonce = os.urandom(BLOCK_KEY_BYTES), os.urandom(NONCE_BYTES)
        return BlockKey(key), nonce + self._cipher.encrypt(nonce, key, _bound(-1, 0, place))

    def block_key(self, sealed: bytes, *place: str | int | bytes) -> BlockKey:
        """Return the key of a block.

        Raises
        ------
        KeyStoreBroken
            If it was not sealed by this node's key for this place.
        """
        return BlockKey(self._opened(sealed, place))

    def _opened(self, sealed: bytes, place: tuple[str | int | bytes, ...]) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(-1, 0, place))
        except (InvalidTag, ValueError):
            problem = "a block's key in the key store is not what was written there; restore the disk"
            raise KeyStoreBroken(problem) from None

    def resealed(self, sealed: bytes, successor: Keyring, *place: str | int | bytes) -> bytes:
        """Return the key of a block as another key of the node seals it; errors as of ``block_key``."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + successor._cipher.encrypt(nonce, self._opened(sealed, place), _bound(-1, 0, place))

    def proof(self) -> bytes:
        """Return what shows later that a store was written with this key."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, _PROOF, None)

    def demand_proof(self, proof: bytes, where: str) -> None:
        """Refuse a key that did not write the store.

        Raises
        ------
        ConfigError
            If it is another one.
        """
        try:
            self._cipher.decrypt(proof[:NONCE_BYTES], proof[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            problem, remedy = (
                "this key did not write the store",
                "give the one it was made with; without it all is lost",
            )
            raise ConfigError(where, "kek", problem, remedy) from None


def _nonce(use: Use, number: int) -> bytes:
    return use.to_bytes(4, "big") + number.to_bytes(8, "big")


def _bound(use: int, number: int, place: tuple[str | int | bytes, ...]) -> bytes:
    """Return the place as bytes, each part with its length before it: no two places give the same."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in (use, number, *place)]
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
