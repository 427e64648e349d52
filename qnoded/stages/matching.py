"""Coincidences of a live link, where each end knows all of its own clicks and only times and bases of the peer's.

The matcher finds which of the revealed clicks met one of its own in an equal basis; the revealer is told their indices.
Then both hold the same list of coincidences, each with its own bit. Some of them, chosen by chance, test the channel:
their bits are told to everybody and thrown away. ``sifting`` does the same offline, where one process sees both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.kernels.sifting import NO_BASIS
from qnoded.mapping import Mapper
from qnoded.records import I64, U8, DetectionEpoch, Receiver, SiftedEpoch, frozen
from qnoded.stages.coincidence import find
from qnoded.stages.estimation.outcomes import BellState
from qnoded.stages.sifting import bases, opposite, tables

DRAW_BITS: Final = 32
"""Random bits that decide whether a coincidence is a test."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What a click of each detector of one side means."""

    side: str
    names: tuple[str, ...]
    """Bases of the link, in the order in which they first appear, alice's first."""
    basis_of: U8
    """uint8[256], index into ``names`` of each detector's basis."""
    bit_of: U8
    """uint8[256], turned round at bob's end where the source gives opposite outcomes."""

    @classmethod
    def of(cls, side: str, alice: Receiver, bob: Receiver, state: BellState) -> Alphabet:
        """Return the alphabet of one side of a link."""
        names = bases(alice, bob)
        own, turned = (alice, frozenset[str]()) if side == alice.side else (bob, opposite(state))
        return cls(side, names, *tables(own, names, turned))


@dataclass(frozen=True, slots=True)
class Coincident:
    """Coincidences in equal bases as one end sees them, in time order."""

    revealed: I64
    """int64[n], indices into the revealed clicks, ascending."""
    basis: U8
    """uint8[n], index into the bases of the link."""
    bits: U8
    """uint8[n], this end's."""

    def __post_init__(self) -> None:
        for array in (self.revealed, self.basis, self.bits):
            frozen(array)


def match(
    revealed: DetectionEpoch, own: DetectionEpoch, alphabet: Alphabet, window_ps: int, over: Mapper = map
) -> tuple[Coincident, float]:
    """Find the coincidences in equal bases, one-to-one; the matcher's part.

    Parameters
    ----------
    revealed : the peer's clicks, labelled with their basis
    own : this end's clicks in the revealer's time, labelled with their detector, clicks at once resolved
    alphabet : of this end
    window_ps : full width of the coincidence window, ps
    over : gives the work more than one core

    Returns
    -------
    (Coincident, float)
        The coincidences, and how many of them are expected to be accidental.
    """
    detectors = int(np.count_nonzero(alphabet.basis_of != NO_BASIS))
    index = find(revealed, own, window_ps, (len(alphabet.names), detectors), over=over)
    clicked = own.detector[index.bob]
    basis = revealed.detector[index.alice]
    equal = alphabet.basis_of[clicked] == basis
    same_cell = alphabet.basis_of[:detectors] == np.arange(len(alphabet.names))[:, np.newaxis]
    return (
        Coincident(index.alice[equal].astype(np.int64), basis[equal], alphabet.bit_of[clicked[equal]]),
        float(index.accidentals[same_cell].sum()),
    )


def told(own: DetectionEpoch, indices: I64, alphabet: Alphabet) -> Coincident:
    """Return the coincidences that the matcher told of; the revealer's part.

    Parameters
    ----------
    own : the clicks that were revealed, labelled with their detector
    indices : int64[n], ascending, below ``len(own)``
    alphabet : of this end
    """
    clicked = own.detector[indices]
    return Coincident(indices, alphabet.basis_of[clicked], alphabet.bit_of[clicked])


def choose_tests(count: int, share: float, randomness: Callable[[int], bytes]) -> I64:
    """Choose each of ``count`` coincidences by chance; return int64[k], the indices of the chosen, ascending.

    Given their number, every subset is equally likely, as the bounds on a random sample ask for.
    """
    drawn = np.frombuffer(randomness(count * DRAW_BITS // 8), np.uint32)
    return np.flatnonzero(drawn < round(share * 2**DRAW_BITS))


def public_digest(epoch: int, coincident: Coincident, tests: I64, *told_bits: U8) -> bytes:
    """Return the SHA-256 of what both ends know of an epoch: coincidences, bases, tests, and test bits where told.

    Equal digests mean equal lists, whatever happened to the messages on their way.
    """
    digest = hashlib.sha256(b"%d %d %d " % (epoch, coincident.revealed.size, tests.size))
    for part in (coincident.revealed, coincident.basis, tests, *told_bits):
        digest.update(np.ascontiguousarray(part).data)
    return digest.digest()


def without_tests(coincident: Coincident, tests: I64, side: str) -> SiftedEpoch:
    """Return what is left when the test bits are gone."""
    kept = np.ones(coincident.bits.size, np.bool_)
    kept[tests] = False
    return SiftedEpoch(coincident.bits[kept], coincident.basis[kept], side)


def errors_per_basis(coincident: Coincident, tests: I64, theirs: U8, bases_of_link: int) -> tuple[I64, I64]:
    """Return the wrong test bits and all test bits of each basis, int64[bases] each.

    Parameters
    ----------
    coincident : of this end
    tests : int64[k], which of them are tests
    theirs : uint8[k], the peer's test bits
    bases_of_link : number of bases
    """
    basis = coincident.basis[tests]
    wrong = coincident.bits[tests] != theirs
    return np.bincount(basis[wrong], minlength=bases_of_link), np.bincount(basis, minlength=bases_of_link)
