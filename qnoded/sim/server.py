"""The world as a server: true time goes on, photons are drawn in a thread, and each node's instruments are connections.

A connection begins with a greeting that names node and instrument. From then on it is that instrument's own cable:
pulled (``unplug``) it ends; taken by another client the old one ends; and a laser whose cable is gone is dark. The node
``world`` is none: its ``truth`` and ``events`` are for whoever watches, its ``script`` takes further events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from qnoded.errors import ConfigError, RemoteProtocolError, UsageError
from qnoded.records import SIDES
from qnoded.sim.conductor import Conductor, Stretch
from qnoded.sim.events import Event, TaggerPowerCycle, Unplug
from qnoded.sim.feed import Feed, pack
from qnoded.sim.pacing import Lockstep, Pace, Paced
from qnoded.sim.rack import Device, Laser, Surroundings, Tagger, rack
from qnoded.sim.script import read_event
from qnoded.sim.settings import WorldSettings
from qnoded.sim.wire import Address, encode, read_address, read_frame
from qnoded.units import PS_PER_MS, seconds

T = TypeVar("T")

VERSION: Final = 1
"""Of the conversation; in the greeting."""
STRETCH_PS: Final = 50 * PS_PER_MS
"""Tags are handed over in blocks of this length of true time."""
GREETING_S: Final = 5.0
"""A client that does not say who it is by then is a stranger."""
SIGN_OF_LIFE_S: Final = 1.0
"""A question for tags is answered by then, if need be with none."""
MOST_CONNECTIONS: Final = 64
LARGEST_BACKLOG: Final = 4 * 2**20
"""Bytes that may wait in a watcher's connection; one that does not read is left behind."""
OBSERVER: Final = "world"
"""Node of those who watch: ``truth``, ``events`` and ``script``."""

TAGS: Final = "tags"
"""The second connection of a tagger."""

Key = tuple[str, str]
"""Node and instrument."""


class WorldServer:
    """One world and the cables that lead into it.

    Parameters
    ----------
    script
        What happens to it.
    pace
        How true time passes; at the pace of the clock on the wall unless told otherwise.
    """

    def __init__(
        self,
        settings: WorldSettings,
        seed: int,
        script: Iterable[Event] = (),
        pace: Pace | None = None,
    ) -> None:
        self.conductor = Conductor(settings, seed, script)
        self.pace: Pace = pace or Paced()
        world = Surroundings(settings, _loop_s, self.pace.true_ps, self.conductor.command)
        serial = f"sim-{secrets.token_hex(4)}"
        self._racks = {side: rack(number, world, serial) for number, side in enumerate(SIDES)}
        self._feeds: dict[str, Feed] = {}
        self._cables: dict[Key, asyncio.Task[None]] = {}
        self._unplugged: dict[Event, set[Key]] = {}
        self._watchers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(1, "photons")

    @contextlib.asynccontextmanager
    async def listening(self, address: str, failed: Callable[[], None] | None = None) -> AsyncIterator[str]:
        """Let the world run and clients connect; gives the address, with the port that port 0 became.

        Parameters
        ----------
        failed
            Called if the world stops by a mistake of its own, which is raised at the end.

        Raises
        ------
        UsageError
            If the address cannot be listened on.
        """
        wanted = read_address(address)
        self.pace.begin()
        try:
            if wanted.path:
                server = await asyncio.start_unix_server(self._accept, wanted.path)
            else:
                server = await asyncio.start_server(self._accept, wanted.host, wanted.port)
        except OSError as error:
            problem = f"cannot listen on {address}: {error.strerror or error}; choose another --listen"
            raise UsageError(problem) from None
        running = asyncio.create_task(self._run(), name="world")
        running.add_done_callback(lambda _: self._stopped(failed))
        try:
            if wanted.path:
                yield address
            else:
                yield str(Address(wanted.host, server.sockets[0].getsockname()[1]))
        finally:
            server.close()
            for task in (running, *self._tasks):
                task.cancel()
            ended = await asyncio.gather(running, *self._tasks, return_exceptions=True)
            self._pool.shutdown()
            if wanted.path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(wanted.path)  # noqa: PTH108 - one call of the system, which waits for nothing
            if isinstance(ended[0], Exception):
                raise ended[0]

    @property
    def truth(self) -> dict[str, Any]:
        """What was true so far; ready for JSON."""
        return self.conductor.truth | {"time": self.pace.describe()}

    def _stopped(self, failed: Callable[[], None] | None) -> None:
        """End all connections, since time stands still for good."""
        for task in self._tasks:
            task.cancel()
        if failed:
            failed()

    async def _run(self) -> None:
        """Let true time go on, stretch by stretch."""
        loop = asyncio.get_running_loop()
        stop_ps = 0
        while True:
            stop_ps += STRETCH_PS
            await self.pace.reach(stop_ps)
            for devices in self._racks.values():
                laser = devices["laser"]
                assert isinstance(laser, Laser)
                laser.watch()
            self._hand_out(await loop.run_in_executor(self._pool, self.conductor.advance, stop_ps))

    def _hand_out(self, stretch: Stretch) -> None:
        """Give a stretch's tags to those who stream, and pull and plug cables."""
        for event in stretch.began:
            if isinstance(event, Unplug | TaggerPowerCycle):
                self.unplug(event)
        for event in stretch.ended:
            if isinstance(event, Unplug | TaggerPowerCycle):
                self.plug(event)
        self._announce(stretch)
        for side, block, border_ps in zip(SIDES, stretch.blocks, stretch.borders_ps, strict=True):
            feed = self._feeds.get(side)
            if feed is not None:
                self._tagger(side).overflows += feed.deliver(block, border_ps, STRETCH_PS)
                if isinstance(self.pace, Lockstep):
                    self.pace.ask(feed, waits=False)

    def unplug(self, event: Unplug | TaggerPowerCycle) -> None:
        """Pull the cable of an instrument: its connection ends, and nobody gets another one until it is plugged."""
        device = "tagger"
        if isinstance(event, Unplug):
            device = event.device
        else:
            self._tagger(event.side).restarted()
        keys: set[Key] = {(event.side, device)} | ({(event.side, TAGS)} if device == "tagger" else set())
        self._unplugged[event] = keys
        for key in keys & self._cables.keys():
            self._pull(key)
        self._let_time_run()

    def plug(self, event: Unplug | TaggerPowerCycle) -> None:
        """Put the cable back."""
        self._unplugged.pop(event, None)
        self._let_time_run()

    def _let_time_run(self) -> None:
        """In lockstep, do not wait for taggers whose cables are pulled: they come back in true time."""
        if isinstance(self.pace, Lockstep):
            self.pace.free(any(device == TAGS for keys in self._unplugged.values() for _, device in keys))

    def _announce(self, stretch: Stretch) -> None:
        happened = [(event, "began") for event in stretch.began] + [(event, "ended") for event in stretch.ended]
        for event, state in happened:
            entry = {"event": event.what, "label": event.name, "state": state, "settings": event.describe()}
            frame = encode(entry | {"true_s": seconds(stretch.stop_ps)})
            for writer in self._watchers:
                if writer.transport.get_write_buffer_size() > LARGEST_BACKLOG:
                    writer.transport.abort()
                else:
                    writer.write(frame)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="cable")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends; whatever a client does ends its own connection at most."""
        try:
            async with asyncio.timeout(GREETING_S):
                greeting, _ = await read_frame(reader)
            await self._talk(greeting, reader, writer)
        except RemoteProtocolError as error:
            writer.write(encode({"error": str(error), "fault": "protocol"}))
        except (EOFError, OSError, TimeoutError):
            # The client has gone, or never was one: nobody is left to tell.
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _talk(
        self, greeting: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:  # fmt: skip
        node, device = greeting.get("node"), greeting.get("device")
        if greeting.get("world") != VERSION:
            problem = f"this world speaks version {VERSION}, not {str(greeting.get('world'))[:40]}"
            raise RemoteProtocolError(problem)
        if node == OBSERVER and device in ("truth", "events", "script"):
            await self._watch(str(device), reader, writer)
            return
        instruments = self._racks.get(node) if isinstance(node, str) else None
        if instruments is None or not isinstance(device, str) or device not in {*instruments, TAGS}:
            problem = f"there is no instrument {str(device)[:40]!r} at a node {str(node)[:40]!r}"
            raise RemoteProtocolError(problem)
        key = (str(node), device)
        if any(key in keys for keys in self._unplugged.values()):
            # A pulled cable says nothing.
            return
        if key in self._cables:
            self._pull(key)
        task = asyncio.current_task()
        assert task is not None
        self._cables[key] = task
        try:
            if device == TAGS:
                await self._stream(key[0], reader, writer)
            else:
                await self._answer(instruments[device], reader, writer)
        finally:
            if self._cables.get(key) is task:
                self._release(key)

    def _pull(self, key: Key) -> None:
        """End the connection of an instrument."""
        task = self._cables[key]
        self._release(key)
        task.cancel()

    def _release(self, key: Key) -> None:
        """Let an instrument know that its connection is over."""
        node, device = key
        del self._cables[key]
        if device == TAGS:
            self._end_feed(node)
        else:
            self._racks[node][device].released()

    def _end_feed(self, side: str) -> None:
        feed = self._feeds.pop(side, None)
        if feed is not None and isinstance(self.pace, Lockstep):
            self.pace.detach(feed)
        self._tagger(side).hang_up = None

    def _tagger(self, side: str) -> Tagger:
        tagger = self._racks[side]["tagger"]
        assert isinstance(tagger, Tagger)
        return tagger

    async def _answer(
        self, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:  # fmt: skip
        """Answer an instrument's driver, question by question."""
        writer.write(encode({"identity": device.identity, "capability": device.describe()}))
        while True:
            await writer.drain()
            question, _ = await read_frame(reader)
            writer.write(encode(_answered(device.answer, question)))

    async def _stream(self, side: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand out the tags of a node, one stretch per question."""
        tagger = self._tagger(side)
        feed = self._feeds[side] = Feed()
        tagger.hang_up = lambda: self._pull((side, TAGS))
        lockstep = self.pace if isinstance(self.pace, Lockstep) else None
        if lockstep:
            lockstep.attach(feed)
        writer.write(encode({"stream_id": tagger.stream_id}))
        while True:
            await writer.drain()
            await read_frame(reader)
            if lockstep:
                lockstep.ask(feed, waits=feed.empty)
            block = await _while_there(reader, feed.take(), SIGN_OF_LIFE_S)
            header, body = ({}, b"") if block is None else pack(block)
            writer.write(encode(header, body))

    async def _watch(self, what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one who watches."""
        writer.write(encode({"now_s": seconds(self.conductor.world.now_ps)}))
        if what == "events":
            self._watchers.add(writer)
        try:
            while True:
                await writer.drain()
                question, _ = await read_frame(reader)
                if what == "truth":
                    # Asked for between two stretches: the thread that draws photons is the only one that may look.
                    loop = asyncio.get_running_loop()
                    text = await loop.run_in_executor(self._pool, lambda: json.dumps(self.truth, allow_nan=False))
                    writer.write(encode({}, text.encode()))
                elif what == "script":
                    writer.write(encode(_answered(self._inject, question)))
        finally:
            self._watchers.discard(writer)

    def _inject(self, question: dict[str, Any]) -> dict[str, Any]:
        """Add an event; without ``at_s`` it begins now."""
        now_s = seconds(self.conductor.world.now_ps)
        event = read_event({"at_s": now_s} | question, "script", "event")
        self.conductor.inject(event)
        return {"at_s": event.at_s}


async def _while_there(reader: asyncio.StreamReader, awaited: Awaitable[T], limit_s: float) -> T | None:
    """Return what is awaited, or None if it takes too long; EOFError if the client hangs up or speaks meanwhile."""
    work = asyncio.ensure_future(awaited)
    gone = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({work, gone}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise EOFError
        return work.result() if work.done() else None
    finally:
        work.cancel()
        gone.cancel()
        # Only once the reader is free may the next question be read.
        await asyncio.wait({work, gone})


def _answered(answer: Callable[[dict[str, Any]], dict[str, Any]], question: dict[str, Any]) -> dict[str, Any]:
    """Return the answer, or why there is none."""
    try:
        return answer(question)
    except (UsageError, ConfigError) as error:
        return {"error": str(error), "fault": "usage"}


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
