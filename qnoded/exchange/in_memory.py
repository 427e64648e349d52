"""Run both ends of a conversation in one process, without a network: for offline work on two recordings."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeVar

from qnoded.errors import LocalProtocolError
from qnoded.exchange.effects import Compute, Effect, Receive, Script, Send
from qnoded.exchange.messages import Message

A = TypeVar("A")
B = TypeVar("B")

_NOT_ENDED: Final = object()


def run_both(alice: Script[A], bob: Script[B]) -> tuple[A, B]:
    """Run two scripts against each other until both have ended; return what they return.

    Messages arrive at once and in order, waiting takes no time, and nobody watches what is emitted. Errors of a script
    pass through.

    Raises
    ------
    LocalProtocolError
        If both ends wait for each other.
    """
    scripts: tuple[Script[Any], Script[Any]] = (alice, bob)
    inboxes: tuple[deque[Message], deque[Message]] = (deque(), deque())
    pending: list[Effect | None] = [None, None]
    results: list[Any] = [_NOT_ENDED, _NOT_ENDED]
    while _NOT_ENDED in results:
        moved = False
        for which, script in enumerate(scripts):
            while results[which] is _NOT_ENDED:
                effect, answer = pending[which], None
                if isinstance(effect, Receive):
                    if not inboxes[which]:
                        break
                    answer = inboxes[which].popleft()
                elif isinstance(effect, Send):
                    inboxes[1 - which].append(effect.message)
                elif isinstance(effect, Compute):
                    answer = effect.work()
                moved = True
                try:
                    pending[which] = script.send(answer)
                except StopIteration as stop:
                    results[which] = stop.value
        if not moved:
            problem = "both ends wait for a message of the other; their scripts do not belong together"
            raise LocalProtocolError(problem)
    return results[0], results[1]
