"""Emulated instruments: the instrument's own side of the wire, byte for byte, with its quirks and with faults on order.

An author writes a ``Device``, which knows neither sockets nor the time of day, and announces it as an entry point of
the group ``qnoded.emulators`` under the driver's name. ``Emulation`` plugs it into a wire and spoils its messages as a
fault script says; ``serving`` has the wires: TCP and pseudo-terminals. ``personality`` tells one unit of a model from
another, ``place`` puts an instrument that has one of the protocols of ``light`` into the simulated world, and those of
``afflictions`` say what can befall it besides.
"""

from qnoded.testing.emulation.afflictions import can_befall
from qnoded.testing.emulation.device import GROUP, Device, find_device, find_kind
from qnoded.testing.emulation.faults import Fault, FaultKind, read_fault
from qnoded.testing.emulation.light import Retarder
from qnoded.testing.emulation.personality import (
    Finite,
    NotNegative,
    Positive,
    SerialDigits,
    matching,
    with_personality,
)
from qnoded.testing.emulation.plugging import Emulation
from qnoded.testing.emulation.serving import on_pty, on_tcp

__all__ = [
    "GROUP",
    "Device",
    "Emulation",
    "Fault",
    "FaultKind",
    "Finite",
    "NotNegative",
    "Positive",
    "Retarder",
    "SerialDigits",
    "can_befall",
    "find_device",
    "find_kind",
    "matching",
    "on_pty",
    "on_tcp",
    "read_fault",
    "with_personality",
]
