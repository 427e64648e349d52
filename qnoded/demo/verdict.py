"""What both daemons hold and concluded, held against each other and against what the world knows."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np

from qnoded.exchange.greeting import CLEARLY_FEWER
from qnoded.node_settings import NodeSettings
from qnoded.records import F64, I64, SIDES, U8
from qnoded.sim.theory import chsh, linked_matrix_hz, matrix_correlators, matrix_qber, window_share
from qnoded.stages.estimation.intervals import proportion
from qnoded.units import EPOCH_PS, PS_PER_S, seconds

SIGMAS: Final = 4.0
"""A count further than this from its expectation is wrong: one honest demo in 16,000."""
CLOCK_ERROR_PS: Final = 100.0
"""After lock the clock must be this near to the truth."""
CLOCK_MEMORY_S: Final = 5.0
"""So long after an eavesdropper has gone, the clock may still be where she had moved it."""
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


@dataclass(frozen=True, slots=True)
class Skipped:
    """One thing that could not be checked."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Rules:
    """How the two nodes count, as their settings say: theory has to count alike."""

    window_ps: int = 1000
    revealer: str = "auto"
    """``auto``, ``alice`` or ``bob``."""
    apart_ps: tuple[int, int] = (0, 0)
    """Longest dead time that alice, and bob, demands between clicks in one basis."""

    @classmethod
    def of(cls, alice: NodeSettings, bob: NodeSettings) -> Rules:
        """Take them from the settings of a link's two nodes."""
        (link,) = alice.links
        terms = alice.terms(link)
        apart_ps = [
            max(node.receiver.dead_time_ps.values(), default=0) if node.receiver else 0 for node in (alice, bob)
        ]
        return cls(terms.window_ps, terms.revealer, (apart_ps[0], apart_ps[1]))

    def matrix_hz(self, present: Mapping[str, Any]) -> F64:
        """Return the coincidences that the link should count in the world's present state, float64[4, 4]."""
        alice_hz, bob_hz = (np.array(present["singles_hz"][side]) for side in SIDES)
        auto = SIDES[int(bob_hz.sum() < CLEARLY_FEWER * alice_hz.sum())]
        revealer = SIDES.index(auto if self.revealer == "auto" else self.revealer)
        pairs_hz = np.array(present["pairs_matrix_hz"]) * window_share(self.window_ps, present["peak_fwhm_ps"])
        apart_ps = self.apart_ps[revealer]
        return linked_matrix_hz(pairs_hz, (alice_hz, bob_hz), self.window_ps, revealer=revealer, apart_ps=apart_ps)

    def chsh(self, present: Mapping[str, Any]) -> float:
        """Return S of an interlude: every click counts with every click of the other side within the window."""
        alice_hz, bob_hz = (np.array(present["singles_hz"][side]) for side in SIDES)
        pairs_hz = np.array(present["pairs_matrix_hz"]) * window_share(self.window_ps, present["peak_fwhm_ps"])
        return chsh(matrix_correlators(pairs_hz + np.outer(alice_hz, bob_hz) * self.window_ps / PS_PER_S))


@dataclass(slots=True)
class Expected:
    """What theory says of the world's state at the moments at which the link sifted.

    A state is known a little later than it began, so some moments belong to the next one: medians are taken.
    """

    rules: Rules = Rules()
    qber: dict[str, list[float]] = field(default_factory=dict)
    coincidences_hz: list[float] = field(default_factory=list)
    chsh: list[float] = field(default_factory=list)
    """During the interludes."""

    def take(self, state: str, present: Mapping[str, Any]) -> None:
        """Add one moment."""
        if state == "SIFTING":
            matrix_hz = self.rules.matrix_hz(present)
            for basis, share in matrix_qber(matrix_hz).items():
                if share is not None:
                    self.qber.setdefault(basis, []).append(share)
            self.coincidences_hz.append(float(matrix_hz[:2, :2].sum() + matrix_hz[2:, 2:].sum()))
        elif state == "INTERLUDE":
            self.chsh.append(self.rules.chsh(present))


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


def error_checks(
    ends: Mapping[str, Mapping[int, Epoch]], expected: Expected, sigmas: float = SIGMAS
) -> Iterable[Check]:
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
        abs(off) <= sigmas * max(spread, sqrt(errors + 1.0) * bits / tested),
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
            off <= sigmas * sigma,
            f"{errors / tested:.2%} measured, {share:.2%} expected",
        )


def rate_check(epochs: Mapping[int, Epoch], expected: Expected, sigmas: float = SIGMAS) -> Iterable[Check]:
    """Check the rate of coincidences against theory."""
    if not epochs or not expected.coincidences_hz:
        return
    measured_hz = float(np.mean([one.coincidences for one in epochs.values()])) / seconds(EPOCH_PS)
    theory_hz = float(np.median(expected.coincidences_hz))
    sigma_hz = sqrt(theory_hz / (len(epochs) * seconds(EPOCH_PS)))
    yield Check(
        "rate of coincidences as theory says",
        abs(measured_hz - theory_hz) <= sigmas * sigma_hz,
        f"{measured_hz:,.0f} a second measured, {theory_hz:,.0f} expected",
    )


def chsh_check(chsh: Mapping[str, Any] | None, expected: Expected, sigmas: float = SIGMAS) -> Iterable[Check]:
    """Check S of the latest interlude against theory."""
    if not chsh or not expected.chsh:
        return
    # The controller moves while some of the moments are taken: the largest is the one at which it rested.
    theory = max(expected.chsh)
    yield Check(
        "CHSH S as theory says",
        abs(abs(chsh["s"]) - theory) <= sigmas * chsh["sigma"],
        f"{chsh['s']:.3f} ± {chsh['sigma']:.3f} measured, {theory:.3f} expected",
    )


def clock_check(lock: Mapping[str, Any], truth: Mapping[str, Any], turn_ps: int | None = None) -> Check:
    """Check the latest clock against the readings that the world knows.

    A clock is measured by photons. Where an eavesdropper delays some of bob's, it lies anywhere between those that come
    in time and those that do not: nobody can tell her delay from a fibre's.

    Parameters
    ----------
    lock
        The matcher's lock file.
    truth
        The world's, with ``clocks_ps``: true time and both clocks' readings, ps.
    turn_ps
        After which the taggers' counters begin anew. Which turn the node counted first nobody can tell, so each is
        tried; clocks 1 ppm apart move by hundreds of ns from turn to turn, and the right one stands out.
    """
    what = "clock as the world knows it"
    table: I64 = np.array(truth["clocks_ps"], np.int64)
    matcher = SIDES.index(lock["matcher"])
    revealer_ps, matcher_ps = table[:, 2 - matcher], table[:, 1 + matcher]
    clock = lock["clock"]
    offset_ps = matcher_ps - revealer_ps
    at_ps = np.arange(int(clock["reference_ps"]), int(revealer_ps[-1]), turn_ps or np.iinfo(np.int64).max)
    at_ps = at_ps[at_ps > revealer_ps[0]]
    if not at_ps.size:
        return Check(what, False, "the world wrote down no reading near the latest lock")
    true_ps = np.interp(at_ps - revealer_ps[0], revealer_ps - revealer_ps[0], offset_ps - offset_ps[0]) + offset_ps[0]
    off_each_ps = clock["offset_ps"] + clock["fraction_ps"] - true_ps
    if turn_ps is not None:
        off_each_ps -= turn_ps * np.round(off_each_ps / turn_ps)
    best = int(np.abs(off_each_ps).argmin())
    off_ps, after = float(off_each_ps[best]), int(np.searchsorted(revealer_ps, at_ps[best]))
    delayed_ps = (2 * matcher - 1) * _delayed_ps(truth["events"], seconds(int(table[after, 0])))
    holds = min(0, delayed_ps) - CLOCK_ERROR_PS <= off_ps <= max(0, delayed_ps) + CLOCK_ERROR_PS
    told = f", bob's photons delayed by up to {abs(delayed_ps)} ps" if delayed_ps else ""
    return Check(what, holds, f"{off_ps:+.0f} ps from the truth{told}")


def _delayed_ps(events: Iterable[Mapping[str, Any]], true_s: float) -> int:
    """Return by how much an eavesdropper delays photons at a moment of true time, or has just done so, ps."""
    shifts = [one for one in events if one["what"] == "time_shift" and one["start_s"] <= true_s]
    felt = [one for one in shifts if one["stop_s"] is None or true_s <= one["stop_s"] + CLOCK_MEMORY_S]
    return max((int(one["settings"]["shift_ps"]) for one in felt), default=0)


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
