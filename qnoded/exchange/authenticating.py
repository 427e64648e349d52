"""Authentication of everything that is said on a link: one tag for many frames, with key that is used once.

Each end absorbs what it sends into a transcript, in order; a *seal* closes the transcript so far with one
Wegman-Carter tag and names the key it was made with. Frames may travel and be worked on before their seal; nothing
that the security proof needs may be concluded before it. Hence one seal per block suffices where key is scarce, and
one per message is possible.

The first seal of a session in each direction shows that the peer is the one with the key, that it is here now (the
session's name holds a fresh number of either end), and which hash keys the session uses.

Two hashes follow each other: every frame to 16 bytes at once, then all those and the seal's own numbers to the tag.
Both are almost universal under keys of their own, and the first never leaves memory, so a forger's chance is at most

    (longest frame / 16 + 2) / 2^128 + (frames + 5) / 2^(8 tag_bytes)

for each seal (Wegman and Carter 1981, section 4; Stinson, Designs, Codes and Cryptography 4:369 (1994), composition).
Frames that are changed, lost, added, repeated, reordered, cut, sent back to their sender or taken from another session
make another transcript. A key position that was used before is refused before anything is computed.

Nothing here knows where key comes from: ``place`` says which key the next frames need, the caller brings it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from qnoded.errors import AuthenticationFailed, LocalProtocolError
from qnoded.secret import Octets, Secret
from qnoded.stages.authentication import SENDERS, tag, verify
from qnoded.stages.universal_hash import POINT_BYTES, universal_hash

Role = Literal["alice", "bob"]

HASH_KEYS_BYTES: Final = 2 * POINT_BYTES
"""One for frames, one for the list of their hashes."""
TAG_BYTES: Final = 8
"""A forger's one try succeeds with 2^-47 at most for 100,000 frames."""
SESSION_BYTES: Final = 16
MOST_FRAMES: Final = 1 << 20
"""Of one seal: 16 MiB of hashes."""

_SEAL: Final = struct.Struct("<4sIQQI")
"""Magic, number of the seal, positions of hash keys and mask, frames covered; the tag follows."""
_MAGIC: Final = b"qnS1"


@dataclass(frozen=True, slots=True)
class TagPlace:
    """Which bytes of the sender's pool a seal was made with."""

    hash_first: int
    mask_first: int
    mask_bytes: int


@dataclass(frozen=True, slots=True)
class TagKeys:
    """Those bytes."""

    hash_keys: Secret
    """32 bytes, the same for a whole session."""
    mask: Secret
    """For this seal and no other."""

    def wipe(self) -> None:
        """Wipe both."""
        self.hash_keys.wipe()
        self.mask.wipe()


class Sealer:
    """What this end says.

    Parameters
    ----------
    role
        Of this end.
    session
        16 bytes that name the session; no two have the same.
    """

    def __init__(self, role: Role, session: bytes) -> None:
        self._transcript = _Transcript(role, session)

    def absorb(self, frames: Sequence[Octets]) -> None:
        """Note frames that leave without a seal; the next one covers them.

        Raises
        ------
        LocalProtocolError
            Before the first seal, or beyond 2^20 frames.
        """
        if self._transcript.hash_keys is None:
            problem = "a session begins with a seal; frames were to leave before it"
            raise LocalProtocolError(problem)
        self._transcript.absorb(frames)
        if self._transcript.frames > MOST_FRAMES:
            problem = f"more than {MOST_FRAMES} frames without a seal; seal more often"
            raise LocalProtocolError(problem)

    def seal(self, frames: Sequence[Octets], place: TagPlace, keys: TagKeys) -> list[Octets]:
        """Return the frames and a seal over them and all that was absorbed since the last.

        Parameters
        ----------
        frames
            What is to be sent; may be empty.
        place, keys
            Reserved for this seal, and on disk as used before the frames leave.
        """
        transcript = self._transcript
        transcript.begin(place, keys)
        transcript.absorb(frames)
        header = transcript.header(place)
        assert transcript.hash_keys is not None
        made = tag(transcript.text(header), transcript.hash_keys.of_list, keys.mask, transcript.role)
        transcript.close()
        return [*frames, header + made]


class Opener:
    """What the peer says.

    Parameters
    ----------
    peer
        Role of the other end.
    session
        The same name as at the other end.
    tag_bytes
        Length of tag that is accepted: fixed here, never taken from what arrives.
    """

    def __init__(self, peer: Role, session: bytes, tag_bytes: int = TAG_BYTES) -> None:
        self._transcript, self._tag_bytes = _Transcript(peer, session), tag_bytes
        self._failed = False

    def absorb(self, frames: Sequence[Octets]) -> None:
        """Note frames that arrived without a seal.

        Raises
        ------
        AuthenticationFailed
            Before the first seal, beyond 2^20 frames, or after a failure.
        """
        self._demand(not self._failed, "a seal was wrong before")
        self._demand(self._transcript.hash_keys is not None, "frames arrived before the session's first seal")
        self._transcript.absorb(frames)
        self._demand(self._transcript.frames <= MOST_FRAMES, f"more than {MOST_FRAMES} frames came without a seal")

    def place(self, frames: Sequence[Octets]) -> TagPlace:
        """Return which key the seal at the end of these frames says it was made with.

        Raises
        ------
        AuthenticationFailed
            If there is no seal, it is not the next one, or it leaves out frames.
        """
        self._demand(not self._failed, "a seal was wrong before")
        self._demand(
            len(frames) > 0 and len(frames[-1]) == _SEAL.size + self._tag_bytes, "no seal came where one is due"
        )
        magic, number, hash_first, mask_first, covered = _SEAL.unpack(bytes(frames[-1])[: _SEAL.size])
        transcript = self._transcript
        arrived = transcript.frames + len(frames) - 1
        self._demand(magic == _MAGIC, "no seal came where one is due")
        self._demand(number == transcript.seals, f"seal {number} came where {transcript.seals} is due")
        self._demand(covered == arrived, f"a seal covers {covered} frames, {arrived} arrived")
        fits = transcript.hash_keys is None or hash_first == transcript.hash_first
        self._demand(fits, "a seal names other hash keys than its session's")
        return TagPlace(hash_first, mask_first, self._tag_bytes)

    def open(self, frames: Sequence[Octets], keys: TagKeys) -> list[Octets]:
        """Return the frames without their seal, which was right for them and all that was absorbed since the last.

        Parameters
        ----------
        frames
            With a seal at their end.
        keys
            Those of ``place``; they must be struck off on disk before the frames count.

        Raises
        ------
        AuthenticationFailed
            If the seal is wrong; the opener then refuses everything, since each further try would be a further guess.
        """
        place = self.place(frames)
        transcript = self._transcript
        *body, last = frames
        transcript.begin(place, keys)
        transcript.absorb(body)
        seal = bytes(last)
        assert transcript.hash_keys is not None
        text = transcript.text(seal[: _SEAL.size])
        right = verify(text, seal[_SEAL.size :], transcript.hash_keys.of_list, keys.mask, transcript.role)
        self._demand(right, "a seal does not fit what arrived")
        transcript.close()
        return body

    def _demand(self, holds: bool, problem: str) -> None:
        if not holds:
            self._failed = True
            message = (
                f"{problem}; what {self._transcript.role} sent was changed, lost, repeated or made up on its way: "
                "the link stops, find out who did it"
            )
            raise AuthenticationFailed(message)


@dataclass(frozen=True, slots=True)
class _HashKeys:
    of_frames: Secret
    of_list: Secret


class _Transcript:
    """Hashes of the frames since the last seal; the same at both ends, or a seal does not fit."""

    def __init__(self, role: Role, session: bytes) -> None:
        if len(session) != SESSION_BYTES:
            problem = f"a session's name has {SESSION_BYTES} bytes, this has {len(session)}"
            raise LocalProtocolError(problem)
        self.role, self._session = role, session
        self.hash_keys: _HashKeys | None = None
        self.hash_first = 0
        self.seals = 0
        self._hashes = bytearray()

    @property
    def frames(self) -> int:
        return len(self._hashes) // POINT_BYTES

    def begin(self, place: TagPlace, keys: TagKeys) -> None:
        """Take the session's hash keys with its first seal, and hold to them."""
        if self.hash_keys is None:
            view = keys.hash_keys.view()
            self.hash_keys = _HashKeys(Secret(view[:POINT_BYTES]), Secret(view[POINT_BYTES:]))
            self.hash_first = place.hash_first
        elif place.hash_first != self.hash_first:
            problem = "the hash keys of a session do not change; begin a new one"
            raise LocalProtocolError(problem)

    def absorb(self, frames: Sequence[Octets]) -> None:
        assert self.hash_keys is not None
        for frame in frames:
            self._hashes += universal_hash(frame, self.hash_keys.of_frames, SENDERS[self.role])

    def header(self, place: TagPlace) -> bytes:
        return _SEAL.pack(_MAGIC, self.seals, place.hash_first, place.mask_first, self.frames)

    def text(self, header: bytes) -> bytes:
        return self._session + header + bytes(self._hashes)

    def close(self) -> None:
        self.seals += 1
        self._hashes.clear()
