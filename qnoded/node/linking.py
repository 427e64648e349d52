"""The node's links and what they share: one acquisition, one ZeroMQ context, one gatekeeper."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import zmq

from qnoded.exchange.effects import Script
from qnoded.exchange.greeting import Session
from qnoded.exchange.happenings import KnownClock
from qnoded.exchange.identifying import match, reveal
from qnoded.exchange.link_memory import LinkMemory
from qnoded.exchange.live_messages import Light
from qnoded.exchange.terms import LinkTerms
from qnoded.node.acquisition import Acquisition
from qnoded.node.curve import load_keys, load_peer
from qnoded.node.devices import Devices
from qnoded.node.disk import Disk
from qnoded.node.flooding import FloodGate
from qnoded.node.key_service import KeyService
from qnoded.node.link import Link, ScriptMaker
from qnoded.node.lock_file import LockFile
from qnoded.node.pool import Pool
from qnoded.node.sockets import Endpoint, Gatekeeper, LinkSocket
from qnoded.node.status import Level
from qnoded.node.story import Story
from qnoded.node.tasks import background
from qnoded.node.watchdog import Watchdog
from qnoded.node_settings import NodeSettings
from qnoded.records import Receiver

if TYPE_CHECKING:
    from qnoded.node_settings import LinkSettings


class Linking:
    """All links of a node.

    Parameters
    ----------
    watchers
        Called with every report of every link.
    tell
        Takes events for people: level, source and text.
    light
        What this node's laser does.
    keys
        Makes blocks keys; None: they stay blocks.

    Raises
    ------
    ConfigError
        If a key file or an address cannot be used.
    """

    def __init__(
        self,
        settings: NodeSettings,
        devices: Devices,
        pool: Pool,
        disk: Disk,
        watchdog: Watchdog,
        watchers: Sequence[Callable[[object], None]],
        tell: Callable[[Level, str, str], None],
        light: Callable[[], Light],
        keys: KeyService | None = None,
    ) -> None:
        self.links: dict[str, Link] = {}
        self._settings, self._pool, self._disk, self._watchdog = settings, pool, disk, watchdog
        self._watchers, self._tell, self._light, self._keys = watchers, tell, light, keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[LinkSocket] = []
        self._gatekeeper = Gatekeeper(self._context)
        self._acquisition: Acquisition | None = None
        self._quiet = asyncio.Event()
        if settings.receiver is not None and settings.links:
            side = next(iter(settings.links.values())).role
            receiver = settings.receiver.receiver(side)
            self._acquisition = Acquisition(receiver, devices, pool, watchdog.watch("acquisition"))
        try:
            for name, link in settings.links.items():
                self.links[name] = self._made(name, link)
        except BaseException:
            self.close()
            raise
        if self._acquisition is not None:
            self._acquisition.followers += self.links.values()

    async def run(self) -> None:
        """Acquire and talk until cancelled."""
        gate = FloodGate(self._sockets, lambda level, text: self._tell(level, "links", text))
        async with background(self._gatekeeper.run(), gate.run(), *(link.run() for link in self.links.values())):
            if self._acquisition is not None:
                async with background(self._acquisition.run()):
                    await self._quiet.wait()
            await asyncio.Event().wait()

    def stop_acquiring(self) -> None:
        """Look at no tagger any more, so that one that is made safe is not missed."""
        self._quiet.set()

    def close(self) -> None:
        """Release the network."""
        for socket in self._sockets:
            socket.close()
        self._gatekeeper.close()
        self._context.term()

    def _made(self, name: str, link: LinkSettings) -> Link:
        assert self._settings.receiver is not None
        assert self._acquisition is not None
        terms, receiver = self._settings.terms(name), self._settings.receiver.receiver(link.role)
        endpoint = Endpoint(
            name,
            link.role,
            link.peer_role,
            link.listen,
            link.connect,
            load_keys(link.secret_key),
            load_peer(link.peer_key),
        )
        socket = LinkSocket(self._context, self._gatekeeper, endpoint)
        self._sockets.append(socket)
        unchosen = [one.name for one in receiver.detectors if one.dead_time_ps is None]
        if terms.makes_keys and unchosen:
            advice = "give each in [receiver.dead_time_ps], at least what qnoded analyze finds; 0 if there are none"
            echoes = "echoes tell everybody which detector clicked"
            self._tell("warning", f"link {name}", f"no dead time of {', '.join(unchosen)}: {echoes}; {advice}")
        folder = self._settings.node.state_dir / name
        return Link(
            name,
            link.role,
            terms,
            software=f"qnoded {version('qnoded')}",
            socket=socket,
            acquisition=self._acquisition,
            pool=self._pool,
            progress=self._watchdog.watch(f"link {name}"),
            lock_file=LockFile(folder / "lock.json", self._disk),
            story=Story(folder, asyncio.get_running_loop().time, self._disk),
            make_script=script_maker(terms, link.role, receiver, self._pool, self._acquisition),
            watchers=self._watchers,
            tell=lambda level, text: self._tell(level, f"link {name}", text),
            keys=self._keys.making(name, self._watchdog, self._disk) if self._keys else None,
            light=self._light,
        )


def script_maker(terms: LinkTerms, role: str, receiver: Receiver, pool: Pool, acquisition: Acquisition) -> ScriptMaker:
    """Return what makes this end's scripts, with the memory that outlives each of them."""
    memory = LinkMemory.of(terms, role)

    def made(session: Session, known: KnownClock) -> Script[None]:
        if session.revealer == role:
            return reveal(terms, role, receiver, session, tick_ps=acquisition.tick_ps, memory=memory)
        return match(terms, role, receiver, session, known, pool.over, memory=memory)

    return made
