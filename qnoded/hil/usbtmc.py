"""An instrument of USB's test-and-measurement class, through the kernel's own driver: a file that takes whole messages.

No library is in the way, so nothing has to be imported, claimed or set up while a laser is on. Whoever reaches such an
instrument through libusb, as pyvisa-py does, takes it away from the kernel's driver: then there is no such file.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

SYSFS: Final = Path("/sys/class/usbmisc")
DEV: Final = Path("/dev")
CLEAR: Final = 0x5B02
"""USBTMC_IOCTL_CLEAR of linux/usb/tmc.h: the instrument forgets half a message, and an answer that nobody fetched."""
SET_TIMEOUT: Final = 0x40045B0A
"""USBTMC_IOCTL_SET_TIMEOUT: unsigned 32-bit milliseconds. Kernels before 4.20 have none, and wait for 5 s."""
ANSWER_MS: Final = 250
LARGEST_READ: Final = 4096
LEAST_FIELDS: Final = 4
"""After the first one of ``USB0::0x1313::0x8078::P0012345::INSTR``; an interface's number may stand before the last."""


def node_of(resource: str) -> Path | None:
    """Return the file of the instrument that a VISA resource names; None if the kernel's driver has no such one."""
    kind, *fields = resource.split("::")
    if not kind.startswith("USB") or len(fields) < LEAST_FIELDS or fields[-1] != "INSTR":
        return None
    try:
        wanted = (int(fields[0], 0), int(fields[1], 0), fields[2])
    except ValueError:
        return None
    for entry in sorted(SYSFS.glob("usbtmc*")):
        # An instrument that is being unplugged is none.
        with suppress(OSError, ValueError):
            # What stands there is one interface of the instrument; its parent is the instrument.
            unit = (entry / "device").resolve().parent
            vendor, product, serial = (
                (unit / name).read_text().strip() for name in ("idVendor", "idProduct", "serial")
            )
            if (int(vendor, 16), int(product, 16), serial) == wanted:
                return DEV / entry.name
    return None


class UsbTmc:
    """A session: a message for each write, and a reading for each question and never otherwise."""

    def __init__(self, node: Path) -> None:
        self._file = os.open(node, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self._heard = b""
        with suppress(OSError):
            fcntl.ioctl(self._file, CLEAR)
        with suppress(OSError):
            fcntl.ioctl(self._file, SET_TIMEOUT, struct.pack("=I", ANSWER_MS))

    def send(self, data: bytes) -> None:
        """Send messages and fetch what they ask for; ``OSError`` if an answer does not come in time."""
        for message in data.splitlines(keepends=True):
            os.write(self._file, message)
            if b"?" in message:
                self._heard += os.read(self._file, LARGEST_READ)

    def receive(self, within_s: float) -> bytes:
        """Return what was fetched; nothing comes by itself."""
        heard, self._heard = self._heard, b""
        if not heard:
            time.sleep(within_s)
        return heard

    def close(self) -> None:
        """End it."""
        os.close(self._file)
