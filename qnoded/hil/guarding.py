"""The runner's side of the guard: starts it with the daemon, holds its lease, and does its work if it is killed."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from qnoded.errors import InstrumentUnavailable, UsageError
from qnoded.hil.guard import STOPPING_S, Plan, note_safed
from qnoded.hil.safing import make_all_safe

START_S: Final = 30.0
"""From the command to the guard's first word; a loaded machine takes a while to start Python."""
MARGIN_S: Final = 5.0
"""Beyond its own patience a guard needs no more than this to end."""
LOOK_S: Final = 0.02
MS_PER_S: Final = 1000
USER_TICKS: Final = 11
SYSTEM_TICKS: Final = 12
"""Places in /proc/PID/stat after the name, proc_pid_stat(5)."""


class Process:
    """A process that is no child of this one; its number may become another's, its descriptor does not."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._life: int | None = None
        with suppress(ProcessLookupError):
            self._life = os.pidfd_open(pid)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self._life is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._life, number)

    def gone(self, within_s: float) -> bool:
        """Wait for its end; return whether that came in time."""
        if self._life is None:
            return True
        waiting = select.poll()
        waiting.register(self._life, select.POLLIN)
        return bool(waiting.poll(within_s * MS_PER_S))

    def seen(self) -> str:
        """Return what the kernel says of it, for messages."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8", errors="replace")
            times = (
                Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )
        except OSError:
            return "it has gone meanwhile"
        said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        spent_s = (int(times[USER_TICKS]) + int(times[SYSTEM_TICKS])) / os.sysconf("SC_CLK_TCK")
        return f"state {said['State']}, {said['Threads']} threads, {spent_s:.1f} s of processor time"

    def close(self) -> None:
        """Let go of it."""
        if self._life is not None:
            os.close(self._life)
            self._life = None


class Watched:
    """A daemon with its guard; made by ``guarded``."""

    def __init__(self, plan: Plan, guard: asyncio.subprocess.Process, log: Path, before: int) -> None:
        self.plan, self.log = plan, log
        self._guard = guard
        self._before = before
        """How many lines of earlier runs the ledger has."""
        self._daemon: Process | None = None

    @property
    def guard_pid(self) -> int:
        """Process of the guard."""
        return self._guard.pid

    @property
    def daemon(self) -> Process:
        """The daemon, once it has been started."""
        assert self._daemon is not None
        return self._daemon

    async def started(self) -> None:
        """Wait until the daemon has been started."""
        self._daemon = Process(int((await self.noted("watching", START_S))["pid"]))

    async def noted(self, what: str, within_s: float) -> dict[str, Any]:
        """Wait for a line in the ledger and return it.

        Raises
        ------
        InstrumentUnavailable
            If it does not come in time, or the guard ends without it.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while True:
            ended = self._guard.returncode is not None
            found = _noted(self.plan.ledger, self._before, what)
            if found is not None:
                return found
            if ended or loop.time() > until_s:
                problem = f"the guard did not get as far as {what!r} within {within_s:g} s; see {self.log}"
                raise InstrumentUnavailable(problem)
            await asyncio.sleep(LOOK_S)

    def kill_guard(self) -> None:
        """End the guard as nothing in order would."""
        self._guard.kill()

    def let_go(self) -> None:
        """Give the lease up, as a runner that dies does."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()

    async def end(self) -> None:
        """End daemon and guard, with everything safe; also where the guard was killed."""
        if self._guard.returncode is None:
            with suppress(ProcessLookupError):
                self._guard.terminate()
        try:
            async with asyncio.timeout(STOPPING_S + self.plan.patience_s + MARGIN_S):
                await self._guard.wait()
        except TimeoutError:
            self._guard.kill()
            await self._guard.wait()
        if self._guard.returncode is None or self._guard.returncode < 0:
            await asyncio.to_thread(stand_in, self.plan, self._daemon)
        if self._daemon is not None:
            self._daemon.close()


def stand_in(plan: Plan, daemon: Process | None) -> None:
    """Do what a guard that was killed would have done; the kernel has told the daemon to stop.

    Parameters
    ----------
    daemon
        None: it was not started, or nobody was told of it.
    """
    if daemon is not None and not daemon.gone(STOPPING_S):
        daemon.signal(signal.SIGKILL)
        daemon.gone(STOPPING_S)
    note_safed(plan.ledger, "runner", make_all_safe(plan.targets, plan.patience_s))


def read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """Return the lines of a ledger that are complete.

    Raises
    ------
    UsageError
        If the file holds something else.
    """
    try:
        text = ledger.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    except ValueError:
        problem = f"{ledger} holds something else than a safe-state ledger; give another path"
        raise UsageError(problem) from None


def _noted(ledger: Path, before: int, what: str) -> dict[str, Any] | None:
    """Return the first line of this kind after so many of earlier runs."""
    return next((one for one in read_ledger(ledger)[before:] if one["what"] == what), None)


def _words(plan: Plan, command: Sequence[str], folder: Path) -> list[str]:
    """Write the plan into a folder; return the command that starts its guard."""
    file = folder / "guard.json"
    file.write_text(json.dumps(plan.document()), encoding="utf-8")
    return [sys.executable, "-m", "qnoded.hil.guard", str(file), "--", *command]


def run_guarded(plan: Plan, command: Sequence[str]) -> int:
    """Run a command under a guard at this terminal until it ends; return how the guard ended, as ``Popen`` does.

    Ctrl-C reaches the guard as well, which ends the command in order. Where the guard is killed, its work is done here.
    """
    before = len(read_ledger(plan.ledger))
    with tempfile.TemporaryDirectory(prefix="qnoded-rig-") as folder:
        # Its standard input is the lease: it ends with this process, however this one ends.
        with subprocess.Popen(_words(plan, command, Path(folder)), stdin=subprocess.PIPE) as guard:  # noqa: S603 - the caller's own words
            daemon: Process | None = None
            while True:
                with suppress(KeyboardInterrupt):
                    daemon = daemon or _daemon_of(guard, plan.ledger, before)
                    code = guard.wait()
                    break
        if code < 0:
            stand_in(plan, daemon)
        if daemon is not None:
            daemon.close()
    return code


def _daemon_of(guard: subprocess.Popen[bytes], ledger: Path, before: int) -> Process | None:
    """Wait for the guard's word which process it watches; None if none comes."""
    until_s = time.monotonic() + START_S
    while (found := _noted(ledger, before, "watching")) is None:
        if guard.poll() is not None or time.monotonic() > until_s:
            return None
        time.sleep(LOOK_S)
    return Process(int(found["pid"]))


@asynccontextmanager
async def guarded(plan: Plan, command: Sequence[str], folder: Path) -> AsyncIterator[Watched]:
    """Run a command under a guard; at the end both have ended and everything is safe.

    Parameters
    ----------
    plan
        What the guard has to know.
    command
        The daemon.
    folder
        Gets the plan and the log of both.
    """
    log, before = folder / "daemon.log", len(read_ledger(plan.ledger))
    with log.open("ab") as out:
        guard = await asyncio.create_subprocess_exec(
            *_words(plan, command, folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            stderr=out,
            # Not the terminal's: Ctrl-C is for the runner, which ends the guard in order.
            process_group=0,
        )
    watched = Watched(plan, guard, log, before)
    try:
        await watched.started()
        yield watched
    finally:
        await watched.end()
