"""The dead-time cut and the multi-click policy against their plain twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.filtering import (
    CLUSTERS,
    COUNTS,
    DISCARD,
    DROPPED,
    KEEP_RANDOM,
    NEVER_PS,
    drop_dead_time,
    leave_out,
    list_multi_clicks,
    siphash,
)

DETECTORS = 4
KEY = bytes(range(16))
"""Of the paper's test vector."""
KEY_WORDS = np.frombuffer(KEY, "<u8")

clicks = st.lists(st.tuples(st.integers(0, 400), st.integers(0, DETECTORS - 1)), max_size=120).map(sorted)
chunks = st.lists(st.integers(0, 120), max_size=6)


def arrays(clicks: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([t for t, _ in clicks], np.int64), np.array([d for _, d in clicks], np.uint8)


def drop_plainly(tag_ps: np.ndarray, detector: np.ndarray, dead_time_ps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = np.ones(tag_ps.size, bool)
    for which in range(DETECTORS):
        own = np.flatnonzero(detector == which)
        keep[own[1:]] = np.diff(tag_ps[own]) >= dead_time_ps[which]
    return tag_ps[keep], detector[keep]


def drop_in_chunks(
    tag_ps: np.ndarray, detector: np.ndarray, dead_time_ps: np.ndarray, cuts: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    last_ps, dropped = np.full(DETECTORS, NEVER_PS), np.zeros(DETECTORS, np.int64)
    parts = []
    for piece, labels in zip(np.split(tag_ps, sorted(cuts)), np.split(detector, sorted(cuts)), strict=True):
        kept_ps, kept_detector = np.empty(piece.size, np.int64), np.empty(piece.size, np.uint8)
        kept = drop_dead_time(piece, labels, dead_time_ps, last_ps, kept_ps, kept_detector, dropped)
        parts.append((kept_ps[:kept], kept_detector[:kept]))
    return np.concatenate([p for p, _ in parts]), np.concatenate([d for _, d in parts]), dropped


@given(clicks, st.lists(st.integers(0, 60), min_size=DETECTORS, max_size=DETECTORS), chunks)
def test_dead_time_in_any_chunks_equals_the_plain_twin(
    clicks: list[tuple[int, int]], dead_times: list[int], cuts: list[int]
) -> None:
    tag_ps, detector = arrays(clicks)
    dead_time_ps = np.array(dead_times, np.int64)
    expected_ps, expected_detector = drop_plainly(tag_ps, detector, dead_time_ps)

    kept_ps, kept_detector, dropped = drop_in_chunks(tag_ps, detector, dead_time_ps, cuts)

    np.testing.assert_array_equal(kept_ps, expected_ps)
    np.testing.assert_array_equal(kept_detector, expected_detector)
    np.testing.assert_array_equal(
        dropped, np.bincount(detector, minlength=4) - np.bincount(expected_detector, minlength=4)
    )


def test_a_dropped_click_extends_the_dead_time() -> None:
    # 30 ns dead time, clicks every 20 ns: only the first of an unbroken train is kept.
    tag_ps = np.arange(5, dtype=np.int64) * 20_000
    dead_time_ps = np.full(DETECTORS, 30_000, np.int64)
    kept_ps, _, dropped = drop_in_chunks(tag_ps, np.zeros(5, np.uint8), dead_time_ps, [2])
    assert kept_ps.tolist() == [0]
    assert dropped.tolist() == [4, 0, 0, 0]


def test_dead_time_in_place_and_at_the_end_of_the_range() -> None:
    tag_ps = np.array([0, 5, 10, 2**62 - 1], np.int64)
    detector = np.zeros(4, np.uint8)
    last_ps, dropped = np.full(1, NEVER_PS), np.zeros(1, np.int64)
    kept = drop_dead_time(tag_ps, detector, np.array([6], np.int64), last_ps, tag_ps, detector, dropped)
    assert tag_ps[:kept].tolist() == [0, 2**62 - 1]
    assert last_ps.tolist() == [2**62 - 1]


def siphash_plainly(key: bytes, message: bytes) -> int:
    def rotated(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) % 2**64

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, bits, turned in ((0, 1, 13, 0), (2, 3, 16, None), (0, 3, 21, None), (2, 1, 17, 2)):
                v[a] = (v[a] + v[b]) % 2**64
                v[b] = rotated(v[b], bits) ^ v[a]
                if turned is not None:
                    v[turned] = rotated(v[turned], 32)

    low, high = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    v = [low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D, low ^ 0x6C7967656E657261, high ^ 0x7465646279746573]
    whole = len(message) // 8 * 8
    words = [message[n : n + 8] for n in range(0, whole, 8)] + [message[whole:].ljust(7, b"\0") + bytes([len(message)])]
    for word in (int.from_bytes(each, "little") for each in words):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_siphash_gives_what_its_authors_publish() -> None:
    # Aumasson and Bernstein, INDOCRYPT 2012, appendix A: fifteen bytes; of eight bytes, their table ``vectors``.
    assert siphash_plainly(KEY, bytes(range(15))) == 0xA129CA6149BE45E5
    eight = int.from_bytes(bytes(range(8)), "little")
    assert siphash_plainly(KEY, bytes(range(8))) == siphash(KEY_WORDS, eight) == 0x93F5F5799A932462


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1))
def test_siphash_equals_the_plain_twin(key: bytes, word: int) -> None:
    assert siphash(np.frombuffer(key, "<u8"), word) == siphash_plainly(key, word.to_bytes(8, "little"))


def resolve_plainly(
    clicks: list[tuple[int, int]], window_ps: int, policy: int
) -> tuple[list[tuple[int, int]], list[int]]:
    kept, counts, rest = [], [0, 0], list(clicks)
    while rest:
        cluster = [click for click in rest if click[0] - rest[0][0] <= window_ps] or rest[:1]
        rest = rest[len(cluster) :]
        if len({which for _, which in cluster}) > 1:
            first_of: dict[int, tuple[int, int]] = {}
            for click in cluster:
                first_of.setdefault(click[1], click)
            chosen = siphash_plainly(KEY, cluster[0][0].to_bytes(8, "little")) // 2**32 * len(first_of) // 2**32
            survivors = list(first_of.values())[chosen : chosen + 1] if policy == KEEP_RANDOM else []
            counts[CLUSTERS] += 1
            counts[DROPPED] += len(cluster) - len(survivors)
            cluster = survivors
        kept += cluster
    return kept, counts


def resolve(clicks: list[tuple[int, int]], window_ps: int, policy: int) -> tuple[list[tuple[int, int]], list[int]]:
    tag_ps, detector = arrays(clicks)
    counts, left_out = np.zeros(COUNTS, np.int64), np.empty(tag_ps.size, np.uint32)
    listed = list_multi_clicks(tag_ps, detector, window_ps, policy, KEY_WORDS, left_out, counts)
    kept = tag_ps.size - listed
    kept_ps, kept_detector = np.empty(kept, np.int64), np.empty(kept, np.uint8)
    leave_out(tag_ps, detector, left_out[:listed], kept_ps, kept_detector)
    return list(zip(kept_ps.tolist(), kept_detector.tolist(), strict=True)), counts.tolist()


@given(clicks, st.integers(-1, 12), st.sampled_from([KEEP_RANDOM, DISCARD]))
def test_multi_clicks_equal_the_plain_twin(clicks: list[tuple[int, int]], window_ps: int, policy: int) -> None:
    assert resolve(clicks, window_ps, policy) == resolve_plainly(clicks, window_ps, policy)


def test_random_assignment_is_fair() -> None:
    # 60 000 double clicks: the share of the first detector is 1/2 within 5 standard deviations of 0.2 %.
    clusters = 60_000
    first_ps = np.arange(clusters, dtype=np.int64) * 1_000_003
    clicks = [(int(t), which) for t in first_ps for which in (0, 1)]
    kept, counts = resolve(clicks, 1000, KEEP_RANDOM)
    share = np.mean([which == 0 for _, which in kept])
    assert counts == [clusters, clusters]
    assert share == pytest.approx(0.5, abs=5 * 0.5 / clusters**0.5)


def test_an_echo_wins_its_detector_no_second_chance() -> None:
    # Detector 0 fires three times in each cluster, detector 1 once: still one half each.
    clusters = 60_000
    first_ps = np.arange(clusters, dtype=np.int64) * 1_000_003
    clicks = [(int(t) + 100 * n, which) for t in first_ps for n, which in enumerate((0, 0, 1, 0))]
    kept, counts = resolve(clicks, 1000, KEEP_RANDOM)
    share = np.mean([which == 0 for _, which in kept])
    assert counts == [clusters, 3 * clusters]
    assert share == pytest.approx(0.5, abs=5 * 0.5 / clusters**0.5)
    assert {time % 1_000_003 for time, which in kept if which == 0} == {0}
