"""Start and end the programs of a link as an operator would, and leave none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qnoded.errors import InstrumentUnavailable

STOP_S: Final = 10.0
"""A daemon makes itself safe and ends within 5 s; after twice that it is killed."""
LAST_LINES: Final = 12
"""Of a program's log, shown when it ends by itself."""


@dataclass(slots=True)
class Program:
    """A running program."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def ended_badly(self) -> str | None:
        """Return what its log said last, if it has ended by itself; None while it runs."""
        if self.process.returncode is None:
            return None
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join((f"{self.name} ended with exit code {self.process.returncode}:", *lines))

    async def stop(self) -> None:
        """Ask it to end; kill it if it does not."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)


@contextlib.asynccontextmanager
async def started(name: str, words: Sequence[str], folder: Path) -> AsyncIterator[Program]:
    """Run ``qnoded WORDS`` with its log in ``folder/NAME.log``; leaving the block ends it, whatever happened."""
    program = await start(name, words, folder)
    try:
        yield program
    finally:
        await asyncio.shield(program.stop())


async def start(name: str, words: Sequence[str], folder: Path) -> Program:
    """Start ``qnoded WORDS`` with its log in ``folder/NAME.log``; whoever starts it ends it, if by being killed."""
    log = folder / f"{name}.log"
    with log.open("ab") as handle:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "qnoded.demo.leashed",
            str(os.getpid()),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=handle,
            # Ctrl-C reaches only the one who shows; the others are asked to end in order.
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    return Program(name, process, log)


async def ready_line(program: Program, seconds: float) -> str:
    """Return the first line that a program prints.

    Raises
    ------
    InstrumentUnavailable
        If it ends or says nothing in time.
    """
    assert program.process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            line = (await program.process.stdout.readline()).decode(errors="replace").strip()
    except TimeoutError:
        problem = f"{program.name} said nothing for {seconds:g} s; its log is {program.log}"
        raise InstrumentUnavailable(problem) from None
    if not line:
        await program.process.wait()
        raise InstrumentUnavailable(program.ended_badly() or f"{program.name} closed its output")
    return line
