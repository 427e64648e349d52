"""Effects become threads, timers, messages and reports; a cancelled script still tells what becomes of its epochs."""

from __future__ import annotations

import asyncio

import pytest

from qnoded.errors import PeerSilent
from qnoded.exchange.effects import Script, arrival, compute, emit, send, wait
from qnoded.exchange.live_messages import Goodbye
from qnoded.exchange.messages import Message
from qnoded.node.inbox import Inbox
from qnoded.node.pool import Pool
from qnoded.node.script_runner import ScriptRunner
from qnoded.node.watchdog import Progress
from qnoded.testing import virtual_time


class Stage:
    """A runner with its surroundings."""

    def __init__(self) -> None:
        self.inbox, self.pool, self.progress = Inbox(), Pool(1), Progress("script")
        self.sent: list[Message] = []
        self.reports: list[object] = []
        self.runner = ScriptRunner(self.inbox, self.pool, self.progress, self.sent.append, self.reports.append)


def test_each_effect_is_performed_and_answered() -> None:
    def script() -> Script[str]:
        heard = yield from arrival()
        total = yield from compute(sum, [1, 2, 3])
        yield from wait(3600)
        yield from send(Goodbye(f"{total}"))
        yield from emit(heard)
        return "done"

    async def run() -> None:
        stage = Stage()
        stage.inbox.put(Goodbye("first"))
        assert await stage.runner.run(script()) == "done"
        assert stage.sent == [Goodbye("6")]
        assert stage.reports == [Goodbye("first")]
        assert stage.progress.begun == stage.progress.finished == 1
        stage.pool.close()

    virtual_time.run(run())


def test_an_error_of_a_computation_is_the_scripts_to_handle() -> None:
    def script() -> Script[str]:
        try:
            yield from compute(int, "no number")
        except ValueError:
            yield from emit("handled")
        yield from compute(int, "again")
        return "never"

    async def run() -> None:
        stage = Stage()
        with pytest.raises(ValueError, match="again"):
            await stage.runner.run(script())
        assert stage.reports == ["handled"]
        stage.pool.close()

    virtual_time.run(run())


def test_a_cancelled_script_tells_what_it_held_and_does_nothing_else() -> None:
    def script() -> Script[None]:
        try:
            yield from arrival()
        except PeerSilent as reason:
            yield from emit(f"epoch 7 is lost: {reason}")
            yield from emit("epoch 8 is lost")
            yield from send(Goodbye("too late"))
            yield from emit("never")

    async def run() -> None:
        stage = Stage()
        task = asyncio.create_task(stage.runner.run(script()))
        await asyncio.sleep(1)
        stage.runner.ending = PeerSilent("the cable is out")
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert stage.reports == ["epoch 7 is lost: the cable is out", "epoch 8 is lost"]
        assert stage.sent == []
        stage.pool.close()

    virtual_time.run(run())
