"""An event loop whose time jumps: when every task waits for the clock, the clock goes straight to the next alarm.

An hour of time-outs and back-offs takes milliseconds, and the same on every run::

    def test_patience() -> None:
        assert virtual_time.run(after_an_hour()) == "still here"

Time stands still while code runs and while a thread of ``run_in_executor`` or ``asyncio.to_thread`` works. It knows of
no other thread, and of no peer behind a socket unless that lives in the same loop: code that waits for others with a
time-out needs a real loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")

STUCK_S: Final = 30.0
"""Real time after which a loop that waits for nothing but sockets or threads is declared stuck."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new loop that starts at time 0, and return its result.

    Raises
    ------
    RuntimeError
        If it leaves tasks unfinished, or waits for something that can never happen.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(main)
        # Async generators that were dropped are closed by tasks of their own, in the loop's next turn.
        runner.run(asyncio.sleep(0))
        left = asyncio.all_tasks(runner.get_loop())
        if left:
            problem = f"tasks were left unfinished: {sorted(task.get_name() for task in left)}"
            raise RuntimeError(problem)
        return result


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose ``time()`` starts at 0 and moves only when nothing is left to do before the next alarm."""

    def __init__(self) -> None:
        self._alarm = _JumpingSelector()
        super().__init__(self._alarm)

    def time(self) -> float:
        """Return the virtual time, s."""
        return self._alarm.now_s

    def run_in_executor(  # type: ignore[override]  # the parent's own stub differs between Python versions
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run in a thread; time stands still until it has finished."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._alarm.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._alarm.threads -= 1


class _JumpingSelector(selectors.BaseSelector):
    """Looks at the sockets without waiting, and lets the clock jump instead."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.threads = 0
        self._sockets = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._sockets.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.threads:
            ready = self._sockets.select(STUCK_S)
            if not ready:
                problem = f"stuck: no alarm is set and nothing has come from a thread or socket for {STUCK_S} s"
                raise RuntimeError(problem)
            return ready
        self.now_s += timeout
        return []

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._sockets.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._sockets.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._sockets.modify(fileobj, events, data)

    def close(self) -> None:
        self._sockets.close()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._sockets.get_map()
