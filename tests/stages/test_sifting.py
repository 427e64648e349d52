"""Sifting: equal bases keep their bits, whatever the order of the detectors; packing keeps the length."""

from __future__ import annotations

import numpy as np
import pytest

from qnoded.errors import UsageError
from qnoded.records import CoincidenceIndex, DetectionEpoch, Detector, Receiver
from qnoded.stages import coincidence, sifting

OUTCOMES = {"H": ("HV", 0), "V": ("HV", 1), "D": ("DA", 0), "A": ("DA", 1), "R": ("RL", 0), "L": ("RL", 1)}


def receiver(side: str, names: str) -> Receiver:
    return Receiver(side, tuple(Detector(name, k, *OUTCOMES[name]) for k, name in enumerate(names)))


def clicks(names: str, order: str) -> DetectionEpoch:
    """One click every 10 ns, of the named detectors, labelled by their place in ``order``."""
    labels = np.array([order.index(name) for name in names], np.uint8)
    return DetectionEpoch(labels, np.arange(len(names), dtype=np.int64) * 10_000, 0, 2**39)


def test_equal_bases_keep_their_bits_whatever_the_order_of_detectors() -> None:
    alice_epoch, bob_epoch = clicks("HHVDAAR", "HVDAR"), clicks("HDHDDLR", "DLHAR")
    alice, bob = receiver("alice", "HVDAR"), receiver("bob", "DLHAR")
    index = coincidence.find(alice_epoch, bob_epoch, 1000, (5, 5))

    of_alice, of_bob = sifting.sift(index, alice_epoch, bob_epoch, alice, bob)

    # Pairs HH HD VH DD AD AL RR: the second and the sixth are of unequal bases.
    assert of_alice.bits.tolist() == [0, 1, 0, 1, 0]
    # R with R is an error of Phi+, whose circular outcomes are opposite.
    assert of_bob.bits.tolist() == [0, 0, 0, 0, 1]
    assert of_alice.basis.tolist() == of_bob.basis.tolist() == [0, 0, 1, 1, 2]
    assert (of_alice.side, of_bob.side) == ("alice", "bob")
    assert sifting.bases(alice, bob) == ("HV", "DA", "RL")
    assert sifting.counts_per_basis(of_alice, alice, bob) == {"HV": 2, "DA": 2, "RL": 1}
    assert not of_alice.bits.flags.writeable


def test_no_coincidence_gives_no_bits() -> None:
    nothing = clicks("", "HV")
    index = coincidence.find(nothing, nothing, 1000, (2, 2))
    of_alice, of_bob = sifting.sift(index, nothing, nothing, receiver("alice", "HV"), receiver("bob", "HV"))
    assert of_alice.bits.size == of_bob.bits.size == 0
    assert sifting.counts_per_basis(of_alice, receiver("alice", "HV"), receiver("bob", "DA")) == {"HV": 0, "DA": 0}


def test_an_index_of_other_epochs_or_receivers_is_refused() -> None:
    many, few = clicks("HVDA", "HVDA"), clicks("H", "HVDA")
    four, two = receiver("alice", "HVDA"), receiver("bob", "HV")
    index = coincidence.find(many, many, 1000, (4, 4))
    with pytest.raises(UsageError, match="click 3 of bob but the epoch has 1"):
        sifting.sift(index, many, few, four, four)
    with pytest.raises(UsageError, match="2 coincidences have a detector label"):
        sifting.sift(index, many, many, four, two)
    empty = np.zeros((4, 4), np.int64)
    torn = CoincidenceIndex(index.alice[:2], index.bob, empty, empty, 0, 1000)
    with pytest.raises(UsageError, match="2 clicks of alice but 4 of bob"):
        sifting.sift(torn, many, many, four, four)


def test_the_first_bit_is_the_highest() -> None:
    assert sifting.pack(np.array([1, 0, 0, 0, 0, 0, 1, 1, 1], np.uint8)) == bytes([0b10000011, 0b10000000])
