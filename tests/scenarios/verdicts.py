"""What must be true of two ends' records after whatever happened between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from qnoded.demo.verdict import Epoch

ON_THEIR_WAY: Final = 4
"""Epochs whose confirmation can be on its way when a conversation ends."""


def same_wherever_both_sifted(alice: Mapping[int, Epoch], bob: Mapping[int, Epoch]) -> None:
    """Both ends hold the same positions and bases; one end has an epoch more only where a conversation broke off."""
    both = alice.keys() & bob.keys()
    for number in both:
        assert np.array_equal(alice[number].basis, bob[number].basis), f"epoch {number} differs"
        assert alice[number].tests == bob[number].tests, f"test bits of epoch {number} differ"
    for number in alice.keys() ^ bob.keys():
        later = range(number + 1, number + 1 + ON_THEIR_WAY)
        assert not both.issuperset(later), f"epoch {number} is held by one end only, and the talk went on"
