"""Following a daemon that may vanish and come back: what was seen last, and how old it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final

from qnoded.cli.ctl.client import Daemon
from qnoded.cli.ctl.reading import status_from
from qnoded.errors import DaemonUnavailable
from qnoded.node.status import NodeStatus

AGAIN_S: Final = 1.0
"""Pause before the next attempt to reach the daemon."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest snapshot."""

    document: dict[str, Any]
    status: NodeStatus
    age_s: float = 0.0
    problem: str = ""
    """Why there is no newer one; empty: this one is new."""


def follow(
    daemon: Daemon,
    count: int | None = None,
    wait: Callable[[float], None] = sleep,
    clock: Callable[[], float] = monotonic,
) -> Iterator[Seen]:
    """Yield each new snapshot, and the last one again while the daemon is away; end after ``count`` new ones.

    Raises
    ------
    DaemonUnavailable
        If the daemon was not there to begin with.
    """
    last: Seen | None = None
    heard_s = clock()
    while True:
        try:
            for document in daemon.stream():
                last, heard_s = Seen(document, status_from(document)), clock()
                yield last
                count = None if count is None else count - 1
                if count is not None and count <= 0:
                    return
        except DaemonUnavailable as error:
            if last is None:
                raise
            yield Seen(last.document, last.status, clock() - heard_s, str(error))
            wait(AGAIN_S)
