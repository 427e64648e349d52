"""Running checks: each with a driver object of its own, a time limit, and a look at what was left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

from pydantic import BaseModel

from qnoded.errors import QnodedError
from qnoded.instruments.fitting import kind_of
from qnoded.testing.contract import loss, shared
from qnoded.testing.contract.kind import Check
from qnoded.testing.contract.kinds import KINDS
from qnoded.testing.contract.subject import LOOK_S, Bench, Broken, NotApplicable, Subject, demand

LONGEST_CHECK_S: Final = 120.0
CLEARING_S: Final = 1.0
"""Tasks of an emulator, and threads that were told to end, are gone after this."""


def checks(driver: type[Any]) -> tuple[Check, ...]:
    """Return the checks for a driver's kind, in order of reading."""
    return (*shared.CHECKS, *KINDS[kind_of(driver)].checks, *loss.CHECKS)


def name(check: Check) -> str:
    """Return a check's name, as a test's id."""
    return str(getattr(check, "__name__", check))


def standing(settings: BaseModel) -> Callable[[], AbstractAsyncContextManager[Bench]]:
    """Return a bench on which the instrument stands already, and whose cable nobody can pull."""

    @asynccontextmanager
    async def bench() -> AsyncIterator[Bench]:
        yield Bench(settings)

    return bench


def verify(
    check: Check,
    driver: type[Any],
    bench: Callable[[], AbstractAsyncContextManager[Bench]],
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run,
) -> None:
    """Run one check.

    Parameters
    ----------
    check
        One of ``checks(driver)``.
    driver
        The driver's class.
    bench
        Starts what the driver needs, in the same event loop, and ends it afterwards.
    run
        Runs a coroutine in a new event loop; ``virtual_time.run`` where the instrument, if any, lives in that loop.

    Raises
    ------
    Broken
        If the driver breaks the rule, or leaves a task or thread behind.
    NotApplicable
        If that cannot be found out on this bench.
    """
    before = set(threading.enumerate())
    run(_verified(check, driver, bench))
    until_s = time.monotonic() + CLEARING_S
    while (left := [one.name for one in threading.enumerate() if one not in before]) and time.monotonic() < until_s:
        time.sleep(LOOK_S)
    demand(not left, f"threads are left after close: {left}")


async def _verified(check: Check, driver: type[Any], bench: Callable[[], AbstractAsyncContextManager[Bench]]) -> None:
    async with bench() as stand:
        before = asyncio.all_tasks()
        subject = Subject(driver, stand)
        try:
            await _outcome(check, subject)
        except (Broken, NotApplicable):
            # What was found first is what the author needs to know.
            with suppress(Broken):
                await subject.close()
            raise
        await subject.close()
        await _nothing_left(before)


async def _outcome(check: Check, subject: Subject) -> None:
    try:
        async with asyncio.timeout(LONGEST_CHECK_S):
            await check(subject)
    except TimeoutError:
        problem = f"the check was not over after {LONGEST_CHECK_S:g} s"
        raise Broken(problem) from None
    except QnodedError as error:
        problem = f"{type(error).__name__}: {error}"
        raise Broken(problem) from error


async def _nothing_left(before: set[asyncio.Task[Any]]) -> None:
    if clearing := asyncio.all_tasks() - before:
        await asyncio.wait(clearing, timeout=CLEARING_S)
    left = asyncio.all_tasks() - before
    demand(not left, f"tasks are left after close: {sorted(str(task.get_coro()) for task in left)}")
