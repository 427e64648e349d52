"""The sifting kernel against its plain twin."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qnoded.kernels.sifting import NO_BASIS, sift

# Two bases of two detectors at alice, in another order and with a third basis at bob; other labels are strangers.
BASIS_OF_A, BIT_OF_A = [0, 0, 1, 1], [0, 1, 0, 1]
BASIS_OF_B, BIT_OF_B = [1, 0, 2, 1, 0], [1, 0, 0, 0, 1]


def table(entries: list[int], rest: int) -> np.ndarray:
    return np.array(entries + [rest] * (256 - len(entries)), np.uint8)


def sift_plainly(pairs: list[tuple[int, int]]) -> tuple[list[tuple[int, int, int]], int]:
    kept, unknown = [], 0
    for a, b in pairs:
        if a >= len(BASIS_OF_A) or b >= len(BASIS_OF_B):
            unknown += 1
        elif BASIS_OF_A[a] == BASIS_OF_B[b]:
            kept.append((BIT_OF_A[a], BIT_OF_B[b], BASIS_OF_A[a]))
    return kept, unknown


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4, 255]), st.sampled_from([0, 1, 2, 3, 4, 5, 255])), max_size=50)
)
def test_sifting_equals_the_plain_twin(pairs: list[tuple[int, int]]) -> None:
    # The clicks of the pairs stand in reversed order, so that indices and positions differ.
    labels_a = np.array([a for a, _ in pairs[::-1]], np.uint8)
    labels_b = np.array([b for _, b in pairs[::-1]], np.uint8)
    found = np.arange(len(pairs), dtype=np.uint32)[::-1].copy()
    bits_a, bits_b, basis = (np.empty(len(pairs) + 1, np.uint8) for _ in range(3))

    kept, unknown = sift(
        found, found, labels_a, labels_b,
        table(BASIS_OF_A, NO_BASIS), table(BIT_OF_A, 0), table(BASIS_OF_B, NO_BASIS), table(BIT_OF_B, 0),
        bits_a, bits_b, basis,
    )  # fmt: skip

    expected, strangers = sift_plainly(pairs)
    assert unknown == strangers
    assert list(zip(bits_a[:kept].tolist(), bits_b[:kept].tolist(), basis[:kept].tolist(), strict=True)) == expected
