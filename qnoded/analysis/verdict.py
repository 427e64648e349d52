"""An analysis held against the truth of a simulation, check by check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from qnoded.analysis.result import Analysis, Link
from qnoded.units import PS_PER_S

SIGMAS: Final = 4.0
"""A count further than this from its expectation is wrong: one honest run in 16,000."""
MODEL_SHARE: Final = 0.01
"""The expectations leave out tails of the jitter and dead times of pairs: they are good to 1 %."""
DELAY_ERROR_PS: Final = 100
"""The peak of each pair of detectors must stand where the truth says, within this."""
FREQUENCY_ERROR: Final = 1e-9
"""Bob's frequency over the whole run must be right within 1 ppb, or within 100 ps over the run where it is short."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the truth tells and the analysis found."""

    what: str
    holds: bool
    numbers: str


def checks_of(analysis: Analysis, truth: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare an analysis with ``truth.json`` of the simulation that made its recordings."""
    link = analysis.link
    if link is None or link.clock is None or not link.stretches:
        return (Check("clock locked and coincidences found", False, "no"),)
    return (*_clock(link, truth), _peaks(link, truth), *_counts(link, truth))


def _clock(link: Link, truth: Mapping[str, Any]) -> tuple[Check, Check]:
    assert link.clock is not None
    known = truth["clock"]
    true_ps = known["offset_total_ps"] + known["frequency_error"] * (link.clock.reference_ps - known["reference_ps"])
    # Both sides' first detectors are the references, so their own delays are part of both numbers.
    off_ps = link.clock.offset_ps - true_ps
    off = link.clock.frequency_error - known["frequency_error_mean"]
    allowed = max(FREQUENCY_ERROR, DELAY_ERROR_PS / (link.estimate.duration_s * PS_PER_S))
    return (
        Check("bob's clock, offset", abs(off_ps) <= DELAY_ERROR_PS, f"{off_ps:+.0f} ps from the truth"),
        Check("bob's clock, frequency", abs(off) <= allowed, f"{1e9 * off:+.4f} ppb from the truth"),
    )


def _peaks(link: Link, truth: Mapping[str, Any]) -> Check:
    found = {
        side: [one.delay_ps for one in receiver.detectors]
        for side, receiver in (("alice", link.survey.alice), ("bob", link.survey.bob))
    }
    errors = [
        measured - true for side in found for measured, true in zip(found[side], truth["delays_ps"][side], strict=True)
    ]
    worst_ps = max(errors, key=abs)
    return Check("delays of the detectors", abs(worst_ps) <= DELAY_ERROR_PS, f"at most {worst_ps:+.0f} ps wrong")


def _counts(link: Link, truth: Mapping[str, Any]) -> tuple[Check, ...]:
    estimate = link.estimate
    expected = truth["expected"]
    pairs = float(estimate.matrix.sum() - estimate.accidentals.sum())
    born = expected["pairs_hz"] * estimate.duration_s
    checks = [
        Check(
            "coincidences",
            abs(pairs - born) <= SIGMAS * sqrt(born) + MODEL_SHARE * born,
            f"{pairs:,.0f} found, {born:,.0f} expected",
        )
    ]
    if estimate.qber is not None:
        for basis, one in estimate.qber.bases.items():
            share, counts = expected["qber"][basis], one.qber.total
            sigma = sqrt(max(share * (1.0 - share), 1e-12) / max(counts, 1.0))
            off = (one.qber.value - share) / sigma
            checks.append(
                Check(
                    f"QBER {basis}",
                    abs(off) <= SIGMAS,
                    f"{100 * one.qber.value:.3f} % found, {100 * share:.3f} % expected ({off:+.1f} sigma)",
                )
            )
    chsh = estimate.bell.chsh
    if chsh is not None:
        off = (chsh.s.value - abs(expected["chsh"])) / chsh.s.error
        checks.append(
            Check(
                "CHSH S",
                abs(off) <= SIGMAS,
                f"{chsh.s.value:.4f} found, {abs(expected['chsh']):.4f} expected ({off:+.1f} sigma)",
            )
        )
    return tuple(checks)
