"""Runs a script of the exchange: its effects become sockets, threads, timers and reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from qnoded.errors import PeerSilent, ProtocolError
from qnoded.exchange.effects import Compute, Effect, Emit, Receive, Script, Send, Wait
from qnoded.exchange.messages import Message
from qnoded.node.inbox import Inbox
from qnoded.node.pool import Pool
from qnoded.node.watchdog import Progress

T = TypeVar("T")


class ScriptRunner:
    """Performs the effects of one script.

    When it is cancelled, the script gets ``ending`` thrown in at its ``yield``, so that it can tell what becomes of the
    epochs in its hands; what it emits then is still delivered, and nothing else is done for it.
    """

    def __init__(
        self,
        inbox: Inbox,
        pool: Pool,
        progress: Progress,
        send: Callable[[Message], None],
        emit: Callable[[object], None],
    ) -> None:
        self.ending: ProtocolError = PeerSilent("the conversation was ended")
        self._inbox, self._pool, self._progress = inbox, pool, progress
        self._send, self._emit = send, emit

    async def run(self, script: Script[T]) -> T:
        """Run a script to its end; its errors pass through."""
        try:
            effect = next(script)
            while True:
                try:
                    answer = await self._perform(effect)
                except Exception as error:  # whatever goes wrong is the script's to handle first
                    effect = script.throw(error)
                else:
                    effect = script.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except asyncio.CancelledError:
            self._unwind(script)
            raise
        finally:
            script.close()

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Receive):
            return await self._inbox.get()
        if isinstance(effect, Compute):
            self._progress.begin()
            try:
                return await self._pool.compute(effect.work)
            finally:
                self._progress.finish()
        if isinstance(effect, Wait):
            return await asyncio.sleep(effect.seconds)
        if isinstance(effect, Send):
            return self._send(effect.message)
        return self._emit(effect.record)

    def _unwind(self, script: Script[Any]) -> None:
        try:
            effect = script.throw(self.ending)
            while isinstance(effect, Emit):
                self._emit(effect.record)
                effect = script.send(None)
        except (StopIteration, ProtocolError):
            return
