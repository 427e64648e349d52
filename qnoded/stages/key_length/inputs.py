"""What a family is given: checked by itself, and read from the loose values of a file or of a command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from qnoded.errors import UsageError

Record = TypeVar("Record")

LARGEST_COUNT: Final = 2**53
"""Above it a float does not tell one integer from the next."""

_LARGEST_NUMBER: Final = sys.float_info.max
"""Beyond it an integer has no float, and what is not a number is not below it either."""

SMALLEST_EPSILON: Final = 1e-300
"""No proof needs less, and a float64 has no room for the squares of less."""


def demand(holds: bool, name: str, value: object, accepted: str) -> None:
    """Raise a ``UsageError`` that names an input, its value and what is accepted, unless the condition holds."""
    if not holds:
        message = f"input {name} = {value} is out of range; give {accepted}"
        raise UsageError(message)


def demand_rate(name: str, value: float) -> None:
    """Demand an error rate from 0 to 0.5; beyond it, one end has its bits inverted."""
    demand(0.0 <= value <= 0.5, name, value, "an error rate from 0 to 0.5")


def demand_epsilon(name: str, value: float) -> None:
    """Demand a failure probability from 1e-300 to below 1."""
    demand(SMALLEST_EPSILON <= value < 1.0, name, value, "a probability from 1e-300 to below 1")


def demand_efficiency(name: str, value: float) -> None:
    """Demand a reconciliation efficiency of at least 1, the Shannon limit."""
    demand(1.0 <= value <= 10.0, name, value, "a reconciliation efficiency from 1 (the Shannon limit) to 10")


def demand_count(name: str, value: float, least: int = 1) -> None:
    """Demand a number of bits, clicks or pulses within what a float64 counts exactly."""
    demand(least <= value <= LARGEST_COUNT, name, value, f"a number from {least} to 2**53")


def read_inputs(record: type[Record], values: Mapping[str, object]) -> Record:
    """Build a record of inputs from named values, as a JSON document or a command line holds them.

    Parameters
    ----------
    record : the dataclass of the inputs; fields of type int, float, str, tuples of them, and each of these or None
    values : the values by name; a list stands for a tuple, a float without fraction for an int

    Raises
    ------
    UsageError
        Naming an unknown, missing or unreadable input and the accepted ones; or from the record's own checks.
    """
    accepted = all_inputs(record)
    unknown = [name for name in values if name not in accepted]
    if unknown:
        message = f"unknown input {', '.join(unknown)}; accepted are {', '.join(accepted)}"
        raise UsageError(message)
    missing = [name for name in required_inputs(record) if name not in values]
    if missing:
        message = f"missing input {', '.join(missing)}; accepted are {', '.join(accepted)}"
        raise UsageError(message)
    hints = get_type_hints(record)
    return record(**{name: _read(name, hints[name], value) for name, value in values.items()})


def all_inputs(record: type[Any]) -> tuple[str, ...]:
    """Return the names of the inputs of a dataclass."""
    return tuple(field.name for field in fields(record))


def required_inputs(record: type[Any]) -> tuple[str, ...]:
    """Return the names of those that have no default."""
    return tuple(field.name for field in fields(record) if field.default is MISSING)


def _read(name: str, kind: Any, value: object) -> object:
    if get_origin(kind) in (Union, UnionType):
        inner = next(option for option in get_args(kind) if option is not type(None))
        return None if value is None else _read(name, inner, value)
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise _unreadable(name, value, "a list of numbers")
        return tuple(_read(name, get_args(kind)[0], item) for item in value)
    if kind is str:
        if not isinstance(value, str):
            raise _unreadable(name, value, "a word")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST_NUMBER:
        raise _unreadable(name, value, "a finite number")
    if kind is not int:
        return value
    if value != int(value):
        raise _unreadable(name, value, "a whole number")
    return int(value)


def _unreadable(name: str, value: object, accepted: str) -> UsageError:
    return UsageError(f"input {name} = {value!r} cannot be read; give {accepted}")
