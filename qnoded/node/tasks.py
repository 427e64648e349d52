"""Tasks that live exactly as long as a block of code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run coroutines beside the block; cancel them at its end, and end the block if one of them fails.

    The first error of block or coroutines leaves as itself, not in a group: whoever waits here wants to know why.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as errors:
        here = asyncio.current_task()
        if here is not None and here.cancelling():
            # Python 3.11 forgets a cancellation that comes while the group ends because of an error.
            raise asyncio.CancelledError from errors
        raise _first(errors) from errors


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
