"""Parameter estimation: what the counts mean, with error bars, and what they do not allow to say.

Pure functions of coincidence matrices, counts and small arrays. Everything is given as measured, accidentals
included; what is corrected, expected or asymptotic says so in its name.
"""

from __future__ import annotations

from qnoded.stages.estimation.bell import (
    BellTest,
    Chsh,
    bell_state_fidelity,
    chsh,
    chsh_expected_from_visibilities,
    chsh_from_matrix,
    correlation,
    correlations_per_basis,
)
from qnoded.stages.estimation.bias import BiasTest, bias_test, bias_tests
from qnoded.stages.estimation.errors_per_basis import BasisErrors, Qber, qber
from qnoded.stages.estimation.heralding import Car, Heralding, car, heralding
from qnoded.stages.estimation.intervals import CONFIDENCE, THREE_SIGMA, Measured, Proportion, proportion
from qnoded.stages.estimation.key_rate import (
    RECONCILIATION_EFFICIENCY,
    AsymptoticKeyRate,
    asymptotic_key_rate,
    asymptotic_share,
)
from qnoded.stages.estimation.outcomes import SAME_OUTCOME, BellState
from qnoded.stages.estimation.pattern import Pattern, PatternKind, read_pattern
from qnoded.stages.estimation.window import WindowRecommendation, recommend_window

__all__ = [
    "CONFIDENCE",
    "RECONCILIATION_EFFICIENCY",
    "SAME_OUTCOME",
    "THREE_SIGMA",
    "AsymptoticKeyRate",
    "BasisErrors",
    "BellState",
    "BellTest",
    "BiasTest",
    "Car",
    "Chsh",
    "Heralding",
    "Measured",
    "Pattern",
    "PatternKind",
    "Proportion",
    "Qber",
    "WindowRecommendation",
    "asymptotic_key_rate",
    "asymptotic_share",
    "bell_state_fidelity",
    "bias_test",
    "bias_tests",
    "car",
    "chsh",
    "chsh_expected_from_visibilities",
    "chsh_from_matrix",
    "correlation",
    "correlations_per_basis",
    "heralding",
    "proportion",
    "qber",
    "read_pattern",
    "recommend_window",
]
