"""``qnoded run``: which signals end a daemon, and which mean nothing to it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from qnoded.cli import run
from qnoded.cli.run import _stop_on_signals


class Daemon:
    """What signals reach of a daemon."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def stop(self, why: str) -> None:
        self.said.put_nowait(f"stop: {why}")

    def tell(self, level: str, _source: str, text: str) -> None:
        self.said.put_nowait(f"{level}: {text}")


@pytest.mark.parametrize(
    ("name", "words"),
    [(name, f"stop: {name}") for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")]
    + [(name, f"warning: {name} means nothing") for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGIO", "SIGPWR")],
)
def test_no_signal_ends_a_daemon_without_its_goodbye(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LONGEST_STOP_S", 3600.0)

    async def signalled() -> None:
        daemon = Daemon()
        _stop_on_signals(daemon)
        os.kill(os.getpid(), getattr(signal, name))
        assert (await daemon.said.get()).startswith(words)

    asyncio.run(signalled())
