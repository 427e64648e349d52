"""The safe-state matrix: everything that can end or break a daemon or its instrument, each with a bound.

A row does its harm to a daemon whose laser emits. Then the light is looked at until well after the bound: the last
light that was seen gives the time to safety, and light that comes back by itself fails the row however soon it goes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from qnoded.errors import InstrumentError, InstrumentUnavailable
from qnoded.hil.benches import Bench, settled
from qnoded.hil.daemons import daemon_with
from qnoded.hil.guard import SAFE
from qnoded.hil.guarding import Watched, read_ledger
from qnoded.hil.rig import Rig
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.protocols import Laser
from qnoded.node.driver_call import bounded
from qnoded.node.permits import HEALED_S

START_S: Final = 60.0
"""From the command to light: a loaded machine compiles, and a real laser warms up."""
LOOK_S: Final = 0.005
"""Between two looks at the light where it can be seen so often."""
LOOK_WITHIN_S: Final = 1.0
"""A look that takes longer sees light."""
UNSEEN_S: Final = 1.5
"""Longest time without a look."""
ENDED_S: Final = 15.0
"""A daemon that was told to stop is gone after this, whatever hangs in it: 8 s are its own limit, and on a loaded
machine an interpreter takes a while to end. Until then it is dark or the row fails."""
AFTER_S: Final = 1.0
"""A dead daemon lights nothing; watched for so long nevertheless."""
WATCHED_S: Final = HEALED_S + 3.0
"""A daemon that lives gives light back after this if it does at all: longer than it waits before it forgives itself."""
UNPLUGGED_S: Final = 3.0
"""How long a cable is out."""
NETWORK_S: Final = 10.0
"""How long a network is silent: a shorter silence than three readings with their deadlines may be survived in light."""
DOUBT_S: Final = 6.0
"""A laser that went dark by itself is doubted within this: a reading a second, and two seconds of soft start."""
GARBLED_S: Final = 10.0
"""Three readings that fail one after the other, each with its deadline."""
INTRUSION_S: Final = 1.0
"""How long a second client keeps the light on."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A daemon whose laser emits, on a bench."""

    bench: Bench
    watched: Watched


Harm = Callable[[Scene], Awaitable[None]]
"""Returns in the moment from which the time to safety counts."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to fail."""

    name: str
    counted_from: str
    """For the report."""
    harm: Harm
    bound_s: Callable[[Rig, Bench], float]
    kills: bool
    """Whether no daemon is left afterwards."""
    lacks: Callable[[Bench], str | None] = lambda _: None
    """What of the bench is missing for it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row on one device."""

    row: str
    device: str
    counted_from: str
    bound_s: float
    to_safe_s: float
    """From there to the last light that was seen; 0.0 if none was."""
    relit: int
    """How often light came back by itself."""
    confirmed: bool
    """Whether the instrument said to the guard, or to who stood in for it, that it is safe."""
    unseen_s: float
    """Longest time in which nobody looked."""
    left: str | None
    """What was seen of a daemon that lived on though it should not have; None: it has gone, or was to live."""

    @property
    def problem(self) -> str | None:
        """What is wrong; None if nothing is."""
        if self.to_safe_s > self.bound_s:
            return f"light for {self.to_safe_s:.3f} s after {self.counted_from}, the bound is {self.bound_s:g} s"
        if self.relit:
            return f"light came back {self.relit} times by itself"
        if self.unseen_s > UNSEEN_S:
            return f"nobody looked at the light for {self.unseen_s:.3f} s, at most {UNSEEN_S:g} s are allowed"
        if self.left is not None:
            return f"the daemon lived on: {self.left}"
        return None if self.confirmed else "it did not confirm its safe state"


class Looking:
    """Looks at the light until told to stop."""

    def __init__(self, lit: Callable[[], Any]) -> None:
        self._lit = lit
        self.seen: list[tuple[float, bool]] = []
        """Moments, event loop's clock, and whether there was light."""

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            lit = await self.look()
            self.seen.append((loop.time(), lit))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> bool:
        """Return whether there is light. A witness that fails or hangs sees some: what is not known is not safe."""
        try:
            return bool(await bounded(self._lit(), "look at the light", LOOK_WITHIN_S))
        except Exception:
            # Whatever it is, as above; the row then fails by light that does not end.
            return True

    def between(self, began_s: float, ended_s: float) -> tuple[float, int, float]:
        """Return how long after a moment light was seen last, how often it came back, and the longest time unseen."""
        after = [one for one in self.seen if began_s <= one[0] <= ended_s]
        last_s = max((at_s for at_s, lit in after if lit), default=began_s)
        relit = sum(lit and not before for (_, before), (_, lit) in pairwise(after))
        looks_s = [began_s, *(at_s for at_s, _ in after), ended_s]
        return last_s - began_s, relit, max(later_s - at_s for at_s, later_s in pairwise(looks_s))


async def play(row: Row, rig: Rig, bench: Bench, folder: Path, ledger: Path) -> Outcome:
    """Play one row.

    Parameters
    ----------
    bench
        With a laser whose light can be seen, and with nothing missing of what the row needs.
    folder
        Of this row alone; keeps the daemon's log.
    ledger
        Gets what the guard did.

    Raises
    ------
    InstrumentUnavailable
        If there is no light to begin with.
    """
    lit = bench.lit
    assert lit is not None
    async with _looking(lit) as looking:
        async with daemon_with(rig, bench.device, folder, ledger) as watched:
            await watched.noted("ready", START_S)
            # To begin with a witness that fails is an error, and no light.
            if not await settled(lambda: bounded(lit(), "look at the light", LOOK_WITHIN_S), True, START_S):
                problem = f"{bench.device.name}: no light {START_S:g} s after the daemon was ready; see {watched.log}"
                raise InstrumentUnavailable(problem)
            scene = Scene(bench, watched)
            await row.harm(scene)
            began_s = asyncio.get_running_loop().time()
            bound_s = row.bound_s(rig, bench)
            await settled(looking.look, False, bound_s)
            await asyncio.sleep(AFTER_S if row.kills else WATCHED_S)
            scene.bench.heal()
            left = await _left(watched, row, began_s) if row.kills else None
        # What ends the daemon ends the light as well: looked at once more, with nobody left to give any.
        await asyncio.sleep(AFTER_S)
        to_safe_s, relit, unseen_s = looking.between(began_s, asyncio.get_running_loop().time())
    said = [one["what"] for one in read_ledger(folder / "ledger.jsonl") if one.get("device") == bench.device.name]
    confirmed = bool(said) and all(one == SAFE for one in said)
    return Outcome(row.name, bench.device.name, row.counted_from, bound_s, to_safe_s, relit, confirmed, unseen_s, left)


async def _left(watched: Watched, row: Row, began_s: float) -> str | None:
    """Wait for the daemon's end; return what was seen of one that lives on, None if it has gone."""
    if await asyncio.to_thread(watched.daemon.gone, ENDED_S):
        return None
    after_s = asyncio.get_running_loop().time() - began_s
    log = watched.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return (
        f"{after_s:.1f} s after {row.counted_from} its {watched.daemon.seen()}; load of the machine "
        f"{os.getloadavg()[0]:.1f}; it said last: {log[-1] if log else 'nothing'}"
    )


@asynccontextmanager
async def _looking(lit: Callable[[], Any]) -> AsyncIterator[Looking]:
    looking = Looking(lit)
    task = asyncio.create_task(looking.run(), name="looking at the light")
    try:
        yield looking
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            # It ended by itself, by what no witness may throw.
            task.result()


def _signalled(number: signal.Signals) -> Harm:
    async def harm(scene: Scene) -> None:
        scene.watched.daemon.signal(number)

    return harm


async def _guard_killed(scene: Scene) -> None:
    scene.watched.kill_guard()


async def _runner_gone(scene: Scene) -> None:
    scene.watched.let_go()


async def _unplugged(scene: Scene) -> None:
    await scene.bench.cut()
    await asyncio.sleep(UNPLUGGED_S)
    await scene.bench.restore()


async def _network_cut(scene: Scene) -> None:
    scene.bench.hold()
    await asyncio.sleep(NETWORK_S)
    await scene.bench.restore()


async def _power_cycled(scene: Scene) -> None:
    scene.bench.power_cycle()


async def _garbled(scene: Scene) -> None:
    scene.bench.garble()


async def _interlock_opened(scene: Scene) -> None:
    assert scene.bench.interlock is not None
    scene.bench.interlock(True)
    await asyncio.sleep(DOUBT_S)
    scene.bench.interlock(False)


async def _fought(scene: Scene) -> None:
    """Let a second client of the same driver take the laser, and give light under a permit of its own."""
    loop = asyncio.get_running_loop()
    rig, binding = scene.bench.device.rig, scene.bench.device.binding
    intruder = binding.instrument()
    assert isinstance(intruder, Laser)
    assert rig.power_dbm is not None
    assert rig.max_power_dbm is not None
    try:
        # The daemon fights back, or the port is its alone: whoever loses gets an error, as it should be.
        with suppress(InstrumentError):
            await intruder.connect()
            await intruder.configure()
            permit = EmissionPermit(1, loop.time() + INTRUSION_S, rig.max_power_dbm, "a second client")
            await intruder.emit(rig.power_dbm, permit)
            await asyncio.sleep(INTRUSION_S)
    finally:
        await intruder.close()


def _own(rig: Rig, bench: Bench) -> float:
    del rig
    return bench.device.rig.safe_within_s


def _silence(rig: Rig, bench: Bench) -> float:
    return rig.settings.guard.silence_s + bench.device.rig.safe_within_s


def _orderly(rig: Rig, bench: Bench) -> float:
    del rig
    return 1.0 + bench.device.rig.safe_within_s


def _within(bound_s: float) -> Callable[[Rig, Bench], float]:
    return lambda *_: bound_s


def _no_cable(bench: Bench) -> str | None:
    return None if bench.cables else "nothing here can pull its cable"


def _not_emulated(bench: Bench) -> str | None:
    return None if bench.emulations else "nothing here can do that to a real instrument"


def _no_interlock(bench: Bench) -> str | None:
    return None if bench.interlock else "it has no interlock that can be opened here"


RECONNECT_S: Final = 8.0
"""After a cable is back: the pause before the next try, connecting, and making dark."""

MATRIX: Final = (
    Row("SIGKILL of the daemon", "the signal", _signalled(signal.SIGKILL), _own, kills=True),
    Row("SIGTERM of the daemon", "the signal", _signalled(signal.SIGTERM), _orderly, kills=True),
    Row("SIGSTOP of the daemon", "the signal", _signalled(signal.SIGSTOP), _silence, kills=True),
    Row("guard killed", "the signal", _guard_killed, _orderly, kills=True),
    Row("runner gone", "the end of its lease", _runner_gone, _orderly, kills=True),
    Row("unplugged", "the cable's return", _unplugged, _within(RECONNECT_S), kills=False, lacks=_no_cable),
    Row("network cut", "the network's return", _network_cut, _within(RECONNECT_S), kills=False, lacks=_no_cable),
    Row("power cycle", "power's return", _power_cycled, _own, kills=False, lacks=_not_emulated),
    Row("serial garbage", "the first nonsense", _garbled, _within(GARBLED_S), kills=False, lacks=_not_emulated),
    Row("interlock", "the interlock's closing", _interlock_opened, _own, kills=False, lacks=_no_interlock),
    Row("two clients", "the second one's leaving", _fought, _within(RECONNECT_S), kills=False),
)
