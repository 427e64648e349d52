"""The merge against a stable sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.merging import merge

stream = st.lists(st.integers(-(10**3), 10**3), max_size=200).map(sorted)
chunks = st.lists(st.integers(0, 200), min_size=3, max_size=3).map(sorted)


@given(stream, stream, chunks, chunks)
def test_merge_in_any_chunks_equals_a_stable_sort(
    a: list[int], b: list[int], cuts_a: list[int], cuts_b: list[int]
) -> None:
    times_a, times_b = np.array(a, np.int64), np.array(b, np.int64)
    labels_a, labels_b = np.arange(len(a)).astype(np.uint8), (np.arange(len(b)) + 100).astype(np.uint8)
    order = np.argsort(np.concatenate([times_a, times_b]), kind="stable")

    rest = [(np.empty(0, np.int64), np.empty(0, np.uint8))] * 2
    merged_ps, merged_channel = [], []
    pieces = [
        list(zip(np.split(t, cuts), np.split(c, cuts), strict=True))
        for t, c, cuts in ((times_a, labels_a, cuts_a), (times_b, labels_b, cuts_b))
    ]
    for number, block in enumerate(zip(*pieces, strict=True)):
        (ta, ca), (tb, cb) = ((np.append(r[0], p[0]), np.append(r[1], p[1])) for r, p in zip(rest, block, strict=True))
        tag_ps, channel = np.empty(ta.size + tb.size, np.int64), np.empty(ta.size + tb.size, np.uint8)
        i, j = merge(ta, ca, tb, cb, number == len(cuts_a), tag_ps, channel)
        merged_ps += tag_ps[: i + j].tolist()
        merged_channel += channel[: i + j].tolist()
        rest = [(ta[i:], ca[i:]), (tb[j:], cb[j:])]

    assert merged_ps == np.concatenate([times_a, times_b])[order].tolist()
    assert merged_channel == np.concatenate([labels_a, labels_b])[order].tolist()
