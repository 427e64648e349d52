"""A machine as files below a folder: what the kernel and systemd would show."""

from __future__ import annotations

from pathlib import Path

PLENTY_KIB = 16 << 20


def machine_made(root: Path, *, available_kib: int = PLENTY_KIB, swaps: tuple[str, ...] = ()) -> Path:
    """A machine on which all is well: systemd runs, the unit is installed, nothing is swapped or slowed down."""
    write(root / "proc/meminfo", f"MemTotal: 99 kB\nMemAvailable:   {available_kib} kB\n")
    write(root / "proc/swaps", "Filename Type Size Used Priority\n" + "".join(f"{one} file 1 0 -2\n" for one in swaps))
    write(root / "proc/self/mounts", "/dev/vda / ext4 rw 0 0\n")
    write(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    (root / "run/systemd/system").mkdir(parents=True)
    write(root / "opt/qnoded/bin/qnoded", "")
    unit = Path(__file__).parents[2] / "systemd" / "qnoded@.service"
    write(root / "etc/systemd/system/qnoded@.service", unit.read_text())
    return root


def plug_in(
    root: Path, tty: str, *, vendor: str, product: str, serial: str, by_id: str = "", port: str = "1-1.2"
) -> Path:
    """A serial adapter on USB, as sysfs shows it; returns its file below ``/dev``."""
    usb = root / "sys/devices/pci0/usb1" / port
    interface = usb / f"{port}:1.0"
    for name, value in {
        "idVendor": vendor,
        "idProduct": product,
        "serial": serial,
        "busnum": "1",
        "devnum": "7",
    }.items():
        if value:
            write(usb / name, value + "\n")
    write(interface / "bInterfaceNumber", "00\n")
    place = interface / tty
    place.mkdir(parents=True)
    shown = root / "sys/class/tty" / tty
    shown.mkdir(parents=True)
    (shown / "device").symlink_to(place)
    listed = root / "sys/bus/usb/devices" / port
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.symlink_to(usb)
    write(root / "dev/bus/usb/001/007", "")
    node = root / "dev" / tty
    write(node, "")
    if by_id:
        link = root / "dev/serial/by-id" / by_id
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../{tty}")
    return node


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
