"""Rules for udev: each configured instrument on USB gets a name that stays, and an owner who may use it.

The name is ``/dev/qnoded/ROLE``. An instrument that is plugged in is told by vendor, product and serial number as the
kernel shows them (sysfs); one that is not by what its address says. See udev(7).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.instruments.transport import Address, read_address
from qnoded.node_settings import NodeSettings

FOLDER: Final = "qnoded"
"""Below ``/dev``."""
GROUP: Final = "qnoded"
"""Of the service; see systemd/sysusers.d."""
FILE: Final = "70-qnoded.rules"
"""After 60-serial.rules, which reads the descriptors."""
RULES: Final = ("etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d")

_USB: Final = re.compile(r"USB\d*::(0x[0-9A-Fa-f]+|\d+)::(0x[0-9A-Fa-f]+|\d+)::([^:]+)(?:::\d+)?::INSTR")
_PATTERN: Final = re.compile(r'["\\*?|\[\]{}$%\s]')
"""Characters that would mean something else to udev; a "?" stands for any."""


@dataclass(frozen=True, slots=True)
class Port:
    """A place on this machine at which the node expects an instrument."""

    name: str
    """Its role; with a number if the instrument has several ports."""
    address: Address


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """What the kernel tells of the USB device behind a port."""

    vendor: str
    """Four hexadecimal digits, as all three."""
    product: str
    serial: str
    """Empty where it has none."""
    place: str
    """Hub and socket, such as ``1-1.2``."""
    interface: str
    """Two digits; empty for the whole device."""
    node: Path
    """Its file below ``/dev``."""


def ports(settings: NodeSettings) -> tuple[Port, ...]:
    """Return where the node's instruments are plugged into this machine; those on the network are left out."""
    found = []
    for role, instrument in settings.instruments.items():
        local = [one for one in _addresses(instrument.table()) if one.path or _USB.fullmatch(one.resource)]
        names = [role] if len(local) == 1 else [f"{role}-{number}" for number in range(1, len(local) + 1)]
        found += [Port(name, address) for name, address in zip(names, local, strict=True)]
    return tuple(found)


def device_of(address: Address, root: Path) -> UsbDevice | None:
    """Return the USB device at an address; None if it is not there, or not on USB."""
    if address.resource:
        return _visa_device(address.resource, root)
    node = Path(os.path.realpath(root / address.path.lstrip("/")))
    place = Path(os.path.realpath(root / "sys/class/tty" / node.name / "device"))
    interface = ""
    for folder in (place, *place.parents):
        if (folder / "bInterfaceNumber").is_file():
            interface = _read(folder / "bInterfaceNumber")
        if (folder / "idVendor").is_file():
            return _device(folder, interface, node)
    return None


def rules(settings: NodeSettings, where: str, group: str = GROUP, root: Path = Path("/")) -> tuple[str, list[str]]:
    """Return the text of a rules file, and the names of ports for which nothing could be written.

    Parameters
    ----------
    where
        The node's file, for the head.
    group
        Whose members may use the instruments.
    """
    lines = [
        f"# Instruments of {where}, by qnoded udev: /etc/udev/rules.d/{FILE}",
        "# Then: udevadm control --reload && udevadm trigger",
    ]
    unknown = []
    for port in ports(settings):
        match = _match(port.address, root)
        if match is None:
            unknown.append(port.name)
            lines.append(f"# {port.name}: nothing is known of {port.address}; plug it in and write this anew")
            continue
        actions = [f'SYMLINK+="{FOLDER}/{port.name}"', f'GROUP="{group}"', 'MODE="0660"']
        if port.address.path:
            # Else ModemManager may talk to the instrument as if it were a modem.
            actions.append('ENV{ID_MM_DEVICE_IGNORE}="1"')
        lines.append(", ".join([*match, *actions]))
    return "\n".join(lines) + "\n", unknown


def is_installed(port: Port, root: Path) -> bool:
    """Tell whether a rule of this machine names the port."""
    name = f'"{FOLDER}/{port.name}"'
    files = (file for folder in RULES for file in (root / folder).glob("*.rules"))
    return any(name in line for file in files for line in file.read_text().splitlines() if not line.startswith("#"))


def _match(address: Address, root: Path) -> list[str] | None:
    """Return what has to hold for a rule to be about the instrument; None if nothing is known of it."""
    device = device_of(address, root)
    if address.resource:
        vendor, product, serial = _visa_parts(address.resource)
        return [
            'SUBSYSTEM=="usb"',
            'ENV{DEVTYPE}=="usb_device"',
            f'ATTR{{idVendor}}=="{vendor}"',
            f'ATTR{{idProduct}}=="{product}"',
            f'ATTR{{serial}}=="{_literal(serial)}"',
        ]
    if device is None:
        link = address.path.removeprefix("/dev/")
        stable = link.startswith("serial/by-")
        return ['SUBSYSTEM=="tty"', f'SYMLINK=="{_literal(link)}"'] if stable else None
    # Cheap adapters have no serial number, or all the same.
    own = device.serial and sum(_numbers(one) == _numbers(device) for one in _plugged_in(root)) <= 1
    told_by = f'ATTRS{{serial}}=="{_literal(device.serial)}"' if own else f'KERNELS=="{device.place}"'
    match = [
        'SUBSYSTEM=="tty"',
        f'ATTRS{{idVendor}}=="{device.vendor}"',
        f'ATTRS{{idProduct}}=="{device.product}"',
        told_by,
    ]
    return [*match, f'ENV{{ID_USB_INTERFACE_NUM}}=="{device.interface}"'] if device.interface else match


def _addresses(value: Any) -> Iterator[Address]:
    """Yield all that can be read as an address under a key of that name, also below mounts and the like."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "address" and isinstance(one, str):
                try:
                    yield read_address(one)
                except UsageError:
                    continue
            else:
                yield from _addresses(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _addresses(one)


def _visa_parts(resource: str) -> tuple[str, str, str]:
    parts = _USB.fullmatch(resource)
    assert parts is not None
    return f"{int(parts[1], 0):04x}", f"{int(parts[2], 0):04x}", parts[3]


def _visa_device(resource: str, root: Path) -> UsbDevice | None:
    wanted = _visa_parts(resource)
    return next((one for one in _plugged_in(root) if _numbers(one) == wanted), None)


def _numbers(device: UsbDevice) -> tuple[str, str, str]:
    return device.vendor, device.product, device.serial


def _plugged_in(root: Path) -> Iterator[UsbDevice]:
    """Yield all USB devices of this machine."""
    for file in sorted((root / "sys/bus/usb/devices").glob("*/idVendor")):
        bus, number = _read(file.parent / "busnum"), _read(file.parent / "devnum")
        if bus.isdigit() and number.isdigit():
            yield _device(file.parent, "", root / f"dev/bus/usb/{int(bus):03}/{int(number):03}")


def _device(folder: Path, interface: str, node: Path) -> UsbDevice:
    vendor, product, serial = (_read(folder / name) for name in ("idVendor", "idProduct", "serial"))
    return UsbDevice(vendor, product, serial, folder.name, interface, node)


def _read(file: Path) -> str:
    return file.read_text(errors="replace").strip() if file.is_file() else ""


def _literal(text: str) -> str:
    return _PATTERN.sub("?", text)
