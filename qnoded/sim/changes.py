"""Settings of the world from a TOML file and dotted changes; a wrong word is answered with the nearest right one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from qnoded.errors import ConfigError
from qnoded.sim.settings import NAMES, DetectorSettings, DetectorsSettings, WorldSettings
from qnoded.toml_file import read_table

COMMAND_LINE: Final = "--set"
"""Where a change comes from, in messages."""
NEAREST: Final = 3
"""Keys to suggest."""


def known_keys() -> list[str]:
    """Return every dotted key that a change may name, ``bob.detectors.dark_hz`` for all four detectors included."""
    return _keys(WorldSettings, "")


def _keys(model: type[BaseModel], prefix: str) -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += _keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    if model is DetectorsSettings:
        keys += _keys(DetectorSettings, prefix)
    return keys


def load_world(file: Path | None = None, changes: Sequence[str] = ()) -> WorldSettings:
    """Return the default world, changed by a TOML file and then by ``key=value`` words.

    A value is written as in TOML; what is no TOML value is a word, so ``bob.clock.preset=tcxo`` needs no quotes.

    Raises
    ------
    ConfigError
        If the file cannot be read or a key or value is wrong; names where, key, value and the nearest valid keys.
    """
    table: dict[str, Any] = {}
    where = COMMAND_LINE
    if file is not None:
        table = read_table(file, "write it as in docs/simulator.md")
        where = str(file)
        _check(table, where)
    for change in changes:
        _apply(table, change)
    return _check(table, COMMAND_LINE if changes else where)


def _apply(table: dict[str, Any], change: str) -> None:
    """Put one ``key=value`` into the table, in place; what it says of all detectors replaces what each one has."""
    key, equals, text = change.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(COMMAND_LINE, change, "no key=value", "write for example source.pair_rate_hz=2e6")
    known = known_keys()
    if key not in known:
        inner = [one for one in known if one.startswith(f"{key}.")]
        problem = f"names a table, not a value (found {text[:80]!r})" if inner else _no_such_key(text)
        remedy = f"set its keys, such as {inner[0]}" if inner else _nearest(key)
        raise ConfigError(COMMAND_LINE, key, problem, remedy)
    *path, last = key.split(".")
    at: Any = table
    for part in path:
        at = at.setdefault(part, {})
    at[last] = _value(text.strip())
    if path[-1:] == ["detectors"] and last not in NAMES:
        for name in NAMES:
            if isinstance(at.get(name), dict):
                at[name].pop(last, None)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _check(table: dict[str, Any], where: str) -> WorldSettings:
    try:
        return WorldSettings.model_validate(table)
    except ValidationError as error:
        raise _explained(error.errors(include_url=False)[0], where) from None


def _explained(found: ErrorDetails, where: str) -> ConfigError:
    """Turn pydantic's finding into one message."""
    path, value = [str(part) for part in found["loc"]], found["input"]
    if found["type"] == "extra_forbidden":
        while isinstance(value, dict) and value:
            inner, value = next(iter(value.items()))
            path.append(str(inner))
        key = ".".join(path)
        return ConfigError(where, key, _no_such_key(str(value)), _nearest(key))
    key = ".".join(path) or "world"
    problem = found["msg"].removeprefix("Value error, ")
    if isinstance(found["input"], dict):
        return ConfigError(where, key, problem, "see docs/simulator.md")
    return ConfigError(where, key, f"{problem} (found {str(value)[:80]!r})", "see docs/simulator.md")


def _no_such_key(text: str) -> str:
    return f"there is no such key (value {text[:80]!r})"


def _nearest(key: str) -> str:
    """Return advice that names the nearest valid keys."""
    known = known_keys()
    near = difflib.get_close_matches(key, known, NEAREST, cutoff=0.5)
    last = key.rsplit(".", 1)[-1]
    if not near:
        ends = {one.rsplit(".", 1)[-1] for one in known}
        alike = difflib.get_close_matches(last, sorted(ends), 1, cutoff=0.5)
        near = [one for one in known if alike and one.endswith(f".{alike[0]}")][:NEAREST]
    return f"did you mean {' or '.join(near)}?" if near else "see docs/simulator.md for all keys"
