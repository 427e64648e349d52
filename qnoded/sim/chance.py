"""Where chance comes from: one counter-based generator for each purpose and each slot of true time.

The numbers of a slot depend on seed, purpose and slot alone, so that they are the same however the run is cut.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

FIRST_SLOT: Final = -(2**32)
"""Slots are counted from here, since a Philox counter has no sign."""


class Purpose(IntEnum):
    """What the numbers are drawn for; alice's and bob's differ by one, except for the photons, which they share."""

    PHOTONS = 0
    TAGGER = 2
    CLOCK = 4
    FIBRE = 6
    DETECTOR = 8


class Chance:
    """All random numbers of one world.

    Philox 4x64 (Salmon, Moraes, Dror, Shaw, SC11): the key is derived from seed and purpose, the slot is the highest
    word of the counter, so no two slots overlap before 2**192 draws.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._keys: dict[int, NDArray[np.uint64]] = {}

    def generator(self, purpose: Purpose, side: int, slot: int) -> np.random.Generator:
        """Return the generator of a purpose at a side (0 alice, 1 bob) in a slot, at its beginning."""
        stream = purpose + side
        if stream not in self._keys:
            self._keys[stream] = self.words(purpose, side, 2)
        counter = np.array([0, 0, 0, slot - FIRST_SLOT], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(counter=counter, key=self._keys[stream]))

    def words(self, purpose: Purpose, side: int, n: int) -> NDArray[np.uint64]:
        """Return uint64[n] for a generator that is carried along instead of being made anew in each slot."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(purpose + side,))
        return sequence.generate_state(n, np.uint64).astype(np.uint64)
