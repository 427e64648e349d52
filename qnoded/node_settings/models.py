"""Everything that may stand in a node's file; unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from qnoded.exchange.terms import LinkTerms
from qnoded.node_settings.keys import DeliverySettings, KeysSettings
from qnoded.node_settings.links import LinkSettings, LocatedPath, Name, Number, Switch
from qnoded.places import CONTROL_SOCKET, RUN_ROOT, STATE_ROOT
from qnoded.settings import SideMap

LONGEST_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path on Linux, unix(7): 108 with the final zero."""
LARGEST_POWER_DBM: Final = 40.0
"""10 W: no single-photon experiment has a laser of more, so a larger value is a typing error."""
LARGEST_POSITION_DEG: Final = 3600.0
"""Ten turns: more is a typing error."""
KEY_POSITION: Final = "key"
"""Position of the polarization controller while key is made."""
CHSH_POSITION: Final = "chsh"
"""Position during a CHSH interlude."""

Power = Annotated[Number, Field(ge=-100.0, le=LARGEST_POWER_DBM)]
Position = tuple[Annotated[Number, Field(ge=-LARGEST_POSITION_DEG, le=LARGEST_POSITION_DEG)], ...]


class NodeSection(BaseModel):
    """``[node]``: who this is and where it lives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    state_dir: LocatedPath = Field(default_factory=lambda known: STATE_ROOT / known["name"])
    """What must survive a restart: clock locks, stories. Absent: ``/var/lib/qnoded/NAME``."""
    run_dir: LocatedPath = Field(default_factory=lambda known: RUN_ROOT / known["name"])
    """The control socket. Absent: ``/run/qnoded/NAME``."""
    simulation: Switch = False
    """True: instruments may be simulated, and nothing made here is ever delivered as key elsewhere."""

    @property
    def control_socket(self) -> Path:
        """Unix socket on which ``qnodectl`` reaches the daemon."""
        return self.run_dir / CONTROL_SOCKET

    @model_validator(mode="after")
    def _socket_fits(self) -> NodeSection:
        length = len(bytes(self.control_socket.absolute()))
        if length > LONGEST_SOCKET_PATH:
            problem = (
                f"run_dir is too long: {self.control_socket} has {length} bytes and a socket's path at most "
                f"{LONGEST_SOCKET_PATH}; choose a shorter one, such as {RUN_ROOT / self.name}"
            )
            raise ValueError(problem)
        return self


class InstrumentSettings(BaseModel):
    """``[instruments.ROLE]``: which driver plays the role; all other keys are the driver's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    driver: Annotated[str, Strict(), Field(min_length=1)]
    """Name of the driver, as ``qnoded drivers`` lists it."""
    serial: Annotated[str, Strict()] | None = None
    """Serial number that the instrument must have; absent: any. Nothing is written to another one."""

    def table(self) -> dict[str, Any]:
        """Return the whole table, ``driver`` included, as the registry takes it."""
        return self.model_dump(exclude_none=True)


class OperateSettings(BaseModel):
    """``[operate]``: the values at which the node runs its instruments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    laser_power_dbm: Power | None = None
    """Power at which the laser emits while the node is healthy; absent: it stays dark."""
    max_power_dbm: Power | None = None
    """No permit of this node ever covers more; required with ``laser_power_dbm``."""
    positions: dict[Name, Position] = Field(default_factory=dict)
    """Settings of the polarization controller by name, degrees per element; ``key`` and ``chsh`` are used by links."""

    @model_validator(mode="after")
    def _hold_together(self) -> OperateSettings:
        if self.laser_power_dbm is not None:
            if self.max_power_dbm is None:
                problem = "laser_power_dbm needs max_power_dbm beside it; add the most that may ever leave this laser"
                raise ValueError(problem)
            if self.laser_power_dbm > self.max_power_dbm:
                problem = (
                    f"laser_power_dbm = {self.laser_power_dbm:g} is above max_power_dbm = {self.max_power_dbm:g}; "
                    "lower the power or raise the limit"
                )
                raise ValueError(problem)
        lengths = {name: len(position) for name, position in self.positions.items()}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            problem = f"positions differ in their number of elements: {listed}; give one angle per element in each"
            raise ValueError(problem)
        return self


class NodeSettings(BaseModel):
    """One node's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: NodeSection
    instruments: dict[Name, InstrumentSettings] = Field(default_factory=dict)
    """By role; the node itself drives ``tagger``, ``laser`` and ``polarization``, others are shown."""
    operate: OperateSettings = OperateSettings()
    receiver: SideMap | None = None
    """Which input of the tagger is which detector, as in a channel map."""
    links: dict[Name, LinkSettings] = Field(default_factory=dict)
    """By name of the peer's node."""
    keys: KeysSettings | None = None
    """Absent: links sift, and nothing becomes key."""
    delivery: DeliverySettings | None = None
    """Absent: keys stay in the store."""

    def terms(self, link: str) -> LinkTerms:
        """Return what both ends of a link must agree on."""
        settings = self.links[link]
        assert self.receiver is not None
        mine = tuple(self.receiver.channels)
        theirs = settings.peer_detectors or mine
        alice, bob = (mine, theirs) if settings.role == "alice" else (theirs, mine)
        names = (self.node.name, link) if settings.role == "alice" else (link, self.node.name)
        chosen = settings.terms.model_dump(exclude={"link"})
        return LinkTerms(
            link=settings.terms.link or "-".join(names),
            simulation=self.node.simulation,
            alice_detectors=alice,
            bob_detectors=bob,
            makes_keys=self.keys is not None,
            signed_exchange=settings.peer_identity is not None,
            **chosen,
        )

    @model_validator(mode="after")
    def _keys_have_a_place(self) -> NodeSettings:
        if self.delivery is not None and self.keys is None:
            problem = "delivery needs a [keys] table: where the key store is and what seals it"
            raise ValueError(problem)
        for name, link in self.links.items():
            if self.keys is not None and link.terms.multi_click == "discard":
                problem = (
                    f"links.{name}.terms.multi_click = 'discard' makes no secret key: who can make several detectors "
                    "click would choose which bits count; use 'random', or remove [keys] at both ends"
                )
                raise ValueError(problem)
            if link.peer_identity is not None and self.keys is None:
                problem = (
                    f"links.{name}.peer_identity needs a [keys] table with the identity that this node signs with; "
                    "make it with qnodectl pki identity DIR NAME, or remove peer_identity at both ends"
                )
                raise ValueError(problem)
        for name, remote in (self.delivery.remote if self.delivery else {}).items():
            if remote.link not in self.links:
                listed = ", ".join(self.links) or "none"
                problem = f"delivery.remote.{name}.link = {remote.link!r} is no link of this node; it has {listed}"
                raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _links_have_what_they_need(self) -> NodeSettings:
        if self.links and self.receiver is None:
            problem = "links need a [receiver] table; say which input of the tagger is which detector, such as H = 0"
            raise ValueError(problem)
        turning = self.instruments.get("polarization") is not None
        if turning and KEY_POSITION not in self.operate.positions:
            problem = (
                f"a polarization controller needs operate.positions.{KEY_POSITION}; "
                "give the degrees per element at which key is made"
            )
            raise ValueError(problem)
        for name, link in self.links.items():
            if name == self.node.name:
                problem = f"links.{name} is named like this node; name a link after its peer's node"
                raise ValueError(problem)
            scheduled = link.terms.chsh_every_epochs > 0
            if link.terms.chsh_side != link.role or not (turning or scheduled):
                continue
            if not turning or CHSH_POSITION not in self.operate.positions:
                problem = (
                    f"links.{name} turns this node's controller for CHSH, which needs [instruments.polarization] and "
                    f"operate.positions.{CHSH_POSITION}; add them or set chsh_side in the terms of both ends"
                )
                raise ValueError(problem)
        if len(self.links) > 1:
            problem = (
                f"{len(self.links)} links ({', '.join(self.links)}) share this receiver's clicks: one link's CHSH "
                "interlude would tell everybody the key bits of another; leave one link in the file"
            )
            raise ValueError(problem)
        return self
