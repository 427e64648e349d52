"""The daemon of one node: settings become instruments, acquisition, links and a control socket, and end together.

``run`` is the whole life: start everything at once, say READY when kernels are warm and instruments have answered or
are declared missing, go on until ``stop``; then everything goes dark first, the peers hear a goodbye, and all is
closed. Whatever knows photons is imported while the node starts, so that instruments connect meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qnoded.errors import ConfigError, UsageError
from qnoded.instruments.protocols import SAFE_S
from qnoded.instruments.reading import LaserReading
from qnoded.node.control import ControlServer
from qnoded.node.curve import load_keys, load_peer
from qnoded.node.device import DeviceChanged
from qnoded.node.devices import CONTROLLER, LASER, Devices
from qnoded.node.disk import Disk
from qnoded.node.doubt_file import EMITS, DoubtFile
from qnoded.node.event_log import EventLog
from qnoded.node.notify import Notifier
from qnoded.node.occupancy import occupied
from qnoded.node.permits import DECISION_S, LightChanged, PermitOffice
from qnoded.node.pool import Pool
from qnoded.node.status import Event, InstrumentStatus, Level, NodeState, NodeStatus, reading_document
from qnoded.node.tasks import background
from qnoded.node.warming import warm
from qnoded.node.watchdog import HELD_UP_S, LoopLag, Watchdog
from qnoded.node_settings import NodeSettings
from qnoded.node_settings.models import KEY_POSITION

if TYPE_CHECKING:
    from qnoded.exchange.live_messages import Light
    from qnoded.node.key_service import KeyService
    from qnoded.node.link import Link
    from qnoded.node.linking import Linking
    from qnoded.node.recording import SiftedRecorder
    from qnoded.node.turning import Turning

SETTLE_S: Final = 10.0
"""Instruments that have not answered by then are declared missing; they are tried on."""
STATUS_S: Final = 5.0
"""Between two lines for the service manager."""
EVENTS_SHOWN: Final = 20
_LEVELS: Final[dict[Level, int]] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_BAD_NEWS: Final = ("ABSENT", "FAULTED", "QUARANTINED", "DEGRADED")

log = logging.getLogger(__name__)


class Daemon:
    """One node.

    Parameters
    ----------
    settings
        As read from the node's file.
    where
        That file, for messages.
    environment
        Usually ``os.environ``: how the service manager is reached.
    record
        Where sifted bits are written for comparison; only for a simulated node.

    Raises
    ------
    ConfigError
        If what the settings name cannot be used.
    """

    def __init__(
        self,
        settings: NodeSettings,
        where: Path,
        environment: Mapping[str, str],
        record: Path | None = None,
    ) -> None:
        self.settings, self._where, self._environment = settings, where, environment
        if settings.links and "tagger" not in settings.instruments:
            remedy = "add [instruments.tagger] with its driver, or remove the links"
            raise ConfigError(where, "instruments.tagger", "is missing, and links need one", remedy)
        self._record_folder = record
        self._state = "starting"
        self._version = version("qnoded")
        self._started_utc = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._started_s = time.monotonic()
        self._events = EventLog()
        self._lag = LoopLag(self._held_up)
        self._stopping = asyncio.Event()
        self._devices = Devices(
            {role: one.table() for role, one in settings.instruments.items()},
            str(where),
            simulation=settings.node.simulation,
            chance=random.Random(),  # noqa: S311 - spreads retries in time, decides nothing
            tell=self._device_changed,
        )
        self._links: dict[str, Link] = {}
        self._office: PermitOffice | None = None
        self._doubts: DoubtFile | None = None
        self._doubt: str | None = None
        """What an earlier run of the daemon left of the laser, see ``DoubtFile.load``."""
        self._dark: str | None = None
        """Why the laser gives no light though the config asks for it."""
        self._turning: Turning | None = None
        self._disk: Disk | None = None

    # The life of the node

    async def run(self) -> None:
        """Run the node until ``stop``.

        Raises
        ------
        QnodedError
            If it cannot run with these settings on this machine.
        """
        from qnoded.node.key_service import key_service

        pool = Pool()
        try:
            # Whatever forbids this daemon to run is found before an instrument is touched: another may be using it.
            with Notifier(self._environment) as notifier, occupied(self.settings.node.state_dir):
                self._demand_link_keys()
                watchdog = Watchdog(notifier)
                async with (
                    ControlServer(self.settings.node.control_socket, self) as control,
                    background(self._lag.run(), watchdog.run(), self._tell_status(notifier), control.keep(self.tell)),
                    key_service(self.settings, self._where, pool, self.tell) as keys,
                    self._supervised_devices(),
                ):
                    await self._until_stopped(self._started(pool))
                    if self._stopping.is_set():
                        return
                    async with self._linked(pool, watchdog, keys):
                        self._ready(notifier)
                        await self._stopping.wait()
                        notifier.stopping()
        finally:
            pool.close()

    def stop(self, why: str) -> None:
        """Let ``run`` come to its end."""
        if not self._stopping.is_set():
            self._state = "stopping"
            self.tell("info", "node", f"stopping: {why}")
            self._stopping.set()

    def _demand_link_keys(self) -> None:
        for link in self.settings.links.values():
            load_keys(link.secret_key).secret.wipe()
            load_peer(link.peer_key)

    async def _until_stopped(self, work: Any) -> None:
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.wait({task, stop})

    async def _started(self, pool: Pool) -> None:
        """Compile, and wait for the instruments, both at once."""
        warming = asyncio.ensure_future(pool.compute(warm, pool.over))
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._devices.settled()
        except TimeoutError:
            missing = [one.role for one in self._devices.snapshots() if one.problem or one.identity is None]
            self.tell("warning", "node", f"starting without {', '.join(missing)}; they are tried on")
        await warming

    def _ready(self, notifier: Notifier) -> None:
        self._state = "running"
        self._lag.forget()
        notifier.ready(self._summary())
        self.tell("info", "node", f"ready after {time.monotonic() - self._started_s:.1f} s")
        if self._office is not None:
            self._begin_light(self._office)

    def _begin_light(self, office: PermitOffice) -> None:
        """Give light as the config asks for it, unless there is a doubt about the laser."""
        assert self._doubts is not None
        doubt, seen = self._doubt, self._devices.snapshot(LASER).reading
        if doubt == EMITS and isinstance(seen, LaserReading) and not seen.emitting:
            self._doubts.emits(False)
            doubt = None
        elif doubt == EMITS:
            doubt = "the daemon was ended while its laser emitted, and the laser is not there as it starts again"
            self._doubts.keep(doubt)
        if doubt is None and self._links and all(link.status().state == "STOPPED" for link in self._links.values()):
            why = "dark: every link of this node is halted; enrol them (docs/keys.md), then qnodectl light on"
            self._light_changed(LightChanged(False, why))
        elif doubt is None:
            office.resume("the node has started, and its config asks for light")
        else:
            why = f"dark: {doubt}; it stays so until a person has looked: qnodectl light on"
            self._light_changed(LightChanged(False, why))

    @asynccontextmanager
    async def _supervised_devices(self) -> AsyncIterator[None]:
        """Supervise; at the end everything is dark before anything else ends."""
        task = asyncio.create_task(self._devices.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    @asynccontextmanager
    async def _linked(self, pool: Pool, watchdog: Watchdog, keys: KeyService | None) -> AsyncIterator[None]:
        """Have light, polarization, acquisition and links; dark before the goodbyes at the end."""
        from qnoded.node.linking import Linking
        from qnoded.node.recording import SiftedRecorder
        from qnoded.node.turning import Turning

        operate, simulation = self.settings.operate, self.settings.node.simulation
        self._disk = disk = Disk(pool, lambda level, text: self.tell(level, "disk", text))
        recorder = SiftedRecorder(self._record_folder, disk, simulation=simulation) if self._record_folder else None
        if CONTROLLER in self._devices:
            self._turning = Turning(
                self._devices, operate.positions, KEY_POSITION, lambda level, text: self.tell(level, CONTROLLER, text)
            )
        if LASER in self._devices and operate.laser_power_dbm is not None:
            assert operate.max_power_dbm is not None
            self._doubts = DoubtFile(self.settings.node.state_dir, disk)
            self._doubt = await self._doubts.load()
            self._office = PermitOffice(
                self._devices,
                power_dbm=operate.laser_power_dbm,
                max_power_dbm=operate.max_power_dbm,
                health=self._health(),
                tell=self._light_changed,
                memory=self._doubts,
            )
        watchers = [one.take for one in (self._turning,) if one] + [one.add for one in (recorder,) if one]
        linking = Linking(self.settings, self._devices, pool, disk, watchdog, watchers, self.tell, self._light, keys)
        self._links = linking.links
        if self._turning is not None:
            self._turning.followers += [link.controller_stands for link in linking.links.values()]
        parts = [part for part in (linking, self._turning, self._office, self._doubts, recorder) if part is not None]
        try:
            async with background(*(part.run() for part in parts)):
                try:
                    yield
                finally:
                    await self._wind_down(linking, recorder)
        finally:
            # The permit office has ended, and knows whether it has left a dark laser.
            await self._last_words(self._doubts.flush() if self._doubts else None)
            linking.close()

    def _health(self) -> dict[str, Callable[[], bool]]:
        """Return what must hold of the node for light, by name."""
        health = {"an event loop on time": lambda: self._lag.recent_s < HELD_UP_S}
        if (turning := self._turning) is not None:
            health["a polarization controller where it should be"] = lambda: turning.problem is None
        return health

    async def _wind_down(self, linking: Linking, recorder: SiftedRecorder | None) -> None:
        if self._office is not None:
            self._office.stop("the node stops")
        linking.stop_acquiring()
        with suppress(TimeoutError):
            async with asyncio.timeout(SAFE_S):
                await self._devices.make_safe()
        for link in linking.links.values():
            link.stop()
        await self._last_words(recorder.finish() if recorder else None)

    @staticmethod
    async def _last_words(writing: Coroutine[Any, Any, None] | None) -> None:
        """Write what is left to be written; a disk that hangs does not hold the end up."""
        if writing is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(writing, SAFE_S)

    # What operators ask, see control.Controlled

    def snapshot(self) -> NodeStatus:
        """Return the present status."""
        node = self.settings.node
        state = NodeState(
            name=node.name,
            version=self._version,
            simulation=node.simulation,
            state=self._state,
            started_utc=self._started_utc,
            uptime_s=time.monotonic() - self._started_s,
            loop_lag_s=self._lag.recent_s,
            troubles=self._disk.troubles if self._disk else (),
        )
        links = {name: link.status() for name, link in self._links.items()}
        return NodeStatus(state, self._instruments(), links, self._events.since(0, EVENTS_SHOWN))

    def events(self, since: int) -> tuple[Event, ...]:
        """Return the events after a number, oldest first."""
        return self._events.since(since)

    async def pause(self, link: str) -> None:
        """Stop a link until ``resume``."""
        self._link(link).pause()

    async def resume(self, link: str) -> None:
        """Let a paused link go on."""
        self._link(link).resume()

    async def light(self, *, on: bool) -> None:
        """Give light again, or make dark until a person gives it again."""
        if self._office is None:
            problem = "this node gives no light: it is starting, or has no laser with operate.laser_power_dbm"
            raise UsageError(problem)
        if on:
            self._office.resume("switched on by the operator")
        else:
            self._office.revoke("switched off by the operator; back with qnodectl light on")

    async def interlude(self, link: str) -> None:
        """Ask for a CHSH interlude as soon as possible."""
        self._link(link).interlude()

    async def enrol(self, link: str) -> None:
        """Declare a link's key for authentication lost, so that a signed exchange makes a new one."""
        await self._link(link).enrol()

    async def swap(self, role: str, table: dict[str, Any]) -> None:
        """Put another driver, or the same with other settings, in a role."""
        await self._devices.swap(role, table)

    def tell(self, level: Level, source: str, text: str) -> None:
        """Note an event for people, and log it."""
        event = self._events.add(level, source, text)
        log.log(_LEVELS[level], "%s: %s", source, event.text)

    def _link(self, name: str) -> Link:
        if name not in self._links:
            problem = f"this node has no link {name!r}; it has {', '.join(self._links) or 'none yet'}"
            raise UsageError(problem)
        return self._links[name]

    def _instruments(self) -> dict[str, InstrumentStatus]:
        now_s = asyncio.get_running_loop().time()
        return {
            one.role: InstrumentStatus(
                driver=one.driver,
                state=one.state.name,
                simulated=one.simulated,
                identity=str(one.identity) if one.identity else None,
                reading=reading_document(one.reading) if one.reading else None,
                reading_age_s=None if one.read_loop_s is None else now_s - one.read_loop_s,
                problem=one.problem or self._amiss(one.role),
                retry_in_s=None if one.retry_loop_s is None else max(one.retry_loop_s - now_s, 0.0),
            )
            for one in self._devices.snapshots()
        }

    def _amiss(self, role: str) -> str | None:
        """Return why an instrument that is ready does not do what the node wants of it."""
        if role == CONTROLLER and self._turning is not None:
            return self._turning.problem
        if role == LASER and self._office is not None and (missing := self._office.waiting_for) is not None:
            return f"dark: {missing}; light comes by itself if that is over within {DECISION_S:g} s"
        return self._dark if role == LASER else None

    # What the parts tell

    def _device_changed(self, changed: DeviceChanged) -> None:
        bad = changed.state.name in _BAD_NEWS and not self._stopping.is_set()
        level: Level = "warning" if bad else "info"
        self.tell(level, changed.role, f"{changed.state.name}: {changed.text}")

    def _held_up(self, late_s: float) -> None:
        # While kernels are compiled, it is expected.
        if self._state == "running":
            text = f"this node stood still for {late_s:.1f} s: it was stopped, or the machine slept or is overloaded"
            self.tell("warning", "node", f"{text}; peers and instruments may have been lost over it")

    def _light_changed(self, changed: LightChanged) -> None:
        self._dark = None if changed.emitting else changed.text
        self.tell("info" if changed.emitting or self._stopping.is_set() else "warning", LASER, changed.text)

    def _light(self) -> Light:
        from qnoded.exchange.live_messages import Light

        if LASER not in self._devices:
            return Light.NONE
        reading = self._devices.snapshot(LASER).reading
        return Light.EMITTING if isinstance(reading, LaserReading) and reading.emitting else Light.DARK

    async def _tell_status(self, notifier: Notifier) -> None:
        while True:
            await asyncio.sleep(STATUS_S)
            notifier.status(self._summary())

    def _summary(self) -> str:
        links = [f"{name} {link.status().state}" for name, link in self._links.items()]
        ready = sum(one.state == "READY" for one in self._instruments().values())
        return f"{self._state}; {ready} of {len(self.settings.instruments)} instruments ready; {', '.join(links)}"
