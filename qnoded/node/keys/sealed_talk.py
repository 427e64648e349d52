"""One session of a link with authentication: seals on what leaves, checked seals on what arrives, key from the store.

The order is what makes it sound: key is struck off on disk before a frame sealed with it leaves, and struck off at the
receiver before what it sealed counts. A seal that does not fit halts the link on disk: a restart does not give a forger
another guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qnoded.errors import AuthenticationFailed
from qnoded.exchange.authenticating import Opener, Sealer
from qnoded.node.keys.contents import Role
from qnoded.node.keys.store import KeyStore
from qnoded.secret import Octets


class SealedTalk:
    """Both directions of one session.

    Parameters
    ----------
    store
        Holds the link's key for authentication.
    link
        Which is enrolled before anything is sealed.
    role
        Of this end.
    session
        16 bytes that hold a fresh random number of either end; the same at both.
    """

    def __init__(self, store: KeyStore, link: str, role: Role, session: bytes) -> None:
        self._store, self._link = store, link
        self._sealer, self._opener = Sealer(role, session), Opener("bob" if role == "alice" else "alice", session)
        self._opening = True
        # Seals are numbered in the order in which their keys were reserved; two tasks must not overtake each other.
        self._saying, self._hearing = asyncio.Lock(), asyncio.Lock()

    def absorb_sent(self, frames: Sequence[Octets]) -> None:
        """Note frames that leave without a seal, in the order of sending; the next seal covers them."""
        self._sealer.absorb(frames)

    async def seal(self, frames: Sequence[Octets] = ()) -> list[Octets]:
        """Return frames with a seal over them and over all that was noted since the last; send nothing in between.

        Raises
        ------
        KeysExhausted
            If no key is left for it.
        AuthenticationFailed
            If the link was halted.
        """
        async with self._saying:
            reserved = self._store.reserve_tag(self._link, opening=self._opening)
            place, keys = await asyncio.wrap_future(reserved)
            self._opening = False
            try:
                return self._sealer.seal(frames, place, keys)
            finally:
                keys.wipe()

    async def absorb_received(self, frames: Sequence[Octets]) -> None:
        """Note frames that arrived without a seal, in the order of arrival; they count once a seal has covered them.

        Raises
        ------
        AuthenticationFailed
            If none may arrive now; the link is then halted.
        """
        async with self._hearing:
            try:
                self._opener.absorb(frames)
            except AuthenticationFailed as error:
                await self._halt(error)
                raise

    async def open(self, frames: Sequence[Octets]) -> list[Octets]:
        """Return frames without the seal at their end; all that arrived until now is then what the peer sent.

        Raises
        ------
        AuthenticationFailed
            If it is not; the link is then halted.
        KeysExhausted
            If the key that the seal names is not here.
        """
        async with self._hearing:
            try:
                place = self._opener.place(frames)
                keys = await asyncio.wrap_future(self._store.look_up_tag(self._link, place))
                try:
                    body = self._opener.open(frames, keys)
                finally:
                    keys.wipe()
                await asyncio.wrap_future(self._store.accept_tag(self._link, place))
            except AuthenticationFailed as error:
                await self._halt(error)
                raise
            return body

    async def _halt(self, error: AuthenticationFailed) -> None:
        await asyncio.wrap_future(self._store.halt(self._link, str(error)))
