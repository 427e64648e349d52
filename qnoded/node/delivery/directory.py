"""Who may fetch keys here, and where the others are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from qnoded.errors import RequestRefused
from qnoded.node.keys.key_ids import Mode
from qnoded.node_settings.keys import DeliverySettings

UNAUTHORIZED: Final = 401
SAE_URI: Final = "sae:"
"""Prefix of a URI in a certificate's alternative names that says which application it is."""


@dataclass(frozen=True, slots=True)
class Local:
    """An application of this node."""

    reserved_keys: int
    """Stored keys that are reserved for it."""
    modes: tuple[Mode, ...]
    """What its keys may be made of."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An application at a peer's node."""

    link: str
    """As the key store calls it: the same name at both ends."""
    kme_id: str


@dataclass(frozen=True, slots=True)
class Directory:
    """The applications of this node and of its peers."""

    local: Mapping[str, Local]
    remote: Mapping[str, Remote]

    @classmethod
    def of(cls, settings: DeliverySettings, stored_link: Callable[[str], str]) -> Directory:
        """Return the directory of a node's settings.

        Parameters
        ----------
        settings
            The node's ``[delivery]``.
        stored_link
            Name of a link in this node's settings -> its name in the key stores of both ends.
        """
        return cls(
            {
                name: Local(one.reserved_keys, tuple(Mode[mode.upper()] for mode in one.modes))
                for name, one in settings.local.items()
            },
            {name: Remote(stored_link(one.link), one.kme_id) for name, one in settings.remote.items()},
        )

    def caller(self, certificate: Mapping[str, Any] | None) -> str:
        """Return which application of this node a certificate belongs to.

        Parameters
        ----------
        certificate
            The peer certificate that TLS has verified, as ``ssl.SSLSocket.getpeercert`` gives it.

        Raises
        ------
        RequestRefused
            With 401, if it is none.
        """
        name = _identity(certificate or {})
        if name not in self.local:
            problem = f"the certificate of {name or 'nobody'} is not one of an application of this KME"
            raise RequestRefused(problem, status=UNAUTHORIZED)
        return name

    def peer(self, name: str) -> Remote:
        """Return where an application at another node is.

        Raises
        ------
        RequestRefused
            If none of that name is known.
        """
        try:
            return self.remote[name]
        except KeyError:
            problem = "the SAE named in the path is not known to this KME"
            raise RequestRefused(problem, ("SAE_ID", name)) from None

    def kept_for_others(self, caller: str) -> int:
        """Return how many stored keys of a link must remain when this application was served."""
        return sum(one.reserved_keys for one in self.local.values()) - self.local[caller].reserved_keys


def _identity(certificate: Mapping[str, Any]) -> str:
    """Return the ``sae:`` URI of a certificate, or else its common name."""
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "URI" and value.startswith(SAE_URI):
            return str(value.removeprefix(SAE_URI))
    for relative in certificate.get("subject", ()):
        for key, value in relative:
            if key == "commonName":
                return str(value)
    return ""
