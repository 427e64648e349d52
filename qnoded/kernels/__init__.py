"""Numba only: arrays in, arrays out. The one room in which a single photon is visible.

No objects, no logging, no clock, no files; state that must survive from block to block is an array the caller owns.
Every kernel names its plain numpy twin, which lives in ``tests/kernels`` and must give the same answer.

Read in the order of a photon: ``ticks``, ``ordering``, ``tagging``, ``filtering``; ``correlating`` (the clock is
found), ``pair_listing``, ``tracking``, ``clock_mapping`` (and followed); ``matching``, ``accidentals``, ``pairing``,
``sifting``; ``histogramming`` and ``peaks`` for delays. ``carryless``, ``tile``, ``modular_transform``, ``toeplitz``,
``polynomial_hash`` hash bits, exactly; ``detecting`` is the simulated world's. ``compiling`` holds the one decorator.
"""
