"""Calls into a driver that cannot hang the node, and cannot throw anything at it but the errors on the errors page."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from qnoded.errors import DriverBroken, DriverStuck, InstrumentUnavailable, QnodedError
from qnoded.instruments.protocols import DEADLINE_S

T = TypeVar("T")

GRACE_S: Final = 0.2
"""A cancelled call gets this long to clean up; sockets and futures need one turn of the loop."""

_abandoned: set[asyncio.Task[Any]] = set()


def abandoned_calls() -> int:
    """Return how many calls neither ended nor let themselves be cancelled; a process that has any must exit hard."""
    return len(_abandoned)


async def bounded(call: Coroutine[Any, Any, T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Await a driver's call, for a limited time, whatever the driver does.

    Parameters
    ----------
    call
        The call, such as ``laser.read()``.
    what
        Words for messages, such as ``"laser: read"``.
    deadline_s
        Longest time that it may take.

    Raises
    ------
    InstrumentUnavailable
        If it did not end in time.
    DriverStuck
        If it did not end when it was cancelled either; it is abandoned.
    DriverBroken
        If it raised what no driver may raise.
    QnodedError
        What it raised itself.
    """
    task = asyncio.get_running_loop().create_task(call, name=what)
    try:
        await asyncio.wait({task}, timeout=deadline_s)
    except asyncio.CancelledError:
        await _let_go(task)
        raise
    if not task.done():
        if await _let_go(task):
            problem = f"{what}: no answer within {deadline_s:g} s"
            raise InstrumentUnavailable(problem)
        problem = (
            f"{what}: neither ended within {deadline_s:g} s nor when it was cancelled; restart the node to be rid of it"
        )
        raise DriverStuck(problem)
    if task.cancelled():
        problem = f"{what}: the driver gave the call up"
        raise InstrumentUnavailable(problem)
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, QnodedError) or not isinstance(error, Exception):
        raise error
    raise _broken(what, error) from error


def guarded(call: Callable[[], T], what: str) -> T:
    """Return what a driver's plain function or property gives.

    Raises
    ------
    DriverBroken
        If it raised what no driver may raise.
    """
    try:
        return call()
    except QnodedError:
        raise
    except Exception as error:
        raise _broken(what, error) from error


def _broken(what: str, error: Exception) -> DriverBroken:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return DriverBroken(f"{what}: mistake in the driver: {type(error).__name__}: {error}{place}; tell its author")


async def through(work: Coroutine[Any, Any, T]) -> T:
    """Await work that must not be left half done: a cancellation takes effect after it. It bounds its own time."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            # Another cancellation, by a node that stops while it swaps, must not leave it half done either.
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


async def _let_go(task: asyncio.Task[Any]) -> bool:
    """Cancel a call; return whether it has ended."""
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE_S)
    if task.done():
        _forget(task)
        return True
    _abandoned.add(task)
    task.add_done_callback(_forget)
    return False


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        # Retrieved, so that the loop does not report as lost what came too late to matter.
        task.exception()
