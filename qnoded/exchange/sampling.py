"""Parameter estimation on a random sample: some sifted bits are told to everybody, compared and thrown away.

The sample is a uniformly random subset of fixed size (Serfling's setting): alice draws it from true randomness after
both ends hold their bits, and sends it whole, so no assumption on a generator enters the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.messages import PackedBits, Sample, SampleBits
from qnoded.records import U8

Randomness = Callable[[int], bytes]
"""Gives as many random bytes as asked for, such as ``os.urandom``."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What is left after the test bits are gone."""

    rest: U8
    """uint8[n], the bits outside the sample, in order; not secret yet."""
    test_bits: int
    test_errors: int


def alice(bits: U8, test_bits: int, randomness: Randomness) -> Script[Sampled]:
    """Choose the test bits and compare them.

    Parameters
    ----------
    bits : uint8[n], sifted, 0 or 1
    test_bits : size of the sample, agreed on before, 1 to n - 1
    """
    chosen = yield from compute(_choose, bits.size, test_bits, randomness)
    own = bits[chosen]
    yield from send(Sample(PackedBits.of(chosen.view(np.uint8)), PackedBits.of(own)))
    theirs = (yield from receive(SampleBits)).bits
    demand(theirs.count == test_bits, f"{theirs.count} test bits arrived, {test_bits} are due; discard the block")
    return Sampled(bits[~chosen], test_bits, int(np.count_nonzero(own != theirs.unpacked())))


def bob(bits: U8, test_bits: int) -> Script[Sampled]:
    """Answer with the test bits that alice chose, and compare them; parameters as for alice."""
    sample = yield from receive(Sample)
    fits = sample.chosen.count == bits.size and sample.bits.count == test_bits
    demand(
        fits,
        f"a sample of {sample.bits.count} from {sample.chosen.count} bits arrived, {test_bits} from {bits.size} are "
        "due; both ends need equally many sifted bits and one size of sample",
    )
    chosen = sample.chosen.unpacked().view(np.bool_)
    marked = int(np.count_nonzero(chosen))
    demand(marked == test_bits, f"the sample marks {marked} bits, {test_bits} are due; discard the block")
    own = bits[chosen]
    yield from send(SampleBits(PackedBits.of(own)))
    return Sampled(bits[~chosen], test_bits, int(np.count_nonzero(own != sample.bits.unpacked())))


def _choose(size: int, test_bits: int, randomness: Randomness) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the places of the smallest of ``size`` random numbers of 64 bits: each subset is equally likely."""
    numbers = np.frombuffer(randomness(8 * size), np.uint64)
    chosen = np.zeros(size, np.bool_)
    chosen[np.argpartition(numbers, test_bits - 1)[:test_bits]] = True
    return chosen
