"""What must be said of a machine for a figure to mean something; never its name."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

FLAGS: Final = ("avx2", "avx512f", "avx512bw", "bmi2", "pclmulqdq", "vpclmulqdq", "asimd", "sve")
"""Instruction sets that the compiler of the kernels makes use of."""
PACKAGES: Final = ("qnoded", "numpy", "numba", "llvmlite", "scipy")


def describe() -> dict[str, str | int | list[str] | dict[str, str]]:
    """Return processor, usable cores, instruction sets and versions."""
    facts = _processor_facts()
    flags = facts.get("flags", facts.get("Features", "")).split()
    return {
        "processor": facts.get("model name", platform.machine()),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": usable_cores(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_facts() -> dict[str, str]:
    """Read the first processor's block of Linux's list; elsewhere there is none and the rest must do."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    block = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
