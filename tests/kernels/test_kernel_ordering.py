"""Order found and restored against stable sorts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.ordering import count_steps_back, measure_disorder, put_in_order, restore_order

TIMES = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 50), max_size=100)


@given(TIMES)
def test_steps_back_equal_their_count_among_neighbours(times: list[int]) -> None:
    assert count_steps_back(np.array(times, np.int64)) == sum(b < a for a, b in pairwise(times))


@given(TIMES, st.integers(0, 60) | st.just(2**63 - 1))
def test_disorder_equals_the_distance_from_the_newest_tag(times: list[int], window: int) -> None:
    state = np.array([-(2**63), 0, 0], np.int64)

    beyond = measure_disorder(np.array(times, np.int64), window, state)

    newest, late, worst, expected = -(2**63), 0, 0, -1
    for n, time in enumerate(times):
        if newest - time > window:
            expected = n
            break
        late += time < newest
        worst = max(worst, newest - time)
        newest = max(newest, time)
    assert beyond == expected
    assert state[1:].tolist() == [late, worst]
    if expected < 0:
        assert state[0] == newest


@given(st.lists(st.integers(0, 50), max_size=100), st.integers(0, 300))
def test_restored_order_equals_a_stable_sort_as_far_as_the_moves_reach(times: list[int], moves: int) -> None:
    tag_ps = np.array(times, np.int64)
    channel = np.arange(tag_ps.size).astype(np.uint8)

    done = restore_order(tag_ps, channel, 0, moves)

    order = np.argsort(np.array(times[:done], np.int64), kind="stable")
    assert tag_ps[:done].tolist() == np.array(times, np.int64)[:done][order].tolist()
    assert channel[:done].tolist() == order.tolist()
    assert tag_ps[done:].tolist() == times[done:]


def test_moves_bound_the_work_of_a_reversed_recording() -> None:
    tag_ps = np.arange(1000, 0, -1)
    assert restore_order(tag_ps, np.zeros(1000, np.uint8), 0, 100) < 20


@given(st.lists(st.integers(-50, 50), max_size=200))
def test_tags_put_in_order_equal_a_stable_sort(times: list[int]) -> None:
    tag_ps, channel = np.array(times, np.int64), np.arange(len(times)).astype(np.uint8)
    put_in_order(tag_ps, channel)
    order = np.argsort(np.array(times, np.int64), kind="stable")
    assert tag_ps.tolist() == sorted(times)
    assert channel.tolist() == order.tolist()


def test_a_reversed_recording_is_put_in_order_all_the_same() -> None:
    tag_ps, channel = np.arange(1000, 0, -1), (np.arange(1000) % 256).astype(np.uint8)
    put_in_order(tag_ps, channel)
    assert tag_ps.tolist() == list(range(1, 1001))
    assert channel.tolist() == [(1000 - time) % 256 for time in range(1, 1001)]
