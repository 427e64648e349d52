"""All numbers that the counts of a link allow, put together from the estimation stages."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qnoded.analysis.survey import Survey
from qnoded.analysis.totals import Totals
from qnoded.records import F64, I64
from qnoded.stages.artefacts import Artefact, coincidence_artefacts
from qnoded.stages.differences import TimeDifferences
from qnoded.stages.estimation import (
    AsymptoticKeyRate,
    BellTest,
    BiasTest,
    Car,
    Heralding,
    Pattern,
    Proportion,
    Qber,
    WindowRecommendation,
    asymptotic_key_rate,
    bias_tests,
    car,
    chsh_from_matrix,
    heralding,
    proportion,
    qber,
    read_pattern,
    recommend_window,
)
from qnoded.stages.estimation.outcomes import SAME_OUTCOME, shared_bases
from qnoded.stages.tagging import MultiClicks


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What a link's counts say."""

    duration_s: float
    """Time of all epochs that were measured, gaps taken off."""
    matrix: I64
    """int64[n, m], all pairs of clicks within the window: every click as often as it meets one."""
    accidentals: F64
    """float64[n, m], of them expected by chance."""
    accidental_windows: int
    alice_clicks: I64
    """int64[n], clicks per detector in that time, after dead times."""
    bob_clicks: I64
    qber: Qber | None
    """Of the matrix; None where the sides have no basis in common or no pair was found."""
    sifted_bits: int
    """One bit a pair, each click used once, clicks at once resolved."""
    sifted_qber: Proportion
    multi_clicks: tuple[MultiClicks, MultiClicks]
    car: Car
    heralding: Heralding | None
    bell: BellTest
    biases: tuple[BiasTest, ...]
    key_rate: AsymptoticKeyRate | None
    window: WindowRecommendation | None
    patterns: tuple[Pattern, ...]
    artefacts: tuple[Artefact, ...]
    """Those that only coincidences show."""
    differences: TimeDifferences
    """A sample, for the plots."""


def estimate_link(
    survey: Survey, totals: Totals, displaced_windows: int, window_ps: int, sifted_bits: int, sifted_errors: int
) -> LinkEstimate:
    """Say what the counts of all epochs mean."""
    alice, bob = survey.alice, survey.bob
    matrix, alice_clicks, bob_clicks = totals.pairs, totals.alice_clicks, totals.bob_clicks
    windows = max(displaced_windows, 1)
    accidentals = totals.displaced / windows
    duration_s = totals.duration_s
    measured = bool(shared_bases(alice, bob)) and matrix.sum() > 0
    errors = qber(matrix, alice, bob, accidentals=accidentals, accidental_windows=windows) if measured else None
    differences = totals.differences
    return LinkEstimate(
        duration_s=duration_s,
        matrix=matrix,
        accidentals=accidentals,
        accidental_windows=windows,
        alice_clicks=alice_clicks,
        bob_clicks=bob_clicks,
        qber=errors,
        sifted_bits=sifted_bits,
        sifted_qber=proportion(sifted_errors, sifted_bits),
        multi_clicks=totals.multi_clicks,
        car=car(float(matrix.sum()), float(accidentals.sum()), windows),
        heralding=heralding(alice_clicks, bob_clicks, matrix, accidentals, duration_s, accidental_windows=windows)
        if measured
        else None,
        bell=chsh_from_matrix(matrix, alice, bob),
        biases=bias_tests(matrix, alice, bob) if measured else (),
        key_rate=_key_rate(errors, sifted_bits, duration_s) if errors else None,
        window=_window(survey, differences, window_ps) if measured else None,
        patterns=read_pattern(matrix, alice, bob, accidentals=accidentals, accidental_windows=windows)
        if measured
        else (),
        artefacts=coincidence_artefacts(alice, bob, alice_clicks, bob_clicks, matrix, accidentals),
        differences=differences,
    )


def _key_rate(errors: Qber, sifted_bits: int, duration_s: float) -> AsymptoticKeyRate:
    """Return the rate of the bits that were sifted, not of all pairs that met."""
    rate = asymptotic_key_rate(errors, duration_s)
    sifted_hz = sifted_bits / duration_s
    return replace(rate, sifted_hz=sifted_hz, secret_hz=rate.secret_share * sifted_hz)


def _window(survey: Survey, differences: TimeDifferences, window_ps: int) -> WindowRecommendation:
    alice_basis, bob_basis = (
        np.array([detector.basis for detector in receiver.detectors]) for receiver in (survey.alice, survey.bob)
    )
    alice_bit, bob_bit = (
        np.array([detector.bit for detector in receiver.detectors]) for receiver in (survey.alice, survey.bob)
    )
    basis = alice_basis[differences.alice]
    equal = basis == bob_basis[differences.bob]
    unlike = np.array([not SAME_OUTCOME["Phi+"].get(detector.basis, True) for detector in survey.alice.detectors])
    wrong = (alice_bit[differences.alice] != bob_bit[differences.bob]) ^ unlike[differences.alice]
    _, index = np.unique(basis[equal], return_inverse=True)
    return recommend_window(differences.delay_ps[equal], wrong[equal], index.astype(np.uint8), window_ps=window_ps)
