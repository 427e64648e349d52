"""Parameter estimation on a random sample: some sifted bits are told to everybody, compared and thrown away.

The sample is a uniformly random subset of fixed size (Serfling's setting): alice draws it from true randomness after
both ends hold their bits, and sends it whole, so no assumption on a generator enters the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.messages import PackedBits, Sample, SampleBits
from qnoded.records import U8

Randomness = Callable[[int], bytes]
"""Gives as many random bytes as asked for, such as ``os.urandom``."""

_NUMBERS: Final = 1 << 32
"""So many values has a random number; the longest block (``messages.MOST_BITS``) is a quarter of it."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What is left after the test bits are gone."""

    rest: U8
    """uint8[n], the bits outside the sample, in order; not secret yet."""
    test_bits: int
    test_errors: int
    basis_bits: tuple[int, ...] = ()
    """Sifted bits of each basis of the link, test bits included; empty where nobody knows them."""


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
    """Mark ``test_bits`` of ``size`` places, each subset equally likely.

    Places are drawn uniformly and independently until so many different ones were met. As no draw prefers a place, no
    subset of that size is preferred. Each turn draws as many as are missing, so none is ever one too many.
    """
    if 2 * test_bits > size:
        return ~_choose(size, size - test_bits, randomness)
    chosen = np.zeros(size, np.bool_)
    # Numbers from here on are drawn anew: they would make the first places likelier than the others.
    limit = _NUMBERS - _NUMBERS % size
    missing = test_bits
    while missing:
        numbers = np.frombuffer(randomness(4 * missing), np.uint32)
        chosen[numbers[numbers < limit] % np.uint32(size)] = True
        missing = test_bits - int(np.count_nonzero(chosen))
    return chosen
