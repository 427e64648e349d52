"""Time differences of near clicks, pair by pair: what the coincidence peak is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.peaks import list_close_pairs
from qnoded.records import I64, U8, DetectionEpoch, frozen


@dataclass(frozen=True, slots=True)
class TimeDifferences:
    """Pairs of clicks that are near in link time, with their detectors."""

    delay_ps: I64
    """int64[n], ps, bob minus alice."""
    alice: U8
    """uint8[n], detector of alice."""
    bob: U8
    """uint8[n], detector of bob."""

    def __post_init__(self) -> None:
        for array in (self.delay_ps, self.alice, self.bob):
            frozen(array)

    def __len__(self) -> int:
        return int(self.delay_ps.size)


def close_pairs(
    alice_detector: U8, alice_ps: I64, bob_detector: U8, bob_ps: I64, range_ps: int, most_pairs: int
) -> TimeDifferences:
    """List all pairs with ``|bob - alice| <= range_ps`` in the order of alice's clicks, at most ``most_pairs``.

    Parameters
    ----------
    alice_detector, bob_detector : uint8[n], uint8[m], index into the receiver's detectors
    alice_ps, bob_ps : int64[n], int64[m], ps, ascending
    range_ps : int, ps, at least 0
    most_pairs : int
        Bounds the memory: clicks that stand still make as many pairs as the product of their numbers.
    """
    delay_ps = np.empty(most_pairs, np.int64)
    of_alice, of_bob = np.empty(most_pairs, np.uint8), np.empty(most_pairs, np.uint8)
    listed = list_close_pairs(
        alice_ps, alice_detector, bob_ps, bob_detector, -range_ps, range_ps + 1, delay_ps, of_alice, of_bob
    )
    # Copies, so that a short list does not keep the room for a long one.
    return TimeDifferences(delay_ps[:listed].copy(), of_alice[:listed].copy(), of_bob[:listed].copy())


def time_differences(
    alice: DetectionEpoch, bob_link: DetectionEpoch, range_ps: int, most_pairs: int
) -> TimeDifferences:
    """List the close pairs of an epoch, from its start until there are ``most_pairs``; see ``close_pairs``.

    Raises
    ------
    UsageError
        If range or number are negative.
    """
    if range_ps < 0 or most_pairs < 0:
        message = f"{most_pairs} pairs within {range_ps} ps cannot be listed; give numbers of at least 0"
        raise UsageError(message)
    return close_pairs(alice.detector, alice.tag_ps, bob_link.detector, bob_link.tag_ps, range_ps, most_pairs)


def gathered(parts: list[TimeDifferences]) -> TimeDifferences:
    """Return the differences of several epochs as one record."""
    return TimeDifferences(
        np.concatenate([part.delay_ps for part in parts]) if parts else np.empty(0, np.int64),
        np.concatenate([part.alice for part in parts]) if parts else np.empty(0, np.uint8),
        np.concatenate([part.bob for part in parts]) if parts else np.empty(0, np.uint8),
    )
