"""Faults that only coincidences show: detectors that click, but rarely together with the peer's."""

from __future__ import annotations

from typing import Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.records import F64, I64, Receiver
from qnoded.stages.artefacts.finding import Artefact, artefact

DIM: Final = 0.2
"""Coincidences per click five times fewer than the siblings' exceed the usual spread of efficiencies."""
HOT: Final = 3.0
"""With three times the siblings' clicks and few coincidences the excess is noise, not lost pairs."""
CHANCE_SIGMAS: Final = 3.0
"""How far below a fifth of the expected coincidences the count must lie, in standard deviations of counting;
a detector in order lies at five times the limit, so 3 is far from chance."""


def coincidence_artefacts(
    alice: Receiver,
    bob: Receiver,
    alice_clicks: I64,
    bob_clicks: I64,
    matrix: I64 | F64,
    accidentals: I64 | F64 | None = None,
) -> tuple[Artefact, ...]:
    """Find detectors whose share of clicks with a partner is far below that of the same side's others.

    Parameters
    ----------
    alice, bob : Receiver
    alice_clicks, bob_clicks : int64[n], int64[m], clicks per detector in the time of ``matrix``
    matrix : int64 or float64 [n, m], coincidences per pair of detectors
    accidentals : float64[n, m], optional, accidentals expected in ``matrix``; they are taken off

    Returns
    -------
    tuple of Artefact
        ``"dim"`` or ``"hot"`` findings, alice's first.

    Raises
    ------
    UsageError
        If the shapes do not belong together.
    """
    counts = np.asarray(matrix, np.float64)
    floor = np.zeros_like(counts) if accidentals is None else np.asarray(accidentals, np.float64)
    if counts.shape != (len(alice), len(bob)) or floor.shape != counts.shape:
        problem = (
            f"matrix {counts.shape} and accidentals {floor.shape} need a row for each of the {len(alice)} "
            f"detectors of alice and a column for each of bob's {len(bob)}"
        )
        raise UsageError(problem)
    return _of_one_side(alice, alice_clicks, counts.sum(axis=1), floor.sum(axis=1)) + _of_one_side(
        bob, bob_clicks, counts.sum(axis=0), floor.sum(axis=0)
    )


def _of_one_side(receiver: Receiver, clicks: I64, counts: F64, floor: F64) -> tuple[Artefact, ...]:
    if clicks.shape != (len(receiver),):
        problem = f"{receiver.side} has {len(receiver)} detectors, but clicks of {clicks.size} were given"
        raise UsageError(problem)
    found = []
    singles = clicks.astype(np.float64)
    pairs = counts - floor
    for k in range(len(receiver)):
        others = (np.arange(len(receiver)) != k) & (singles > 0)
        if singles[k] == 0 or not others.any():
            continue
        usual_share = max(float(np.median(pairs[others] / singles[others])), 0.0)
        usual_clicks = float(np.median(singles[others]))
        hot = singles[k] > HOT * usual_clicks
        expected = usual_share * float(singles[k])
        limit = (expected / HOT if hot else DIM * expected) + float(floor[k])
        # Accidentals are estimates: fewer coincidences than they promise are no fault of the detector.
        if max(counts[k], floor[k]) >= limit - CHANCE_SIGMAS * float(np.sqrt(limit)):
            continue
        numbers = {
            "clicks": float(singles[k]),
            "coincidences": float(pairs[k]),
            "expected_coincidences": expected,
            "sibling_clicks": usual_clicks,
        }
        fewer = f"{pairs[k]:.0f} coincidences where {expected:.0f} are expected of its siblings' share"
        if hot:
            sentence = (
                f"is hot: {singles[k]:.0f} clicks, {singles[k] / usual_clicks:.1f} times its siblings', but {fewer}; "
                "look for stray light, a bad bias or pick-up on its cable"
            )
            found.append(artefact(receiver, k, "hot", numbers, sentence))
        else:
            sentence = (
                f"is dim: {fewer}; its clicks are mostly noise: "
                "check the coupling of its fibre, its delay and its channel number"
            )
            found.append(artefact(receiver, k, "dim", numbers, sentence))
    return tuple(found)
