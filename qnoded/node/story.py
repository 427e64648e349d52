"""The story of a link: what happened, was said and was asked for; bounded, without arrays and without secrets.

On a fault the last entries go to a file of the state directory, one JSON object a line; ``told`` reads it back, and
``replay`` walks the lifecycle through it again.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np

from qnoded.node.pool import Pool

MOST_ENTRIES: Final = 4096
"""Some minutes of a link that sifts; hours of one that waits."""
MOST_FILES: Final = 16
"""Stories kept per link; the oldest is removed."""
LONGEST_TEXT: Final = 240
DEEPEST: Final = 2
"""Records within records that are shown; deeper ones only by name."""

log = logging.getLogger(__name__)


class Story:
    """One link's last entries.

    Parameters
    ----------
    folder
        Where stories are dumped.
    now_s
        The event loop's clock.
    """

    def __init__(self, folder: Path, now_s: Callable[[], float]) -> None:
        self._folder, self._now_s = folder, now_s
        self._entries: deque[dict[str, Any]] = deque(maxlen=MOST_ENTRIES)

    def tell(self, what: str, **facts: object) -> None:
        """Add an entry; records are reduced to what may be shown."""
        shown = {name: outline(value) for name, value in facts.items()}
        self._entries.append({"loop_s": round(self._now_s(), 6), "what": what} | shown)

    async def dump(self, pool: Pool, why: str) -> None:
        """Write all entries to a new file."""
        self.tell("dump", why=why)
        entries = list(self._entries)
        try:
            path = await pool.write(_write, self._folder, entries)
        except OSError as error:
            log.warning("the story of the fault could not be written to %s: %s", self._folder, error)
        else:
            log.info("the story of the fault is in %s", path)


def outline(value: object, depth: int = 0) -> Any:
    """Return a record as plain numbers and words: arrays and bytes by their size alone, since they may be secret."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if is_dataclass(value) and not isinstance(value, type):
        if depth >= DEEPEST:
            return type(value).__name__
        inner = {field.name: outline(getattr(value, field.name), depth + 1) for field in fields(value)}
        return {"record": type(value).__name__} | inner
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value)} bytes"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} items"
    return type(value).__name__


def told(path: Path) -> list[dict[str, Any]]:
    """Read a story that was dumped."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(folder: Path, entries: list[dict[str, Any]]) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    older = sorted(folder.glob("story-*.jsonl"))
    for path in older[: max(len(older) - MOST_FILES + 1, 0)]:
        path.unlink(missing_ok=True)
    path = folder / f"story-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path
