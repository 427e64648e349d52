"""Check settings files before anything is started: nodes, worlds, scripts of a world and channel maps.

Which of them a file is, is told by its content. Every mistake is one line: file, key, what is wrong with which value,
and what to do. Exit code 2 if there is one.

  qnoded check config/*.toml config/sim/*.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qnoded.errors import ConfigError

Findings = tuple[list["ConfigError"], list[str]]
"""Mistakes, and notes on what is not wrong but not there yet."""

_KEYS: Final = {
    "node": ("node", "instruments", "operate", "receiver", "links"),
    "script": ("event",),
    "world": ("source", "alignment_hz"),
    "channel map": ("tick_ps", "window_ps"),
}
"""Kind of file -> keys that only it has at its top."""
_OF_A_RIG: Final = "it looks like a rig of instruments: qnoded hil check FILE"
_SURELY: Final = 0.7
"""Likeness from which a misspelt key tells the kind of the file."""
_OF_A_WORLD: Final = frozenset({"heralding", "fibre", "analyser", "detectors", "tagger", "clock"})
"""What a side of a world has and a side of a channel map has not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded check``."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a settings file")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace) -> int:
    """Check every file; return 0 only if none has a mistake."""
    import json
    import sys

    from qnoded.errors import ConfigError

    documents = []
    mistakes = 0
    for path in args.files:
        try:
            kind, errors, notes = examine(path)
        except ConfigError as error:
            kind, errors, notes = None, [error], []
        mistakes += len(errors)
        documents.append(
            {
                "file": str(path),
                "kind": kind,
                "errors": [{"key": one.key, "problem": one.problem, "remedy": one.remedy} for one in errors],
                "notes": notes,
            }
        )
        if not args.json:
            for one in errors:
                print(one, file=sys.stderr)
            for note in notes:
                print(f"{path}: note: {note}")
            if not errors:
                print(f"{path}: a {kind}, no mistakes")
    if args.json:
        print(json.dumps({"mistakes": mistakes, "files": documents}, indent=2))
    return ConfigError.exit_code if mistakes else 0


def examine(path: Path) -> tuple[str, list[ConfigError], list[str]]:
    """Return what kind of settings file this is, its mistakes, and notes.

    Raises
    ------
    ConfigError
        If it cannot be read, or is none that qnoded knows.
    """
    from qnoded.errors import ConfigError
    from qnoded.toml_file import read_table

    remedy = "see docs/operating.md for the files of qnoded"
    table = read_table(path, remedy)
    kind = kind_of(table)
    if kind is None:
        keys = ", ".join(list(table)[:5]) or "nothing"
        problem = f"holds {keys}, which is no node, world, script or channel map"
        raise ConfigError(path, "file", problem, _OF_A_RIG if "station" in table else remedy)
    if kind == "node":
        return kind, *_node(table, path)
    return kind, _mistakes(kind, table, path), []


def kind_of(table: dict[str, Any]) -> str | None:
    """Return the kind of a settings file by its keys, misspelt ones included; None if it is none."""
    from qnoded.explaining import nearest

    for kind, keys in _KEYS.items():
        if any(key in keys for key in table):
            return kind
    sides = [table[side] for side in ("alice", "bob") if isinstance(table.get(side), dict)]
    if sides:
        return "world" if any(_OF_A_WORLD & side.keys() for side in sides) else "channel map"
    return next((kind for kind, keys in _KEYS.items() if any(nearest(key, keys, _SURELY) for key in table)), None)


def _node(table: dict[str, Any], path: Path) -> Findings:
    from qnoded.node.instrument_tables import table_errors
    from qnoded.node.prechecks import precheck
    from qnoded.node_settings import node_errors

    settings, errors = node_errors(table, str(path), path.parent)
    if settings is None:
        return errors, []
    errors, notes = table_errors(settings, str(path))
    more, further = precheck(settings, str(path))
    return errors + more, notes + further


def _mistakes(kind: str, table: dict[str, Any], path: Path) -> list[ConfigError]:
    """Return what is wrong with a file that is no node's."""
    if kind == "world":
        from qnoded.sim.changes import world_errors

        return world_errors(table, str(path))[1]
    if kind == "script":
        from qnoded.sim.script import script_errors

        return script_errors(table, path)[1]
    from qnoded.errors import ConfigError
    from qnoded.settings import check_channel_map

    try:
        check_channel_map(table, str(path))
    except ConfigError as error:
        return [error]
    return []
