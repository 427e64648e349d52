"""How pure code is given threads: as an argument that works like ``map``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Mapper = Callable[..., Iterable[Any]]
"""``map``, or ``ThreadPoolExecutor.map``: applies a function to each tuple of inputs, results in their order."""
