"""What the key store knows without asking the disk: its links, their stocks, and the rules it was opened with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from qnoded.errors import ConfigError, KeysWithheld, UsageError
from qnoded.node.keys.database import Work
from qnoded.node.keys.sealing import BlockKey, Keyring
from qnoded.secret import Secret

Role = Literal["alice", "bob"]

WHERE: Final = "key store"
"""What mistakes of configuration are found in."""
BLOCK_KEYS_AT_HAND: Final = 256


@dataclass(frozen=True, slots=True)
class StoreRules:
    """How the store is run; the same at both ends where the comment says so."""

    simulation: bool = False
    """True: keys that simulated instruments took part in are handed out, each marked; else they are refused."""
    key_bytes: int = 32
    """Length of one stored key; alice's end decides for both."""
    lifetime_s: float = 30 * 86400.0
    """A key that nobody fetched is erased this long after it was made."""
    most_keys: int = 100_000
    """Per link and owner: what a block brings beyond is not stored."""
    low_keys: int = 100
    """Below it the stock is reported as low."""
    pool_bytes: int = 4096
    """Bytes for authentication that each direction of a link is filled up to."""
    low_pool_bytes: int = 512
    """Below it authentication is reported as running dry."""
    audit_s: float = 400 * 86400.0
    """How long the record of who got which key is kept."""


@dataclass(slots=True)
class LinkKeys:
    """One link in memory."""

    link: str
    role: Role
    origin: str
    """What authenticated the first messages: ``secret file`` or ``signed exchange``."""
    ticket: Secret
    stock: dict[Role, int] = field(default_factory=lambda: {"alice": 0, "bob": 0})
    """Keys that may be handed out, by owner."""
    agreements: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Number of an agreement -> its block and its sealed secret; the newest ones."""
    shared: int = -1
    """Newest agreement that the peer is known to have; keys are made here with none above it."""
    agreed_keys: int = 0
    """Keys that were made here with an agreement, at either end's wish, since the newest was kept or the node began."""

    withheld: str = ""
    """Why no key is handed out; empty: keys are."""

    def demand_shared(self) -> None:
        """Refuse to hand out keys that the peer may not have.

        Raises
        ------
        KeysWithheld
            If it may not.
        """
        if self.withheld:
            problem = (
                f"the keys of link {self.link} are handed out no more: {self.withheld}; its operators bring it back "
                "(qnodectl status)"
            )
            raise KeysWithheld(problem)

    def count_agreed(self, number: int) -> None:
        """Count keys that an agreement took part in."""
        self.agreed_keys += number

    @property
    def peer(self) -> Role:
        """The role of the other end."""
        return "bob" if self.role == "alice" else "alice"


class Contents:
    """Links and block keys at hand. Changed by the writer's thread alone, after each commit."""

    def __init__(self, keyring: Keyring, rules: StoreRules) -> None:
        self.keyring, self.rules = keyring, rules
        self.links: dict[str, LinkKeys] = {}
        self._block_keys: OrderedDict[int, BlockKey] = OrderedDict()

    def of(self, link: str) -> LinkKeys:
        """Return a link.

        Raises
        ------
        ConfigError
            If the link was never enrolled.
        """
        try:
            return self.links[link]
        except KeyError:
            known = ", ".join(self.links) or "none"
            problem = f"the key store does not know it (known: {known})"
            raise ConfigError(WHERE, f"link {link}", problem, "enrol it: docs/keys.md, first secret") from None

    def counting(self, link: str, owner: Role, change: int) -> Callable[[], None]:
        """Return what keeps the count of a stock once the commit is on disk."""

        def count() -> None:
            if link in self.links:
                self.links[link].stock[owner] += change

        return count

    def block_key(self, work: Work, number: int) -> BlockKey:
        """Return the key of a block, opened once and kept at hand."""
        known = self._block_keys.get(number)
        if known is None:
            link, name, simulated, sealed = work.row(
                "SELECT link, name, simulated, block_key FROM block WHERE number = ?", (number,)
            )
            known = self._block_keys[number] = self.keyring.block_key(sealed, link, name, simulated)
            if len(self._block_keys) > BLOCK_KEYS_AT_HAND:
                self._block_keys.popitem(last=False)
        return known

    def forget_block_key(self, number: int) -> None:
        """Keep the key of an erased block no longer."""
        self._block_keys.pop(number, None)

    def forget_block_keys(self) -> None:
        """Keep none: one of them may be of a row that was never written."""
        self._block_keys.clear()

    def demand_allowed(self, simulated: bool) -> None:
        """Refuse simulated keys unless the node's config says so.

        Raises
        ------
        UsageError
            If it does not.
        """
        if simulated and not self.rules.simulation:
            problem = (
                "a simulated or replayed instrument took part in this key, but this node does not say "
                "simulation = true; nothing was stored"
            )
            raise UsageError(problem)
