"""A story is bounded and holds neither arrays nor secrets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from qnoded.exchange import reports
from qnoded.exchange.happenings import Detected
from qnoded.exchange.reports import EpochSifted, Reason
from qnoded.node.pool import Pool
from qnoded.node.story import MOST_ENTRIES, MOST_FILES, Story, outline, told
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
    assert len(outline("x" * 10_000)) < 1000


def test_entries_and_files_are_bounded(tmp_path: Path) -> None:
    story = Story(tmp_path, lambda: 1.5)

    async def fill() -> None:
        pool = Pool(1)
        for number in range(2 * MOST_ENTRIES):
            story.tell("report", number=number)
        for _ in range(MOST_FILES + 4):
            await story.dump(pool, "a test")
        pool.close()

    virtual_time.run(fill())
    files = sorted(tmp_path.glob("story-*.jsonl"))
    assert len(files) == MOST_FILES
    entries = told(files[-1])
    assert len(entries) == MOST_ENTRIES
    assert entries[-1] == {"loop_s": 1.5, "what": "dump", "why": "a test"}
