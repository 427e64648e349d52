"""The demo from its first process to its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from qnoded.demo import delivery, verdict
from qnoded.demo.chronicle import Chronicle
from qnoded.demo.observer import Daemon
from qnoded.demo.processes import Program, ready_line, started
from qnoded.demo.seam import Seam
from qnoded.demo.stage import Stage, free_port, set_up, world_file
from qnoded.errors import InstrumentUnavailable
from qnoded.node_settings import load_node
from qnoded.records import SIDES
from qnoded.sim.watching import happenings, truth
from qnoded.testing.relay import Relay, relay

ENOUGH_S: Final = 30
"""For a first key on a slow machine."""
LOOK_S: Final = 0.5
"""Between two looks at the daemons."""
START_S: Final = 90.0
"""A machine that compiles the kernels for the first time takes a minute."""
NETWORK_LOSS: Final = "network_loss"
"""The world's event that only whoever owns the network can carry out."""

Draw = Callable[[float, dict[str, Any] | None, dict[str, Any] | None], None]
"""Shows the moment: seconds passed, both daemons' status."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the demo is asked for."""

    seconds: float
    seed: int
    world: Path | None
    script: Path | None
    seam: Seam = "api"


@dataclass(slots=True)
class Shown:
    """What came of it."""

    epochs: dict[str, dict[int, verdict.Epoch]] = field(default_factory=dict)
    """By side."""
    checks: list[verdict.Check] = field(default_factory=list)
    skipped: list[verdict.Skipped] = field(default_factory=list)
    """What was not checked, and why."""
    chronicle: Chronicle = field(default_factory=Chronicle)
    early_s: float | None = None
    """When Ctrl-C ended it before its time; None: it ran to its end."""
    truth: dict[str, Any] = field(default_factory=dict)
    status: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Last status of each side."""
    lock_s: float | None = None
    """From the command to the clock lock; None: never."""
    first_sifted_s: float | None = None
    first_key_s: float | None = None
    """To the first secret key in both stores."""
    keys: delivery.Fetched | None = None
    """What two applications fetched at the end."""
    elapsed_s: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    """What was looked at, for plots."""

    @property
    def running(self) -> list[str]:
        """Sides whose daemon has said that it runs."""
        return [side for side, status in self.status.items() if status["node"]["state"] == "running"]

    @property
    def troubles(self) -> dict[str, list[str]]:
        """What the machine kept each daemon from, by side; only sides with any."""
        return {side: status["node"]["troubles"] for side, status in self.status.items() if status["node"]["troubles"]}

    @property
    def holds(self) -> bool:
        """Whether both ends hold the same keys and the truth agrees with what they concluded."""
        return bool(self.checks) and all(check.holds for check in self.checks)


async def show(wish: Wish, draw: Draw) -> Shown:
    """Run the demo.

    Raises
    ------
    InstrumentUnavailable
        If a program does not start or ends by itself.
    """
    began_s = time.monotonic()
    shown = Shown()
    # Short: Unix sockets live in it, and their paths may not be long.
    with tempfile.TemporaryDirectory(prefix="qnoded-") as name:
        async with _signals() as early:
            await _show(wish, draw, Path(name), began_s, shown, early)
    shown.elapsed_s = time.monotonic() - began_s
    return shown


async def _show(wish: Wish, draw: Draw, folder: Path, began_s: float, shown: Shown, early: _Early) -> None:
    listen_port = free_port()
    async with relay("127.0.0.1", listen_port) as network, contextlib.AsyncExitStack() as programs:
        script = ["--script", str(wish.script)] if wish.script else []
        words = [
            "world",
            "--config",
            str(world_file(folder, wish.world, wish.seam)),
            "--listen",
            "tcp://127.0.0.1:0",
            "--seed",
            str(wish.seed),
            *script,
        ]
        world = await programs.enter_async_context(started("world", words, folder))
        address = (await ready_line(world, START_S)).removeprefix("ready ")
        stage = set_up(folder, address, listen_port, network.port, wish.seam)
        running = {"world": world}
        for one in stage.emulators:
            running[one.name] = await programs.enter_async_context(started(one.name, one.words, folder))
        await asyncio.gather(*(ready_line(running[one.name], START_S) for one in stage.emulators))
        for side in SIDES:
            words = ["run", "--config", str(stage.nodes[side]), "--record-sifted", str(stage.sifted[side])]
            running[side] = await programs.enter_async_context(started(side, words, folder))
        daemons = {side: await programs.enter_async_context(Daemon(stage.sockets[side])) for side in SIDES}
        expected = verdict.Expected(verdict.Rules.of(*(load_node(stage.nodes[side]) for side in SIDES)))
        world_events = asyncio.create_task(_obey(address, network, shown.chronicle))
        early.possible = True
        try:
            while (passed_s := time.monotonic() - began_s) < wish.seconds and not early.asked.is_set():
                _all_alive(running)
                await _look(daemons, address, expected, shown, passed_s)
                draw(passed_s, shown.status.get("alice"), shown.status.get("bob"))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(early.asked.wait(), LOOK_S)
            shown.early_s = passed_s if early.asked.is_set() else None
            # From here on the picture says that the end has come.
            draw(wish.seconds, shown.status.get("alice"), shown.status.get("bob"))
            shown.truth = await truth(address)
            shown.keys = await delivery.fetch(stage)
            shown.chronicle.take_answers({side: await daemon.events() for side, daemon in daemons.items()})
        finally:
            world_events.cancel()
            await asyncio.gather(world_events, return_exceptions=True)
        await asyncio.gather(*(running[side].stop() for side in SIDES))
        # The daemons measured the clocks until now.
        shown.truth["clocks_ps"] = (await truth(address))["clocks_ps"]
        shown.epochs = {side: verdict.read_sifted(stage.sifted[side]) for side in SIDES}
        _judge(stage, expected, shown)


async def _look(
    daemons: dict[str, Daemon], world: str, expected: verdict.Expected, shown: Shown, passed_s: float
) -> None:
    statuses = dict(zip(daemons, await asyncio.gather(*(one.status() for one in daemons.values())), strict=True))
    shown.status |= {side: status for side, status in statuses.items() if status is not None}
    links = [one for status in statuses.values() if status for one in status["links"].values()]
    if shown.lock_s is None and any(link["clock"]["locked"] for link in links):
        shown.lock_s = passed_s
    if shown.first_sifted_s is None and len(links) == len(SIDES) and all(link["sifted_bits"] for link in links):
        shown.first_sifted_s = passed_s
    if (
        shown.first_key_s is None
        and len(links) == len(SIDES)
        and all(link["keys"]["blocks_distilled"] for link in links)
    ):
        shown.first_key_s = passed_s
    if len(links) < len(SIDES):
        return
    if len({link["state"] for link in links}) == 1:
        expected.take(links[0]["state"], (await truth(world))["present"])
    keys = ("state", "qber", "rates", "sifted_bits", "clock", "chsh")
    shown.history.append({"passed_s": passed_s} | {key: links[0][key] for key in keys})


async def _obey(world: str, network: Relay, chronicle: Chronicle) -> None:
    """Write down what the world's script does; cut, mend and delay the network as it says."""
    async for event in happenings(world):
        chronicle.hear(event)
        if event["event"] != NETWORK_LOSS:
            continue
        began, delay_s = event["state"] == "began", event["settings"]["delay_s"]
        if delay_s is not None:
            network.delay_s = delay_s if began else 0.0
        elif began:
            await network.cut()
        else:
            await network.restore()


def _all_alive(running: dict[str, Program]) -> None:
    for program in running.values():
        problem = program.ended_badly()
        if problem is not None:
            raise InstrumentUnavailable(problem)


def _judge(stage: Stage, expected: verdict.Expected, shown: Shown) -> None:
    """Hold against each other all that can be, and name what cannot."""
    fetched = shown.keys
    assert fetched is not None
    starting = [side for side in SIDES if side not in shown.running]
    late = f"{' and '.join(starting)} had not started yet; give the demo more time: --seconds {ENOUGH_S}"
    same_keys = verdict.Check(
        "same secret keys at both nodes", fetched.equal, late if starting and not fetched.count else fetched.numbers
    )
    if shown.early_s is not None and shown.first_key_s is None:
        shown.skipped.append(verdict.Skipped(same_keys.what, "it was ended before the first block became key"))
    else:
        shown.checks.append(same_keys)
    same_epochs = verdict.same_at_both_ends(shown.epochs)
    if shown.early_s is not None and not any(shown.epochs.values()):
        shown.skipped.append(verdict.Skipped(same_epochs.what, "it was ended before the first epoch was sifted"))
        return
    shown.checks.append(same_epochs)
    if shown.truth["events"]:
        why = "the script changed the world on the way, so there is no single number to expect"
        shown.skipped.append(verdict.Skipped("QBER, rate of coincidences and CHSH S against theory", why))
        expected = verdict.Expected()
    shown.checks += verdict.error_checks(shown.epochs, expected)
    shown.checks += verdict.rate_check(shown.epochs["alice"], expected)
    chsh = [link["chsh"] for status in shown.status.values() for link in status["links"].values() if link["chsh"]]
    shown.checks += verdict.chsh_check(chsh[0] if chsh else None, expected)
    if not chsh and not shown.truth["events"]:
        shown.skipped.append(
            verdict.Skipped("CHSH S against theory", "no interlude came; one comes each 25 s of sifting")
        )
    locks = list(stage.folder.glob("*/state/*/lock.json"))
    if locks:
        latest = max(locks, key=lambda path: path.stat().st_mtime)
        lock = json.loads(latest.read_text(encoding="utf-8"))
        shown.checks.append(verdict.clock_check(lock, shown.truth, stage.turn_ps))


@dataclass(slots=True)
class _Early:
    """Whether Ctrl-C asked for an early end, and whether there is anything yet to end with."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    possible: bool = False


@contextlib.asynccontextmanager
async def _signals() -> AsyncIterator[_Early]:
    """Let the first Ctrl-C end the demo early with its verdict, the second without; SIGTERM and SIGHUP always without.

    Whoever asks once more waits like everybody else until all is stopped in order.
    """
    loop, task, early = asyncio.get_running_loop(), asyncio.current_task(), _Early()
    assert task is not None

    def end() -> None:
        if not task.cancelling():
            task.cancel()

    def interrupt() -> None:
        if early.possible and not early.asked.is_set():
            early.asked.set()
        else:
            end()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGHUP, end)
    try:
        yield early
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
