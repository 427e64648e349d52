"""How soon a link makes bits again after a fault: two daemons and the world as an operator starts them, real processes.

Nothing is helped along: a killed daemon is started again as its unit does it, the rest heals by itself. It counts as
sifting once both ends have sifted an epoch after the fault. Keys are left out; they wait for blocks, not for faults.
"""

from __future__ import annotations

import asyncio
import tempfile
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import floor
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import tomli_w

from qnoded.bench.measuring import Row
from qnoded.demo.processes import Program, ready_line, start, started
from qnoded.demo.stage import Stage, examples, free_port, set_up
from qnoded.demo.verdict import read_sifted
from qnoded.errors import InstrumentUnavailable
from qnoded.records import SIDES
from qnoded.sim import watching
from qnoded.testing.relay import Relay, relay
from qnoded.units import EPOCH_PS, seconds

MOST_REPETITIONS: Final = 3
"""A light gap takes more than a minute."""
RESTART_S: Final = 0.5
"""RestartSec of the unit."""
CUT_S: Final = 10.0
"""Twice the silence after which a session ends."""
GAP_S: Final = 60.0
SHORT_GAP_S: Final = 5.0
TARGET_S: Final = 10.0
EDGES: Final = 2
"""Epochs that a gap darkens in part; whether they give bits is chance."""
LOCKING: Final = 1
"""Epochs of data in which the lock may be found again."""
START_S: Final = 120.0
"""From a command to sifted bits, where kernels have to be compiled first."""
PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.05
PEER: Final = dict(zip(SIDES, reversed(SIDES), strict=True))
KILLED: Final = "alice"
"""The end that listens and has the laser: more has to come back."""


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure what a killed daemon, a cut network and a light gap cost."""
    yield from asyncio.run(_measured(SHORT_GAP_S if quick else GAP_S, 1 if quick else min(repeat, MOST_REPETITIONS)))


async def _measured(gap_s: float, repeat: int) -> list[Row]:
    async with _running() as link:
        await link.sifts(START_S)
        killed_s = [await link.killed() for _ in range(repeat)]
        cut_s = [await link.network_cut() for _ in range(repeat)]
        gaps = [await link.light_gap(gap_s) for _ in range(repeat)]
    late_s, lost_epochs = zip(*gaps, strict=True)
    dark = gap_s / seconds(EPOCH_PS)
    row = partial(Row, higher_is_better=False)
    return [
        row(
            "SIGKILL of a daemon to sifting",
            "s",
            median(killed_s),
            target=TARGET_S,
            note=f"restart after {RESTART_S} s",
        ),
        row(f"network back after {CUT_S:g} s, to sifting", "s", median(cut_s), target=TARGET_S),
        row(f"light back after {gap_s:g} s, to sifting", "s", median(late_s), target=TARGET_S),
        row(
            f"light gap of {gap_s:g} s, epochs without bits",
            "epochs",
            median(lost_epochs),
            target=floor(dark) + EDGES + LOCKING,
            note=f"{dark:.1f} are dark, {EDGES} cut by its edges, {LOCKING} to find the lock",
        ),
    ]


@dataclass(slots=True)
class _Link:
    """A running link and what stands around it."""

    stage: Stage
    world: str
    network: Relay
    daemons: dict[str, Program]

    async def start(self, side: str) -> None:
        words = ["run", "--config", str(self.stage.nodes[side]), "--record-sifted", str(self.stage.sifted[side])]
        self.daemons[side] = await start(side, words, self.stage.folder)

    async def killed(self) -> float:
        """Return the seconds from a kill to sifting."""
        await self.sifts(PATIENCE_S)
        began_s = _now_s()
        program = self.daemons[KILLED]
        program.kill()
        await program.process.wait()
        await asyncio.sleep(RESTART_S)
        await self.start(KILLED)
        await self.sifts(PATIENCE_S)
        return _now_s() - began_s

    async def network_cut(self) -> float:
        """Return the seconds from the end of a cut to sifting."""
        await self.sifts(PATIENCE_S)
        await self.network.cut()
        await asyncio.sleep(CUT_S)
        began_s = _now_s()
        await self.network.restore()
        await self.sifts(PATIENCE_S)
        return _now_s() - began_s

    async def light_gap(self, gap_s: float) -> tuple[float, int]:
        """Return the seconds from the return of light to sifting, and how many epochs in a row gave no bits."""
        await self.sifts(PATIENCE_S)
        first = max(read_sifted(self.stage.sifted["bob"]))
        await watching.inject(self.world, {"what": "fibre_cut", "side": "bob", "for_s": gap_s})
        until_s = await self._world_s() + gap_s
        while (now_s := await self._world_s()) < until_s:  # noqa: ASYNC110 - the world tells when asked
            await asyncio.sleep(min(1.0, until_s - now_s))
        began_s = _now_s()
        await self.sifts(PATIENCE_S)
        late_s = _now_s() - began_s
        sifted = [number for number in sorted(read_sifted(self.stage.sifted["bob"])) if number >= first]
        return late_s, max(after - before - 1 for before, after in pairwise(sifted))

    async def sifts(self, within_s: float) -> None:
        """Wait until both ends have sifted an epoch that ended after this was called.

        Raises
        ------
        InstrumentUnavailable
            If they do not in time, or a daemon has ended.
        """
        began_s = _now_s()
        for side in SIDES:
            while not await self._sifted_since(side, began_s):
                if problem := self.daemons[side].ended_badly():
                    raise InstrumentUnavailable(problem)
                if _now_s() > began_s + within_s:
                    problem = f"{side} did not sift within {within_s:g} s; is the machine too busy?"
                    raise InstrumentUnavailable(problem)
                await asyncio.sleep(LOOK_S)

    async def _sifted_since(self, side: str, began_s: float) -> bool:
        connector = aiohttp.UnixConnector(str(self.stage.sockets[side]))
        try:
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get("http://node/v1/status") as told,
            ):
                link: dict[str, Any] = (await told.json()).get("links", {}).get(PEER[side], {})
        except (aiohttp.ClientError, OSError):
            return False
        age_s = link.get("sifted_age_s")
        return link.get("state") == "SIFTING" and age_s is not None and age_s < _now_s() - began_s

    async def _world_s(self) -> float:
        return float((await watching.truth(self.world))["duration_s"])


@asynccontextmanager
async def _running() -> AsyncIterator[_Link]:
    port = free_port()
    async with AsyncExitStack() as stack:
        # Short, since sockets live in it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qnoded-")))
        network = await stack.enter_async_context(relay("127.0.0.1", port))
        words = ["world", "--config", str(examples() / "world.toml"), "--listen", "tcp://127.0.0.1:0"]
        world = await stack.enter_async_context(started("world", words, folder))
        address = (await ready_line(world, START_S)).removeprefix("ready ")
        link = _Link(set_up(folder, address, port, network.port), address, network, {})
        for side in SIDES:
            _without_keys(link.stage.nodes[side], PEER[side])
            await link.start(side)
            stack.push_async_callback(_stopped, link, side)
        yield link


def _without_keys(file: Path, peer: str) -> None:
    """Take keys and interludes out of a node's file: they would take the cores from the photons."""
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    del table["keys"], table["delivery"]
    table["links"][peer]["terms"]["chsh_every_epochs"] = 0
    file.write_text(tomli_w.dumps(table), encoding="utf-8")


async def _stopped(link: _Link, side: str) -> None:
    """End the daemon that plays this side now, which is not always the first one."""
    await link.daemons[side].stop()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
