"""Two ends that share nothing but each other's public identity agree on a secret: signed, and hybrid post-quantum.

X25519 and ML-KEM-768 (FIPS 203) together give the secret, which holds while either of them does; ML-DSA-65 (FIPS 204)
signatures by pinned identity keys say who made it. HKDF-SHA-384 then binds it to everything that was said and to what
it is for. What comes out is secret by computational assumptions, *not* information-theoretically. As a link's first
secret it has to withstand forgers only while it is in use: masks and hash keys of distilled key take its place (Wang et
al., npj Quantum Inf. 7:67 (2021)). As an agreement it makes hybrid keys, which are distilled key as well. A link whose
authentication must rest on no assumption at any time begins with a secret file that was carried by hand.

    alice -> bob   Hello    her fresh keys
    bob -> alice   Reply    his fresh key, a ciphertext for hers, his signature over all of it
    alice -> bob   Finish   her signature over all of it
    bob -> alice   Done     a hash under the new secret: he has it too
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qnoded.errors import AuthenticationFailed, ConfigError, LocalProtocolError
from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.limits import Exactly
from qnoded.exchange.messages import Message
from qnoded.secret import Secret

IDENTITY_BYTES: Final = 1952
"""Public key of ML-DSA-65."""
IDENTITY_SEED_BYTES: Final = 32
NONCE_BYTES: Final = 32
X25519_BYTES: Final = 32
ENCAPSULATION_KEY_BYTES: Final = 1184
CIPHERTEXT_BYTES: Final = 1088
SIGNATURE_BYTES: Final = 3309
CONFIRMATION_BYTES: Final = 48
LONGEST_SECRET_BYTES: Final = 255 * 48 - CONFIRMATION_BYTES
"""What HKDF-SHA-384 gives at most (RFC 5869), less the confirmation's key."""
LONGEST_PURPOSE: Final = 200

Randomness = Callable[[int], bytes]

_LABEL: Final = b"qnoded bootstrap 1"


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Alice to bob."""

    nonce: Annotated[bytes, Exactly(NONCE_BYTES)]
    x25519: Annotated[bytes, Exactly(X25519_BYTES)]
    encapsulation_key: Annotated[bytes, Exactly(ENCAPSULATION_KEY_BYTES)]

    def __post_init__(self) -> None:
        _demand_bytes("nonce", self.nonce, NONCE_BYTES)
        _demand_bytes("X25519 key", self.x25519, X25519_BYTES)
        _demand_bytes("ML-KEM-768 key", self.encapsulation_key, ENCAPSULATION_KEY_BYTES)


@dataclass(frozen=True, slots=True)
class Reply(Message):
    """Bob to alice."""

    nonce: Annotated[bytes, Exactly(NONCE_BYTES)]
    x25519: Annotated[bytes, Exactly(X25519_BYTES)]
    ciphertext: Annotated[bytes, Exactly(CIPHERTEXT_BYTES)]
    signature: Annotated[bytes, Exactly(SIGNATURE_BYTES)]

    def __post_init__(self) -> None:
        _demand_bytes("nonce", self.nonce, NONCE_BYTES)
        _demand_bytes("X25519 key", self.x25519, X25519_BYTES)
        _demand_bytes("ML-KEM-768 ciphertext", self.ciphertext, CIPHERTEXT_BYTES)
        _demand_bytes("ML-DSA-65 signature", self.signature, SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True)
class Finish(Message):
    """Alice to bob."""

    signature: Annotated[bytes, Exactly(SIGNATURE_BYTES)]

    def __post_init__(self) -> None:
        _demand_bytes("ML-DSA-65 signature", self.signature, SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True)
class Done(Message):
    """Bob to alice."""

    confirmation: Annotated[bytes, Exactly(CONFIRMATION_BYTES)]

    def __post_init__(self) -> None:
        _demand_bytes("confirmation", self.confirmation, CONFIRMATION_BYTES)


class Identity:
    """The key that a node signs with, for years.

    Parameters
    ----------
    seed
        32 random bytes, private.

    Raises
    ------
    ConfigError
        If it has another length.
    """

    def __init__(self, seed: Secret) -> None:
        if len(seed) != IDENTITY_SEED_BYTES:
            problem, remedy = f"has {len(seed)} bytes, {IDENTITY_SEED_BYTES} are due", "make one: qnodectl pki identity"
            where = "identity"
            raise ConfigError(where, "private key", problem, remedy)
        self._key = MLDSA65PrivateKey.from_seed_bytes(seed.reveal())

    @property
    def public(self) -> bytes:
        """What the peer pins, 1952 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, text: bytes) -> bytes:
        """Return the signature of a text."""
        return self._key.sign(text)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What the secret is for: the same at both ends, or they do not agree on it."""

    link: str
    purpose: str
    """Such as ``first secret`` or ``agreement 7``."""
    size_bytes: int

    def __post_init__(self) -> None:
        fits = 0 < self.size_bytes <= LONGEST_SECRET_BYTES and len(self.text()) <= LONGEST_PURPOSE
        if not fits:
            problem = f"a secret of {self.size_bytes} bytes for {self.text()[:80]!r} cannot be agreed on"
            raise LocalProtocolError(problem)

    def text(self) -> bytes:
        """Return it as bytes that no other occasion has."""
        return f"{len(self.link)}:{self.link}:{self.purpose}:{self.size_bytes}".encode()


def alice(occasion: Occasion, identity: Identity, peer: bytes, randomness: Randomness) -> Script[Secret]:
    """Agree on a secret at alice's end.

    Parameters
    ----------
    occasion : what it is for
    identity : of this node
    peer : the peer's public identity, pinned beforehand
    randomness : true random bytes

    Raises
    ------
    AuthenticationFailed
        If whoever answers is not the peer, or heard anything else than was said here.
    """
    x25519, kem = X25519PrivateKey.generate(), MLKEM768PrivateKey.generate()
    hello = Hello(randomness(NONCE_BYTES), x25519.public_key().public_bytes_raw(), kem.public_key().public_bytes_raw())
    yield from send(hello)
    reply = yield from receive(Reply)
    said = _said(occasion, identity.public, peer, hello, reply)
    _demand_signed(peer, b"bob", said, reply.signature)
    shared = _x25519(x25519, reply.x25519) + kem.decapsulate(reply.ciphertext)
    secret, confirmation = _derived(shared, said, occasion.size_bytes)
    signature = yield from compute(identity.sign, _signed_text(b"alice", said))
    yield from send(Finish(signature))
    done = yield from receive(Done)
    if not hmac.compare_digest(done.confirmation, confirmation):
        problem = "bob confirmed another secret than was agreed on; somebody is between the nodes"
        raise AuthenticationFailed(problem)
    return secret


def bob(occasion: Occasion, identity: Identity, peer: bytes, randomness: Randomness) -> Script[Secret]:
    """Agree on a secret at bob's end; as for alice."""
    hello = yield from receive(Hello)
    x25519 = X25519PrivateKey.generate()
    try:
        kem = MLKEM768PublicKey.from_public_bytes(hello.encapsulation_key)
    except ValueError:
        problem = "alice's ML-KEM-768 key is none; the message was changed on its way"
        raise AuthenticationFailed(problem) from None
    shared_kem, ciphertext = kem.encapsulate()
    unsigned = Reply(
        randomness(NONCE_BYTES), x25519.public_key().public_bytes_raw(), ciphertext, bytes(SIGNATURE_BYTES)
    )
    said = _said(occasion, peer, identity.public, hello, unsigned)
    signature = yield from compute(identity.sign, _signed_text(b"bob", said))
    shared = _x25519(x25519, hello.x25519) + shared_kem
    secret, confirmation = _derived(shared, said, occasion.size_bytes)
    yield from send(replace(unsigned, signature=signature))
    finish = yield from receive(Finish)
    _demand_signed(peer, b"alice", said, finish.signature)
    yield from send(Done(confirmation))
    return secret


def _said(occasion: Occasion, alices: bytes, bobs: bytes, hello: Hello, reply: Reply) -> bytes:
    """Return the hash of all that the secret depends on: names, identities and fresh keys, but no signature."""
    parts = (
        *(_LABEL, occasion.text(), alices, bobs),
        *(hello.nonce, hello.x25519, hello.encapsulation_key),
        *(reply.nonce, reply.x25519, reply.ciphertext),
    )
    return hashlib.sha384(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def _signed_text(signer: bytes, said: bytes) -> bytes:
    return _LABEL + b" signed by " + signer + b"\0" + said


def _demand_signed(peer: bytes, signer: bytes, said: bytes, signature: bytes) -> None:
    try:
        MLDSA65PublicKey.from_public_bytes(peer).verify(signature, _signed_text(signer, said))
    except InvalidSignature:
        problem = (
            f"the signature is not that of the pinned identity of {signer.decode()} over what was said here; check "
            "that both nodes pin each other's identity, then look for who is between them"
        )
        raise AuthenticationFailed(problem) from None
    except ValueError:
        where, remedy = "identity", "copy the peer's NAME.identity again"
        raise ConfigError(where, "public key of the peer", "is no ML-DSA-65 key", remedy) from None


def _x25519(own: X25519PrivateKey, theirs: bytes) -> bytes:
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        problem = "the peer's X25519 key is a point that gives no secret; the message was made up"
        raise AuthenticationFailed(problem) from None


def _derived(shared: bytes, said: bytes, size_bytes: int) -> tuple[Secret, bytes]:
    """Return the secret, and what bob shows to prove that he has it."""
    length = CONFIRMATION_BYTES + size_bytes
    derived = HKDF(SHA384(), length, salt=None, info=_LABEL + b" secret\0" + said).derive(shared)
    return Secret(memoryview(derived)[CONFIRMATION_BYTES:]), derived[:CONFIRMATION_BYTES]


def _demand_bytes(what: str, content: bytes, length: int) -> None:
    demand(len(content) == length, f"a {what} of {len(content)} bytes, {length} are due; the message is garbled")
