"""Clock, processor, memory and limits of the machine."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qnoded.diagnosis.finding import Finding, action, ok, warn
from qnoded.node_settings import NodeSettings
from qnoded.units import PS_PER_S

NODE_BYTES: Final = 800 << 20
"""A node at full load holds 780 MiB (docs/benchmarks.md)."""
ROOM_BYTES: Final = 1 << 30
"""What a peer may make it hold besides (docs/operating.md)."""
LEAST_OPEN_FILES: Final = 1024
"""The usual limit; a node with a full key delivery has some 300 open."""
LEAST_CORES: Final = 2
"""One for the event loop, one for the kernels."""
FULL_SPEED: Final = "performance"

_UNSYNCHRONIZED: Final = 0x0040
"""STA_UNSYNC of adjtimex(2)."""
_CLOCK_ERROR: Final = 5
"""TIME_ERROR of adjtimex(2)."""
_US_PER_S: Final = 10**6


@dataclass(frozen=True, slots=True)
class HostClock:
    """What the kernel says of the clock on the wall."""

    synchronized: bool
    largest_error_s: float


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex``, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def host_clock() -> HostClock | None:
    """Return the state of the host's clock by adjtimex(2), which changes nothing; None where the system refuses."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    synchronized = state != _CLOCK_ERROR and not timex.status & _UNSYNCHRONIZED
    return HostClock(synchronized, timex.maxerror / _US_PER_S)


def clock(clock: HostClock | None, settings: NodeSettings | None) -> Finding:
    """Return whether the hosts' clocks can tell the links where to search."""
    subject, remedy = "clock", "run an NTP client, such as chrony: systemctl enable --now chrony"
    if clock is None:
        return warn(subject, "the system does not say whether it is synchronized", "look at timedatectl yourself")
    searched = [link.terms.search_offset_ps for link in settings.links.values()] if settings else []
    search_s = min(searched) / PS_PER_S if searched else None
    said = f"{'' if clock.synchronized else 'not '}synchronized, at most {clock.largest_error_s:.3g} s off"
    if search_s is not None:
        said += f"; links search {search_s:g} s around it"
    if clock.synchronized and (search_s is None or clock.largest_error_s < search_s):
        return ok(subject, said)
    real = settings is not None and bool(settings.links) and not settings.node.simulation
    return action(subject, said, remedy) if real and not clock.synchronized else warn(subject, said, remedy)


def processor(root: Path) -> Iterator[Finding]:
    """Yield how many cores this process may use, and whether they are slowed down to save power."""
    cores = len(os.sched_getaffinity(0))
    if cores < LEAST_CORES:
        yield warn("cores", f"{cores} for this process", f"give it {LEAST_CORES}: taskset, CPUAffinity of the unit")
    else:
        yield ok("cores", f"{cores} for this process")
    governors = {
        file.read_text().strip()
        for file in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    }
    if governors - {FULL_SPEED}:
        remedy = f"for even latency: cpupower frequency-set -g {FULL_SPEED}"
        yield warn("governor", ", ".join(sorted(governors)), remedy)
    else:
        yield ok("governor", FULL_SPEED if governors else "none: the frequency is not ours to choose")


def memory(root: Path) -> Finding:
    """Return whether there is room for a node."""
    rows = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
    free = int(rows["MemAvailable"].split()[0]) << 10
    said = f"{free >> 20} MiB available, a node takes up to {NODE_BYTES >> 20} MiB"
    if free < NODE_BYTES:
        return action("memory", said, "end other programs, or give the machine more")
    if free < NODE_BYTES + ROOM_BYTES:
        return warn("memory", said, f"leave {ROOM_BYTES >> 20} MiB besides, which a peer can make it hold")
    return ok("memory", said)


def swap(root: Path) -> Finding:
    """Return whether key in memory may be written to a disk."""
    table = root / "proc/swaps"
    places = [line.split()[0] for line in table.read_text().splitlines()[1:]] if table.exists() else []
    on_disk = [place for place in places if "/zram" not in place]
    if on_disk:
        remedy = "swapoff -a, or MemorySwapMax=0 in the unit, or encrypted swap"
        return warn("swap", f"{', '.join(on_disk)}: keys in memory may be written there", remedy)
    return ok("swap", "compressed memory alone" if places else "none")


def limits() -> Iterator[Finding]:
    """Yield how many files may be open, and whether memory is dumped after a crash."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = "without limit" if files == resource.RLIM_INFINITY else f"{files} at once"
    if files != resource.RLIM_INFINITY and files < LEAST_OPEN_FILES:
        yield warn("open files", said, f"ulimit -n {LEAST_OPEN_FILES}, or LimitNOFILE in the unit")
    else:
        yield ok("open files", said)
    dump_bytes, _ = resource.getrlimit(resource.RLIMIT_CORE)
    if dump_bytes:
        size = "without limit" if dump_bytes == resource.RLIM_INFINITY else f"up to {dump_bytes} bytes"
        yield warn("core dumps", f"{size}: memory may hold key", "ulimit -c 0; the unit has LimitCORE=0")
    else:
        yield ok("core dumps", "off")


def python() -> Finding:
    """Return which Python this is."""
    return ok(
        "python", f"{platform.python_version()} on {platform.machine()}, {platform.system()} {platform.release()}"
    )
