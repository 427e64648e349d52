"""Whether the daemon's kernels are compiled, told by the cache's files: importing a kernel would compile it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import qnoded
from qnoded.diagnosis.finding import Finding, action, ok, warn

KERNELS: Final = Path(qnoded.__file__).parent / "kernels"
NOT_THE_DAEMONS: Final = frozenset({"detecting", "histogramming", "merging", "peaks", "ticks"})
"""Modules that the daemon does not import: the simulated world's, and those of recordings."""
FIRST_START_S: Final = 41
"""Measured on two busy cores (docs/operating.md)."""


def kernels(environment: Mapping[str, str], home: Path, folder: Path = KERNELS) -> Finding:
    """Return whether the next start of the daemon has to compile, and whether it can keep what it compiles.

    Parameters
    ----------
    environment
        Usually ``os.environ``; NUMBA_CACHE_DIR is read.
    home
        Where the cache is if it can be nowhere else.
    folder
        Of the kernels' sources.
    """
    place = _cache(environment, home, folder)
    sources = [one for one in sorted(folder.glob("*.py")) if one.stem not in NOT_THE_DAEMONS and _has_kernels(one)]
    cold = [one.stem for one in sources if not _is_compiled(one, place)]
    nearest = next(one for one in (place, *place.parents) if one.exists())
    said = f"{len(sources) - len(cold)} of {len(sources)} modules compiled, cache {place}"
    if not cold:
        return ok("kernels", said)
    if not os.access(nearest, os.W_OK | os.X_OK):
        remedy = f"make {nearest} writable for this user, or set NUMBA_CACHE_DIR: each start compiles anew"
        return action("kernels", f"{said}, which cannot be written", remedy)
    return warn("kernels", said, f"nothing: the next start compiles the rest, up to {FIRST_START_S} s, once")


def _cache(environment: Mapping[str, str], home: Path, folder: Path) -> Path:
    """Return the folder below which numba keeps what it compiles, by its rules (``numba.core.caching``)."""
    if chosen := environment.get("NUMBA_CACHE_DIR"):
        return Path(chosen)
    beside = folder / "__pycache__"
    if os.access(beside if beside.exists() else folder, os.W_OK):
        return beside
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "numba"


def _has_kernels(source: Path) -> bool:
    return "\n@kernel(" in source.read_text(encoding="utf-8")


def _is_compiled(source: Path, cache: Path) -> bool:
    """Tell whether an index of the cache is of this Python and younger than the source."""
    tag = f"py{sys.version_info.major}{sys.version_info.minor}"
    # Elsewhere than beside the source it is a folder of its own for each folder of sources.
    pattern = f"{source.stem}.*.{tag}.nbi"
    indices = [*cache.glob(pattern), *cache.glob(f"{source.parent.name}_*/{pattern}")]
    changed_s = source.stat().st_mtime
    return any(index.stat().st_mtime >= changed_s for index in indices)
