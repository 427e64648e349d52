"""Threads of the node: one bounded pool for kernels, one thread for the disk; the event loop does neither.

A stage that spreads its work (``over``) runs in one thread and waits there for others, so it gets a crew of its own:
with a single pool, as many waiting stages as threads would wait for ever.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST_THREADS: Final = 4
"""Epochs of one node's links in work at once; each of their kernels uses one core."""

PATIENCE_S: Final = 1.0
"""A kernel takes no longer for one epoch; what does is abandoned when the node ends."""


class Pool:
    """Where the node computes and where it writes files."""

    def __init__(self, threads: int | None = None) -> None:
        count = threads or min(MOST_THREADS, max(2, os.cpu_count() or 1))
        self._kernels = ThreadPoolExecutor(count, thread_name_prefix="kernel")
        self._crew = ThreadPoolExecutor(count, thread_name_prefix="crew")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")

    async def compute(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that computes; its errors pass through."""
        return await asyncio.get_running_loop().run_in_executor(self._kernels, lambda: function(*args, **kwargs))

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that waits for the disk, one at a time, in order."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, lambda: function(*args, **kwargs))

    def over(self, function: Callable[..., Any], *iterables: Any) -> Any:
        """Apply a function like ``map``, spread over cores; for stages that already run in the pool."""
        return self._crew.map(function, *iterables)

    def close(self) -> None:
        """Take no more work, and wait for what runs, but not for a disk that hangs."""
        closing = Thread(target=self._shut_down, daemon=True)
        closing.start()
        closing.join(PATIENCE_S)

    def _shut_down(self) -> None:
        for executor in (self._kernels, self._crew, self._disk):
            executor.shutdown(wait=True, cancel_futures=True)
