"""Streams of clicks: what is asked for does not depend on how the recording was cut, and memory is let go."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qnoded.analysis.clicks import Tape
from qnoded.analysis.prologue import Prologue
from qnoded.records import Detector, Gap, Receiver, TagBlock
from qnoded.stages.tagging import Tagging

ALICE = Receiver("alice", (Detector("H", 0, "HV", 0), Detector("V", 1, "HV", 1, delay_ps=40)))
BOB = Receiver("bob", (Detector("H", 2, "HV", 0), Detector("V", 3, "HV", 1, delay_ps=-15)))


def blocks_of(gaps: list[int], cuts: list[int]) -> list[TagBlock]:
    tag_ps = np.cumsum(np.array(gaps, np.int64))
    channel = (np.arange(tag_ps.size) * 7 % 4).astype(np.uint8)
    borders = [0, *sorted(min(cut, tag_ps.size) for cut in cuts), tag_ps.size]
    return [TagBlock(channel[first:last].copy(), tag_ps[first:last].copy()) for first, last in pairwise(borders)]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=150),
    st.lists(st.integers(0, 150), max_size=8),
    st.integers(1, 700),
)
def test_both_sides_of_one_tape_come_out_whole_whatever_the_cut(gaps: list[int], cuts: list[int], step: int) -> None:
    whole = Tape(blocks_of(gaps, []), [Tagging(ALICE), Tagging(BOB)])
    expected = [stream.everything() for stream in whole.streams]
    tape = Tape(blocks_of(gaps, cuts), [Tagging(ALICE), Tagging(BOB)])
    last_ps = sum(gaps) + 100
    for stream, all_clicks in zip(tape.streams, expected, strict=True):
        pieces = []
        for start_ps in range(-100, last_ps + step, step):
            pieces.append(stream.between(start_ps, start_ps + step))
            stream.forget(start_ps + step)
        np.testing.assert_array_equal(np.concatenate([one.tag_ps for one in pieces]), all_clicks.tag_ps)
        np.testing.assert_array_equal(np.concatenate([one.detector for one in pieces]), all_clicks.detector)
        assert stream.next_ps() is None


def test_gaps_go_with_the_epochs_that_they_touch() -> None:
    gap = Gap(1000, 2000, 5, "overflow")
    block = TagBlock(np.array([0, 0, 0], np.uint8), np.array([900, 2100, 5000]), (gap,))
    (stream,) = Tape([block], [Tagging(ALICE)]).streams
    assert stream.between(0, 1500).gaps == (gap,)
    stream.forget(1500)
    assert stream.between(1500, 3000).gaps == (gap,)
    stream.forget(3000)
    assert stream.between(3000, 6000).gaps == ()


def test_the_prologue_gives_the_beginning_twice_and_the_rest_once() -> None:
    blocks = blocks_of([5] * 100, [10, 50])
    prologue = Prologue(iter(blocks))
    beginning = list(prologue.beginning())
    assert len(beginning) == 3
    again = list(prologue.all_blocks())
    assert [len(block) for block in again] == [10, 40, 50]
    assert list(prologue.beginning()) == []
