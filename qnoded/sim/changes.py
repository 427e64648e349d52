"""Settings of the world from a TOML file and dotted changes; a wrong word is answered with the nearest right one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from qnoded.errors import ConfigError
from qnoded.explaining import explained
from qnoded.sim.settings import NAMES, DetectorSettings, DetectorsSettings, WorldSettings
from qnoded.toml_file import read_table

COMMAND_LINE: Final = "--set"
"""Where a change comes from, in messages."""
NEAREST: Final = 3
"""Keys to suggest."""
REMEDY: Final = "see docs/simulator.md"


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
        table = read_table(file, REMEDY)
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


def world_errors(table: dict[str, Any], where: str) -> tuple[WorldSettings | None, list[ConfigError]]:
    """Return the world and no errors, or None and all that was found wrong with a table."""
    try:
        return WorldSettings.model_validate(table), []
    except ValidationError as error:
        found = explained(error, WorldSettings, table, where, REMEDY)
    # What a file says of all four detectors is found wrong once for each.
    return None, list({str(one): one for one in found}.values())


def _check(table: dict[str, Any], where: str) -> WorldSettings:
    settings, errors = world_errors(table, where)
    if settings is None:
        first, *others = errors
        more = f" (and {len(others)} more: qnoded check {where})" if others and where != COMMAND_LINE else ""
        raise ConfigError(first.where, first.key, first.problem, first.remedy + more)
    return settings


def _no_such_key(text: str) -> str:
    return f"there is no such key (found {text[:80]!r})"


def _nearest(key: str) -> str:
    """Return advice that names the nearest valid keys."""
    known = known_keys()
    near = difflib.get_close_matches(key, known, NEAREST, cutoff=0.5)
    last = key.rsplit(".", 1)[-1]
    if not near:
        ends = {one.rsplit(".", 1)[-1] for one in known}
        alike = difflib.get_close_matches(last, sorted(ends), 1, cutoff=0.5)
        near = [one for one in known if alike and one.endswith(f".{alike[0]}")][:NEAREST]
    return f"did you mean {' or '.join(near)}?" if near else f"{REMEDY} for all keys"
