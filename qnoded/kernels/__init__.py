"""Numba only: arrays in, arrays out. The one room in which a single photon is visible.

No objects, no logging, no clock, no files; state that must survive from block to block is an array the caller owns.
Every kernel names its plain numpy twin, which lives in ``tests/kernels`` and must give the same answer.

Read in the order of a photon: ``ticks``, ``ordering``, ``filtering``, ``correlating``, ``histogramming``,
``matching``, ``tracking``, ``sifting``. ``compiling`` holds the one decorator.
"""
