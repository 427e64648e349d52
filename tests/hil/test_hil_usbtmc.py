"""Instruments that the kernel's USB driver has are made safe through its file, found by their serial number."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from qnoded_drivers.thorlabs_cld101x.codec import DARK, SAFE_ORDER
from qnoded_drivers.thorlabs_cld101x.emulator import EmulatedCld101x

from qnoded.hil import usbtmc
from qnoded.hil.safing import Target, make_safe
from qnoded.hil.usbtmc import node_of
from qnoded.testing.emulation import Emulation, on_pty

SERIAL = "M01093719"
RESOURCE = f"USB0::0x1313::0x804F::{SERIAL}::INSTR"
PATIENCE_S = 3.0


def plugged(sysfs: Path, number: int, serial: str, vendor: str = "1313", product: str = "804f") -> None:
    """What the kernel shows of an instrument: an entry that leads to one of its interfaces."""
    unit = sysfs / "devices" / f"1-{number}"
    (unit / f"1-{number}:1.0").mkdir(parents=True)
    for name, text in (("idVendor", vendor), ("idProduct", product), ("serial", serial)):
        (unit / name).write_text(f"{text}\n", encoding="ascii")
    entry = sysfs / "class" / f"usbtmc{number}"
    entry.mkdir(parents=True)
    (entry / "device").symlink_to(unit / f"1-{number}:1.0")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(usbtmc, "SYSFS", tmp_path / "class")
    monkeypatch.setattr(usbtmc, "DEV", tmp_path)
    return tmp_path


def test_the_file_is_that_of_the_unit_with_this_serial_number(machine: Path) -> None:
    plugged(machine, 0, "M00000000")
    plugged(machine, 1, SERIAL, product="8078")
    plugged(machine, 2, SERIAL)
    assert node_of(RESOURCE) == machine / "usbtmc2"
    assert node_of(f"USB::4883::32847::{SERIAL}::0::INSTR") == machine / "usbtmc2"


@pytest.mark.parametrize(
    "resource",
    [
        f"USB0::0x1313::0x804F::{SERIAL}X::INSTR",
        "USB0::0x1313::0x804F::INSTR",
        f"USB0::nonsense::0x804F::{SERIAL}::INSTR",
        "TCPIP0::127.0.0.1::5025::SOCKET",
        "tcp://127.0.0.1:5025",
        "/dev/ttyUSB0",
    ],
)
def test_no_other_name_has_a_file(resource: str, machine: Path) -> None:
    plugged(machine, 0, SERIAL)
    assert node_of(resource) is None


def test_an_instrument_that_is_being_unplugged_is_none(machine: Path) -> None:
    plugged(machine, 0, SERIAL)
    (machine / "devices" / "1-0" / "serial").unlink()
    assert node_of(RESOURCE) is None


def test_it_is_made_dark_through_the_file_and_asked_as_often_as_it_answers(machine: Path) -> None:
    async def scenario() -> None:
        plugged(machine, 0, SERIAL)
        emulation = Emulation(EmulatedCld101x(SERIAL))
        device = emulation.device
        assert isinstance(device, EmulatedCld101x)
        async with on_pty(emulation, machine / "usbtmc0"):
            device.hear(b"OUTP2:STAT 1\nSOUR:CURR 0.05\nOUTP1:STAT 1\n", emulation.now_s)
            assert device.output_on(emulation.now_s)
            target = Target("pump", RESOURCE, 115200, SAFE_ORDER, DARK)
            safed = await asyncio.to_thread(make_safe, target, PATIENCE_S)
            assert safed.confirmed, safed
            assert not device.output_on(emulation.now_s)

    asyncio.run(scenario())


def test_a_file_that_nobody_may_open_is_told(machine: Path) -> None:
    plugged(machine, 0, SERIAL)
    safed = make_safe(Target("pump", RESOURCE, 115200, SAFE_ORDER, DARK), 0.2)
    assert not safed.confirmed
    assert "No such file" in safed.said
