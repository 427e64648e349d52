"""From the daemon's JSON back to the records that it was made of."""

from __future__ import annotations

from typing import Any

from qnoded.errors import DaemonUnavailable
from qnoded.node.status import Event, NodeStatus


def status_from(document: dict[str, Any]) -> NodeStatus:
    """Return the snapshot; what a newer daemon says beyond it is left out.

    Raises
    ------
    DaemonUnavailable
        If it is none.
    """
    status: NodeStatus = _read(NodeStatus, document)
    return status


def events_from(document: dict[str, Any]) -> tuple[Event, ...]:
    """Return the events of an answer to ``/v1/events``."""
    events: tuple[Event, ...] = _read(tuple[Event, ...], document.get("events"))
    return events


def _read(kind: Any, document: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = f"the daemon's answer is not understood at {key!r}; use the qnodectl of the daemon's own version"
        raise DaemonUnavailable(problem) from None
