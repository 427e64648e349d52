"""What a suite is played on: emulated instruments, recorded ones, or the real bench; each with what it can do.

A bench gives one device of the rig an address, says whether there is light, and has the faults that can be made
there; what it has not is None, and a test that needs it is skipped with that as its reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from qnoded.errors import InstrumentFault, UsageError
from qnoded.hil.replaying import RecordedInstrument
from qnoded.hil.rig import Rig, RigDevice
from qnoded.hil.transcript import read_transcript
from qnoded.instruments.capability import LaserCapability
from qnoded.instruments.protocols import DEADLINE_S, PowerMeter
from qnoded.instruments.transport import read_address
from qnoded.node.driver_call import bounded
from qnoded.testing.emulation import Device, Emulation, Fault, FaultKind, find_device, on_tcp
from qnoded.testing.emulation.afflictions import Interlocked
from qnoded.testing.emulation.light import Shines
from qnoded.testing.relay import Relay, relay

Backend = Literal["emulated", "replay", "real", "shadow"]
BACKENDS: Final[tuple[Backend, ...]] = ("emulated", "replay", "real", "shadow")
ON_HARDWARE: Final = ("real", "shadow")
GARBAGE: Final = (FaultKind.CORRUPTED, FaultKind.STRAY, FaultKind.SHORTENED)
GARBLED_MESSAGES: Final = 600
"""In a row: longer than any driver keeps on asking."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One device, ready to be connected."""

    backend: Backend
    device: RigDevice
    """With the address at which it is now."""
    lit: Callable[[], Any] | None = None
    """Coroutine function: whether there is light now; None: nobody can see it."""
    cables: tuple[Relay, ...] = ()
    """Which can be pulled, or fall silent."""
    emulations: tuple[Emulation, ...] = ()
    interlock: Callable[[bool], None] | None = None
    """Opens (True) or closes the interlock."""
    missed: list[str] = field(default_factory=list)
    """Questions for which a recording has no answer."""

    def garble(self) -> None:
        """Let everything that the instrument says from now on be nonsense."""
        for emulation in self.emulations:
            kinds = (GARBAGE[number % len(GARBAGE)] for number in range(GARBLED_MESSAGES))
            emulation.script(*(Fault(kind, number) for number, kind in enumerate(kinds)))

    def heal(self) -> None:
        """End the nonsense."""
        for emulation in self.emulations:
            emulation.script()

    def power_cycle(self) -> None:
        """Switch the instrument off and on."""
        for emulation in self.emulations:
            emulation.power_cycle()

    async def cut(self) -> None:
        """Pull the cable."""
        for cable in self.cables:
            await cable.cut()

    def hold(self) -> None:
        """Let the network swallow everything, without a word."""
        for cable in self.cables:
            cable.hold()

    async def restore(self) -> None:
        """Undo ``cut`` and ``hold``."""
        for cable in self.cables:
            await cable.restore()


@asynccontextmanager
async def standing(rig: Rig, name: str, backend: Backend, recordings: Path | None = None) -> AsyncIterator[Bench]:
    """Give a device of the rig on a back-end.

    Raises
    ------
    UsageError
        If the back-end has no such device.
    """
    device = rig.devices[name]
    if backend in ON_HARDWARE:
        async with _witnessed(rig) as lit:
            yield Bench(backend, device, lit)
        return
    async with AsyncExitStack() as stack:
        make = _recorded(device, recordings) if backend == "replay" else _emulated(device)
        emulations: list[Emulation] = []
        cables: list[Relay] = []

        async def served(_: str) -> str:
            emulations.append(Emulation(make(), device.rig.pace))
            port = await stack.enter_async_context(on_tcp(emulations[-1]))
            cables.append(await stack.enter_async_context(relay("127.0.0.1", port)))
            return f"tcp://127.0.0.1:{cables[-1].port}"

        here = device.at(await _readdressed(device.rig.settings, served))
        yield _bench(backend, here, emulations, cables)


def _bench(backend: Backend, device: RigDevice, emulations: list[Emulation], cables: list[Relay]) -> Bench:
    played = [one.device for one in emulations]
    if backend == "replay":
        missed = [one.missed for one in played if isinstance(one, RecordedInstrument)]
        return Bench(backend, device, missed=missed[0])

    async def lit() -> bool:
        return any(_shines(one) for one in emulations)

    return Bench(
        backend,
        device,
        lit if device.emits else None,
        tuple(cables),
        tuple(emulations),
        next((lock for one in played if (lock := _interlock(one)) is not None), None),
    )


async def _readdressed(settings: Mapping[str, Any], served: Callable[[str], Any]) -> dict[str, Any]:
    """Return a driver's settings with each address of an instrument replaced by what ``served`` gives for it."""
    changed: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "address" and isinstance(value, str) and _is_address(value):
            changed[key] = await served(value)
        elif isinstance(value, Mapping):
            changed[key] = await _readdressed(value, served)
        elif isinstance(value, list):
            changed[key] = [await _readdressed(one, served) if isinstance(one, Mapping) else one for one in value]
        else:
            changed[key] = value
    return changed


def _is_address(text: str) -> bool:
    try:
        read_address(text)
    except UsageError:
        # A mount's own address on a bus, one hexadecimal digit.
        return False
    return True


def _emulated(device: RigDevice) -> Callable[[], Device]:
    def make() -> Device:
        made = find_device(device.rig.driver)
        if device.rig.serial is not None:
            made.serial = device.rig.serial
        return made

    return make


def _recorded(device: RigDevice, recordings: Path | None) -> Callable[[], Device]:
    if recordings is None:
        problem = "the back-end replay needs --recordings DIR; record them with qnoded hil record"
        raise UsageError(problem)
    file = recordings / f"{device.name}.jsonl"
    transcript = read_transcript(file)
    return lambda: RecordedInstrument(transcript)


def _shines(emulation: Emulation) -> bool:
    """Ask an emulated laser for the truth."""
    device = emulation.device
    return isinstance(device, Shines) and device.light_dbm(emulation.now_s) is not None


def _interlock(device: Device) -> Callable[[bool], None] | None:
    """Return what opens the interlock of an emulated instrument that has one."""
    if not isinstance(device, Interlocked):
        return None
    interlocked = device

    def turn(is_open: bool) -> None:
        interlocked.interlock_open = is_open

    return turn


@asynccontextmanager
async def _witnessed(rig: Rig) -> AsyncIterator[Callable[[], Any] | None]:
    """Give a look at the light by the rig's own power meter."""
    if rig.witness is None or rig.settings.witness is None:
        yield None
        return
    meter, dark_below_dbm = rig.witness.instrument(), rig.settings.witness.dark_below_dbm
    assert isinstance(meter, PowerMeter)
    try:
        identity = await meter.connect()
        if rig.witness.serial not in (None, identity.serial):
            problem = f"the witness is {identity}, expected is serial {rig.witness.serial}; plug in the right one"
            raise UsageError(problem)
        await meter.configure()

        async def lit() -> bool:
            return (await meter.read()).power_dbm > dark_below_dbm

        yield lit
    finally:
        await meter.close()


async def check_unit(device: RigDevice) -> None:
    """Ask a real instrument who it is and what it can do, before anything else is done with it.

    Raises
    ------
    InstrumentFault
        If it is another unit, or its lowest power is more than the bench bears.
    """
    instrument = device.binding.instrument()
    try:
        identity = await bounded(instrument.connect(), f"{device.name}: connect", DEADLINE_S)
        capability = instrument.capability
    finally:
        await instrument.close()
    if device.rig.serial not in (None, identity.serial):
        problem = f"{device.name}: serial is {identity.serial}, the rig file says {device.rig.serial}; look which it is"
        raise InstrumentFault(problem)
    most_dbm = device.rig.max_power_dbm
    if isinstance(capability, LaserCapability) and most_dbm is not None and capability.min_power_dbm > most_dbm:
        problem = (
            f"{device.name}: it cannot emit less than {capability.min_power_dbm:g} dBm, and max_power_dbm is "
            f"{most_dbm:g}; attenuate the beam and say so in the rig file"
        )
        raise InstrumentFault(problem)


async def settled(lit: Callable[[], Any], wanted: bool, within_s: float) -> bool:
    """Wait until there is light, or none; return whether that came in time."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while bool(await lit()) is not wanted:
        if loop.time() >= until_s:
            return False
        await asyncio.sleep(0.01)
    return True
