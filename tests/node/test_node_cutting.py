"""Blocks to epochs: any division into blocks gives the same epochs, and what is lost is said once."""

from __future__ import annotations

import numpy as np
import pytest

from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.exchange.reports import Reason
from qnoded.node.cutting import LONGEST_SILENCE_PS, MOST_GAPS, Cutter
from qnoded.records import Detector, Gap, Receiver, TagBlock
from qnoded.units import EPOCH_PS

RECEIVER = Receiver(
    "alice",
    (
        Detector("H", 0, "HV", 0),
        Detector("V", 1, "HV", 1, delay_ps=40_000),
        Detector("D", 2, "DA", 0, delay_ps=-25_000),
        Detector("A", 3, "DA", 1),
    ),
)
START_PS = 7 * EPOCH_PS + EPOCH_PS // 3


def tags(count: int, span_ps: int, seed: int = 1) -> TagBlock:
    rng = np.random.default_rng(seed)
    tag_ps = np.sort(rng.integers(START_PS, START_PS + span_ps, count))
    return TagBlock(rng.integers(0, 5, count).astype(np.uint8), tag_ps)


def cut(block: TagBlock, borders: list[int]) -> list[Detected | DetectionLost]:
    cutter = Cutter(RECEIVER)
    parts = zip([0, *borders], [*borders, len(block)], strict=True)
    return [
        epoch
        for first, last in parts
        for epoch in cutter.push(TagBlock(block.channel[first:last].copy(), block.tag_ps[first:last].copy()))
    ]


def test_any_division_into_blocks_gives_the_same_epochs() -> None:
    block = tags(3000, 5 * EPOCH_PS)
    whole = cut(block, [])
    for borders in ([1, 2, 3], [500, 500, 1700], list(range(1, 3000, 7))):
        again = cut(block, borders)
        assert len(again) == len(whole)
        for one, other in zip(whole, again, strict=True):
            if isinstance(one, DetectionLost):
                assert one == other
                continue
            assert isinstance(other, Detected)
            assert (one.epoch.start_ps, one.epoch.stop_ps) == (other.epoch.start_ps, other.epoch.stop_ps)
            np.testing.assert_array_equal(one.epoch.tag_ps, other.epoch.tag_ps)
            np.testing.assert_array_equal(one.epoch.detector, other.epoch.detector)


def test_epochs_follow_each_other_at_whole_multiples_and_hold_their_clicks() -> None:
    block = tags(20_000, 5 * EPOCH_PS)
    first, *epochs = cut(block, [9_000])
    assert first == DetectionLost(7 * EPOCH_PS, 8 * EPOCH_PS, Reason.GAP.value)
    delays = np.array([0, 40_000, -25_000, 0, 0])
    clicks = np.sort((block.tag_ps - delays[block.channel])[block.channel < 4])
    for number, one in enumerate(epochs, start=8):
        assert isinstance(one, Detected)
        assert (one.epoch.start_ps, one.epoch.stop_ps) == (number * EPOCH_PS, (number + 1) * EPOCH_PS)
        low, high = np.searchsorted(clicks, (one.epoch.start_ps, one.epoch.stop_ps))
        np.testing.assert_array_equal(one.epoch.tag_ps, clicks[low:high])
    assert len(epochs) == 4


def test_a_gap_marks_the_epochs_that_it_touches_and_ends_those_that_it_swallows() -> None:
    cutter = Cutter(RECEIVER)
    cutter.push(TagBlock(np.zeros(1, np.uint8), np.array([10 * EPOCH_PS - 1_000_000])))
    assert cutter.push(TagBlock(np.zeros(1, np.uint8), np.array([10 * EPOCH_PS + 1_000_000]))) == []
    gap = Gap(10 * EPOCH_PS + EPOCH_PS // 2, 12 * EPOCH_PS + EPOCH_PS // 2, 5, "overflow")
    late = TagBlock(np.zeros(1, np.uint8), np.array([13 * EPOCH_PS + 1_000_000]), (gap,))
    before, swallowed, after = cutter.push(late)
    assert isinstance(before, Detected)
    assert isinstance(after, Detected)
    assert before.epoch.gaps == after.epoch.gaps
    assert before.epoch.gaps[0].lost_tags == 5
    assert swallowed == DetectionLost(11 * EPOCH_PS, 12 * EPOCH_PS, Reason.GAP.value)
    cutter.push(TagBlock(np.zeros(1, np.uint8), np.array([13 * EPOCH_PS + 2_000_000])))
    (clean,) = cutter.push(TagBlock(np.zeros(1, np.uint8), np.array([14 * EPOCH_PS + 1_000_000])))
    assert isinstance(clean, Detected)
    assert clean.epoch.gaps == ()


def test_darkness_is_empty_epochs_up_to_a_minute_and_a_new_beginning_after_it() -> None:
    cutter = Cutter(RECEIVER)
    cutter.push(TagBlock(np.zeros(1, np.uint8), np.array([START_PS])))
    soon = TagBlock(np.zeros(1, np.uint8), np.array([START_PS + 10 * EPOCH_PS]))
    late = TagBlock(np.zeros(1, np.uint8), np.array([START_PS + LONGEST_SILENCE_PS + 1]))
    back = TagBlock(np.zeros(1, np.uint8), np.array([START_PS - 1]))
    assert [cutter.continues(block) for block in (soon, late, back)] == [True, False, False]
    epochs = cutter.push(soon)
    assert [len(one.epoch) for one in epochs if isinstance(one, Detected)] == [0] * len(epochs)
    assert len(epochs) in (9, 10)


@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_block_changes_nothing(count: int) -> None:
    cutter = Cutter(RECEIVER)
    empty = TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64))
    for _ in range(count):
        cutter.push(tags(10, EPOCH_PS // 2))
    assert cutter.push(empty) == []
    assert cutter.continues(empty)


def test_losses_without_tags_become_one_gap_in_the_end() -> None:
    cutter = Cutter(RECEIVER)
    cutter.push(tags(100, EPOCH_PS))
    none = np.empty(0, np.uint8), np.empty(0, np.int64)
    for number in range(10 * MOST_GAPS):
        at_ps = START_PS + EPOCH_PS + number
        cutter.push(TagBlock(*none, (Gap(at_ps, at_ps + 1, 1, "overflow"),)))
    later = START_PS + 3 * EPOCH_PS
    done = cutter.push(TagBlock(np.zeros(2, np.uint8), np.array([later, later + EPOCH_PS])))
    gaps = [gap for one in done if isinstance(one, Detected) for gap in one.epoch.gaps]
    assert len(gaps) == MOST_GAPS
    assert gaps[-1].stop_ps >= START_PS + EPOCH_PS + 10 * MOST_GAPS
