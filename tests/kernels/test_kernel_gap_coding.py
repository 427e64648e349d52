"""The gap code against a plain twin, bit by bit, and against everything that is no code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import RemoteProtocolError
from qnoded.kernels import gap_coding
from qnoded.records import I64, U8
from qnoded.stages.revealing import MOST_CLICKS, Coded, decode, decode_indices, encode_indices


def widths_plainly(tag_ps: I64, start_ps: int, resolution_ps: int) -> list[int]:
    ticks = (tag_ps - start_ps) // resolution_ps
    widths, before = [], 0
    for block in np.split(ticks, range(gap_coding.BLOCK, ticks.size, gap_coding.BLOCK)) if ticks.size else []:
        mean = (int(block[-1]) - before) / block.size
        widths.append(next(w for w in range(gap_coding.WIDEST + 1) if 2**w * gap_coding.MEAN_PER_POWER >= mean))
        before = int(block[-1])
    return widths


def encode_plainly(
    tag_ps: I64, label: U8, start_ps: int, resolution_ps: int, label_bits: int
) -> tuple[list[int], list[int], list[int]]:
    """Return widths, the stream of bits and what is far, digit by digit."""
    widths = widths_plainly(tag_ps, start_ps, resolution_ps)
    gaps = np.diff((tag_ps - start_ps) // resolution_ps, prepend=0)
    raw: list[int] = []
    unary: list[int] = []
    far: list[int] = []
    for n, gap in enumerate(gaps.tolist()):
        width = widths[n // gap_coding.BLOCK]
        value = (gap % 2**width) << label_bits | (int(label[n]) if label_bits else 0)
        raw += [value >> bit & 1 for bit in range(width + label_bits)]
        quotient = gap >> width
        if quotient >= gap_coding.FARTHEST:
            far.append(quotient - gap_coding.FARTHEST)
        unary += [0] * min(quotient, gap_coding.FARTHEST) + [1]
    return widths, raw + unary, far


def encoded(tag_ps: I64, label: U8, start_ps: int, resolution_ps: int, label_bits: int) -> Coded:
    widths = np.empty(-(-tag_ps.size // gap_coding.BLOCK), np.uint8)
    raw_bits = gap_coding.choose_widths(tag_ps, start_ps, resolution_ps, label_bits, widths)
    words = np.zeros((raw_bits + gap_coding.QUOTIENT_BITS * tag_ps.size) // 64 + 3, np.uint64)
    far = np.empty(tag_ps.size + 1, np.int64)
    used, exceeding = gap_coding.encode(
        tag_ps, label, start_ps, resolution_ps, label_bits, widths, raw_bits, words, far
    )
    return Coded(tag_ps.size, widths, words.view(np.uint8)[: -(-used // 8)], far[:exceeding])


@given(
    gaps=st.lists(st.one_of(st.integers(0, 2_000), st.integers(0, 10**8), st.just(0)), max_size=80),
    repeat=st.sampled_from([1, 40]),
    start_ps=st.integers(-(2**60), 2**60),
    resolution_ps=st.sampled_from([1, 3, 125, 128, 1000, 2**20]),
    label_bits=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_code_is_the_plain_one_and_comes_back(
    gaps: list[int], repeat: int, start_ps: int, resolution_ps: int, label_bits: int, seed: int
) -> None:
    tag_ps = start_ps + np.cumsum(np.array(gaps * repeat, np.int64))
    label = np.random.default_rng(seed).integers(0, 2**label_bits, tag_ps.size).astype(np.uint8)
    coded = encoded(tag_ps, label, start_ps, resolution_ps, label_bits)
    widths, bits, far = encode_plainly(tag_ps, label, start_ps, resolution_ps, label_bits)
    assert coded.widths.tolist() == widths
    assert coded.far.tolist() == far
    np.testing.assert_array_equal(np.unpackbits(coded.code, bitorder="little")[: len(bits)], bits)
    assert coded.code.size == -(-len(bits) // 8)
    stop_ps = int(tag_ps[-1]) + 1 if tag_ps.size else start_ps + 1
    back = decode(coded, start_ps, stop_ps, label_bits, resolution_ps)
    np.testing.assert_array_equal((back.tag_ps - start_ps) // resolution_ps, (tag_ps - start_ps) // resolution_ps)
    np.testing.assert_array_equal((back.tag_ps - start_ps) % resolution_ps, resolution_ps // 2)
    np.testing.assert_array_equal(back.detector, label if label_bits else np.zeros(tag_ps.size))


def test_the_longest_and_the_shortest_gaps() -> None:
    """A whole epoch of silence at 1 ps, then 3,000 clicks at once."""
    tag_ps = np.full(3_001, 2**39 - 1, np.int64)
    tag_ps[0] = 0
    coded = encoded(tag_ps, np.ones(3_001, np.uint8), 0, 1, 1)
    np.testing.assert_array_equal(decode(coded, 0, 2**39, 1, 1).tag_ps, tag_ps)
    single = encoded(tag_ps[-1:], np.zeros(1, np.uint8), 0, 1, 0)
    assert decode(single, 0, 2**39, 0, 1).tag_ps.tolist() == [2**39 - 1]
    assert single.bits < 64


@given(
    count=st.integers(-1, 3_000),
    widths=st.binary(max_size=4),
    code=st.binary(max_size=600),
    far=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    label_bits=st.integers(0, 4),
    resolution_ps=st.sampled_from([1, 128, 2**20]),
)
def test_anything_is_read_or_refused(
    count: int, widths: bytes, code: bytes, far: list[int], label_bits: int, resolution_ps: int
) -> None:
    coded = Coded(count, np.frombuffer(widths, np.uint8), np.frombuffer(code, np.uint8), np.array(far, np.int64))
    try:
        epoch = decode(coded, 1000, 1000 + 2**39, label_bits, resolution_ps)
    except RemoteProtocolError:
        return
    assert len(epoch) == count
    assert (np.diff(epoch.tag_ps) >= 0).all()
    assert count == 0 or (epoch.tag_ps[0] >= 1000 and epoch.tag_ps[-1] < 1000 + 2**39 + resolution_ps)


@given(st.data())
def test_a_changed_code_is_read_or_refused(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 5)))
    tag_ps = np.sort(rng.integers(0, 2**39, 2_500))
    good = encoded(tag_ps, rng.integers(0, 2, 2_500).astype(np.uint8), 0, 128, 1)
    parts = {"widths": bytearray(good.widths), "code": bytearray(good.code)}
    for _ in range(data.draw(st.integers(1, 3))):
        part = parts[data.draw(st.sampled_from(sorted(parts)))]
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    changed = Coded(
        good.count, np.frombuffer(parts["widths"], np.uint8), np.frombuffer(parts["code"], np.uint8), good.far
    )
    try:
        epoch = decode(changed, 0, 2**39, 1, 128)
    except RemoteProtocolError:
        return
    assert (np.diff(epoch.tag_ps) >= 0).all()
    assert epoch.tag_ps[-1] < 2**39 + 128


@pytest.mark.parametrize(
    ("count", "widths", "code", "far", "words"),
    [
        (MOST_CLICKS + 1, b"", b"", [], "impossible"),
        (9, b"\x00", b"\xff", [], "impossible"),
        (2000, b"\x00", bytes(2000), [], "impossible"),
        (4, b"\x29", bytes(30), [], "more bits than an epoch"),
        (4, b"\x05", bytes(2), [], "ends before"),
        (1, b"\x00", bytes(6), [], "ends before"),
        (1, b"\x00", bytes(5) + b"\x01", [], "beyond the end"),
        (1, b"\x00", b"\x00\x00\x00\x00\x01", [], "ends before"),
        (1, b"\x00", b"\x00\x00\x00\x00\x01", [2**50], "beyond the end"),
        (1, b"\x00", b"\x00\x00\x00\x00\x01", [-1], "beyond the end"),
        (1, b"\x00", b"\x03", [], "left over"),
        (1, b"\x00", b"\x01\x00", [], "left over"),
        (1, b"\x00", b"\x01", [7], "left over"),
        (0, b"", b"\x00", [], "left over"),
    ],
)
def test_what_is_wrong_with_a_code_is_said(count: int, widths: bytes, code: bytes, far: list[int], words: str) -> None:
    coded = Coded(count, np.frombuffer(widths, np.uint8), np.frombuffer(code, np.uint8), np.array(far, np.int64))
    with pytest.raises(RemoteProtocolError, match=words):
        decode(coded, 0, 2**39, 0, 1)


@given(st.sets(st.integers(0, 5_000), max_size=300))
def test_indices_come_back(chosen: set[int]) -> None:
    indices = np.array(sorted(chosen), np.int64)
    coded = encode_indices(indices)
    size = int(indices[-1]) + 1 if indices.size else 0
    np.testing.assert_array_equal(decode_indices(coded, size), indices)
    if indices.size:
        with pytest.raises(RemoteProtocolError):
            decode_indices(coded, size - 1)


def test_indices_cost_little() -> None:
    """One click in ten met another: 4.69 bits of entropy each, 4.8 are taken."""
    indices = np.flatnonzero(np.random.default_rng(1).random(200_000) < 0.1)
    entropy = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)) / 0.1
    assert entropy < encode_indices(indices).bits / indices.size < entropy + 0.12
