"""A story is bounded and holds neither arrays nor secrets."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from qnoded.errors import FormatError, GarbledRecording, TruncatedRecording, UnknownFormat, UnreadableRecording
from qnoded.exchange import reports
from qnoded.exchange.happenings import Detected
from qnoded.exchange.reports import EpochSifted, Reason
from qnoded.node.disk import Disk
from qnoded.node.pool import Pool
from qnoded.node.story import AGAIN_S, MOST_ENTRIES, MOST_FILES, Story, outline
from qnoded.node.story_file import LARGEST_BYTES, find_story, read_story
from qnoded.node.tasks import background
from qnoded.records import DetectionEpoch, SiftedEpoch
from qnoded.secret import Secret
from qnoded.testing import virtual_time

SIFTED = EpochSifted(
    7,
    SiftedEpoch(np.ones(9, np.uint8), np.zeros(9, np.uint8), "alice"),
    (reports.Tests("HV", 1, 20),),
    (400, 300),
    29,
    0.5,
    bytes(32),
)


def test_bits_clicks_and_keys_are_shown_by_their_size_alone() -> None:
    clicks = Detected(DetectionEpoch(np.full(3, 2, np.uint8), np.arange(3), 0, 10))
    shown = json.dumps([outline(SIFTED), outline(clicks), outline(b"\x01\x02"), outline(Secret(b"hidden"))])
    assert '"bits": "uint8[9]"' in shown
    assert '"detector": "uint8[3]"' in shown
    assert '"2 bytes"' in shown
    assert "hidden" not in shown
    assert '"Secret"' in shown


def test_words_and_numbers_are_kept() -> None:
    assert outline(Reason.GAP) == "GAP"
    assert outline(SIFTED)["clicks"] == "2 items"
    assert outline(np.int64(5)) == 5
    assert outline(np.float64("nan")) is None
    assert len(outline("x" * 10_000)) < 1000


def test_a_story_that_could_not_be_written_is_written_a_minute_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the trouble with the disk, which stands in the status, ends with its cause."""

    def refuse(_path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def run() -> None:
        pool, told = Pool(1), []
        disk = Disk(pool, lambda level, text: told.append((level, text)))
        story = Story(tmp_path / "bob", asyncio.get_running_loop().time, disk)
        async with background(story.run()):
            with monkeypatch.context() as full:
                full.setattr("qnoded.node.story.replace_file", refuse)
                story.fault("a test")
                await asyncio.sleep(AGAIN_S - 1.0)
                assert len(disk.troubles) == 1
            await asyncio.sleep(2.0)
            assert disk.troubles == ()
        assert [level for level, _ in told] == ["warning", "info"]
        assert len(list((tmp_path / "bob").iterdir())) == 1
        pool.close()

    virtual_time.run(run())


def test_entries_and_files_are_bounded_and_the_heading_says_where_it_begins(tmp_path: Path) -> None:
    async def fill() -> None:
        pool = Pool(1)
        story = Story(tmp_path / "bob", lambda: 1.5, Disk(pool, lambda _level, _text: None))
        story.tell("event", event="HEARD", state="GREETING", reason="")
        for number in range(2 * MOST_ENTRIES):
            story.tell("report", number=number)
        for _ in range(MOST_FILES + 4):
            await story.dump("a test")
        pool.close()

    virtual_time.run(fill())
    files = sorted((tmp_path / "bob").glob("story-*.jsonl"))
    assert len(files) == MOST_FILES
    assert find_story(tmp_path / "bob") == files[-1]
    story = read_story(files[-1])
    assert (story.link, story.before, len(story.entries)) == ("bob", "GREETING", MOST_ENTRIES)
    assert story.entries[-1] == {"loop_s": 1.5, "what": "dump", "why": "a test"}
    assert abs(datetime.now(UTC) - story.began) < timedelta(minutes=1)


HEADING = {
    "what": "story",
    "version": 1,
    "link": "bob",
    "software": "qnoded 0.1.0",
    "written_utc": "2026-11-21T09:14:05.000Z",
    "written_loop_s": 9.0,
    "before": "ABSENT",
    "entries": 1,
}
ENTRY = {"loop_s": 4.0, "what": "event", "event": "HEARD", "state": "GREETING", "reason": ""}


def written(heading: object, *entries: object) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in (heading, *entries))


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", UnknownFormat, "does not begin like a story"),
        (b"\x00\xff" * 50 + b"\n", UnknownFormat, "no JSON object"),
        (b"[" * 100_000 + b"\n", UnknownFormat, "no JSON object"),
        (b'{"key": 1}\n', UnknownFormat, "does not begin like a story"),
        (written(HEADING | {"version": 2}, ENTRY), UnknownFormat, "version 2, here it is 1"),
        (written(HEADING | {"before": "DREAMING"}, ENTRY), UnknownFormat, "state 'DREAMING' that this version"),
        (written(HEADING | {"link": 3}, ENTRY), GarbledRecording, "without link or software"),
        (written(HEADING | {"written_utc": "noon"}, ENTRY), GarbledRecording, "without the time of writing"),
        (written(HEADING | {"written_loop_s": 1e300}, ENTRY), GarbledRecording, "without the time of writing"),
        (written(HEADING | {"entries": 2}, ENTRY), TruncatedRecording, "ends after 1 of 2 entries"),
        (written(HEADING, ENTRY)[:-5], TruncatedRecording, "in the middle of a line"),
        (written(HEADING, 7), GarbledRecording, "no JSON object"),
        (written(HEADING, ENTRY | {"loop_s": "x"}), GarbledRecording, "an entry without what and loop_s"),
        (written(HEADING, ENTRY | {"loop_s": 10**400}), GarbledRecording, "an entry without what and loop_s"),
        (written(HEADING | {"written_loop_s": 10**400}, ENTRY), GarbledRecording, "without the time of writing"),
        (written(HEADING) + b'{"loop_s": NaN, "what": "event"}\n', GarbledRecording, "no JSON object"),
        (written(HEADING, {"loop_s": 1, "what": "event"}), GarbledRecording, "an event without its name"),
        (written(HEADING, *[ENTRY] * (MOST_ENTRIES + 1)), GarbledRecording, f"more than {MOST_ENTRIES} entries"),
    ],
)
def test_what_is_no_story_of_this_version_is_named(
    tmp_path: Path, content: bytes, kind: type[FormatError], words: str
) -> None:
    path = tmp_path / "story-1.jsonl"
    path.write_bytes(content)
    with pytest.raises(kind, match=words):
        read_story(path)


def test_places_without_a_story_and_giants_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecording, match="No such file"):
        read_story(find_story(tmp_path / "missing"))
    with pytest.raises(UnreadableRecording, match=r"holds no story-\*\.jsonl; a story is written when"):
        find_story(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableRecording, match="no regular file"):
        read_story(tmp_path / "pipe")
    with (tmp_path / "giant").open("wb") as giant:
        giant.truncate(LARGEST_BYTES + 1)
    with pytest.raises(UnknownFormat, match="larger than 64 MiB"):
        read_story(tmp_path / "giant")
