"""Stories read back from files, which may come from another version or another program, or be cut off."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from qnoded.errors import GarbledRecording, TruncatedRecording, UnknownFormat, UnreadableRecording
from qnoded.exchange.lifecycle import State
from qnoded.node.story import HEADING, MOST_ENTRIES, PATTERN, VERSION

LARGEST_BYTES: Final = 64 << 20
"""Sixteen kilobytes an entry; usual are two hundred bytes."""
_OTHER: Final = "give a story-*.jsonl of a link's folder in state_dir, or that folder"
_AGAIN: Final = "copy it again from the node"


@dataclass(frozen=True, slots=True)
class RecordedStory:
    """What a link's end wrote down up to a fault."""

    path: Path
    link: str
    """Name of the peer's node."""
    software: str
    """Of the node that wrote it."""
    began: datetime
    """UTC of the first entry."""
    before: str
    """Name of the state in which the link was before the first entry."""
    entries: tuple[Mapping[str, Any], ...]
    """Each has ``loop_s`` and ``what``; the rest hangs on ``what``."""


def find_story(place: Path) -> Path:
    """Return the newest story of a folder; a file is returned as it is.

    Raises
    ------
    UnreadableRecording
        If there is none.
    """
    if not place.is_dir():
        return place
    stories = sorted(place.glob(PATTERN))
    if not stories:
        problem = f"holds no {PATTERN}; a story is written when a session ends by a fault"
        raise UnreadableRecording(place, None, problem, _OTHER)
    return stories[-1]


def read_story(path: Path) -> RecordedStory:
    """Read a story.

    Raises
    ------
    FormatError
        Named by what is wrong with the file.
    """
    lines = _lines(path)
    offset, heading = next(lines, (0, {}))
    _demand(path, 0, heading.get("what") == HEADING, "does not begin like a story", UnknownFormat)
    before = heading.get("before")
    problem = f"is a story of version {str(heading.get('version'))[:20]}, here it is {VERSION}"
    _demand(path, 0, heading.get("version") == VERSION, problem, UnknownFormat)
    entries = []
    for offset, entry in lines:
        known = isinstance(entry.get("what"), str) and _is_number(entry.get("loop_s"))
        _demand(path, offset, known, "an entry without what and loop_s")
        if entry["what"] == "event":
            named = all(isinstance(entry.get(name), str) for name in ("event", "state", "reason"))
            _demand(path, offset, named, "an event without its name, state and reason")
        entries.append(entry)
        _demand(path, offset, len(entries) <= MOST_ENTRIES, f"more than {MOST_ENTRIES} entries")
    known = isinstance(before, str) and before in State.__members__
    _demand(path, 0, known, f"begins in a state {str(before)[:20]!r} that this version does not know", UnknownFormat)
    link, software = heading.get("link"), heading.get("software")
    _demand(path, 0, isinstance(link, str) and isinstance(software, str), "a heading without link or software")
    promised = heading.get("entries")
    if len(entries) != promised:
        problem = f"ends after {len(entries)} of {str(promised)[:20]} entries"
        raise TruncatedRecording(path, offset, problem, _AGAIN)
    began = _began(path, heading, entries)
    return RecordedStory(path, str(link), str(software), began, str(before), tuple(entries))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each line's place and content."""
    try:
        # A named pipe or a terminal would let us wait for ever.
        if path.exists() and not path.is_file():
            raise UnreadableRecording(path, None, "is no regular file", _OTHER)
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UnreadableRecording(path, None, error.strerror or str(error), _OTHER) from None
    if len(content) > LARGEST_BYTES:
        raise UnknownFormat(path, None, f"is larger than {LARGEST_BYTES >> 20} MiB, so no story", _OTHER)
    offset = 0
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            raise TruncatedRecording(path, offset, "ends in the middle of a line", _AGAIN)
        try:
            entry = json.loads(line, parse_constant=_refuse)
        # ValueError also where a number has more digits than Python reads.
        except (ValueError, RecursionError):
            entry = None
        kind = GarbledRecording if offset else UnknownFormat
        _demand(path, offset, isinstance(entry, dict), "a line is no JSON object", kind)
        yield offset, entry
        offset += len(line)


def _began(path: Path, heading: Mapping[str, Any], entries: list[dict[str, Any]]) -> datetime:
    try:
        written = datetime.fromisoformat(heading["written_utc"]).astimezone(UTC)
        first_s = entries[0]["loop_s"] if entries else heading["written_loop_s"]
        return written - timedelta(seconds=heading["written_loop_s"] - first_s)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise GarbledRecording(path, 0, "a heading without the time of writing", _OTHER) from None


def _refuse(name: str) -> Any:
    problem = f"{name} is no number"
    raise ValueError(problem)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _demand(path: Path, offset: int, holds: bool, problem: str, kind: type[Any] = GarbledRecording) -> None:
    if not holds:
        raise kind(path, offset, problem, _OTHER)
