"""The guard: starts the daemon, watches it, and makes every instrument safe by raw bytes whatever ends the daemon.

    python -m qnoded.hil.guard PLAN.json -- COMMAND...

It is the daemon's parent, so four deaths are covered by the kernel and by nothing that could itself hang:

- The daemon dies: its process file descriptor becomes readable at once.
- The daemon hangs: it no longer feeds the watchdog, as a service manager's (NOTIFY_SOCKET, WATCHDOG_USEC), from the
  moment on at which it has said READY=1. Then it is killed first: a stopped process would hold its ports, and light up
  again on waking.
- The runner dies: the guard's standard input ends, which is its lease; the daemon is told to stop.
- The guard dies: the kernel tells the daemon to stop (PR_SET_PDEATHSIG).

Whatever fails in the guard itself ends the watch as a silent daemon does: killed, and everything made safe. It never
starts anything twice, and sends nothing but what makes safe. Everything is written into a ledger, one JSON document a
line, after the bytes are out. Exit code 0: every instrument confirmed; 2: nothing was started; 3: not every one.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from qnoded.hil.safing import Safed, Target, make_all_safe, prepare, target_of

PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""
STOPPING_S: Final = 3.0
"""A daemon that was told to stop is dark within two seconds; then it is killed."""
REAPING_S: Final = 0.2
"""A killed process that is not gone by then hangs in the kernel: its instruments are made safe nevertheless."""
LARGEST_MESSAGE: Final = 4096
LEASE: Final = 0
"""Standard input."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Ask the guard to end."""
SAFE: Final = "safe"
NOT_SAFE: Final = "NOT CONFIRMED SAFE"
"""What a ledger says of an instrument."""
USEC_PER_S: Final = 1_000_000
EXIT_UNCONFIRMED: Final = 3
EXIT_USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What the guard has to know; made by the runner."""

    targets: tuple[Target, ...]
    silence_s: float
    """A daemon that was ready and has been silent for so long is killed."""
    patience_s: float
    """An instrument that does not confirm is given up after so long."""
    ledger: Path

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "targets": [target.document() for target in self.targets],
            "silence_s": self.silence_s,
            "patience_s": self.patience_s,
            "ledger": str(self.ledger),
        }


def plan_of(document: dict[str, Any]) -> Plan:
    """Return the plan of a JSON document; ``KeyError``, ``TypeError`` or ``ValueError`` if it is none."""
    return Plan(
        tuple(target_of(one) for one in document["targets"]),
        float(document["silence_s"]),
        float(document["patience_s"]),
        Path(document["ledger"]),
    )


class Guard:
    """One daemon and the instruments that it holds."""

    def __init__(self, plan: Plan, command: Sequence[str]) -> None:
        self._plan, self._command = plan, command
        self._ready = False
        self._heard_s = 0.0

    def run(self) -> int:
        """Start the daemon, wait for whatever ends it, make everything safe; return the exit code."""
        prepare(self._plan.targets)
        with tempfile.TemporaryDirectory(prefix="qnoded-guard-", ignore_cleanup_errors=True) as folder:
            # In a folder of its own that nobody else may enter: only the daemon can feed the watchdog.
            feed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            with feed:
                feed.bind(address := str(Path(folder) / "notify"))
                signals = _signals()
                # Not as a context: that would wait for ever for a daemon that even SIGKILL does not end.
                try:
                    daemon = self._started(address)
                except (OSError, subprocess.SubprocessError) as error:
                    return _refused(f"{self._command[0]} cannot be started: {error}")
                try:
                    self._note("watching", pid=daemon.pid, devices=[one.device for one in self._plan.targets])
                    why, at_once = self._wait(daemon, feed, signals)
                except Exception as error:
                    # Whatever it is: nobody else watches.
                    why, at_once = f"the guard failed: {error!r}", True
                try:
                    self._end(daemon, at_once=at_once)
                finally:
                    confirmed = self._make_safe(why, time.monotonic())
        # On its way out Python gives signals back their own effect: one that comes late would look like a killed guard.
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        return 0 if confirmed else EXIT_UNCONFIRMED

    def _started(self, address: str) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if key != "WATCHDOG_PID"}
        environment["NOTIFY_SOCKET"] = address
        environment["WATCHDOG_USEC"] = str(int(self._plan.silence_s * USEC_PER_S))
        libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

        def tie() -> None:
            if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
            # The guard may have died before the tie held.
            if os.getppid() != parent:
                os._exit(EXIT_USAGE)

        # A group of its own: Ctrl-C at the terminal reaches the guard, which ends the daemon in order.
        return subprocess.Popen(  # noqa: S603 - the command is the runner's own
            self._command,
            env=environment,
            stdin=subprocess.DEVNULL,
            preexec_fn=tie,  # noqa: PLW1509 - this process has one thread
            process_group=0,
        )

    def _wait(self, daemon: subprocess.Popen[bytes], feed: socket.socket, signals: socket.socket) -> tuple[str, bool]:
        """Return why the watch is over, and whether the daemon must be killed at once."""
        life = os.pidfd_open(daemon.pid)
        try:
            with selectors.DefaultSelector() as waiting:
                for one in (life, feed, signals, LEASE):
                    waiting.register(one, selectors.EVENT_READ)
                while True:
                    silent_s = time.monotonic() - self._heard_s
                    if self._ready and silent_s >= self._plan.silence_s:
                        return f"the daemon was silent for {silent_s:.2f} s", True
                    left_s = self._plan.silence_s - silent_s if self._ready else None
                    happened = {key.fileobj for key, _ in waiting.select(left_s)}
                    if life in happened:
                        return f"the daemon ended: {_ending(daemon.wait())}", False
                    if feed in happened:
                        self._listen(feed)
                    if signals in happened:
                        return f"the guard was told to end: {signal.Signals(signals.recv(1)[0]).name}", False
                    if LEASE in happened and not os.read(LEASE, LARGEST_MESSAGE):
                        return "the runner has gone", False
        finally:
            os.close(life)

    def _listen(self, feed: socket.socket) -> None:
        """Take what the daemon says: that it is ready, and that it is alive."""
        words = feed.recv(LARGEST_MESSAGE).split(b"\n")
        self._heard_s = time.monotonic()
        if b"READY=1" in words and not self._ready:
            self._ready = True
            self._note("ready")
        if b"STOPPING=1" in words:
            self._note("stopping")

    def _end(self, daemon: subprocess.Popen[bytes], *, at_once: bool) -> None:
        """End the daemon, in order if there is time for it: then it darkens its instruments itself."""
        if daemon.poll() is not None:
            return
        if not at_once:
            daemon.terminate()
            try:
                daemon.wait(STOPPING_S)
                return
            except subprocess.TimeoutExpired:
                self._note("told to stop in vain", pid=daemon.pid)
        daemon.kill()
        try:
            daemon.wait(REAPING_S)
        except subprocess.TimeoutExpired:
            self._note("killed in vain", pid=daemon.pid)

    def _make_safe(self, why: str, began_s: float) -> bool:
        outcomes = make_all_safe(self._plan.targets, self._plan.patience_s)
        self._note("ended", why=why, after_s=time.monotonic() - began_s)
        return note_safed(self._plan.ledger, "guard", outcomes)

    def _note(self, what: str, **more: Any) -> None:
        write_ledger(self._plan.ledger, what, "guard", **more)


def write_ledger(ledger: Path, what: str, by: str, **more: Any) -> None:
    """Add a line; a disk that refuses it holds nobody up."""
    utc = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = json.dumps({"utc": utc, "monotonic_s": round(time.monotonic(), 4), "by": by, "what": what} | more)
    try:
        with ledger.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        # Nor does a terminal that has gone.
        with suppress(OSError, ValueError):
            print(f"guard: {ledger}: {error.strerror}: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the last way


def note_safed(ledger: Path, by: str, outcomes: Sequence[Safed]) -> bool:
    """Write down what became of the instruments; return whether all of them confirmed."""
    for one in outcomes:
        what = SAFE if one.confirmed else NOT_SAFE
        write_ledger(ledger, what, by, device=one.device, took_s=round(one.took_s, 4), said=one.said)
    return all(one.confirmed for one in outcomes)


def _signals() -> socket.socket:
    """Return a socket in which the number of each signal arrives that asks the guard to end."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    for one in SIGNALS:
        signal.signal(one, lambda *_: None)
    # The wakeup descriptor is a number: the object must live as long as the process does.
    signal.set_wakeup_fd(far.detach())
    return near


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    # Real-time signals have no names.
    return next((one.name for one in signal.Signals if one == -code), f"signal {-code}")


def _has_lease() -> bool:
    """Return whether the end of standard input would be noticed: not that of a file, nor of /dev/null."""
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(LEASE, selectors.EVENT_READ)
    except OSError:
        return False
    return True


def main(arguments: Sequence[str]) -> int:
    """Guard a command as a plan says."""
    try:
        file, separator, *command = arguments
        plan = plan_of(json.loads(Path(file).read_text(encoding="utf-8")))
    except (OSError, KeyError, TypeError, ValueError) as error:
        return _refused(f"needs PLAN.json -- COMMAND...: {error}")
    if separator != "--" or not command:
        return _refused("needs PLAN.json -- COMMAND...")
    if not _has_lease():
        return _refused("its standard input is its lease, and cannot be watched; give it a pipe that its caller holds")
    return Guard(plan, command).run()


def _refused(problem: str) -> int:
    print(f"guard: {problem}", file=sys.stderr)  # noqa: T201 - a command's own words
    return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
