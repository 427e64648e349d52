"""Rules for udev: one for each instrument on a port of this machine, told by what the kernel knows of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from machines_made import machine_made, plug_in, write

from qnoded.diagnosis import instruments, udev
from qnoded.diagnosis.finding import Level
from qnoded.node_settings import NodeSettings, check_node

FTDI = {"vendor": "0403", "product": "6001", "serial": "A101"}
BY_ID = "usb-FTDI_FT232R_USB_UART_A101-if00-port0"
MATCH = r'(?:SUBSYSTEM|KERNELS|SYMLINK|ATTRS?\{\w+\}|ENV\{\w+\})=="[^"\\]+"'
ACTION = r'(?:SYMLINK\+="qnoded/[\w-]+"|GROUP="\w+"|MODE="0[0-7]{3}"|ENV\{ID_MM_DEVICE_IGNORE\}="1")'
RULE = re.compile(rf"{MATCH}(?:, {MATCH})*(?:, {ACTION})+")
"""What udev(7) says a line is, as far as it is used here."""


def node(**tables: dict[str, Any]) -> NodeSettings:
    table = {"node": {"name": "alice"}, "instruments": tables, "operate": {"positions": {"key": [0]}}}
    return check_node(table, "alice.toml", Path())


def lines(settings: NodeSettings, root: Path) -> list[str]:
    text, _ = udev.rules(settings, "alice.toml", "qnoded", root)
    found = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(RULE.fullmatch(line) for line in found), found
    return found


@pytest.mark.parametrize("address", [f"/dev/serial/by-id/{BY_ID}", "/dev/ttyUSB3"])
def test_an_instrument_that_is_plugged_in_is_told_by_vendor_product_and_serial_number(
    tmp_path: Path, address: str
) -> None:
    plug_in(tmp_path, "ttyUSB3", by_id=BY_ID, **FTDI)
    assert lines(node(polarization={"driver": "oz-epc400", "address": address}), tmp_path) == [
        'SUBSYSTEM=="tty", ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6001", ATTRS{serial}=="A101", '
        'ENV{ID_USB_INTERFACE_NUM}=="00", SYMLINK+="qnoded/polarization", GROUP="qnoded", MODE="0660", '
        'ENV{ID_MM_DEVICE_IGNORE}="1"'
    ]


def test_the_name_that_a_rule_gave_leads_to_the_same_rule(tmp_path: Path) -> None:
    plug_in(tmp_path, "ttyUSB3", by_id=BY_ID, **FTDI)
    (tmp_path / "dev/qnoded").mkdir()
    (tmp_path / "dev/qnoded/laser").symlink_to("../ttyUSB3")
    first = lines(node(laser={"driver": "x", "address": "/dev/ttyUSB3"}), tmp_path)
    assert lines(node(laser={"driver": "x", "address": "/dev/qnoded/laser"}), tmp_path) == first


def test_without_a_serial_number_it_is_told_by_its_socket(tmp_path: Path) -> None:
    plug_in(tmp_path, "ttyACM0", vendor="1a86", product="7523", serial="", port="1-4")
    (line,) = lines(node(laser={"driver": "x", "address": "/dev/ttyACM0"}), tmp_path)
    assert 'KERNELS=="1-4"' in line


def test_two_adapters_with_one_serial_number_are_told_by_their_sockets(tmp_path: Path) -> None:
    for tty, port in (("ttyUSB0", "1-1"), ("ttyUSB1", "1-2")):
        plug_in(tmp_path, tty, vendor="10c4", product="ea60", serial="0001", port=port)
    settings = node(laser={"driver": "x", "address": "/dev/ttyUSB0"}, meter={"driver": "x", "address": "/dev/ttyUSB1"})
    first, second = lines(settings, tmp_path)
    assert ('KERNELS=="1-1"' in first, 'KERNELS=="1-2"' in second) == (True, True)


def test_one_that_is_not_there_is_told_by_its_stable_name_or_not_at_all(tmp_path: Path) -> None:
    settings = node(
        polarization={"driver": "x", "address": f"/dev/serial/by-id/{BY_ID}"},
        laser={"driver": "x", "address": "/dev/ttyUSB0"},
    )
    (line,) = lines(settings, tmp_path)
    assert f'SYMLINK=="serial/by-id/{BY_ID}", SYMLINK+="qnoded/polarization"' in line
    text, unknown = udev.rules(settings, "alice.toml", "qnoded", tmp_path)
    assert unknown == ["laser"]
    assert "# laser: nothing is known of /dev/ttyUSB0" in text


def test_an_instrument_of_usb_test_and_measurement_class(tmp_path: Path) -> None:
    address = "USB0::0x1313::4943::M01093719::INSTR"
    assert lines(node(laser={"driver": "thorlabs-cld101x", "address": address}), tmp_path) == [
        'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{idVendor}=="1313", ATTR{idProduct}=="134f", '
        'ATTR{serial}=="M01093719", SYMLINK+="qnoded/laser", GROUP="qnoded", MODE="0660"'
    ]


def test_each_mount_of_a_controller_has_a_name_and_the_network_has_none() -> None:
    mounts = [{"address": "/dev/serial/by-id/a"}, {"address": "/dev/serial/by-id/b"}]
    settings = node(
        polarization={"driver": "thorlabs-k10cr1", "mounts": mounts},
        tagger={"driver": "s15-tdc1", "address": "tcp://192.0.2.1:5000"},
        laser={"driver": "elliptec-ell14", "address": "/dev/ttyS0", "mounts": [{"address": "0"}]},
    )
    assert [port.name for port in udev.ports(settings)] == ["polarization-1", "polarization-2", "laser"]


def test_what_means_something_to_udev_is_not_written_into_a_rule(tmp_path: Path) -> None:
    plug_in(tmp_path, "ttyUSB3", vendor="0403", product="6001", serial='A"1*, RUN+="x')
    (line,) = lines(node(laser={"driver": "x", "address": "/dev/ttyUSB3"}), tmp_path)
    assert 'ATTRS{serial}=="A?1?,?RUN+=?x"' in line


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm is not installed")
def test_udev_itself_understands_the_rules(tmp_path: Path) -> None:
    settings = node(laser={"driver": "x", "address": f"/dev/serial/by-id/{BY_ID}"})
    file = tmp_path / udev.FILE
    file.write_text(udev.rules(settings, "alice.toml", "root", tmp_path)[0])
    verified = subprocess.run(["udevadm", "verify", str(file)], capture_output=True, text=True, check=False)
    if "verify" in verified.stderr and "nknown" in verified.stderr:
        pytest.skip("this udevadm is older than 254 and does not verify")
    assert verified.returncode == 0, verified.stderr


def test_a_port_is_told_as_absent_as_forbidden_or_as_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine_made(tmp_path)
    settings = node(laser={"driver": "x", "address": f"/dev/serial/by-id/{BY_ID}"})
    port, rule = instruments.connected(settings, "alice.toml", root)
    assert (port.level, port.absent, rule.level) == (Level.ACTION, True, Level.WARN)
    device = plug_in(root, "ttyUSB0", by_id=BY_ID, **FTDI)
    port, _ = instruments.connected(settings, "alice.toml", root)
    assert (port.level, "USB 0403:6001, serial number A101" in port.said) == (Level.OK, True)
    with monkeypatch.context() as patched:
        patched.setattr("os.access", lambda path, mode: Path(path) != device)
        port, _ = instruments.connected(settings, "alice.toml", root)
    assert (port.level, port.absent, "usermod -aG" in port.remedy) == (Level.ACTION, False, True)
    write(root / "etc/udev/rules.d" / udev.FILE, udev.rules(settings, "alice.toml", "qnoded", root)[0])
    _, rule = instruments.connected(settings, "alice.toml", root)
    assert rule.level is Level.OK
    shaky = node(laser={"driver": "x", "address": "/dev/ttyUSB0"})
    _, rule = instruments.connected(shaky, "alice.toml", root)
    assert (rule.level, rule.remedy) == (Level.WARN, "set address to /dev/qnoded/laser")


def test_a_usb_instrument_is_found_by_its_numbers(tmp_path: Path) -> None:
    root = machine_made(tmp_path)
    plug_in(root, "ttyACM9", vendor="1313", product="804f", serial="M01093719")
    settings = node(laser={"driver": "x", "address": "USB0::0x1313::0x804F::M01093719::INSTR"})
    port, _ = instruments.connected(settings, "alice.toml", root)
    assert (port.level, "USB 1313:804f" in port.said) == (Level.OK, True)
    other = node(laser={"driver": "x", "address": "USB0::0x1313::0x804F::M999::INSTR"})
    port, _ = instruments.connected(other, "alice.toml", root)
    assert (port.level, port.absent) == (Level.ACTION, True)
