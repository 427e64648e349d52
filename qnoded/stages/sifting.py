"""Sifting: of the coincidences in equal bases each side keeps its bit.

In an entanglement-based link both ends know the bases of all coincidences before they keep anything
(Bennett, Brassard, Mermin, Phys. Rev. Lett. 68, 557 (1992)); the bits of other coincidences serve the estimate of
the CHSH parameter and are otherwise discarded.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.kernels.sifting import NO_BASIS
from qnoded.kernels.sifting import sift as sift_kernel
from qnoded.records import U8, DetectionEpoch, MatchedClicks, Receiver, SiftedEpoch
from qnoded.stages.estimation.outcomes import SAME_OUTCOME, BellState

LABELS: Final = 256
"""Labels that a uint8 can hold; the tables of basis and bit cover them all, so no label can point outside."""


def bases(alice: Receiver, bob: Receiver) -> tuple[str, ...]:
    """Return the bases in the order in which they first appear, alice's first: what ``SiftedEpoch.basis`` counts."""
    return tuple(dict.fromkeys(detector.basis for side in (alice, bob) for detector in side.detectors))


def sift(
    index: MatchedClicks,
    alice_epoch: DetectionEpoch,
    bob_epoch: DetectionEpoch,
    alice: Receiver,
    bob: Receiver,
    *,
    state: BellState = "Phi+",
) -> tuple[SiftedEpoch, SiftedEpoch]:
    """Keep the bits of the coincidences in equal bases, bob's turned round where the state gives opposite outcomes.

    Parameters
    ----------
    index : the coincidences
    alice_epoch, bob_epoch : the epochs that it points into
    alice, bob : the receivers that label their clicks
    state : the Bell state of the source; Phi+ shows opposite outcomes in the circular basis, so bob takes the opposite

    Returns
    -------
    (SiftedEpoch, SiftedEpoch)
        Alice's and bob's bits, of equal length and with equal bases, in time order.

    Raises
    ------
    UsageError
        If the index points outside an epoch, or an epoch has labels that its receiver does not name.
    """
    _check_index(index, alice_epoch, bob_epoch)
    names = bases(alice, bob)
    alice_bits, bob_bits, basis = (np.empty(index.alice.size + 1, np.uint8) for _ in range(3))
    kept, unknown = sift_kernel(
        index.alice, index.bob, alice_epoch.detector, bob_epoch.detector, *tables(alice, names),
        *tables(bob, names, opposite(state)), alice_bits, bob_bits, basis,
    )  # fmt: skip
    if unknown:
        message = (
            f"{unknown} coincidences have a detector label that its receiver does not name "
            f"({len(alice)} detectors of alice, {len(bob)} of bob); label the clicks with these receivers"
        )
        raise UsageError(message)
    return (
        SiftedEpoch(alice_bits[:kept], basis[:kept], alice.side),
        SiftedEpoch(bob_bits[:kept], basis[:kept], bob.side),
    )


def counts_per_basis(sifted: SiftedEpoch, alice: Receiver, bob: Receiver) -> dict[str, int]:
    """Return the number of sifted bits of each basis, by its name."""
    names = bases(alice, bob)
    counts = np.bincount(sifted.basis, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def pack(bits: U8) -> bytes:
    """Pack bits into bytes, the first bit highest; the last byte is filled up with zeros.

    Parameters
    ----------
    bits : uint8[n], 0 or 1; their number must be kept beside the bytes
    """
    return np.packbits(bits).tobytes()


def opposite(state: BellState) -> frozenset[str]:
    """Return the bases in which both ends of a pair show opposite outcomes."""
    return frozenset(basis for basis, same in SAME_OUTCOME[state].items() if not same)


def tables(receiver: Receiver, names: tuple[str, ...], turned: frozenset[str] = frozenset()) -> tuple[U8, U8]:
    """Return basis and bit of each label, uint8[256] each; the basis of a label without a detector is ``NO_BASIS``."""
    basis = np.full(LABELS, NO_BASIS, np.uint8)
    bit = np.zeros(LABELS, np.uint8)
    for label, detector in enumerate(receiver.detectors):
        basis[label], bit[label] = names.index(detector.basis), detector.bit ^ (detector.basis in turned)
    return basis, bit


def _check_index(index: MatchedClicks, alice_epoch: DetectionEpoch, bob_epoch: DetectionEpoch) -> None:
    if index.alice.size != index.bob.size:
        message = f"the index has {index.alice.size} clicks of alice but {index.bob.size} of bob; find it again"
        raise UsageError(message)
    # Indices ascend, so the last one is the largest.
    for side, indices, epoch in (("alice", index.alice, alice_epoch), ("bob", index.bob, bob_epoch)):
        if indices.size and int(indices[-1]) >= len(epoch):
            message = (
                f"the index points at click {int(indices[-1])} of {side} but the epoch has {len(epoch)}; "
                "give the epochs in which it was found"
            )
            raise UsageError(message)
