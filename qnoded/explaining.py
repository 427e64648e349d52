"""What a settings model finds wrong, in our words: file, key, value, remedy, and the nearest right key.

Pydantic reports every finding with a path of its own making and speaks of dictionaries and inputs. Here each becomes
one ``ConfigError`` about the file as its author wrote it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from qnoded.errors import ConfigError

CLOSE_ENOUGH: Final = 0.5
"""Likeness from which a word is suggested, on the scale of ``difflib``; below, suggestions only confuse."""
SURELY: Final = 0.7
"""Likeness from which a key of a driver counts as a misspelt one of the node."""
LONGEST_VALUE: Final = 60
"""Characters of a wrong value that a message repeats."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_KINDS: Final = {
    "int": "a whole number without quotes",
    "float": "a number without quotes",
    "string": "a text in quotes",
    "bool": "true or false, without quotes",
    "list": "a list in square brackets",
    "tuple": "a list in square brackets",
    "dict": "a table",
    "model": "a table",
    "dataclass": "a table",
    "path": "a path in quotes",
}
"""First word of pydantic's error type -> what is wanted instead."""


def explained(
    error: ValidationError, model: type[BaseModel], table: Mapping[str, Any], where: str, remedy: str
) -> list[ConfigError]:
    """Return one ``ConfigError`` per finding, unknown keys first.

    Parameters
    ----------
    error
        What ``model.model_validate(table)`` raised.
    model
        The model, whose keys are suggested for unknown ones.
    table
        The table as it stands in the file.
    where
        File, or other place, that a person would open.
    remedy
        What to do where nothing better is known, such as ``"see config/sim/alice.toml"``.
    """
    details = [one for one in error.errors(include_url=False) if one["type"] != "default_factory_not_called"]
    unknown = [one for one in details if one["type"] == "extra_forbidden"]
    found = []
    meant: set[tuple[str, ...]] = set()
    for one in unknown:
        path = _written(one, table)
        missing = [p[-1] for d in details if d["type"] == "missing" and (p := _written(d, table))[:-1] == path[:-1]]
        near = nearest(path[-1], missing) or nearest(path[-1], _keys_at(model, path[:-1]))
        if near:
            meant.add((*path[:-1], near))
        hint = f"did you mean {near}?" if near else _all_keys(model, path[:-1], remedy)
        found.append(ConfigError(where, _dotted(path), f"there is no such key{_value(one['input'])}", hint))
    for one in details:
        path = _written(one, table)
        # A key that was misspelt is also missing: one message is enough.
        if one["type"] != "extra_forbidden" and not (one["type"] == "missing" and path in meant):
            problem, own = _explain(one, remedy)
            if one["type"] == "missing" and (near := nearest(path[-1], _strangers(model, table, path[:-1]), SURELY)):
                own = f"did you mean it by {near}?"
            found.append(ConfigError(where, _dotted(path) or "file", problem, own))
    return found


def nearest(word: str, words: Iterable[str], likeness: float = CLOSE_ENOUGH) -> str | None:
    """Return the word that was probably meant, or None."""
    near = difflib.get_close_matches(word, list(words), 1, likeness)
    return near[0] if near else None


def _explain(one: ErrorDetails, remedy: str) -> tuple[str, str]:
    """Return problem and remedy of one finding."""
    kind, value, context = one["type"], one["input"], one.get("ctx", {})
    if kind == "missing":
        return "is missing", f"add it; {remedy}"
    if kind == "value_error":
        # Our own words: problem and remedy, divided by a semicolon; a value that is a whole table would only be noise.
        problem, _, own = str(context["error"]).partition("; ")
        return problem + ("" if isinstance(value, Mapping) else _value(value)), own or remedy
    if kind == "literal_error":
        choices = str(context["expected"])
        near = nearest(str(value), [choice.strip("'") for choice in choices.replace(" or ", ", ").split(", ")])
        return f"must be {choices}{_value(value)}", f"did you mean {near!r}?" if near else remedy
    for bound, words in (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most")):
        if bound in context:
            return f"must be {words} {context[bound]}{_value(value)}", remedy
    if kind == "finite_number":
        return f"must be a finite number{_value(value)}", remedy
    if kind in {"too_short", "too_long"}:
        bound, words = ("min_length", "at least") if kind == "too_short" else ("max_length", "at most")
        return f"must have {words} {context[bound]} entries, has {context['actual_length']}", remedy
    wanted = _KINDS.get(kind.split("_")[0])
    return (f"must be {wanted}" if wanted else one["msg"]) + _value(value), remedy


def _value(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return f" (found {text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + '...'})"


def _written(one: ErrorDetails, table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the path of a finding in the file: what the model adds on its way is left out."""
    if not one["loc"]:
        return ()
    path: list[str] = []
    at: Any = table
    *parents, last = one["loc"]
    for part in parents:
        if _holds(at, part):
            at = at[part]
            path.append(str(part))
    if _holds(at, last) or one["type"] == "missing":
        path.append(str(last))
    return tuple(path)


def _dotted(path: tuple[str, ...]) -> str:
    """Return a path as TOML writes it: a key that is no plain word is quoted."""
    return ".".join(part if _PLAIN_KEY.fullmatch(part) else repr(part[:LONGEST_VALUE]) for part in path)


def _holds(at: Any, part: int | str) -> bool:
    """Tell whether a table has the key, or a list the place."""
    if isinstance(at, list):
        return isinstance(part, int) and part < len(at)
    return isinstance(at, Mapping) and part in at


def _model_at(model: Any, path: tuple[str, ...]) -> type[BaseModel] | None:
    """Return the settings model that describes the table at a path."""
    if get_origin(model) in (Union, UnionType):
        return next((found for one in get_args(model) if (found := _model_at(one, path)) is not None), None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        if not path:
            return model
        field = model.model_fields.get(path[0])
        return None if field is None else _model_at(field.annotation, path[1:])
    if path and get_args(model):
        return _model_at(get_args(model)[-1], path[1:])
    return None


def _keys_at(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    at = _model_at(model, path)
    return [] if at is None else list(at.model_fields)


def _strangers(model: type[BaseModel], table: Mapping[str, Any], path: tuple[str, ...]) -> set[str]:
    """Return the keys of a table that its model does not know, as where a driver has keys of its own."""
    at: Any = table
    for part in path:
        at = at.get(part) if isinstance(at, Mapping) else None
    return set(at).difference(_keys_at(model, path)) if isinstance(at, Mapping) else set()


def _all_keys(model: type[BaseModel], path: tuple[str, ...], remedy: str) -> str:
    keys = _keys_at(model, path)
    return f"the keys here are {', '.join(keys)}" if keys else remedy
