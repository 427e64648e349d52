"""Values refused before anything is written to an instrument."""

from __future__ import annotations

from collections.abc import Sequence

from qnoded.errors import UsageError


def within(name: str, value: float, low: float, high: float, unit: str) -> float:
    """Return a value that the instrument can have.

    Raises
    ------
    UsageError
        If it cannot.
    """
    # Written so that a value that is not a number is refused as well.
    if low <= value <= high:
        return float(value)
    problem = f"{name} {value} cannot be set; use {low:g} to {high:g} {unit}"
    raise UsageError(problem)


def angles(settings_deg: Sequence[float], elements: Sequence[str], min_deg: float, max_deg: float) -> tuple[float, ...]:
    """Return one angle per element of a polarization controller.

    Raises
    ------
    UsageError
        If their number is wrong or one is outside the range.
    """
    if len(settings_deg) != len(elements):
        problem = f"{len(settings_deg)} angles for {len(elements)} elements ({', '.join(elements)}); give one for each"
        raise UsageError(problem)
    return tuple(
        within(f"angle of the {element}", one, min_deg, max_deg, "deg")
        for one, element in zip(settings_deg, elements, strict=True)
    )
