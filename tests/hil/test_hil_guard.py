"""Whatever ends the daemon, the guard makes everything safe, and writes down what it did."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from qnoded_drivers.toptica_dlc_pro.codec import ENABLED, order
from rigs_made import rig_of

from qnoded.errors import InstrumentUnavailable
from qnoded.hil import guard
from qnoded.hil.benches import Bench, settled, standing
from qnoded.hil.guard import Plan, plan_of
from qnoded.hil.guarding import Watched, guarded, read_ledger
from qnoded.hil.safing import Target

DRIVER = "toptica-dlc-pro"
CURRENT = "laser1:dl:cc:current-set"
CURRENT_MA = 100.0
SILENCE_S = 1.0
PATIENCE_S = 2.0
WITHIN_S = 10.0
"""Of a loaded machine; the bounds themselves are measured by the matrix."""

HOLDER = """
import os, socket, time
feed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
feed.connect(os.environ["NOTIFY_SOCKET"])
feed.send(b"READY=1")
while True:
    feed.send(b"WATCHDOG=1")
    time.sleep(int(os.environ["WATCHDOG_USEC"]) / 3e6)
"""
"""A daemon of which nothing is left but its sign of life."""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HOLDER
SHORT = "import sys; sys.exit(7)"
NAMELESS = 40
"""A real-time signal."""


@asynccontextmanager
async def lit(tmp_path: Path, program: str = HOLDER) -> AsyncIterator[tuple[Bench, Watched]]:
    """A laser that emits, and something under guard that is said to hold it."""
    async with standing(rig_of(tmp_path, DRIVER), DRIVER, "emulated") as bench:
        emulation = bench.emulations[0]
        plan = Plan(bench.device.targets(), SILENCE_S, PATIENCE_S, tmp_path / "ledger.jsonl")
        emulation.device.hear(order(CURRENT, CURRENT_MA) + order(ENABLED, value=True), emulation.now_s)
        assert bench.lit is not None
        assert await settled(bench.lit, True, WITHIN_S)
        async with guarded(plan, [sys.executable, "-c", program], tmp_path) as watched:
            yield bench, watched


async def daemon_killed(watched: Watched) -> None:
    watched.daemon.signal(signal.SIGKILL)


async def daemon_stopped(watched: Watched) -> None:
    watched.daemon.signal(signal.SIGSTOP)


async def told_to_end(watched: Watched) -> None:
    os.kill(watched.guard_pid, signal.SIGTERM)


async def runner_gone(watched: Watched) -> None:
    watched.let_go()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (daemon_killed, "the daemon ended: SIGKILL"),
        (daemon_stopped, "the daemon was silent for"),
        (told_to_end, "the guard was told to end: SIGTERM"),
        (runner_gone, "the runner has gone"),
    ],
)
def test_dark_after(harm: Callable[[Watched], Awaitable[None]], why: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lit(tmp_path) as (bench, watched):
            await watched.noted("ready", WITHIN_S)
            await harm(watched)
            assert (await watched.noted("ended", WITHIN_S))["why"].startswith(why)
            safe = await watched.noted("safe", WITHIN_S)
            assert (safe["by"], safe["device"]) == ("guard", DRIVER)
            assert bench.lit is not None
            assert not await bench.lit()
            assert await asyncio.to_thread(watched.daemon.gone, WITHIN_S)

    asyncio.run(scenario())


def test_a_daemon_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lit(tmp_path, DEAF) as (_, watched):
            await watched.noted("ready", WITHIN_S)
            watched.let_go()
            await watched.noted("told to stop in vain", WITHIN_S)
            await watched.noted("safe", WITHIN_S)
            assert await asyncio.to_thread(watched.daemon.gone, WITHIN_S)

    asyncio.run(scenario())


def test_a_killed_guard_takes_the_daemon_along_and_the_runner_stands_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lit(tmp_path) as (bench, watched):
            await watched.noted("ready", WITHIN_S)
            watched.kill_guard()
            assert await asyncio.to_thread(watched.daemon.gone, WITHIN_S)
        assert bench.lit is not None
        assert [one["by"] for one in read_ledger(watched.plan.ledger) if one["what"] == "safe"] == ["runner"]

    asyncio.run(scenario())


def test_a_daemon_that_ends_by_itself_is_checked_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lit(tmp_path, SHORT) as (_, watched):
            assert (await watched.noted("ended", WITHIN_S))["why"] == "the daemon ended: exit code 7"
            await watched.noted("safe", WITHIN_S)
            with pytest.raises(InstrumentUnavailable, match="did not get as far as 'ready'"):
                await watched.noted("ready", WITHIN_S)

    asyncio.run(scenario())


def test_what_does_not_confirm_is_written_down(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lit(tmp_path) as (bench, watched):
            await watched.noted("ready", WITHIN_S)
            bench.emulations[0].hung = True
            watched.daemon.signal(signal.SIGKILL)
            assert (await watched.noted("NOT CONFIRMED SAFE", WITHIN_S))["device"] == DRIVER

    asyncio.run(scenario())


async def guard_of(folder: Path, command: list[str], before: str = "", **streams: Any) -> asyncio.subprocess.Process:
    """A guard as another program would start it, after a few words of Python in it; it has nothing to make safe."""
    plan = Plan((), SILENCE_S, PATIENCE_S, folder / "ledger.jsonl")
    (folder / "guard.json").write_text(json.dumps(plan.document()), encoding="utf-8")
    code = f"import sys; from qnoded.hil import guard\n{before}\nsys.exit(guard.main(sys.argv[1:]))"
    words = ["-c", code, str(folder / "guard.json"), "--", *command]
    return await asyncio.create_subprocess_exec(sys.executable, *words, **streams)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (
            "def fail(*_): raise RuntimeError('no reason')\nguard.Guard._listen = fail",
            "the guard failed: RuntimeError('no reason')",
        ),
        (
            "guard.STOPPING_S = 0.1\ndef fail(*_, **__): raise OSError('no reason')\nguard.Guard._wait = fail",
            "the guard failed: OSError('no reason')",
        ),
    ],
    ids=["listening", "waiting"],
)
def test_an_error_in_the_guard_ends_the_daemon_and_is_told(before: str, why: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        watching = await guard_of(tmp_path, [sys.executable, "-c", DEAF], before, stdin=asyncio.subprocess.PIPE)
        async with asyncio.timeout(WITHIN_S):
            assert await watching.wait() == 0
        watched, *_, ended = read_ledger(tmp_path / "ledger.jsonl")
        assert ended["why"] == why
        with pytest.raises(ProcessLookupError):
            os.kill(watched["pid"], 0)

    asyncio.run(scenario())


def test_a_signal_at_the_very_end_is_no_death_of_the_guard(tmp_path: Path) -> None:
    async def scenario() -> None:
        # Sent while the interpreter takes itself apart, after all that Python code could still catch.
        late = "import os\nclass Last:\n    def __del__(self, kill=os.kill, pid=os.getpid()): kill(pid, 15)\n"
        late += "guard.last = Last()"
        watching = await guard_of(tmp_path, ["true"], late, stdin=asyncio.subprocess.PIPE)
        assert await asyncio.wait_for(watching.wait(), WITHIN_S) == 0

    asyncio.run(scenario())


def test_a_daemon_that_ends_by_a_signal_without_a_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lit(tmp_path, f"import os; os.kill(os.getpid(), {NAMELESS})") as (_, watched):
            assert (await watched.noted("ended", WITHIN_S))["why"] == f"the daemon ended: signal {NAMELESS}"
            await watched.noted("safe", WITHIN_S)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("command", "before", "says"),
    [
        (["no-such-command"], "", "guard: no-such-command cannot be started: [Errno 2]"),
        (["true"], "guard.PR_SET_PDEATHSIG = -1", "guard: true cannot be started: Exception occurred in preexec_fn"),
    ],
    ids=["no such command", "no tie"],
)
def test_what_cannot_be_started_is_told(command: list[str], before: str, says: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        pipe = asyncio.subprocess.PIPE
        watching = await guard_of(tmp_path, command, before, stdin=pipe, stderr=pipe)
        _, said = await watching.communicate()
        assert watching.returncode == guard.EXIT_USAGE
        assert said.decode().startswith(says)
        assert not read_ledger(tmp_path / "ledger.jsonl")

    asyncio.run(scenario())


def test_without_a_lease_nothing_is_started(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        with (tmp_path / "file").open("rb") as file:
            for stdin in (asyncio.subprocess.DEVNULL, file):
                watching = await guard_of(tmp_path, ["sleep", "60"], stdin=stdin, stderr=asyncio.subprocess.PIPE)
                _, said = await asyncio.wait_for(watching.communicate(), WITHIN_S)
                assert watching.returncode == guard.EXIT_USAGE
                assert b"its standard input is its lease" in said
        assert not read_ledger(tmp_path / "ledger.jsonl")

    asyncio.run(scenario())


def test_a_ledger_of_earlier_runs_says_nothing_of_this_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        guard.write_ledger(tmp_path / "ledger.jsonl", "watching", "guard", pid=1)
        async with lit(tmp_path) as (_, watched):
            assert watched.daemon.pid != 1
            assert watched.daemon.seen().startswith("state ")

    asyncio.run(scenario())


def test_a_full_disk_holds_nobody_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guard.write_ledger(tmp_path / "no" / "such" / "folder", "safe", "guard", device="pump")
    assert '"what": "safe"' in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["plan.json"], ["no-such-file", "--", "true"]])
def test_wrong_words_are_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.main(words) == guard.EXIT_USAGE
    assert "needs PLAN.json -- COMMAND" in capsys.readouterr().err


def test_a_plan_goes_through_json() -> None:
    plan = Plan((Target("pump", "/dev/ttyUSB0", 9600, b"\xff", b"ok"),), 1.5, 10.0, Path("/tmp/ledger"))
    document: dict[str, Any] = json.loads(json.dumps(plan.document()))
    assert plan_of(document) == plan


def test_it_imports_nothing_that_could_fail() -> None:
    async def loaded() -> bytes:
        code = "import qnoded.hil.guard, sys; print(*{one.split('.')[0] for one in sys.modules})"
        asked = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        return (await asked.communicate())[0]

    modules = set(asyncio.run(loaded()).decode().split())
    assert not modules & {"numpy", "numba", "pydantic", "serial", "zmq", "pyvisa", "asyncio", "aiohttp"}
