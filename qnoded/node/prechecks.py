"""What is found wrong with a node on its machine before it is started: roles, addresses, and the files it names.

Settings that are right by themselves may still not work here: a key file that others may read, a port that no peer can
know. ``qnoded check`` tells it all at once; the daemon would stumble over one thing after the other.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from qnoded.errors import ConfigError, QnodedError
from qnoded.explaining import nearest
from qnoded.instruments.capability import PolarizationControllerCapability, TimeTaggerCapability
from qnoded.instruments.registry import ROLES, validate
from qnoded.node.curve import load_keys, load_peer
from qnoded.node.delivery.tls import server_context
from qnoded.node.keys.database import demand_private
from qnoded.node.keys.identities import own_identity, pinned_identity
from qnoded.node.keys.opening import FILE_NAME, first_secret
from qnoded.node.keys.secret_files import read_secret, sealing_key
from qnoded.node.occupancy import demand_own
from qnoded.node_settings import NodeSettings

ROOT: Final = 0
"""User whose files every daemon may be given."""
SURELY: Final = 0.7
"""Likeness from which a role counts as a misspelt one of those that the node drives."""

Findings = tuple[list[ConfigError], list[str]]
"""Mistakes, and notes on what is not wrong but not there yet."""


def precheck(settings: NodeSettings, where: str) -> Findings:
    """Return what is wrong on this machine with settings that are right by themselves, and notes.

    Reads key files if they are there and this user may; forgets their content at once.
    """
    findings = [look(settings, where) for look in (_roles, _fits, _addresses, _files, _state)]
    return [error for errors, _ in findings for error in errors], [note for _, notes in findings for note in notes]


def _roles(settings: NodeSettings, where: str) -> Findings:
    errors, notes = [], []
    for role in settings.instruments:
        if role in ROLES:
            continue
        near = nearest(role, ROLES, SURELY)
        if near and near not in settings.instruments:
            errors.append(
                ConfigError(where, f"instruments.{role}", "the node drives no such role", f"did you mean {near}?")
            )
        else:
            notes.append(f"instruments.{role} is watched and shown; driven are {', '.join(ROLES)}")
    if settings.links and "tagger" not in settings.instruments:
        problem, remedy = "is missing: without detections no link sifts", "add it; see config/alice.toml"
        errors.append(ConfigError(where, "instruments.tagger", problem, remedy))
    operate = settings.operate
    for role, key, given in (
        ("laser", "laser_power_dbm", operate.laser_power_dbm is not None),
        ("polarization", "positions", bool(operate.positions)),
    ):
        if given and role not in settings.instruments:
            problem = f"there is no [instruments.{role}] that it could be meant for"
            errors.append(ConfigError(where, f"operate.{key}", problem, "add the instrument, or remove the key"))
    if "laser" in settings.instruments and operate.laser_power_dbm is None:
        notes.append("operate.laser_power_dbm is not set, so the laser stays dark")
    return errors, notes


def _fits(settings: NodeSettings, where: str) -> Findings:
    """Return where inputs and positions are not those of the instruments, as far as drivers know without connecting."""
    errors = []
    for role, instrument in settings.instruments.items():
        if role not in ROLES:
            continue
        try:
            binding = validate(role, instrument.table(), where)
        except QnodedError:
            # Told elsewhere: a driver that is not there, or settings of its own that are wrong.
            continue
        capability = binding.instrument().capability
        if isinstance(capability, TimeTaggerCapability) and capability.channels and settings.receiver:
            there = ", ".join(map(str, capability.channels))
            errors += [
                ConfigError(
                    where, f"receiver.{name}", f"{binding.driver} has no input {number}", f"its inputs are {there}"
                )
                for name, number in settings.receiver.channels.items()
                if number not in capability.channels
            ]
        if isinstance(capability, PolarizationControllerCapability) and (elements := len(capability.elements)):
            low_deg, high_deg = capability.min_deg, capability.max_deg
            for name, position in settings.operate.positions.items():
                if len(position) != elements:
                    problem = f"has {len(position)} values, {binding.driver} has {elements} elements"
                elif not all(low_deg <= one <= high_deg for one in position):
                    problem = f"{list(position)} leaves what {binding.driver} can reach"
                else:
                    continue
                remedy = f"give {elements} angles from {low_deg:g} to {high_deg:g} degrees"
                errors.append(ConfigError(where, f"operate.positions.{name}", problem, remedy))
    return errors, []


def _addresses(settings: NodeSettings, where: str) -> Findings:
    errors = []
    listening = {
        f"links.{name}.listen": link.listen.removeprefix("tcp://")
        for name, link in settings.links.items()
        if link.listen
    }
    if settings.delivery:
        listening["delivery.listen"] = settings.delivery.listen
    owners: dict[int, str] = {}
    for key, address in listening.items():
        host, _, digits = address.rpartition(":")
        port = int(digits)
        if port == 0:
            problem = f"port 0 is any free port, which nobody who connects can know (found {address!r})"
            errors.append(ConfigError(where, key, problem, "write a port from 1024 on, such as 7401"))
        elif port in owners:
            problem = f"listens on port {port}, as {owners[port]} does"
            errors.append(ConfigError(where, key, problem, "give each its own port"))
        owners.setdefault(port, key)
        if key != "delivery.listen" and "." in host and not host.replace(".", "").isdigit():
            problem = f"{host!r} is a name, and one listens on addresses of one's own machine"
            errors.append(ConfigError(where, key, problem, f"write tcp://*:{port}, or the address in digits"))
    return errors, []


def _files(settings: NodeSettings, where: str) -> Findings:
    errors: list[ConfigError] = []
    notes: list[str] = []
    absent: dict[str, list[str]] = {}
    own: dict[str, bytes] = {}
    for key, path, read, remedy in _named_files(settings):
        if not _exists(path):
            absent.setdefault(remedy, []).append(f"{key} ({path})")
            continue
        found = _looked_at(key, path, read, where)
        if isinstance(found, ConfigError):
            errors.append(found)
        elif isinstance(found, str):
            notes.append(found)
        elif isinstance(found, bytes):
            own[key] = found
    for name, link in settings.links.items():
        mine, theirs = own.get(f"links.{name}.secret_key"), own.get(f"links.{name}.peer_key")
        if mine is not None and mine == theirs:
            problem = f"{link.peer_key} is the public key of this node itself"
            remedy = "copy the peer's own NAME.key to here, and name it"
            errors.append(ConfigError(where, f"links.{name}.peer_key", problem, remedy))
    notes += [f"not there yet: {', '.join(them)}; {remedy}" for remedy, them in absent.items()]
    return errors, notes


def _state(settings: NodeSettings, where: str) -> Findings:
    """Return who may get at what the node keeps."""
    folder, key = settings.node.state_dir, "node.state_dir"
    errors = []
    looks: tuple[Callable[[], None], ...] = (
        lambda: demand_own(folder),
        lambda: demand_private(folder / FILE_NAME, (folder / FILE_NAME).stat()),
    )
    for look in looks:
        try:
            look()
        except ConfigError as error:
            errors.append(ConfigError(where, key, f"{error.where}: {error.problem}", error.remedy))
        except OSError:
            # Not there yet, or hidden from this user: the daemon makes it, or says what is wrong.
            continue
    return errors, []


def _named_files(settings: NodeSettings) -> Iterator[tuple[str, Path, Callable[[Path], Any], str]]:
    """Yield key, path, what reads the file, and how to come by it if it is not there."""
    for name, link in settings.links.items():
        keygen = "make it with qnodectl keygen"
        yield f"links.{name}.secret_key", link.secret_key, lambda path: load_keys(path).public, keygen
        yield f"links.{name}.peer_key", link.peer_key, load_peer, "copy the peer's public NAME.key to here"
        if link.first_secret:
            remedy = (
                "make it with qnodectl keys new-secret and copy it to the peer, unless the link has had keys before"
            )
            yield f"links.{name}.first_secret", link.first_secret, lambda path: first_secret(path).wipe(), remedy
        if link.peer_identity:
            remedy = "copy the peer's NAME.identity to here"
            yield f"links.{name}.peer_identity", link.peer_identity, pinned_identity, remedy
    if settings.keys and settings.keys.identity:
        yield "keys.identity", settings.keys.identity, own_identity, "make it with qnodectl pki identity"
    if settings.keys and settings.keys.kek:
        yield "keys.kek", settings.keys.kek, lambda path: sealing_key(path).wipe(), "make it with qnodectl keys new-kek"
    if (served := settings.delivery) is not None:
        # The pair is read together once all three are there: it is the pair that has to fit.
        three = (served.certificate, served.private_key, served.client_ca)
        ask = "ask whoever signs your certificates; for tests qnodectl pki demo"
        yield "delivery.certificate", served.certificate, _is_there, ask
        yield "delivery.client_ca", served.client_ca, _is_there, ask
        yield (
            "delivery.private_key",
            served.private_key,
            lambda path: server_context(*three) if all(map(os.path.exists, three)) else read_secret(path).wipe(),
            ask,
        )


def _looked_at(
    key: str, path: Path, read: Callable[[Path], Any], where: str
) -> ConfigError | str | bytes | ssl.SSLContext | None:
    """Return what is wrong with a file, a note if it cannot be looked at, or what it holds."""
    try:
        owner = path.stat().st_uid
    except PermissionError:
        return f"{key}: {path} is hidden from this user; check again as the one who runs the daemon"
    except OSError as error:
        return ConfigError(where, key, f"{path}: {error.strerror or error}", "check the path")
    if owner not in (os.geteuid(), ROOT):
        return (
            f"{key}: {path} belongs to user {owner}; check again as that user: sudo -u '#{owner}' qnoded check {where}"
        )
    try:
        held: bytes | ssl.SSLContext | None = read(path)
    except ConfigError as error:
        return ConfigError(where, key, f"{error.where}: {error.problem}", error.remedy)
    return held


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # Hidden, or worse: whoever looks at it says what it is.
        return True


def _is_there(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(path, "file", "is no regular file", "give the path of a PEM file")
