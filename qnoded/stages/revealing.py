"""Revealing: times and bases of one side's clicks, coded close to their entropy, for everybody to read.

Times are cut to ticks of the agreed resolution and only their gaps are sent: a Rice code, whose parameter follows the
rate block by block, with the basis in the bits that the code leaves raw. Before a click comes here, delays of detectors
are taken off and clicks at once resolved, so that beyond the basis nothing revealed depends on the detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.errors import RemoteProtocolError, UsageError
from qnoded.kernels import gap_coding
from qnoded.records import I64, U8, DetectionEpoch, frozen
from qnoded.units import PS_PER_S

MOST_CLICKS: Final = 1 << 24
"""Of one epoch: 30 million a second."""
FINEST_PS: Final = 1
COARSEST_PS: Final = 1 << 20
"""A microsecond: coarser times meet nobody's."""
FIRST_RESOLUTION_PS: Final = 128
"""Until the peak is known: half the width of the peak of usual detectors."""
MOST_LOST: Final = 0.005
"""Share of the coincidences that the resolution may push out of the window."""

UNDECIDED_OCTAVES: Final = 0.75
"""A resolution stays as long as the peak is no further from it: half an octave, and what a measured width wavers."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Ascending numbers, each with a label of some bits, as gaps; see ``kernels.gap_coding`` for the layout."""

    count: int
    widths: U8
    """uint8[ceil(count / 1024)], raw bits of each gap in a block, its Rice parameter."""
    code: U8
    """uint8[n], bytes of a stream of bits, lowest first: raw bits and labels of all, then quotients in unary."""
    far: I64
    """int64[n], by how much the quotients exceed those that are written in unary."""

    def __post_init__(self) -> None:
        for array in (self.widths, self.code, self.far):
            frozen(array)

    @property
    def bits(self) -> int:
        """Bits that all of it takes."""
        return 8 * (self.widths.nbytes + self.code.nbytes + self.far.nbytes)


def label_bits(labels: int) -> int:
    """Return the bits that a label out of so many takes."""
    return max(labels - 1, 0).bit_length()


def encode(epoch: DetectionEpoch, label_of: U8, bits: int, resolution_ps: int) -> Coded:
    """Code the times of an epoch and a label of each click.

    Parameters
    ----------
    epoch : clicks, delays removed, clicks at once resolved
    label_of : uint8[256], what is told of a detector, such as its basis; below ``2**bits``
    bits : bits of a label, 0 to 4
    resolution_ps : ps, length of a tick; time is counted in whole ticks from the epoch's start

    Raises
    ------
    UsageError
        If a click lies outside of the epoch, or there are more than ``MOST_CLICKS``.
    """
    if len(epoch) > MOST_CLICKS:
        problem = f"{len(epoch)} clicks in one epoch, at most {MOST_CLICKS} can be revealed; attenuate the light"
        raise UsageError(problem)
    if len(epoch) and not epoch.start_ps <= int(epoch.tag_ps[0]) <= int(epoch.tag_ps[-1]) < epoch.stop_ps:
        problem = f"clicks lie outside of the epoch from {epoch.start_ps} to {epoch.stop_ps} ps; cut it where it ends"
        raise UsageError(problem)
    label = label_of[epoch.detector] if bits else epoch.detector
    return _encode(epoch.tag_ps, label, epoch.start_ps, resolution_ps, bits)


def decode(coded: Coded, start_ps: int, stop_ps: int, bits: int, resolution_ps: int) -> DetectionEpoch:
    """Return what ``encode`` coded: times in the middle of their ticks, labels in the place of detectors.

    Parameters
    ----------
    coded : as it came from the peer
    start_ps, stop_ps : ps, the epoch
    bits : bits of a label
    resolution_ps : ps, length of a tick

    Raises
    ------
    RemoteProtocolError
        If the code is not one that ``encode`` gives.
    """
    ticks = -(-(stop_ps - start_ps) // resolution_ps)
    tag_ps, label = _decode(coded, start_ps, resolution_ps, bits, ticks)
    return DetectionEpoch(label, tag_ps, start_ps, stop_ps)


def encode_indices(indices: I64) -> Coded:
    """Code strictly ascending indices."""
    spread = indices - np.arange(indices.size)
    return _encode(spread, np.empty(indices.size, np.uint8), 0, 1, 0)


def decode_indices(coded: Coded, size: int) -> I64:
    """Return int64[coded.count], strictly ascending indices below ``size``.

    Raises
    ------
    RemoteProtocolError
        If the code is not one that ``encode_indices`` gives, or an index lies outside.
    """
    if coded.count > size:
        problem = f"{coded.count} indices into {size} entries arrived; the message is garbled"
        raise RemoteProtocolError(problem)
    spread, _ = _decode(coded, 0, 1, 0, size - coded.count + 1)
    return spread + np.arange(coded.count)


def entropy_bits(rate_hz: float, resolution_ps: int, labels: int) -> float:
    """Return the entropy of one click in bits: an exponential gap in ticks, and an even choice of labels.

    Parameters
    ----------
    rate_hz : clicks per second
    resolution_ps : ps, length of a tick
    labels : number of labels
    """
    return math.log2(math.e * PS_PER_S / (rate_hz * resolution_ps)) + math.log2(labels)


def resolution_for(peak_sigma_ps: float, window_ps: int) -> int:
    """Return the resolution, a power of two in ps, that a coincidence peak allows.

    The nearest to the standard deviation of the peak, or finer where the window is so narrow that more than
    ``MOST_LOST`` of the coincidences would leave it.

    Parameters
    ----------
    peak_sigma_ps : ps, standard deviation of the peak, without what the resolution itself adds
    window_ps : ps, full width of the coincidence window
    """
    resolution_ps = 1 << min(max(round(math.log2(max(peak_sigma_ps, FINEST_PS))), 0), COARSEST_PS.bit_length() - 1)
    while resolution_ps > FINEST_PS and lost_share(resolution_ps, peak_sigma_ps, window_ps) > MOST_LOST:
        resolution_ps //= 2
    return resolution_ps


def other_resolution(apparent_sigma_ps: float, window_ps: int, resolution_ps: int) -> int | None:
    """Return the resolution to change to, or None where the present one does.

    Parameters
    ----------
    apparent_sigma_ps : ps, standard deviation of the peak as measured with the present resolution
    window_ps : ps, full width of the coincidence window
    resolution_ps : ps, the present one
    """
    sigma_ps = math.sqrt(max(apparent_sigma_ps**2 - resolution_ps**2 / 12.0, FINEST_PS**2))
    wanted_ps = resolution_for(sigma_ps, window_ps)
    if wanted_ps < resolution_ps and lost_share(resolution_ps, sigma_ps, window_ps) > MOST_LOST:
        return wanted_ps
    away = abs(math.log2(sigma_ps / resolution_ps))
    return wanted_ps if wanted_ps != resolution_ps and away > UNDECIDED_OCTAVES else None


def lost_share(resolution_ps: int, peak_sigma_ps: float, window_ps: int) -> float:
    """Return the share of coincidences that a resolution pushes out of the window, for a Gaussian peak."""
    half, widened = window_ps / 2.0, math.sqrt(peak_sigma_ps**2 + resolution_ps**2 / 12.0)
    kept = math.erf(half / (math.sqrt(2.0) * max(peak_sigma_ps, FINEST_PS)))
    return 1.0 - math.erf(half / (math.sqrt(2.0) * widened)) / kept


def _encode(tag_ps: I64, label: U8, start_ps: int, resolution_ps: int, bits: int) -> Coded:
    blocks = -(-tag_ps.size // gap_coding.BLOCK)
    widths = np.empty(blocks, np.uint8)
    raw_bits = gap_coding.choose_widths(tag_ps, start_ps, resolution_ps, bits, widths)
    # Quotients end with a one and are below FARTHEST + 1; their mean is bounded by the choice of the widths.
    code = np.zeros((raw_bits + gap_coding.QUOTIENT_BITS * tag_ps.size) // 64 + 3, np.uint64)
    far = np.empty(gap_coding.QUOTIENT_BITS * tag_ps.size // gap_coding.FARTHEST + 1, np.int64)
    used, exceeding = gap_coding.encode(tag_ps, label, start_ps, resolution_ps, bits, widths, raw_bits, code, far)
    return Coded(int(tag_ps.size), widths, code.view(np.uint8)[: -(-used // 8)], far[:exceeding])


def _decode(coded: Coded, start_ps: int, resolution_ps: int, bits: int, ticks: int) -> tuple[I64, U8]:
    """Return times and labels; nothing is allocated before the counts are known to fit the bytes that are there."""
    total = 8 * coded.code.size
    fits = 0 <= coded.count <= min(total, MOST_CLICKS) and coded.widths.size == -(-coded.count // gap_coding.BLOCK)
    if not fits:
        problem = (
            f"{coded.count} clicks in {coded.widths.size} blocks and {coded.code.size} bytes arrived, which is "
            "impossible; the message is garbled"
        )
        raise RemoteProtocolError(problem)
    words = np.zeros(coded.code.size // 8 + 3, np.uint64)
    words.view(np.uint8)[: coded.code.size] = coded.code
    tag_ps, label = np.empty(coded.count, np.int64), np.empty(coded.count, np.uint8)
    fault = gap_coding.decode(
        words, total, coded.widths, coded.far, start_ps, resolution_ps, bits, ticks, tag_ps, label
    )
    if fault != gap_coding.SOUND:
        why = gap_coding.FAULTS[fault]
        problem = f"coded times of {coded.count} clicks cannot be read: {why}; the message is garbled"
        raise RemoteProtocolError(problem)
    return tag_ps, label
