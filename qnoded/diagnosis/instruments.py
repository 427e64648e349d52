"""What the configured instruments need of this machine: libraries, ports, and the right to use them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from qnoded.diagnosis import udev
from qnoded.diagnosis.finding import Finding, action, ok, warn
from qnoded.instruments.cards import card_of, lacking
from qnoded.instruments.registry import GROUP
from qnoded.node_settings import NodeSettings


def libraries(settings: NodeSettings) -> Iterator[Finding]:
    """Yield whether each driver is installed, with what it needs; no driver is imported."""
    announced = {entry.name for entry in entry_points(group=GROUP)}
    for role, instrument in settings.instruments.items():
        subject, driver = f"instruments.{role}", instrument.driver
        if driver not in announced:
            yield action(subject, f"no driver is named {driver!r}", "see qnoded drivers")
            continue
        address = instrument.table().get("address", "")
        missing = [one for one in lacking(driver) if str(address).startswith(one.address)]
        if missing:
            modules = ", ".join(" or ".join(one.modules) for one in missing)
            yield action(subject, f"{driver} needs {modules}", "; ".join(one.install for one in missing))
            continue
        grade = (card_of(driver) or {}).get("grade", "no card")
        yield ok(subject, f"{driver}, {grade}")


def connected(settings: NodeSettings, where: str, root: Path) -> Iterator[Finding]:
    """Yield whether each port of this machine is there and may be used; none is opened."""
    for port in udev.ports(settings):
        device = udev.device_of(port.address, root)
        node = device.node if device else root / port.address.path.lstrip("/") if port.address.path else None
        if node is None or not node.exists():
            remedy = "plug it in and switch it on, or correct its address"
            yield action(port.name, f"{port.address} is not there", remedy, absent=True)
        elif not os.access(node, os.R_OK | os.W_OK):
            yield action(port.name, *_refused(node))
        else:
            yield ok(port.name, f"{port.address} is there, {_described(device)}")
        yield _rule(port, where, root)


def _rule(port: udev.Port, where: str, root: Path) -> Finding:
    subject = f"{port.name}, udev"
    stable = f"/dev/{udev.FOLDER}/{port.name}"
    remedy = f"qnoded udev --config {where} > /etc/udev/rules.d/{udev.FILE}"
    if not udev.is_installed(port, root):
        return warn(subject, f"no rule gives it the name {stable} and an owner", remedy)
    if port.address.path.startswith("/dev/tty"):
        return warn(subject, f"{port.address} may be another one after a restart", f"set address to {stable}")
    return ok(subject, f"a rule gives it the name {stable}")


def _described(device: udev.UsbDevice | None) -> str:
    if device is None:
        return "not on USB"
    return f"USB {device.vendor}:{device.product}, serial number {device.serial or 'none'}"


def _refused(node: Path) -> tuple[str, str]:
    facts = node.stat()
    user, group = _named(os.geteuid()), _group(facts.st_gid)
    said = f"user {user} may not use {node}, which is of the group {group}, mode {facts.st_mode & 0o777:04o}"
    return said, f"usermod -aG {group} {user} and log in again, or install the rules of qnoded udev"


def _named(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
