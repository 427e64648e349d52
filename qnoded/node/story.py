"""The story of a link: what happened, was said and was asked for; bounded, without arrays and without secrets.

On a fault the last entries go to a file of the state directory, one JSON object a line: first a heading, then the
entries as they came. ``story_file`` reads it back, and ``replaying`` walks the lifecycle through it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Final

import numpy as np

from qnoded.exchange.lifecycle import State
from qnoded.node.disk import Disk
from qnoded.node.whole_file import replace_file

MOST_ENTRIES: Final = 4096
"""Some minutes of a link that sifts; hours of one that waits."""
VERSION: Final = 1
"""Of the file."""
HEADING: Final = "story"
"""What the first line says that it is."""
PATTERN: Final = "story-*.jsonl"
MOST_FILES: Final = 16
"""Stories kept per link; the oldest is removed."""
AGAIN_S: Final = 60.0
"""Before a story that could not be written is written with what has come since."""
LONGEST_TEXT: Final = 240
DEEPEST: Final = 2
"""Records within records that are shown; deeper ones only by name."""

log = logging.getLogger(__name__)


class Story:
    """One link's last entries.

    Parameters
    ----------
    folder
        Where stories are dumped; named like the link.
    now_s
        The event loop's clock.
    disk
        Writes them.
    """

    def __init__(self, folder: Path, now_s: Callable[[], float], disk: Disk) -> None:
        self._folder, self._now_s, self._disk = folder, now_s, disk
        self._entries: deque[dict[str, Any]] = deque()
        self._before = State.ABSENT.name
        """How the link stood before the oldest entry."""
        self._fault = ""
        self._faulty = asyncio.Event()

    def tell(self, what: str, **facts: object) -> None:
        """Add an entry; records are reduced to what may be shown."""
        shown = {name: outline(value) for name, value in facts.items()}
        self._entries.append({"loop_s": round(self._now_s(), 6), "what": what} | shown)
        if len(self._entries) > MOST_ENTRIES:
            forgotten = self._entries.popleft()
            if forgotten["what"] == "event":
                self._before = forgotten["state"]

    def fault(self, why: str) -> None:
        """Have all entries written soon, because of a fault."""
        self._fault = why
        self._faulty.set()

    async def run(self) -> None:
        """Write the stories of faults, one at a time, until cancelled: a disk that hangs holds up no session."""
        while True:
            await self._faulty.wait()
            self._faulty.clear()
            if not await self.dump(self._fault):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._faulty.wait(), AGAIN_S)
                self._faulty.set()

    async def dump(self, why: str) -> bool:
        """Write all entries to a new file; return whether that could be."""
        self.tell("dump", why=why)
        now = datetime.now(UTC)
        heading = {
            "what": HEADING,
            "version": VERSION,
            "link": self._folder.name,
            "software": f"qnoded {package_version('qnoded')}",
            "written_utc": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "written_loop_s": round(self._now_s(), 6),
            "before": self._before,
            "entries": len(self._entries),
        }
        path = self._folder / f"story-{now:%Y%m%dT%H%M%S.%f}.jsonl"
        what, loss = f"the story of a fault of link {self._folder.name}", "nobody can replay it"
        written = await self._disk.keep(what, loss, self._folder, _write, path, [heading, *self._entries])
        if written:
            log.info("the story of the fault is in %s; see it with qnoded replay %s", path, path)
        return written


def outline(value: object, depth: int = 0) -> Any:
    """Return a record as plain numbers and words: arrays and bytes by their size alone, since they may be secret."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float)):
        return value
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


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    older = sorted(path.parent.glob(PATTERN))
    for each in older[: max(len(older) - MOST_FILES + 1, 0)]:
        each.unlink(missing_ok=True)
    replace_file(path, "".join(json.dumps(line) + "\n" for line in lines))
