"""Two ends of a link on a network in memory, in virtual time: the network may stop, lose, garble and refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from qnoded.exchange.effects import Script, arrival
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import KnownClock
from qnoded.exchange.terms import LinkTerms
from qnoded.exchange.wire import Frame
from qnoded.node.disk import Disk
from qnoded.node.distillation import KeyMaking
from qnoded.node.link import Link
from qnoded.node.lock_file import LockFile
from qnoded.node.pool import Pool
from qnoded.node.status import Level
from qnoded.node.story import Story
from qnoded.node.tasks import background
from qnoded.node.watchdog import Progress

TERMS = LinkTerms("alice-bob", True, ("H", "V", "D", "A"), ("H", "V", "D", "A"), revealer="bob")
Meddler = Callable[[list[bytes]], Sequence[list[bytes]]]


def faithful(frames: list[bytes]) -> Sequence[list[bytes]]:
    return (frames,)


@dataclass
class MemoryWire:
    """One end of a connection; ``peer`` is the other one."""

    connects: bool
    refused: int = 0
    obstacle: str = ""
    renewed: int = 0
    up: bool = True
    problem: str = ""
    """What sending fails with."""
    meddle: Meddler = faithful
    """What becomes of a message that this end sends."""
    peer: MemoryWire | None = None
    arrived: asyncio.Queue[list[Frame]] = field(default_factory=asyncio.Queue)

    def send(self, frames: Sequence[Frame]) -> str:
        if self.problem:
            return self.problem
        if self.up and self.peer is not None:
            for one in self.meddle([bytes(frame) for frame in frames]):
                self.peer.arrived.put_nowait(list(one))
        return ""

    async def receive(self) -> list[Frame]:
        return await self.arrived.get()

    async def watch(self, connected: Callable[[], None]) -> None:
        del connected
        await asyncio.Event().wait()

    def renew(self) -> None:
        self.renewed += 1


def connection() -> tuple[MemoryWire, MemoryWire]:
    alice, bob = MemoryWire(connects=False), MemoryWire(connects=True)
    alice.peer, bob.peer = bob, alice
    return alice, bob


@dataclass
class Sightings:
    """What a link asks of the acquisition."""

    axis: str | None = "tagger/1"
    utc_minus_tag_ns: int | None = 1_790_000_000_000_000_000
    detections_hz: float = 100_000.0


def listening(_session: Session, _known: KnownClock) -> Script[None]:
    """Make a script that only listens."""
    while True:
        yield from arrival()


@dataclass
class End:
    link: Link
    wire: MemoryWire
    told: list[tuple[Level, str]]

    @property
    def state(self) -> str:
        return self.link.status().state


@asynccontextmanager
async def running(
    folder: Path,
    wire: MemoryWire,
    *,
    terms: LinkTerms = TERMS,
    make_script: Callable[[Session, KnownClock], Script[None]] = listening,
    sightings: Sightings | None = None,
    keys: KeyMaking | None = None,
    watchers: Sequence[Callable[[object], None]] = (),
) -> AsyncIterator[End]:
    """Run the end of a link whose wire is given."""
    role, peer = ("bob", "alice") if wire.connects else ("alice", "bob")
    pool, told = Pool(1), []
    disk = Disk(pool, lambda level, text: told.append((level, text)))
    link = Link(
        peer,
        role,
        terms,
        software="qnoded test",
        socket=wire,
        acquisition=sightings or Sightings(f"tagger/{role}"),
        pool=pool,
        progress=Progress("link"),
        lock_file=LockFile(folder / role / "lock.json", disk),
        story=Story(folder / role, asyncio.get_running_loop().time, disk),
        make_script=make_script,
        watchers=watchers,
        tell=lambda level, text: told.append((level, text)),
        keys=keys,
    )
    try:
        async with background(link.run()):
            yield End(link, wire, told)
    finally:
        pool.close()


@asynccontextmanager
async def both(folder: Path, **changes: object) -> AsyncIterator[tuple[End, End]]:
    one, other = connection()
    async with running(folder, one, **changes) as alice, running(folder, other, **changes) as bob:
        yield alice, bob


__all__ = ["TERMS", "End", "Meddler", "Sightings", "both", "connection", "listening", "replace", "running"]
