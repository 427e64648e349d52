"""Both ends of a conversation in one process, in memory: any interleaving, and a channel that may do its worst.

``converse`` pumps two scripts until both have ended. Which end moves next is the ``schedule``'s choice, what becomes of
a message on its way the ``channel``'s; the default of both is fair and faultless. Time is virtual.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from qnoded.errors import PeerSilent, QnodedError
from qnoded.exchange.effects import Compute, Emit, Receive, Script, Send, Wait
from qnoded.exchange.messages import Message

A = TypeVar("A")
B = TypeVar("B")

ALICE: Final = 0
BOB: Final = 1

Schedule = Callable[[Sequence[int]], int]
"""Which of the ends that can move (``ALICE``, ``BOB``) moves next."""
Channel = Callable[[int, int, Message], Iterable[Message]]
"""What arrives of one message: (sender, number of the sender's messages before, message) -> none, one or more."""


def faithful(_sender: int, _number: int, message: Message) -> Iterable[Message]:
    """Let each message arrive once, as it was sent."""
    return (message,)


def in_turn(movable: Sequence[int]) -> int:
    """Let alice go on until she has to wait, then bob."""
    return movable[0]


@dataclass(slots=True)
class Conversation(Generic[A, B]):
    """What came of it."""

    alice: A | QnodedError | None = None
    """The script's result, or the error that ended it."""
    bob: B | QnodedError | None = None
    transcript: list[tuple[int, Message]] = field(default_factory=list)
    """(sender, message) in the order of sending, before the channel touched them."""
    emitted: tuple[list[object], list[object]] = field(default_factory=lambda: ([], []))
    elapsed_s: float = 0.0
    """Virtual time that the scripts waited, the longer of both."""


class _End:
    """One script, what it last asked for, and what has arrived for it."""

    def __init__(self, script: Script[Any]) -> None:
        self.script, self.inbox = script, deque[Message]()
        self.effect: object = None
        self.ended = False
        self.result: object = None
        self.waited_s = 0.0
        self.sent = 0

    @property
    def movable(self) -> bool:
        return not self.ended and (not isinstance(self.effect, Receive) or bool(self.inbox))

    def resume(self, step: Callable[[], object]) -> None:
        try:
            self.effect = step()
        except StopIteration as stop:
            self.ended, self.result = True, stop.value
        except QnodedError as error:
            self.ended, self.result = True, error


def converse(
    alice: Script[A],
    bob: Script[B],
    *,
    schedule: Schedule = in_turn,
    channel: Channel = faithful,
    run: Callable[[Callable[[], Any]], Any] = lambda work: work(),
) -> Conversation[A, B]:
    """Run both scripts to their ends.

    An end that waits for a message which can no longer come gets ``PeerSilent``, as after a link's timeout. Errors
    of qnoded end a script and are its result; anything else is a bug and passes through.

    Parameters
    ----------
    alice, bob : the scripts, not yet started
    schedule : chooses who moves, among those that can
    channel : decides what arrives
    run : runs what a script wants computed
    """
    told: Conversation[A, B] = Conversation()
    ends = (_End(alice), _End(bob))
    for end in ends:
        end.resume(lambda script=end.script: next(script))  # type: ignore[misc]  # bound at once, per end
    while not all(end.ended for end in ends):
        movable = [which for which, end in enumerate(ends) if end.movable]
        if not movable:
            silent = next(end for end in ends if not end.ended)
            error = PeerSilent("nothing more arrives from the other end; the conversation is over")
            silent.resume(lambda end=silent, error=error: end.script.throw(error))  # type: ignore[misc]  # as above
            continue
        which = schedule(movable)
        end, peer = ends[which], ends[1 - which]
        effect, answer = end.effect, None
        if isinstance(effect, Send):
            told.transcript.append((which, effect.message))
            peer.inbox.extend(channel(which, end.sent, effect.message))
            end.sent += 1
        elif isinstance(effect, Receive):
            answer = end.inbox.popleft()
        elif isinstance(effect, Compute):
            try:
                answer = run(effect.work)
            except QnodedError as error:
                end.resume(lambda script=end.script, error=error: script.throw(error))  # type: ignore[misc]  # as above
                continue
        elif isinstance(effect, Wait):
            end.waited_s += effect.seconds
        elif isinstance(effect, Emit):
            told.emitted[which].append(effect.record)
        end.resume(lambda script=end.script, answer=answer: script.send(answer))  # type: ignore[misc]  # as above
    told.alice, told.bob = ends[ALICE].result, ends[BOB].result  # type: ignore[assignment]  # what the scripts returned
    told.elapsed_s = max(end.waited_s for end in ends)
    return told
