"""The one type of secret bytes: never shown, compared in constant time, wiped as well as Python can."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, NoReturn

from qnoded.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

Octets = bytes | bytearray | memoryview
"""Bytes that are no secret, or not yet."""


class Secret:
    """Secret bytes that no ``repr``, format, pickle, JSON or exception shows.

    Content is handed out on two ways only, both easy to search for: ``view`` without and ``reveal`` with a copy.
    Equality takes the same time whatever the content. A secret cannot be hashed, iterated, copied or pickled.

    ``wipe`` writes zeros over this object's own bytes. Copies that were made by ``reveal``, by the caller before
    construction or by the operating system are beyond its reach. A wiped secret refuses to be used: zeros must never
    pass for a key.

    Parameters
    ----------
    content
        The bytes, which are copied.
    """

    __slots__ = ("_content", "_wiped")

    def __init__(self, content: Octets) -> None:
        self._content = bytearray(content)
        self._wiped = False

    def view(self) -> memoryview:
        """Return the bytes without a copy, read-only; they become zeros when the secret is wiped.

        Raises
        ------
        UsageError
            If the secret was wiped.
        """
        self._refuse_if_wiped()
        return memoryview(self._content).toreadonly()

    def reveal(self) -> bytes:
        """Return a copy of the bytes, which ``wipe`` cannot reach.

        Raises
        ------
        UsageError
            If the secret was wiped.
        """
        self._refuse_if_wiped()
        return bytes(self._content)

    def wipe(self) -> None:
        """Write zeros over the bytes; may be called again."""
        self._content[:] = bytes(len(self._content))
        self._wiped = True

    def __len__(self) -> int:
        return len(self._content)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.view(), other.view())

    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the content

    def __repr__(self) -> str:
        state = "wiped" if self._wiped else "not shown"
        return f"<Secret of {len(self)} bytes, {state}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        message = "a Secret is neither copied nor pickled; hand on the object itself"
        raise TypeError(message)

    def __enter__(self) -> Secret:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.wipe()

    def _refuse_if_wiped(self) -> None:
        if self._wiped:
            message = f"this secret of {len(self)} bytes was wiped and cannot be used again; take a fresh one"
            raise UsageError(message)


def octets(content: Octets | Secret) -> memoryview:
    """Return the bytes of a secret or of anything that holds bytes as a flat view, without a copy.

    Raises
    ------
    UsageError
        If a secret was wiped, or the memory is not contiguous.
    """
    view = content.view() if isinstance(content, Secret) else memoryview(content)
    if not view.c_contiguous:
        message = "the bytes do not lie one after the other in memory; give a copy"
        raise UsageError(message)
    return view.cast("B")
