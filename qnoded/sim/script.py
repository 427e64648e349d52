"""A script: what happens to the world at which moment of true time, from a TOML file.

[[event]]
what = "fibre_cut"
at_s = 12.0
for_s = 3.0
side = "bob"
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from qnoded.errors import ConfigError
from qnoded.explaining import explained, nearest
from qnoded.sim.events import EVENTS, Event
from qnoded.toml_file import read_table

MODELS: Final = {str(model.model_fields["what"].annotation.__args__[0]): model for model in EVENTS}  # type: ignore[union-attr]  # each has a Literal
"""Events by their ``what``."""
MOST_EVENTS: Final = 10_000
SEE: Final = "see docs/simulator.md"
SHOWN: Final = 60
"""Characters of a wrong value in a message."""


def load_script(file: Path) -> tuple[Event, ...]:
    """Return the events of a script in the order in which they begin.

    Raises
    ------
    ConfigError
        For the first mistake; names file, key, value and what to write.
    """
    return read_script(read_table(file, f"write [[event]] tables, {SEE}"), file)


def read_script(table: Mapping[str, Any], where: str | Path) -> tuple[Event, ...]:
    """Return the events of a script that is read already; ``where`` is its name in messages."""
    events, errors = script_errors(table, where)
    if errors:
        first, *others = errors
        more = f" (and {len(others)} more: qnoded check {where})" if others else ""
        raise ConfigError(first.where, first.key, first.problem, first.remedy + more)
    return events


def script_errors(table: Mapping[str, Any], where: str | Path) -> tuple[tuple[Event, ...], list[ConfigError]]:
    """Return the events in the order in which they begin, and all that is wrong with a script."""
    errors = [
        ConfigError(where, key, "a script has [[event]] tables and nothing else", "did you mean [[event]]?")
        for key in table
        if key != "event"
    ]
    listed = table.get("event", [])
    if not isinstance(listed, list):
        errors.append(ConfigError(where, "event", "is not a list of tables", "write [[event]] with two brackets"))
        return (), errors
    if len(listed) > MOST_EVENTS:
        errors.append(ConfigError(where, "event", f"{len(listed)} events", f"use at most {MOST_EVENTS}"))
        return (), errors
    events = []
    for number, one in enumerate(listed):
        event, wrong = _event(one, where, f"event[{number}]")
        errors += wrong
        events += [event] if event is not None else []
    return tuple(sorted(events, key=lambda event: event.at_s)), errors


def read_event(table: object, where: str | Path, place: str) -> Event:
    """Return one event; ``place`` is its name in messages.

    Raises
    ------
    ConfigError
        If it is not valid.
    """
    event, errors = _event(table, where, place)
    if event is None:
        raise errors[0]
    return event


def _event(table: object, where: str | Path, place: str) -> tuple[Event | None, list[ConfigError]]:
    """Return the event and no errors, or None and all that is wrong with it."""
    if not isinstance(table, dict):
        return None, [ConfigError(where, place, f"is no table (found {_short(table)})", "write [[event]] tables")]
    if "what" not in table:
        return None, [ConfigError(where, f"{place}.what", "is missing", f"add it; one of {', '.join(MODELS)}")]
    what = table["what"]
    model = MODELS.get(what) if isinstance(what, str) else None
    if model is None:
        near = nearest(str(what), MODELS)
        remedy = f"did you mean {near}?" if near else f"use one of {', '.join(MODELS)}"
        return None, [ConfigError(where, f"{place}.what", f"there is no such event (found {_short(what)})", remedy)]
    try:
        return model.model_validate(table), []
    except ValidationError as error:
        found = explained(error, model, table, str(where), f"see {what} in docs/simulator.md")
    return None, [ConfigError(where, f"{place}.{one.key}", one.problem, one.remedy) for one in found]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
