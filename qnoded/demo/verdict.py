"""What both daemons hold and concluded, held against each other and against what the world knows."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np

from qnoded.records import I64, SIDES, U8
from qnoded.stages.estimation.intervals import proportion
from qnoded.units import EPOCH_PS, seconds

SIGMAS: Final = 4.0
"""A count further than this from its expectation is wrong: one honest demo in 16,000."""
MODEL_SHARE: Final = 0.02
"""The world's expectations leave out tails of the jitter, and here the loss to coarser public times: good to 2 %."""
CLOCK_ERROR_PS: Final = 100.0
"""After lock the clock must be this near to the truth."""
LAST_EPOCHS: Final = 4
"""When a daemon stops, so many epochs may be known to one end as sifted whose confirmation was still on its way."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One sifted epoch as one end recorded it."""

    bits: U8
    """uint8[n], 0 or 1."""
    basis: U8
    """uint8[n]"""
    tests: dict[str, tuple[int, int]]
    """Basis -> errors and number of its test bits."""
    coincidences: int


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    what: str
    holds: bool
    numbers: str


@dataclass(slots=True)
class Expected:
    """What theory says of the world's state at the moments at which the link sifted.

    A state is known a little later than it began, so some moments belong to the next one: medians are taken.
    """

    qber: dict[str, list[float]] = field(default_factory=dict)
    coincidences_hz: list[float] = field(default_factory=list)
    chsh: list[float] = field(default_factory=list)
    """During the interludes."""

    def take(self, state: str, present: Mapping[str, Any]) -> None:
        """Add one moment."""
        if state == "SIFTING":
            for basis, share in present["qber"].items():
                if share is not None:
                    self.qber.setdefault(basis, []).append(share)
            matrix_hz = np.asarray(present["matrix_hz"])
            self.coincidences_hz.append(float(matrix_hz[:2, :2].sum() + matrix_hz[2:, 2:].sum()))
        elif state == "INTERLUDE" and present["chsh"] is not None:
            self.chsh.append(abs(float(present["chsh"])))


def read_sifted(folder: Path) -> dict[int, Epoch]:
    """Return what one end recorded, by epoch."""
    epochs = {}
    index = folder / "index.jsonl"
    for line in index.read_text(encoding="utf-8").splitlines() if index.is_file() else ():
        entry = json.loads(line)
        if "epoch" not in entry:
            continue
        packed = np.frombuffer(base64.b64decode(entry["packed"]), np.uint8)
        epochs[int(entry["epoch"])] = Epoch(
            np.unpackbits(packed, count=entry["bits"]),
            np.frombuffer(base64.b64decode(entry["basis"]), np.uint8),
            {basis: (errors, bits) for basis, errors, bits in entry["tests"]},
            int(entry["coincidences"]),
        )
    return epochs


def same_at_both_ends(ends: Mapping[str, Mapping[int, Epoch]]) -> Check:
    """Check that both ends sifted the same coincidences of the same epochs."""
    what = "same sifted epochs, positions and bases at both ends"
    alice, bob = (ends[side] for side in SIDES)
    common = alice.keys() & bob.keys()
    if not common:
        return Check(what, False, "no epoch was sifted at both ends")
    early = sorted(one for one in alice.keys() ^ bob.keys() if one < max(common) - LAST_EPOCHS)
    differing = [one for one in sorted(common) if not np.array_equal(alice[one].basis, bob[one].basis)]
    numbers = f"{len(common)} epochs, {sum(alice[one].bits.size for one in common):,} bits"
    if early or differing:
        numbers += f"; at one end only: {early[:5]}, different: {differing[:5]}"
    return Check(what, not early and not differing, numbers)


def error_checks(ends: Mapping[str, Mapping[int, Epoch]], expected: Expected) -> Iterable[Check]:
    """Check the errors of all bits against those of the test bits, and these against theory."""
    alice, bob = (ends[side] for side in SIDES)
    common = sorted(alice.keys() & bob.keys())
    wrong = sum(int(np.count_nonzero(alice[one].bits != bob[one].bits)) for one in common)
    bits = sum(alice[one].bits.size for one in common)
    tests = qber_of(alice[one] for one in common)
    errors, tested = tests["total"]
    if not bits or not tested:
        return
    spread = sqrt(errors + wrong + 1.0) * bits / (tested + bits)
    off = wrong - errors * bits / tested
    yield Check(
        "errors of the kept bits as the test bits say",
        abs(off) <= SIGMAS * max(spread, sqrt(errors + 1.0) * bits / tested),
        f"{wrong:,} of {bits:,} kept bits differ, {errors:,} of {tested:,} test bits did",
    )
    for basis, (errors, tested) in tests.items():
        shares = expected.qber.get(basis)
        if not shares or not tested:
            continue
        share = float(np.median(shares))
        sigma = sqrt(max(share * (1.0 - share), 1e-9) / tested)
        off = abs(errors / tested - share)
        yield Check(
            f"QBER {basis} as theory says of the world",
            off <= SIGMAS * sigma + MODEL_SHARE * share,
            f"{errors / tested:.2%} measured, {share:.2%} expected",
        )


def rate_check(epochs: Mapping[int, Epoch], expected: Expected) -> Iterable[Check]:
    """Check the rate of coincidences against theory."""
    if not epochs or not expected.coincidences_hz:
        return
    measured_hz = float(np.mean([one.coincidences for one in epochs.values()])) / seconds(EPOCH_PS)
    theory_hz = float(np.median(expected.coincidences_hz))
    sigma_hz = sqrt(theory_hz / (len(epochs) * seconds(EPOCH_PS)))
    yield Check(
        "rate of coincidences as theory says",
        abs(measured_hz - theory_hz) <= SIGMAS * sigma_hz + MODEL_SHARE * theory_hz,
        f"{measured_hz:,.0f} a second measured, {theory_hz:,.0f} expected",
    )


def chsh_check(chsh: Mapping[str, Any] | None, expected: Expected) -> Iterable[Check]:
    """Check S of the latest interlude against theory."""
    if not chsh or not expected.chsh:
        return
    # The controller moves while some of the moments are taken: the largest is the one at which it rested.
    theory = max(expected.chsh)
    yield Check(
        "CHSH S as theory says",
        abs(abs(chsh["s"]) - theory) <= SIGMAS * chsh["sigma"] + MODEL_SHARE * theory,
        f"{chsh['s']:.3f} ± {chsh['sigma']:.3f} measured, {theory:.3f} expected",
    )


def clock_check(lock: Mapping[str, Any], clocks_ps: Sequence[Sequence[int]]) -> Check:
    """Check the latest clock against the readings that the world knows.

    Parameters
    ----------
    lock
        The matcher's lock file.
    clocks_ps
        True time and both clocks' readings, ps, as the world wrote them down.
    """
    what = "clock as the world knows it"
    table: I64 = np.array(clocks_ps, np.int64)
    matcher = SIDES.index(lock["matcher"])
    revealer_ps, matcher_ps = table[:, 2 - matcher], table[:, 1 + matcher]
    clock = lock["clock"]
    at_ps = int(clock["reference_ps"])
    after = int(np.searchsorted(revealer_ps, at_ps))
    if not 0 < after < revealer_ps.size:
        return Check(what, False, "the world wrote down no reading near the latest lock")
    offset_ps = matcher_ps - revealer_ps
    share = (at_ps - int(revealer_ps[after - 1])) / int(revealer_ps[after] - revealer_ps[after - 1])
    step_ps = int(offset_ps[after] - offset_ps[after - 1])
    true_ps = int(offset_ps[after - 1]) + share * step_ps
    off_ps = clock["offset_ps"] + clock["fraction_ps"] - true_ps
    return Check(what, abs(off_ps) <= CLOCK_ERROR_PS, f"{off_ps:+.0f} ps from the truth")


def qber_of(epochs: Iterable[Epoch]) -> dict[str, tuple[int, int]]:
    """Return errors and number of the test bits by basis, and in total."""
    sums: dict[str, tuple[int, int]] = {}
    for epoch in epochs:
        for basis, (errors, bits) in epoch.tests.items():
            before = sums.get(basis, (0, 0))
            sums[basis] = before[0] + errors, before[1] + bits
    return sums | {"total": (sum(errors for errors, _ in sums.values()), sum(bits for _, bits in sums.values()))}


def shares(sums: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, float]]:
    """Return each share with its 95 % interval."""
    found = {basis: proportion(errors, bits) for basis, (errors, bits) in sums.items() if bits}
    return {basis: {"value": one.value, "low": one.low, "high": one.high} for basis, one in found.items()}
