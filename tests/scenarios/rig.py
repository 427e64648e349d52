"""A whole link for one scenario: the world, two daemons as an operator starts them, and a network that can fail."""

from __future__ import annotations

import asyncio
import json
import tempfile
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import tomli_w
from verdicts import same_wherever_both_sifted

from qnoded.cli.ctl.client import Daemon
from qnoded.demo import verdict
from qnoded.demo.processes import Program, ready_line, start
from qnoded.demo.stage import Stage, examples, free_port, set_up
from qnoded.errors import DaemonUnavailable
from qnoded.node_settings import load_node
from qnoded.records import SIDES
from qnoded.sim import watching
from qnoded.testing.relay import Relay, relay
from qnoded.units import EPOCH_PS, seconds

START_S: Final = 60.0
"""From a command to sifted key, where the kernels have to be compiled first."""
PATIENCE: Final = 4.0
"""How much slower than alone a machine may be that has other work. What the daemons reach when they are alone on it,
``qnoded bench --suite healing`` measures."""
LOOK_S: Final = 0.1
LAST_LINES: Final = 40
"""Of each log, shown when a scenario fails."""
SIGMAS: Final = 3.0
"""One honest check in 370 lies outside, and one in 140,000 twice in a row."""
UNDECIDED: Final = 4.0
"""Epochs whose fate is not known yet, or whose border lay between two looks."""
INTERLUDE_EPOCHS: Final = 8
PEER: Final = dict(zip(SIDES, reversed(SIDES), strict=True))

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Count:
    """How many epochs a daemon had counted at one moment."""

    started_utc: str = ""
    """Of this daemon."""
    true_s: float = 0.0
    epochs: int = 0


class Rig:
    """A running link; made by ``rigged``."""

    def __init__(self, stage: Stage, world: str, network: Relay, running: dict[str, Program]) -> None:
        self.stage, self.network = stage, network
        self._world, self._running = world, running
        self._counts: dict[str, Count] = {}
        self._interludes = 0
        self._clockless_s = dict.fromkeys(SIDES, 0.0)
        """True time in which an end's tagger had no power, and no clock whose epochs could be counted."""

    # What an operator does

    async def start(self, side: str) -> None:
        """Start a daemon."""
        words = ["run", "--config", str(self.stage.nodes[side]), "--record-sifted", str(self.stage.sifted[side])]
        self._running[side] = await start(side, words, self.stage.folder)

    async def stop(self, side: str) -> None:
        """Stop a daemon, or the world, as the service manager does."""
        program = self._running.pop(side)
        await program.stop()
        assert program.process.returncode == 0, f"{side} ended with exit code {program.process.returncode}"

    async def kill(self, side: str) -> None:
        """End a daemon as a power cut would."""
        program = self._running.pop(side)
        program.kill()
        await program.process.wait()

    def edit(self, side: str, without: Sequence[str] = (), **link: Any) -> None:
        """Change what a node's file says of the link; ``terms`` adds to those that are there.

        Parameters
        ----------
        without
            Tables of the node that are left out.
        """
        file = self.stage.nodes[side]
        node = tomllib.loads(file.read_text(encoding="utf-8"))
        table = node["links"][PEER[side]]
        link["terms"] = table["terms"] | link.get("terms", {})
        table |= link
        kept = {name: one for name, one in node.items() if name not in without}
        file.write_text(tomli_w.dumps(kept), encoding="utf-8")

    async def order(self, side: str, action: str) -> None:
        """Have a daemon ``pause`` or ``resume`` its link, or ask for an ``interlude``."""
        self._interludes += action == "interlude"
        await asyncio.to_thread(self._daemon(side).post, f"/v1/link/{PEER[side]}/{action}")

    async def light(self, side: str, word: str) -> None:
        """Have a daemon give light again (``on``), or make dark (``off``)."""
        await asyncio.to_thread(self._daemon(side).post, f"/v1/light/{word}")

    async def happens(self, what: str, **settings: Any) -> None:
        """Let something happen in the world now; keys as in a script."""
        await watching.inject(self._world, {"what": what} | settings)

    async def cycle_tagger(self, side: str, for_s: float, back_s: float) -> None:
        """Take the power from a tagger for a while; it is found again by itself within ``back_s``."""
        began_s = (await self.truth())["duration_s"]
        await self.happens("tagger_power_cycle", side=side, for_s=for_s)
        await self.until_instrument(side, "tagger", lambda shown: shown["state"] != "READY", within_s=3)
        await self.until_instrument(side, "tagger", lambda shown: shown["state"] == "READY", back_s)
        self._clockless_s[side] += (await self.truth())["duration_s"] - began_s

    # What is seen

    async def status(self, side: str) -> Document:
        """Return a daemon's status, empty while it does not answer."""
        try:
            return await asyncio.to_thread(self._daemon(side).get, "/v1/status")
        except DaemonUnavailable:
            return {}

    async def link(self, side: str) -> Document:
        """Return the link in a daemon's status, empty while there is none."""
        links: Document = (await self.status(side)).get("links", {})
        return dict(links.get(PEER[side], {}))

    async def instrument(self, side: str, role: str) -> Document:
        """Return an instrument in a daemon's status."""
        return dict((await self.status(side)).get("instruments", {}).get(role, {}))

    async def truth(self) -> Document:
        """Return what is true in the world."""
        return await watching.truth(self._world)

    def sifted(self, side: str) -> dict[int, verdict.Epoch]:
        """Return what a daemon has recorded so far, by epoch."""
        return verdict.read_sifted(self.stage.sifted[side])

    def log(self, name: str) -> str:
        """Return what a program has logged so far."""
        return (self.stage.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    # What is waited for

    async def passes(self, seconds: float) -> None:
        """Wait until so much true time has passed."""
        began_s = (await self.truth())["duration_s"]
        async with asyncio.timeout(PATIENCE * seconds + 5.0):
            while (await self.truth())["duration_s"] < began_s + seconds:  # noqa: ASYNC110 - the world tells when asked
                await asyncio.sleep(1.0)

    async def until(self, side: str, condition: Callable[[Document], bool], within_s: float) -> Document:
        """Return a daemon's link as soon as it fulfils a condition."""
        link: Document = {}
        try:
            async with asyncio.timeout(PATIENCE * within_s):
                while not (link and condition(link)):
                    await asyncio.sleep(LOOK_S)
                    self._all_run()
                    link = await self.link(side)
        except TimeoutError:
            problem = f"not within {PATIENCE:g} times {within_s:.1f} s: {side}'s link is {json.dumps(link)}"
            raise AssertionError(problem) from None
        return link

    async def until_instrument(
        self, side: str, role: str, condition: Callable[[Document], bool], within_s: float
    ) -> Document:
        """Return an instrument's status as soon as it fulfils a condition."""
        shown: Document = {}
        try:
            async with asyncio.timeout(PATIENCE * within_s):
                while not (shown and condition(shown)):
                    await asyncio.sleep(LOOK_S)
                    self._all_run()
                    shown = await self.instrument(side, role)
        except TimeoutError:
            problem = f"not within {PATIENCE:g} times {within_s:.1f} s: {side}'s {role} is {json.dumps(shown)}"
            raise AssertionError(problem) from None
        return shown

    async def sifts(self, within_s: float = START_S) -> None:
        """Wait until both ends have sifted an epoch after this was called."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        def anew(link: Document) -> bool:
            age_s = link["sifted_age_s"]
            return link["state"] == "SIFTING" and age_s is not None and age_s < loop.time() - began_s

        for side in SIDES:
            await self.until(side, anew, within_s)
        await self._begin_to_count()

    async def agrees_with_theory(self, epochs: int = 6) -> None:
        """Sift for a while in which nothing changes: errors and coincidences are what theory says of the world.

        What lies outside by chance is measured anew, once.
        """
        outside = await self._outside_of_theory(epochs)
        if outside:
            again = await self._outside_of_theory(2 * epochs)
            assert not again, "\n".join((*outside, "and anew:", *again))

    async def _outside_of_theory(self, epochs: int) -> list[str]:
        first = max(self.sifted("bob"), default=0) + 2
        expected = verdict.Expected(verdict.Rules.of(*(load_node(self.stage.nodes[side]) for side in SIDES)))
        ends: dict[str, dict[int, verdict.Epoch]] = {side: {} for side in SIDES}
        while min(map(len, ends.values())) < epochs:
            await self.sifts()
            expected.take("SIFTING", (await self.truth())["present"])
            ends = {side: {n: one for n, one in self.sifted(side).items() if n >= first} for side in SIDES}
        lock = json.loads((self.stage.folder / "alice" / "state" / "bob" / "lock.json").read_text(encoding="utf-8"))
        await self.sifts()
        checks = (
            *verdict.error_checks(ends, expected, SIGMAS),
            *verdict.rate_check(ends["bob"], expected, SIGMAS),
            verdict.clock_check(lock, await self.truth()),
        )
        return [f"{check.what}: {check.numbers}" for check in checks if not check.holds]

    async def chsh(self) -> tuple[dict[str, Any], float]:
        """Have an interlude; return S with its sigma as alice has it, and what theory said of the world meanwhile."""
        await self.order("alice", "interlude")
        await self.until("alice", lambda link: link["state"] == "INTERLUDE", within_s=10)
        present: list[float] = []
        link: Document = {}
        while link.get("state") != "SIFTING":
            link = await self.until("alice", lambda link: link["state"] in ("INTERLUDE", "SIFTING"), within_s=15)
            present.append(abs((await self.truth())["present"]["chsh"]))
        # The controller moves at first and at last: most of the moments lie between.
        return dict(link["chsh"]), float(median(present))

    # The end

    async def end(self) -> None:
        """Stop all; whatever happened, all epochs were counted, both ends hold the same, and nobody made a mistake."""
        await self._check_counts()
        await asyncio.gather(*(self.stop(side) for side in SIDES if side in self._running))
        await self.stop("world")
        same_wherever_both_sifted(self.sifted("alice"), self.sifted("bob"))
        for name in ("world", *SIDES):
            for word in ("Traceback", "a mistake in qnoded", "never awaited", "never retrieved"):
                assert word not in self.log(name), f"{name}'s log says {word!r}"

    async def abandon(self, error: BaseException) -> None:
        """End all after a failure, and let the failure tell what the programs said."""
        for program in self._running.values():
            program.kill()
            await program.process.wait()
        for name in ("world", *SIDES):
            lines = self.log(name).splitlines()[-LAST_LINES:] if (self.stage.folder / f"{name}.log").exists() else []
            error.add_note("\n".join((f"--- {name} said last:", *lines)))

    async def _begin_to_count(self) -> None:
        """Remember how many epochs each daemon had counted when it was first seen to sift."""
        for side in SIDES:
            status = await self.status(side)
            started_utc = status["node"]["started_utc"]
            if self._counts.get(side, Count()).started_utc != started_utc:
                self._counts[side] = Count(started_utc, (await self.truth())["duration_s"], _counted(status, side))

    async def _check_counts(self) -> None:
        """Every epoch that has passed is sifted, measured in an interlude, or discarded for one reason."""
        for side, before in self._counts.items():
            status = await self.status(side)
            if status.get("node", {}).get("started_utc") != before.started_utc:
                continue
            passed = ((await self.truth())["duration_s"] - before.true_s) / seconds(EPOCH_PS)
            # Of an interlude nothing is sifted and nothing lost.
            counted = _counted(status, side) - before.epochs + self._interludes * INTERLUDE_EPOCHS
            # Without a clock of its own an end counts only what the other one reveals.
            least = passed - self._clockless_s[side] / seconds(EPOCH_PS)
            problem = f"{side} counted {counted} epochs, {least:.1f} to {passed:.1f} have passed"
            assert least - UNDECIDED <= counted <= passed + UNDECIDED, problem

    def _daemon(self, side: str) -> Daemon:
        return Daemon(self.stage.sockets[side])

    def _all_run(self) -> None:
        for program in self._running.values():
            problem = program.ended_badly()
            assert problem is None, problem


def _counted(status: Document, side: str) -> int:
    link = status["links"][PEER[side]]
    return int(link["epochs"] + sum(link["discards"].values()))


@asynccontextmanager
async def rigged(
    *world: str, seed: int = 1, terms: Mapping[str, Any] | None = None, keys: bool = False
) -> AsyncIterator[Rig]:
    """Start the world, and both daemons with a network between them; at the end all is stopped and compared.

    Parameters
    ----------
    world : str
        Changes of the world of the examples, such as ``"bob.clock.offset_ps=500_000_000_000"``.
    terms
        Changes of what both ends agree on; without an interlude every now and then unless it is asked for.
    keys
        Whether sifted bits become keys.
    """
    listen_port = free_port()
    # Not pytest's own folder, whose name may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="qnoded-") as name:
        async with relay("127.0.0.1", listen_port) as network:
            folder, running = Path(name), {}
            words = ["world", "--config", str(examples() / "world.toml"), "--listen", "tcp://127.0.0.1:0"]
            changes = [word for change in world for word in ("--set", change)]
            running["world"] = await start("world", [*words, "--seed", str(seed), *changes], folder)
            address = (await ready_line(running["world"], START_S)).removeprefix("ready ")
            rig = Rig(set_up(folder, address, listen_port, network.port), address, network, running)
            try:
                for side in SIDES:
                    # What becomes of sifted bits has tests of its own, and would take the cores from the photons.
                    without = () if keys else ("keys", "delivery")
                    rig.edit(side, without, terms={"chsh_every_epochs": 0} | dict(terms or {}))
                    await rig.start(side)
                yield rig
                await rig.end()
            except BaseException as error:
                await rig.abandon(error)
                raise
