"""Personality files: what tells one unit from others of its model, such as serial number, firmware, speed and quirks.

A file is TOML, and its keys are the arguments of the emulated instrument's constructor, with the limits that stand in
their annotations::

    serial = "38900017"
    firmware = "3.0.2"
    retardances_deg = [88.0, 183.5, 91.0]
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from qnoded.explaining import explained
from qnoded.testing.emulation.device import Device
from qnoded.toml_file import read_table


def matching(pattern: str, what: str) -> AfterValidator:
    """Return the limit of a text that must match a pattern, which ``what`` says in words: ``1 to 9 digits``."""

    def matches(text: str) -> str:
        if not re.fullmatch(pattern, text):
            problem = f"must be {what}"
            raise ValueError(problem)
        return text

    return AfterValidator(matches)


Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[Finite, Field(gt=0.0)]
NotNegative = Annotated[Finite, Field(ge=0.0)]
SerialDigits = Annotated[str, matching("[0-9]{1,9}", "1 to 9 digits in quotes")]
"""Of makers who number their units through."""


def personality_model(kind: type[Device]) -> type[BaseModel]:
    """Return the settings model of a kind of emulated instrument."""
    hints = get_type_hints(kind.__init__, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], parameter.default) for name, parameter in inspect.signature(kind).parameters.items()
    }
    return create_model(kind.__name__, __config__=ConfigDict(extra="forbid"), **fields)


def with_personality(kind: type[Device], path: Path) -> Device:
    """Return an instrument with the personality that a file tells.

    Raises
    ------
    ConfigError
        If the file cannot be read, or holds a wrong key or value; names file, key, value and remedy.
    """
    remedy = "see docs/simulator.md for what each emulated instrument can be told"
    table = read_table(path, remedy)
    model = personality_model(kind)
    try:
        told = model.model_validate(table)
    except ValidationError as error:
        raise explained(error, model, table, str(path), remedy)[0] from None
    return kind(**{name: getattr(told, name) for name in told.model_fields_set})
