"""Rows of reference numbers, published or from other programs, held against the families."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from qnoded.errors import UsageError
from qnoded.stages.key_length.families import Evaluation, evaluate, find_family

SAME_COUNTS: Final = "same_counts_as"
"""Input of a row that takes its remaining inputs from the row of that id."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row: the family's terms, and how far they are from the row's."""

    id: str
    evaluation: Evaluation
    result: str
    """Term that the row is about."""
    deviations: dict[str, float | None]
    """Ours less the row's, of each term that both have as a number; None where only one of them has a number."""
    tolerance: float | None
    """Largest deviation of the result that the row allows; None if it does not say."""

    @property
    def agrees(self) -> bool | None:
        """Whether the result is within the tolerance; None if the row has nothing to compare."""
        if self.tolerance is None or self.result not in self.deviations:
            return None
        deviation = self.deviations[self.result]
        return deviation is not None and abs(deviation) <= self.tolerance


def compare_rows(rows: Sequence[Mapping[str, Any]], only: str | None = None) -> list[Comparison]:
    """Evaluate each row and compare it with its own terms.

    Parameters
    ----------
    rows : each with ``family`` and ``inputs``, and where there is something to compare ``terms``, ``result`` and
        ``tolerance``; an ``id`` names it in messages
    only : name of a family: leave the rows of others out, and take it for rows that name none

    Raises
    ------
    UsageError
        Naming the row, for a row that cannot be read or evaluated.
    """
    by_id = {str(row.get("id", number)): row for number, row in enumerate(rows, start=1)}
    wanted = None if only is None else find_family(only)
    comparisons = []
    for name, row in by_id.items():
        family = find_family(_text(name, row, "family")) if wanted is None or "family" in row else wanted
        if wanted is None or family is wanted:
            try:
                evaluation = evaluate(family, _resolved(row, by_id))
            except UsageError as error:
                message = f"row {name}: {error}"
                raise UsageError(message) from error
            comparisons.append(_compare(name, row, evaluation))
    return comparisons


def _resolved(row: Mapping[str, Any], by_id: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row's inputs with those of the row that it refers to."""
    inputs = row.get("inputs")
    if not isinstance(inputs, Mapping):
        message = "has no inputs; give an object of named inputs"
        raise UsageError(message)
    own = {name: value for name, value in inputs.items() if name != SAME_COUNTS}
    if SAME_COUNTS not in inputs:
        return own
    other = by_id.get(str(inputs[SAME_COUNTS]))
    if other is None or not isinstance(other.get("inputs"), Mapping) or SAME_COUNTS in other["inputs"]:
        message = f"{SAME_COUNTS} = {inputs[SAME_COUNTS]!r} names no row with counts; add that row"
        raise UsageError(message)
    return {**other["inputs"], **own}


def _compare(name: str, row: Mapping[str, Any], evaluation: Evaluation) -> Comparison:
    expected = row.get("terms", {})
    tolerance = row.get("tolerance")
    result = row.get("result", evaluation.family.result)
    readable = isinstance(expected, Mapping) and (tolerance is None or _is_number(tolerance))
    if not readable or result not in evaluation.terms:
        message = f"row {name}: terms, result or tolerance cannot be read; terms are {', '.join(evaluation.terms)}"
        raise UsageError(message)
    deviations = {
        term: _deviation(evaluation.terms[term], value) for term, value in expected.items() if term in evaluation.terms
    }
    return Comparison(name, evaluation, result, deviations, tolerance)


def _deviation(ours: object, theirs: object) -> float | None:
    """Return the difference of two numbers, or the largest of two lists of them."""
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
        parts = [_deviation(one, other) for one, other in zip(ours, theirs, strict=True)]
        known = [part for part in parts if part is not None]
        return max(known, key=abs) if known and len(known) == len(parts) else None
    if _is_number(ours) and _is_number(theirs):
        return float(ours) - float(theirs)
    return None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(name: str, row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        message = f"row {name} names no {key}; give one, or the family on the command line"
        raise UsageError(message)
    return value
