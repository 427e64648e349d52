"""Authentication of classical messages: Wegman-Carter tags, secure without any assumption on computing power.

The tag is the universal hash of the message at the point ``hash_key``, masked by exclusive or with ``mask``: bits of
key that are used once and never again (Wegman and Carter, J. Comput. Syst. Sci. 22:265 (1981)). The hash is almost
XOR-universal with error eps = ``forgery_probability``, so whoever sees a message and its tag finds another pair
that fits with that probability at most, and whoever sees none does no better.

Key that a message costs: the mask, 8 bits for each byte of the tag. The hash key is kept. Since its hashes leave
the node under fresh one-time masks alone they tell nothing of it, and the error of r tags in sequence is at most
r (eps + eps_mask), where eps_mask is the distance of each mask from perfect secrecy (Portmann, IEEE Trans. Inf. Theory
60:4383 (2014), arXiv:1202.1229). Masks from distilled key are not perfect, so that this sum grows with every round
(Abidin and Larsson, arXiv:1109.5168): count it, and renew the hash key before the sum is more than the budget allows.
A hash key that is fresh for every message costs 128 bits more each time and needs no such count.

Two rules the proof rests on are the caller's to keep: a mask is taken off the ledger on disk *before* its tag is sent,
and after one tag that does not verify the link stops, for each further attempt would be a further guess.
"""

from __future__ import annotations

import hmac
from typing import Final

from qnoded.errors import UsageError
from qnoded.secret import Octets, Secret
from qnoded.stages.universal_hash import (
    LONGEST_HASH_BYTES,
    POINT_BYTES,
    Purpose,
    check_hash_bytes,
    collision_probability,
    universal_hash,
)

HASH_KEY_BYTES: Final = POINT_BYTES
LONGEST_TAG_BYTES: Final = LONGEST_HASH_BYTES

SENDERS: Final = {"alice": Purpose.ALICE_TO_BOB, "bob": Purpose.BOB_TO_ALICE}


def tag(message: Octets, hash_key: Secret, mask: Secret, sender: str) -> bytes:
    """Return the tag of a message, as many bytes as the mask has.

    Parameters
    ----------
    message
        Everything that is to be authenticated, its number in the sequence included.
    hash_key
        16 bytes, known to both ends; may be used for many messages.
    mask
        4 to 16 bytes (8 and more where key is at stake), used for this message only.
    sender
        ``"alice"`` or ``"bob"``; part of what is authenticated.

    Raises
    ------
    UsageError
        If a key has the wrong length or was wiped, or the sender is none of the two.
    """
    if sender not in SENDERS:
        problem = f"sender {sender!r} is not known; it is alice or bob, the role in the link"
        raise UsageError(problem)
    check_hash_bytes(len(mask))
    hashed = universal_hash(message, hash_key, SENDERS[sender])
    return bytes(a ^ b for a, b in zip(hashed, mask.view(), strict=False))


def verify(message: Octets, received: bytes, hash_key: Secret, mask: Secret, sender: str) -> bool:
    """Tell in constant time whether ``received`` is the tag of the message; see ``tag`` for the parameters and errors.

    A tag of the wrong length is not an error but simply wrong: the peer, or whoever speaks in its place, chose it.
    """
    return hmac.compare_digest(tag(message, hash_key, mask, sender), received)


def forgery_probability(message_bytes: int, tag_bytes: int = LONGEST_TAG_BYTES) -> float:
    """Return eps, the bound on the probability that one forged tag is accepted.

    With N = ceil(length / 16) + 1 blocks it is N / 2^(8 tag_bytes).

    Parameters
    ----------
    message_bytes
        Length of the longest message that would be accepted.
    tag_bytes
        4 to 16.

    Raises
    ------
    UsageError
        If the tag has an impossible length.
    """
    return collision_probability(8 * message_bytes, tag_bytes)


def key_bits(messages: int, tag_bytes: int = LONGEST_TAG_BYTES, *, fresh_hash_key: bool = False) -> int:
    """Return the key that tags of so many messages use up, in bits; the hash key counts only if it is fresh each time.

    Raises
    ------
    UsageError
        If the tag has an impossible length.
    """
    check_hash_bytes(tag_bytes)
    return messages * 8 * (tag_bytes + (HASH_KEY_BYTES if fresh_hash_key else 0))
