"""Tagging: labels, delays, echoes and multi-clicks, whatever the cut into blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qnoded.records import DetectionEpoch, Detector, Receiver, TagBlock
from qnoded.stages.tagging import MultiClick, Tagging, choice_key, resolve_multi_clicks

RECEIVER = Receiver(
    "alice",
    (
        Detector("H", 0, "HV", 0, delay_ps=0),
        Detector("V", 3, "HV", 1, delay_ps=700),
        Detector("D", 5, "DA", 0, delay_ps=-300, dead_time_ps=200),
    ),
)

streams = st.lists(st.tuples(st.sampled_from([0, 1, 3, 5]), st.integers(0, 400)), max_size=120)
cuts = st.lists(st.integers(0, 120), max_size=6)


def block_of(tags: list[tuple[int, int]], start: int = 10**17) -> TagBlock:
    channel = np.array([c for c, _ in tags], np.uint8)
    return TagBlock(channel, start + np.cumsum([gap for _, gap in tags], dtype=np.int64))


def run_in_pieces(block: TagBlock, places: list[int]) -> tuple[np.ndarray, np.ndarray, Tagging]:
    tagging = Tagging(RECEIVER)
    borders = [0, *sorted(min(place, len(block)) for place in places), len(block)]
    pieces = [
        tagging.push(TagBlock(block.channel[first:last].copy(), block.tag_ps[first:last].copy()))
        for first, last in pairwise(borders)
    ]
    pieces.append(tagging.finish())
    return np.concatenate([d for d, _ in pieces]), np.concatenate([t for _, t in pieces]), tagging


@given(streams, cuts)
def test_any_cut_into_blocks_gives_the_same_clicks(tags: list[tuple[int, int]], places: list[int]) -> None:
    block = block_of(tags)
    whole = run_in_pieces(block, [])
    pieces = run_in_pieces(block, places)
    np.testing.assert_array_equal(whole[0], pieces[0])
    np.testing.assert_array_equal(whole[1], pieces[1])
    np.testing.assert_array_equal(whole[2].dropped, pieces[2].dropped)
    np.testing.assert_array_equal(whole[2].channel_counts, np.bincount(block.channel, minlength=256))


@given(streams)
def test_clicks_are_labelled_corrected_ordered_and_without_echoes(tags: list[tuple[int, int]]) -> None:
    block = block_of(tags)
    detector, tag_ps, tagging = run_in_pieces(block, [])
    expected = []
    for index, one in enumerate(RECEIVER.detectors):
        times = block.tag_ps[block.channel == one.channel] - one.delay_ps
        keep = np.ones(times.size, bool)
        keep[1:] = np.diff(times) >= (one.dead_time_ps or 0)
        assert tagging.dropped[index] == np.count_nonzero(~keep)
        expected += [(int(time), index) for time in times[keep]]
    assert sorted(zip(tag_ps.tolist(), detector.tolist(), strict=True)) == sorted(expected)
    assert (np.diff(tag_ps) >= 0).all()


def test_delays_longer_than_the_gaps_between_clicks_are_sorted_anew() -> None:
    receiver = Receiver("bob", (Detector("H", 0, "HV", 0), Detector("V", 1, "HV", 1, delay_ps=10**6)))
    rng = np.random.default_rng(7)
    channel = rng.integers(0, 2, 20_000).astype(np.uint8)
    tag_ps = np.sort(rng.integers(0, 10**7, 20_000))
    tagging = Tagging(receiver)
    parts = [tagging.push(TagBlock(channel.copy(), tag_ps.copy())), tagging.finish()]
    times = np.concatenate([t for _, t in parts])
    np.testing.assert_array_equal(times, np.sort(tag_ps - np.where(channel == 1, 10**6, 0)))


def epoch(times: list[int], detectors: list[int]) -> DetectionEpoch:
    return DetectionEpoch(np.array(detectors, np.uint8), np.array(times, np.int64), 0, 10**6)


def test_three_clicks_in_one_window_leave_one_or_none() -> None:
    clicks = epoch([100, 5000, 5400, 5900, 9000], [0, 0, 1, 2, 1])
    kept, counts = resolve_multi_clicks(clicks, 1000, MultiClick.RANDOM, choice_key(1))
    assert (counts.clusters, counts.dropped) == (1, 2)
    assert kept.tag_ps.size == 3
    none, counts = resolve_multi_clicks(clicks, 1000, MultiClick.DISCARD, choice_key(1))
    assert none.tag_ps.tolist() == [100, 9000]
    assert (counts.clusters, counts.dropped) == (1, 3)


def test_the_random_choice_is_fair_within_four_sigma_of_20000_clusters() -> None:
    clusters = 20_000
    times = np.repeat(np.arange(clusters) * 10_000, 2) + np.tile([0, 300], clusters)
    clicks = epoch(times.tolist(), [0, 1] * clusters)
    kept, _ = resolve_multi_clicks(clicks, 1000, MultiClick.RANDOM, choice_key(2026))
    ones = int(kept.detector.sum())
    assert abs(ones - clusters / 2) < 4 * np.sqrt(clusters) / 2
