"""A script: what happens to the world at which moment of true time, from a TOML file.

[[event]]
what = "fibre_cut"
at_s = 12.0
for_s = 3.0
side = "bob"
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from qnoded.errors import ConfigError
from qnoded.sim.events import EVENTS, Event

MODELS: Final = {str(model.model_fields["what"].annotation.__args__[0]): model for model in EVENTS}  # type: ignore[union-attr]  # each has a Literal
"""Events by their ``what``."""
MOST_EVENTS: Final = 10_000
LARGEST_SCRIPT: Final = 4 * 2**20
"""Bytes; far more than so many events need."""
SEE: Final = "see docs/simulator.md"
SHOWN: Final = 80
"""Characters of a wrong value in a message."""


def load_script(file: Path) -> tuple[Event, ...]:
    """Return the events of a script in the order in which they begin.

    Raises
    ------
    ConfigError
        If the file cannot be read or an event is not valid; names file, key, value and what to write.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_SCRIPT + 1)
    except OSError as error:
        raise ConfigError(file, "file", error.strerror or str(error), "check the path") from None
    if len(content) > LARGEST_SCRIPT:
        raise ConfigError(file, "file", f"has more than {LARGEST_SCRIPT} bytes", "this is no script of events")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(file, "TOML", str(error), f"write [[event]] tables, {SEE}") from None
    return read_script(table, file)


def read_script(table: dict[str, Any], where: str | Path) -> tuple[Event, ...]:
    """Return the events of a script that is read already; ``where`` is its name in messages."""
    for key in table:
        if key != "event":
            raise ConfigError(where, key, "a script has [[event]] tables and nothing else", "did you mean [[event]]?")
    events = table.get("event", [])
    if not isinstance(events, list):
        raise ConfigError(where, "event", "is not a list of tables", "write [[event]] with two brackets")
    if len(events) > MOST_EVENTS:
        raise ConfigError(where, "event", f"{len(events)} events", f"use at most {MOST_EVENTS}")
    found = [read_event(one, where, f"event[{k}]") for k, one in enumerate(events)]
    return tuple(sorted(found, key=lambda event: event.at_s))


def read_event(table: object, where: str | Path, place: str) -> Event:
    """Return one event; ``place`` is its name in messages.

    Raises
    ------
    ConfigError
        If it is not valid.
    """
    if not isinstance(table, dict):
        raise ConfigError(where, place, f"is {str(table)[:SHOWN]!r}, not a table", "write [[event]] tables")
    what = table.get("what")
    model = MODELS.get(what) if isinstance(what, str) else None
    if model is None:
        near = difflib.get_close_matches(str(what), MODELS, 1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"use one of {', '.join(MODELS)}"
        raise ConfigError(where, f"{place}.what", f"there is no event {str(what)[:SHOWN]!r}", remedy)
    try:
        return model.model_validate(table)
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in finding["loc"])
    full = f"{place}.{key}"
    if finding["type"] == "missing":
        raise ConfigError(where, full, f"{what} needs it", f"add {key} = ..., {SEE}") from None
    value = str(finding["input"])[:SHOWN]
    if finding["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, model.model_fields, 1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"{what} has {', '.join(model.model_fields)}"
        raise ConfigError(where, full, f"there is no such key (value {value!r})", remedy) from None
    problem = finding["msg"].removeprefix("Value error, ")
    raise ConfigError(where, full, f"{problem} (found {value!r})", SEE) from None
