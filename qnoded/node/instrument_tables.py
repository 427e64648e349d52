"""The instruments of a node's file, checked against the drivers that are installed."""

from __future__ import annotations

from qnoded.errors import ConfigError, DependencyMissing
from qnoded.instruments.registry import validate
from qnoded.node_settings import NodeSettings


def table_errors(settings: NodeSettings, where: str) -> tuple[list[ConfigError], list[str]]:
    """Return what is wrong with the instruments' tables, and notes on drivers that cannot be loaded yet."""
    errors: list[ConfigError] = []
    notes: list[str] = []
    for role, instrument in settings.instruments.items():
        try:
            binding = validate(role, instrument.table(), where)
        except ConfigError as error:
            errors.append(error)
        except DependencyMissing as error:
            notes.append(f"instruments.{role}: {error}; the node starts without it and keeps trying")
        else:
            if binding.driver_class.simulated and not settings.node.simulation:
                problem = f"{binding.driver} is simulated, and this node is not"
                remedy = "set node.simulation = true, which marks every key for life, or choose a real driver"
                errors.append(ConfigError(where, f"instruments.{role}.driver", problem, remedy))
    return errors, notes
