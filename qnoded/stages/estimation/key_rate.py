"""How much secret key measured errors would give in an endless run: an orientation, never a key length.

The asymptotic rate of entanglement-based QKD is ``1 - f h(Q_bit) - h(Q_phase)`` per sifted bit, where the
phase errors of one basis are the bit errors of the other (Koashi and Preskill, Phys. Rev. Lett. 90, 057902
(2003); with measured window and accidentals: Neumann et al., Phys. Rev. A 104, 022406 (2021)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.records import F64
from qnoded.stages.estimation.errors_per_basis import Qber
from qnoded.stages.key_length.entropy import binary_entropy

RECONCILIATION_EFFICIENCY: Final = 1.16
"""Bits leaked over the Shannon limit: what good reconciliation reaches between 1 and 6 % errors (1.10 to
1.19)."""
NO_KEY_QBER: Final = 0.5
"""From here on h falls again while nothing can be distilled: errors above are counted as this."""

_binary_entropy: Final = np.vectorize(binary_entropy, otypes=[np.float64])
"""Of arrays; there are some hundred windows at most, so the loop does not matter."""


@dataclass(frozen=True, slots=True)
class AsymptoticKeyRate:
    """Secret key of an endless run at these errors; a finite run gives less, a short one none."""

    secret_share: float
    """Secret bits per sifted bit, 0 or more."""
    sifted_hz: float
    """Sifted bits per second."""
    secret_hz: float
    """Secret bits per second, asymptotic."""
    efficiency: float
    """The reconciliation efficiency f that was assumed."""
    per_basis: Mapping[str, float]
    """Secret bits per sifted bit of each basis, 0 or more."""
    asymptotic: bool = True
    """Always true: no finite-size term is in these numbers."""


def asymptotic_share(bit_errors: F64 | float, phase_errors: F64 | float, efficiency: float) -> F64:
    """Return secret bits per sifted bit, ``1 - f h(Q_bit) - h(Q_phase)``, not below 0.

    Parameters
    ----------
    bit_errors, phase_errors : float64, any shape, 0 to 1
    efficiency : float, at least 1

    Returns
    -------
    float64, same shape

    Raises
    ------
    UsageError
        If the efficiency is below 1, which no code can reach.
    """
    if efficiency < 1.0:
        problem = f"a reconciliation efficiency of {efficiency} beats the Shannon limit; give 1 or more"
        raise UsageError(problem)
    bit = _binary_entropy(np.minimum(bit_errors, NO_KEY_QBER))
    phase = _binary_entropy(np.minimum(phase_errors, NO_KEY_QBER))
    return np.asarray(np.maximum(1.0 - efficiency * bit - phase, 0.0), np.float64)


def asymptotic_key_rate(
    errors: Qber, duration_s: float, efficiency: float = RECONCILIATION_EFFICIENCY
) -> AsymptoticKeyRate:
    """Return the asymptotic key rate of measured errors, both bases used for key.

    Each basis takes its phase errors from the other; with one or with three bases from the worst of the
    others, or its own where there is no other.

    Parameters
    ----------
    errors : measured errors, accidentals included
    duration_s : float, s, the time in which they were counted
    efficiency : reconciliation efficiency f, at least 1

    Returns
    -------
    AsymptoticKeyRate

    Raises
    ------
    UsageError
        If the duration is not positive or the efficiency below 1.
    """
    if duration_s <= 0.0:
        problem = f"a rate needs a duration above 0, not {duration_s} s"
        raise UsageError(problem)
    per_basis: dict[str, float] = {}
    secret = 0.0
    for basis, own in errors.bases.items():
        others = [other.qber.value for name, other in errors.bases.items() if name != basis]
        phase = max(others) if others else own.qber.value
        if not own.qber.total or np.isnan(phase):
            per_basis[basis] = 0.0
            continue
        per_basis[basis] = float(asymptotic_share(own.qber.value, phase, efficiency))
        secret += own.qber.total * per_basis[basis]
    total = errors.total.qber.total
    return AsymptoticKeyRate(
        secret_share=secret / total if total else 0.0,
        sifted_hz=total / duration_s,
        secret_hz=secret / duration_s,
        efficiency=efficiency,
        per_basis=per_basis,
    )
