"""``idq-id900``: a time tagger of four inputs, recorded in slices.

The instrument sends its tags when a recording ends, or when its memory is full. So it records slice after slice of
0.2 s, each with a time of its own that begins at 0; the dead time of 40 ns between two is known and told by nobody.
Its data port speaks a private format that a service of the maker's reads (DataLinkTargetService); it has to run on this
machine. Every start of a stream is a time axis of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from socket import socket
from typing import Annotated, Any, ClassVar, Final, Literal

import zmq
import zmq.asyncio
from pydantic import BaseModel, ConfigDict, Field

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled, InstrumentUnavailable
from qnoded.instruments.capability import Identity, TimeTaggerCapability
from qnoded.instruments.reading import TaggerReading
from qnoded.instruments.transport import AddressText, Lane, read_address
from qnoded.records import TagBlock
from qnoded.units import PS_PER_S
from qnoded_drivers.idq_id900.asking import Asker
from qnoded_drivers.idq_id900.codec import (
    HIRES_ERRORS,
    PERIOD_PS,
    PLAYING,
    RESOLUTION_PS,
    SLICE_PS,
    Slices,
    accepted,
    lines_of,
    number_of,
    told_by_service,
)
from qnoded_drivers.keeping import Keeper, Streaming

DATA_PORT: Final = 5555
"""The data of input n come from this port + n, and the service names what it receives ``HOST:PORT``."""
MAX_RATE_HZ: Final = 2.5e7
"""Of all inputs together, to the host."""
SILENT_S: Final = 2.0
"""A slice comes every 0.2 s; after so long without one nothing comes any more."""
LOOK_S: Final = 0.25
"""How often it is asked for errors while it streams, and how long a slice may be under way once it is registered."""
STOPPING_S: Final = 1.4
"""For stopping and hanging up, whatever does not answer."""
LARGEST_SLICE_BYTES: Final = 8 * int(4 * MAX_RATE_HZ * PERIOD_PS / PS_PER_S)


class Id900Settings(BaseModel):
    """A time controller, the service that reads its data, and its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: AddressText
    """Of the instrument, ``tcp://192.0.2.17:5555``."""
    service: AddressText = "tcp://127.0.0.1:6060"
    """Of the maker's DataLinkTargetService."""
    threshold_v: dict[Annotated[int, Field(ge=1, le=4)], float] = Field(min_length=1)
    """Input -> threshold, V."""
    edge: Literal["RISING", "FALLING"] = "RISING"
    coupling: Literal["DC", "AC"] = "DC"


class Id900:
    """Four inputs, slice by slice."""

    Settings: ClassVar[type[BaseModel]] = Id900Settings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._inputs: tuple[int, ...] = tuple(sorted(settings.threshold_v))
        self._scpi = Asker("ID900", settings.address, "*IDN?", constant=True)
        self._service = Asker("DataLinkTargetService", settings.service, "list", constant=False)
        self._name = ""
        """What it answered to ``*IDN?``."""
        self._hires = False
        self._records = False
        """Whether it may be recording, as far as is known."""
        self._streaming = Streaming()
        self.capability = TimeTaggerCapability(self._inputs, RESOLUTION_PS, MAX_RATE_HZ)
        self.stream_id = "none"

    async def connect(self) -> Identity:
        """Connect to the instrument and ask who it is."""
        await self._streaming.end()
        self._service.close()
        name = self._name = await self._scpi.open()
        # Whoever had it before may have left it so.
        self._records = True
        parts = [part.strip() for part in name.split(",")]
        if len(parts) < 3 or not all(parts[:3]) or "ID" not in parts[1].upper():
            self._scpi.close()
            problem = f"{self._scpi}: {name[:80]!r} answers, which is no Time Controller; check the address"
            raise InstrumentFault(problem)
        return Identity(parts[0], parts[1], parts[2], ", ".join(parts[3:]))

    async def configure(self) -> None:
        """Stop recording, set the inputs and the slices, and give up what the service still receives."""
        await self._streaming.end()
        await self._end_recording(Lane.COMMAND)
        for number in self._inputs:
            for leaf, value in (
                ("ENAB", "ON"),
                ("COUP", self._settings.coupling),
                ("EDGE", self._settings.edge),
                ("THRE", f"{self._settings.threshold_v[number]:g}"),
            ):
                await self._set(f"INPU{number}:{leaf}", value)
            await self._set(f"RAW{number}:REF:LINK", "NONE")
            await self._set(f"RAW{number}:STOP:LINK", f"INPU{number}")
            await self._set(f"RAW{number}:SEND", "OFF")
        for leaf, value in (("TRIG:ARM:MODE", "MANU"), ("ENAB", "ON"), ("NUM", "INF")):
            await self._set(f"REC:{leaf}", value)
        for leaf, value_ps in (("PWID", SLICE_PS), ("PPER", PERIOD_PS)):
            await self._set(f"REC:{leaf}", str(value_ps))
            shown_ps = number_of(await self._scpi.ask(f"REC:{leaf}?"))
            if shown_ps != value_ps:
                problem = f"{self._scpi}: REC:{leaf} is {shown_ps} ps after {value_ps} ps was set"
                raise InstrumentFault(problem)
        self._hires = (await self._scpi.ask("DEVI:RES?")).strip().upper() == "HIRES"
        await self._service.open()
        await self._give_up_former()

    async def _do(self, command: str, lane: Lane = Lane.COMMAND) -> None:
        """Send a command that sets no value; whatever it answers, what it did is read back."""
        await self._scpi.ask(command, lane)

    async def _set(self, leaf: str, value: str) -> None:
        command = f"{leaf} {value}"
        accepted(command, await self._scpi.ask(command))

    async def _ask_service(self, command: str, lane: Lane = Lane.COMMAND) -> Any:
        return told_by_service(command, await self._service.ask(command, lane))

    async def _give_up_former(self, lane: Lane = Lane.COMMAND) -> None:
        """Stop what the service receives from this instrument, for whomever: each port has one receiver."""
        there = await self._ask_service("list", lane)
        host = read_address(self._settings.address).host
        for name in there if isinstance(there, list) else ():
            if str(name).rpartition(":")[0] == host and self._input_of(str(name)) in self._inputs:
                await self._ask_service(f"stop --id {name}", lane)

    def _input_of(self, acquisition: str) -> int:
        port = acquisition.rpartition(":")[2]
        return int(port) - DATA_PORT if port.isdecimal() else 0

    async def stream(self) -> AsyncIterator[TagBlock]:
        """Begin to record anew and yield its tags."""
        self._scpi.context  # noqa: B018 - raises where there is no connection
        keeper = await self._streaming.begin(self._pump, "tags of the ID900")
        self.stream_id = f"id900-{token_hex(8)}"
        try:
            async for block in keeper.blocks():
                yield block
        finally:
            if await self._streaming.end(keeper):
                await self._stop(Lane.COMMAND)

    async def _pump(self, keeper: Keeper) -> None:
        """Record and fetch slices as they come."""
        thread = ThreadPoolExecutor(1, "ID900")
        sockets: dict[zmq.asyncio.Socket, int] = {}
        try:
            names = {}
            for number in self._inputs:
                names[number] = await self._receive(number, sockets)
            self._records = True
            await self._do("REC:PLAY")
            await self._follow(keeper, sockets, names, thread)
        finally:
            for one in sockets:
                one.close()
            thread.shutdown(wait=False)

    async def _receive(self, number: int, sockets: dict[zmq.asyncio.Socket, int]) -> str:
        """Let the service receive an input's tags, and this driver the service's; return the service's name for it."""
        await self._do(f"RAW{number}:ERRORS:CLEAR")
        port = _free_port()
        host = read_address(self._settings.address).host
        told = await self._ask_service(f"start-stream --address {host} --channel {number} --stream-port {port}")
        if not isinstance(told, dict) or "id" not in told:
            problem = f"the service answered {told!r} to start-stream, without an id"
            raise InstrumentGarbled(problem)
        one = self._service.context.socket(zmq.PAIR)
        sockets[one] = number
        one.setsockopt(zmq.LINGER, 0)
        one.setsockopt(zmq.MAXMSGSIZE, LARGEST_SLICE_BYTES)
        one.connect(f"tcp://{read_address(self._settings.service).host}:{port}")
        await self._set(f"RAW{number}:SEND", "ON")
        return str(told["id"])

    async def _follow(
        self,
        keeper: Keeper,
        sockets: dict[zmq.asyncio.Socket, int],
        names: dict[int, str],
        thread: ThreadPoolExecutor,
    ) -> None:
        """Hand over slice after slice until nothing comes any more."""
        loop, slices = asyncio.get_running_loop(), Slices(self._inputs)
        poller = zmq.asyncio.Poller()
        for one in sockets:
            poller.register(one, zmq.POLLIN)
        heard_s = looked_s = loop.time()
        while loop.time() - heard_s < SILENT_S:
            for one, _ in await poller.poll(int(1000 * LOOK_S)):
                message = await one.recv()
                if not message:
                    problem = f"{self._scpi}: the service has ended the stream of input {sockets[one]}; connect again"
                    raise InstrumentUnavailable(problem)
                slices.take(sockets[one], message)
            if loop.time() - looked_s >= LOOK_S:
                looked_s = loop.time()
                await self._look(slices, names)
            while (block := await loop.run_in_executor(thread, slices.next)) is not None:
                heard_s = loop.time()
                keeper.put(block)
        problem = f"{self._scpi}: no slice within {SILENT_S:g} s; connect again"
        raise InstrumentUnavailable(problem)

    async def _look(self, slices: Slices, names: dict[int, str]) -> None:
        """Ask whether it still records, and for errors; let slices without tags not hold up the others."""
        questions = ["REC:STAG?", *(f"RAW{number}:ERRORS?" for number in self._inputs)]
        if self._hires:
            questions += [f"INPU{number}:HIRES:ERROR?" for number in self._inputs]
        stage, *errors = lines_of(await self._scpi.ask(";:".join(questions), Lane.POLL), len(questions))
        if stage.upper() != PLAYING:
            problem = f"{self._scpi}: it has stopped recording ({stage[:40]}); connect again"
            raise InstrumentUnavailable(problem)
        for place, text in enumerate(errors):
            count, number = number_of(text), self._inputs[place % len(self._inputs)]
            if count and place < len(self._inputs):
                slices.trouble(f"input {number}: {count} errors")
                await self._do(f"RAW{number}:ERRORS:CLEAR")
            elif count:
                slices.trouble(f"input {number}: high-resolution error {count}, {HIRES_ERRORS.get(count, 'unknown')}")
                await self._do(f"INPU{number}:HIRES:ERROR:CLEAR")
        for number in slices.overdue():
            status = await self._ask_service(f"status --id {names[number]}", Lane.POLL)
            registered: object = status.get("acquisitions_count") if isinstance(status, dict) else None
            if not isinstance(registered, int):
                problem = f"the service answered {status!r} to status, without acquisitions_count"
                raise InstrumentGarbled(problem)
            slices.registered(number, registered)

    async def read(self) -> TaggerReading:
        """Return whether it records, and how often tags were lost."""
        keeper = self._streaming.keeper
        stage = (await self._scpi.ask("REC:STAG?", Lane.POLL)).strip().upper()
        if "ERROR" in stage:
            problem = f"{self._scpi}: it answers {stage[:80]!r} to REC:STAG?"
            raise InstrumentFault(problem)
        return TaggerReading(stage == PLAYING, 0 if keeper is None else keeper.overflows)

    async def make_safe(self) -> None:
        """Stop recording. Nobody waits for the end of the stream: it may never be told."""
        await self._streaming.end()
        await self._stop(Lane.STOP)

    async def _stop(self, lane: Lane) -> None:
        lost = not self._scpi.is_open
        if lost and not self._records:
            return
        off = ";:".join(f"RAW{number}:SEND OFF" for number in self._inputs)
        try:
            async with asyncio.timeout(STOPPING_S):
                if not lost or await self._scpi.open() == self._name:
                    await self._end_recording(lane)
                    await self._do(off, lane)
                    await self._give_up_former(lane)
        except (InstrumentError, TimeoutError):
            # It is gone, or does not answer: there is nothing else to do for it.
            pass
        finally:
            if lost:
                # It was opened for that alone.
                self._scpi.close()

    async def _end_recording(self, lane: Lane) -> None:
        """Stop recording; once more, over a new socket, if the answer is missing: a second stop changes nothing."""
        try:
            await self._do("REC:STOP", lane)
        except InstrumentUnavailable:
            await self._do("REC:STOP", lane)
        self._records = False

    async def close(self) -> None:
        """Stop recording and hang up."""
        await self.make_safe()
        self._service.close()
        self._scpi.close()


def _free_port() -> int:
    """Return a port of this machine, on which the service is to serve tags."""
    with socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
