"""Reading a node's file: every mistake at once, or the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from qnoded.errors import ConfigError
from qnoded.explaining import explained
from qnoded.node_settings.models import NodeSettings
from qnoded.toml_file import read_table

REMEDY: Final = "see config/sim/alice.toml and docs/operating.md"


def load_node(path: Path) -> NodeSettings:
    """Read a node's file; relative paths in it count from its folder.

    Raises
    ------
    ConfigError
        For the first mistake, with file, key, value and remedy; says how many more there are.
    """
    return check_node(read_table(path, REMEDY), str(path), path.parent)


def check_node(table: dict[str, Any], where: str, folder: Path) -> NodeSettings:
    """Turn a table into settings, or raise the ``ConfigError`` of its first mistake."""
    settings, errors = node_errors(table, where, folder)
    if settings is None:
        first, *others = errors
        more = f" (and {len(others)} more: qnoded check {where})" if others else ""
        raise ConfigError(first.where, first.key, first.problem, first.remedy + more)
    return settings


def node_errors(table: dict[str, Any], where: str, folder: Path) -> tuple[NodeSettings | None, list[ConfigError]]:
    """Return the settings and no errors, or None and all that was found wrong."""
    try:
        return NodeSettings.model_validate(table, context={"folder": folder}), []
    except ValidationError as error:
        return None, explained(error, NodeSettings, table, where, REMEDY)
