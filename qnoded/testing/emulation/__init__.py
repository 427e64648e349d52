"""Emulated instruments: the instrument's own side of the wire, byte for byte, with its quirks and with faults on order.

An author writes a ``Device``, which knows neither sockets nor the time of day, and announces it as an entry point of
the group ``qnoded.emulators`` under the driver's name. ``Emulation`` plugs it into a wire and spoils its messages as a
fault script says; ``serving`` has the wires: TCP and pseudo-terminals.
"""

from qnoded.testing.emulation.device import GROUP, Device, find_device
from qnoded.testing.emulation.faults import Fault, FaultKind, read_fault
from qnoded.testing.emulation.plugging import Emulation
from qnoded.testing.emulation.serving import on_pty, on_tcp

__all__ = ["GROUP", "Device", "Emulation", "Fault", "FaultKind", "find_device", "on_pty", "on_tcp", "read_fault"]
