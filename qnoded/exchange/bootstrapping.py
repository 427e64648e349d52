"""Two ends that share nothing but each other's public identity agree on a secret: signed, and hybrid post-quantum.

X25519 and ML-KEM-768 (FIPS 203) together give the secret, which holds while either of them does; ML-DSA-65 (FIPS 204)
signatures by pinned identity keys say who made it. HKDF-SHA-384 then binds it to everything that was said and to what
it is for. What comes out is secret by computational assumptions, *not* information-theoretically. As a link's first
secret it has to withstand forgers only while it is in use: masks and hash keys of distilled key take its place (Wang et
al., npj Quantum Inf. 7:67 (2021)). As an agreement it makes hybrid keys, which are distilled key as well. A link whose
authentication must rest on no assumption at any time begins with a secret file that was carried by hand.

    alice -> bob   Hello    what it is for, her fresh keys
    bob -> alice   Reply    his fresh key, a ciphertext for hers, his signature over all of it
    alice -> bob   Finish   her signature over all of it
    bob -> alice   Done     a hash under the new secret: he has it on disk
    alice -> bob   Kept     another hash under it: so has she

Each end writes the secret down before it says so. So whatever is killed or cut when, alice never has what bob has not;
bob may have what alice has not, and uses none of it before ``Kept``, or until the next session has shown it
(``agreeing``). Whoever gives up says why, so that a failure has its name at both ends.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qnoded.errors import AuthenticationFailed, ConfigError, KeyStoreError, RemoteProtocolError
from qnoded.exchange.effects import Script, arrival, compute, demand, send
from qnoded.exchange.limits import Between, Exactly, Most
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
FIRST_SECRET_BYTES: Final = 8192
"""As a secret file has usually; HKDF-SHA-384 gives at most 12,240 (RFC 5869)."""
AGREED_BYTES: Final = 48
"""Of an agreement. As long as the hash: no shorter input could make a longer key stronger."""
FIRST_SECRET: Final = 0
"""Number of the occasion on which a link begins; agreements count from 1."""
LARGEST_NUMBER: Final = 1 << 40
LONGEST_REASON: Final = 200

Randomness = Callable[[int], bytes]
Keep = Callable[[Secret], None]
"""Writes the secret down; it is on disk when this returns."""
M = TypeVar("M", bound=Message)

_LABEL: Final = b"qnoded bootstrap 2"


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Alice to bob."""

    number: Annotated[int, Between(FIRST_SECRET, LARGEST_NUMBER)]
    """``FIRST_SECRET``, or that of the agreement."""
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


@dataclass(frozen=True, slots=True)
class Kept(Message):
    """Alice to bob: both have it on disk."""

    number: Annotated[int, Between(FIRST_SECRET, LARGEST_NUMBER)]
    confirmation: Annotated[bytes, Exactly(CONFIRMATION_BYTES)]

    def __post_init__(self) -> None:
        _demand_bytes("confirmation", self.confirmation, CONFIRMATION_BYTES)


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """Both ways: the sender gives the exchange up."""

    reason: Annotated[str, Most(LONGEST_REASON)]
    mistrusts: bool
    """True if the sender takes the other end for a stranger; else another session may do better."""


class Identity:
    """The key that a node signs with, for years.

    Parameters
    ----------
    seed
        32 random bytes, private.
    where
        Where they come from, for messages.

    Raises
    ------
    ConfigError
        If it has another length.
    """

    def __init__(self, seed: Secret, where: str = "identity") -> None:
        if len(seed) != IDENTITY_SEED_BYTES:
            problem, remedy = f"has {len(seed)} bytes, {IDENTITY_SEED_BYTES} are due", "make one: qnodectl pki identity"
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
class Signers:
    """Whose signatures count at one end."""

    identity: Identity
    """Of this node."""
    peer: bytes
    """Public identity of the peer, pinned beforehand."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What the secret is for: the same at both ends, or they do not agree on it."""

    link: str
    terms_digest: bytes
    """SHA-256 of the link's terms."""
    number: int
    """``FIRST_SECRET``, or that of an agreement."""

    @property
    def size_bytes(self) -> int:
        """How long the secret is."""
        return FIRST_SECRET_BYTES if self.number == FIRST_SECRET else AGREED_BYTES

    def text(self) -> bytes:
        """Return it as bytes that no other occasion has."""
        return f"{len(self.link)}:{self.link}:{self.terms_digest.hex()}:{self.number}:{self.size_bytes}".encode()


def alice(occasion: Occasion, signers: Signers, randomness: Randomness, keep: Keep) -> Script[None]:
    """Agree on a secret at alice's end.

    Parameters
    ----------
    occasion : what it is for
    signers : her identity, and bob's
    randomness : true random bytes
    keep : writes the secret down

    Raises
    ------
    AuthenticationFailed
        If whoever answers is not the peer, or heard anything else than was said here.
    """
    return _naming_failure(_alice(occasion, signers, randomness, keep))


def bob(hello: Hello, occasion: Occasion, signers: Signers, randomness: Randomness, keep: Keep) -> Script[None]:
    """Agree on a secret at bob's end, who was said hello; otherwise as for alice."""
    return _naming_failure(_bob(hello, occasion, signers, randomness, keep))


def _alice(occasion: Occasion, signers: Signers, randomness: Randomness, keep: Keep) -> Script[None]:
    x25519, kem = X25519PrivateKey.generate(), MLKEM768PrivateKey.generate()
    fresh = x25519.public_key().public_bytes_raw(), kem.public_key().public_bytes_raw()
    hello = Hello(occasion.number, randomness(NONCE_BYTES), *fresh)
    yield from send(hello)
    reply = yield from _heard(Reply)
    said = _said(occasion, signers.identity.public, signers.peer, hello, reply)
    _demand_signed(signers.peer, b"bob", said, reply.signature)
    shared = _x25519(x25519, reply.x25519) + kem.decapsulate(reply.ciphertext)
    secret, confirmation, kept = _derived(shared, said, occasion.size_bytes)
    signature = yield from compute(signers.identity.sign, _signed_text(b"alice", said))
    yield from send(Finish(signature))
    done = yield from _heard(Done)
    if not hmac.compare_digest(done.confirmation, confirmation):
        problem = "bob confirmed another secret than was agreed on; somebody is between the nodes"
        raise AuthenticationFailed(problem)
    yield from _kept(secret, keep)
    yield from send(Kept(occasion.number, kept))


def _bob(hello: Hello, occasion: Occasion, signers: Signers, randomness: Randomness, keep: Keep) -> Script[None]:
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
    said = _said(occasion, signers.peer, signers.identity.public, hello, unsigned)
    signature = yield from compute(signers.identity.sign, _signed_text(b"bob", said))
    shared = _x25519(x25519, hello.x25519) + shared_kem
    secret, confirmation, kept = _derived(shared, said, occasion.size_bytes)
    yield from send(replace(unsigned, signature=signature))
    finish = yield from _heard(Finish)
    _demand_signed(signers.peer, b"alice", said, finish.signature)
    yield from _kept(secret, keep)
    yield from send(Done(confirmation))
    told = yield from _heard(Kept)
    demand(told.number == occasion.number, f"alice kept {told.number}, {occasion.number} was agreed on; begin anew")
    if not hmac.compare_digest(told.confirmation, kept):
        problem = "alice confirmed another secret than was agreed on; somebody is between the nodes"
        raise AuthenticationFailed(problem)


def _kept(secret: Secret, keep: Keep) -> Script[None]:
    yield from compute(keep, secret)
    # Not where the conversation ends meanwhile: the store may be reading it then.
    secret.wipe()


def _naming_failure(script: Script[None]) -> Script[None]:
    """Tell the peer why this end gives up, unless it is the peer who does."""
    try:
        yield from script
    except _PeerRefused as error:
        raise (AuthenticationFailed if error.mistrusts else RemoteProtocolError)(str(error)) from None
    except (ConfigError, KeyStoreError, RemoteProtocolError) as error:
        # What a store says may name its files, which are nobody else's business.
        reason = "its key store fails" if isinstance(error, KeyStoreError) else _cut(str(error))
        yield from send(Refused(reason, isinstance(error, AuthenticationFailed)))
        raise


class _PeerRefused(Exception):
    """The peer has given up; it knows why."""

    def __init__(self, problem: str, *, mistrusts: bool) -> None:
        super().__init__(problem)
        self.mistrusts = mistrusts


def _cut(text: str) -> str:
    """Return the part of a text that a message has room for."""
    return text.encode()[:LONGEST_REASON].decode(errors="ignore")


def _heard(expected: type[M]) -> Script[M]:
    """Return the peer's next message, which may also be that it gives up."""
    message = yield from arrival()
    if isinstance(message, Refused):
        problem = f"the peer gives up the signed exchange: {message.reason}"
        raise _PeerRefused(problem, mistrusts=message.mistrusts)
    if not isinstance(message, expected):
        problem = f"{type(message).__name__} arrived where {expected.__name__} is due; both ends must run one version"
        raise RemoteProtocolError(problem)
    return message


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


def _derived(shared: bytes, said: bytes, size_bytes: int) -> tuple[Secret, bytes, bytes]:
    """Return the secret, and what bob and alice show to prove that they have it."""
    stop = CONFIRMATION_BYTES + size_bytes
    derived = HKDF(SHA384(), stop + CONFIRMATION_BYTES, salt=None, info=_LABEL + b" secret\0" + said).derive(shared)
    return Secret(memoryview(derived)[CONFIRMATION_BYTES:stop]), derived[:CONFIRMATION_BYTES], derived[stop:]


def _demand_bytes(what: str, content: bytes, length: int) -> None:
    demand(len(content) == length, f"a {what} of {len(content)} bytes, {length} are due; the message is garbled")
