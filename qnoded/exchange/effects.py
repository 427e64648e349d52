"""The five things that a script may ask of whoever runs it: send, receive, compute, wait, emit.

A script is a generator. It asks by ``yield from`` one of the functions below, which give the answer its type::

    def alice(block: Block) -> Script[bool]:
        yield from send(Question(...))
        answer = yield from receive(Answer)
        return (yield from compute(judge, block, answer))

The runner sends ``None`` back for send, wait and emit, the message for receive and the result for compute. An exception
of the computation, a broken connection or a cancellation is thrown into the script at the ``yield``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.happenings import Happening
from qnoded.exchange.messages import Message

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Send:
    """Hand a message to the link, in order; does not wait until it arrives."""

    message: Message


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the peer's next message, or in a live link for the next happening of this end, as they arrive."""

    expected: type[Message]
    """What the protocol allows here; the script refuses anything else. A happening may always come in its place to a
    script that is given happenings."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Run something that takes long and touches no I/O, in a thread or at once."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass (``loop_s``)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell whoever watches; a record that is complete, never a secret."""

    record: object


Effect = Send | Receive | Compute | Wait | Emit
Script = Generator[Effect, Any, T]


def send(message: Message) -> Script[None]:
    """Send a message."""
    yield Send(message)


def receive(expected: type[M]) -> Script[M]:
    """Return the peer's next message.

    Raises
    ------
    RemoteProtocolError
        If it is of another kind.
    """
    message = yield Receive(expected)
    if not isinstance(message, expected):
        problem = f"{type(message).__name__} arrived where {expected.__name__} is due; both ends must run one version"
        raise RemoteProtocolError(problem)
    return message


def arrival() -> Script[Message | Happening]:
    """Return what comes next: a message of the peer, or something that happened here."""
    arrived: Message | Happening = yield Receive(Message)
    return arrived


def compute(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Script[T]:
    """Return what a function returns, wherever the runner lets it run."""
    result: T = yield Compute(partial(function, *args, **kwargs))
    return result


def wait(seconds: float) -> Script[None]:
    """Let time pass."""
    yield Wait(seconds)


def emit(record: object) -> Script[None]:
    """Tell whoever watches."""
    yield Emit(record)


def demand(holds: bool, problem: str) -> None:
    """Refuse what the peer sent unless it ``holds``.

    Raises
    ------
    RemoteProtocolError
        With the problem, which says what to do.
    """
    if not holds:
        raise RemoteProtocolError(problem)
