"""The runner's side of the guard: starts it with the daemon, holds its lease, and does its work if it is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from qnoded.errors import InstrumentUnavailable
from qnoded.hil.guard import STOPPING_S, Plan, write_ledger
from qnoded.hil.safing import make_all_safe

START_S: Final = 30.0
"""From the command to the guard's first word; a loaded machine takes a while to start Python."""
MARGIN_S: Final = 5.0
"""Beyond its own patience a guard needs no more than this to end."""
LOOK_S: Final = 0.02


class Watched:
    """A daemon with its guard; made by ``guarded``."""

    def __init__(self, plan: Plan, guard: asyncio.subprocess.Process, log: Path) -> None:
        self.plan, self.log = plan, log
        self._guard = guard
        self.daemon_pid = 0

    @property
    def guard_pid(self) -> int:
        """Process of the guard."""
        return self._guard.pid

    async def started(self) -> None:
        """Wait until the daemon has been started."""
        self.daemon_pid = int((await self.noted("watching", START_S))["pid"])

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
            found = next((one for one in read_ledger(self.plan.ledger) if one["what"] == what), None)
            if found is not None:
                return found
            if ended or loop.time() > until_s:
                problem = f"the guard did not get as far as {what!r} within {within_s:g} s; see {self.log}"
                raise InstrumentUnavailable(problem)
            await asyncio.sleep(LOOK_S)

    def signal_daemon(self, number: signal.Signals) -> None:
        """Send a signal to the daemon."""
        os.kill(self.daemon_pid, number)

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
            await self._stand_in()

    async def _stand_in(self) -> None:
        """Do what the guard would have done; the kernel has told the daemon to stop."""
        if self.daemon_pid and not await gone(self.daemon_pid, STOPPING_S):
            with suppress(ProcessLookupError):
                os.kill(self.daemon_pid, signal.SIGKILL)
            await gone(self.daemon_pid, STOPPING_S)
        for one in await asyncio.to_thread(make_all_safe, self.plan.targets, self.plan.patience_s):
            what = "safe" if one.confirmed else "NOT CONFIRMED SAFE"
            write_ledger(
                self.plan.ledger, what, "runner", device=one.device, took_s=round(one.took_s, 4), said=one.said
            )


async def gone(pid: int, within_s: float) -> bool:
    """Wait for the end of a process that is no child of this one; return whether it came in time."""
    try:
        life = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(life, ended.set)
    try:
        async with asyncio.timeout(within_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(life)
        os.close(life)
    return True


def read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """Return the lines of a ledger that are complete."""
    try:
        text = ledger.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


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
    file = folder / "guard.json"
    file.write_text(json.dumps(plan.document()), encoding="utf-8")
    log = folder / "daemon.log"
    with log.open("ab") as out:
        guard = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "qnoded.hil.guard",
            str(file),
            "--",
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            stderr=out,
            # Not the terminal's: Ctrl-C is for the runner, which ends the guard in order.
            process_group=0,
        )
    watched = Watched(plan, guard, log)
    try:
        await watched.started()
        yield watched
    finally:
        await watched.end()
