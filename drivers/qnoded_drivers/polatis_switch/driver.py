"""``polatis-switch``: the ports of a matrix switch that belong to this node; others' connections are left alone.

Orders are silent, so connections are read back, and the queue of errors tells why one is missing. Each look asks for
connections and size, whose answers cannot be taken for each other, and is taken twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, Field, field_validator

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled, UsageError
from qnoded.instruments.capability import Identity, OpticalSwitchCapability
from qnoded.instruments.reading import SwitchReading
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.lines import LineDecoder
from qnoded_drivers.polatis_switch.codec import (
    ASK_CONNECTIONS,
    ASK_ERRORS,
    ASK_NAME,
    ASK_SIZE,
    connect,
    connections_of,
    disconnect,
    errors_of,
    name_of,
    size_of,
)

PORT: Final = SerialPort(38400)
LONGEST_LINE: Final = 8192
"""384 connections take less than 4000 characters."""
ANSWER_S: Final = 1.5
"""For two looks and an order."""
SWITCHING_S: Final = 0.05
"""Twice what the maker promises of its larger switches."""

T = TypeVar("T")
Port = Annotated[int, Field(ge=1, le=9999)]


class PolatisSettings(Addressed):
    """A switch and the ports of it that belong to this node."""

    inputs: tuple[Port, ...] | None = Field(default=None, min_length=1)
    """Port numbers as the switch counts them, from 1; absent: all inputs."""
    outputs: tuple[Port, ...] | None = Field(default=None, min_length=1)
    """Port numbers as the switch counts them, from the number of inputs plus 1; absent: all outputs."""

    @field_validator("inputs", "outputs")
    @classmethod
    def _are_different(cls, ports: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if ports is not None and len(set(ports)) < len(ports):
            problem = "a port stands there twice"
            raise ValueError(problem)
        return ports


class PolatisSwitch:
    """Dark where nothing is connected. Safe when none of this node's inputs leads anywhere."""

    Settings: ClassVar[type[BaseModel]] = PolatisSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        place = read_address(settings.address)
        self._line = Line("Polatis switch", place, PORT, partial(LineDecoder, LONGEST_LINE), self._find_step)
        self._name: tuple[str, str, str, str] | None = None
        self._size = (0, 0)
        self._inputs: tuple[int, ...] = ()
        self._outputs: tuple[int, ...] = ()
        self.capability = OpticalSwitchCapability(0, 0, SWITCHING_S)

    async def connect(self) -> Identity:
        """Open the line, and ask who is there and how large it is."""
        self._name = None
        await self._line.open()

        async def who() -> tuple[tuple[str, str, str, str], tuple[int, int]]:
            return await _ask(talk, ASK_NAME, name_of), await _ask(talk, ASK_SIZE, size_of)

        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            name, self._size = await confirmed(who, tuple.__eq__, "its identity")
        self._name = name
        inputs, outputs = self._size
        self._inputs = self._own("inputs", self._settings.inputs, range(1, inputs + 1))
        self._outputs = self._own("outputs", self._settings.outputs, range(inputs + 1, inputs + outputs + 1))
        self.capability = OpticalSwitchCapability(len(self._inputs), len(self._outputs), SWITCHING_S)
        return Identity(*name)

    def _own(self, name: str, asked: tuple[int, ...] | None, there: Sequence[int]) -> tuple[int, ...]:
        if asked is None:
            return tuple(there)
        strangers = sorted(set(asked) - set(there))
        if strangers:
            has = f"{there[0]} to {there[-1]}" if there else "none"
            problem = f"{self._line}: its {name} are {has}, the settings name {strangers}"
            raise InstrumentFault(problem)
        return asked

    async def configure(self) -> None:
        """Lead this node's inputs nowhere."""
        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            await self._darken(talk)

    async def route(self, source: int, output: int | None) -> None:
        """Lead an input to an output, both counted from 0 in the settings' order, or to none."""
        for name, place, ports in (("input", source, self._inputs), ("output", output or 0, self._outputs)):
            if place not in range(len(ports)):
                problem = f"there is no {name} {place}; they count from 0 to {len(ports) - 1}"
                raise UsageError(problem)
        near = self._inputs[source]
        far = None if output is None else self._outputs[output]
        async with self._line.turn(Lane.COMMAND, ANSWER_S) as talk:
            present = await self._looked(talk)
            taken = next((one for one, other in present.items() if other == far and one != near), None)
            if far is not None and taken is not None:
                problem = f"output {output} (port {far}) is taken by port {taken}; lead that elsewhere first"
                raise UsageError(problem)
            if present.get(near) == far:
                return
            if near in present:
                talk.send(disconnect({near: present[near]}))
            if far is not None:
                talk.send(connect(near, far))
            arrived = await self._looked(talk)
            if arrived.get(near) != far:
                why = await _ask(talk, ASK_ERRORS, errors_of) or "it does not say why"
                problem = f"{self._line}: port {near} was led to {far or 'none'}, is at {arrived.get(near)}: {why}"
                raise InstrumentFault(problem)

    async def read(self) -> SwitchReading:
        """Return where this node's inputs lead."""
        async with self._line.turn(Lane.POLL, ANSWER_S) as talk:
            present = await self._looked(talk)
        routes: list[int | None] = []
        for port in self._inputs:
            far = present.get(port)
            if far is not None and far not in self._outputs:
                problem = f"{self._line}: input port {port} leads to port {far}, which is not this node's"
                raise InstrumentFault(problem)
            routes.append(None if far is None else self._outputs.index(far))
        return SwitchReading(tuple(routes))

    async def make_safe(self) -> None:
        """Lead this node's inputs nowhere."""
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S) as talk:
                await self._darken(talk)

    async def close(self) -> None:
        """Lead this node's inputs nowhere and hang up."""
        await self.make_safe()
        await self._line.end()

    async def _darken(self, talk: Talk[str]) -> None:
        present = await self._looked(talk)
        own = {near: far for near, far in present.items() if near in self._inputs}
        if not own:
            return
        talk.send(disconnect(own))
        left = set(self._inputs) & set(await self._looked(talk))
        if left:
            why = await _ask(talk, ASK_ERRORS, errors_of) or "it does not say why"
            problem = f"{self._line}: input ports {sorted(left)} were disconnected and still lead somewhere: {why}"
            raise InstrumentFault(problem)

    async def _looked(self, talk: Talk[str]) -> dict[int, int]:
        """Return all connections, port -> port."""

        async def look() -> dict[int, int]:
            present = await _ask(talk, ASK_CONNECTIONS, connections_of)
            size = await _ask(talk, ASK_SIZE, size_of)
            known = range(1, sum(size) + 1)
            if size != self._size or not all(port in known for pair in present.items() for port in pair):
                problem = f"{self._line}: {present} in a switch of {size} ports, was {self._size}; connect again"
                raise InstrumentGarbled(problem)
            return present

        return await confirmed(look, dict.__eq__, "its connections")

    async def _find_step(self, talk: Talk[str]) -> None:
        name = await _ask(talk, ASK_NAME, name_of)
        if self._name not in (None, name):
            problem = f"{name} was answered to *IDN? instead of {self._name}"
            raise InstrumentGarbled(problem)


async def _ask(talk: Talk[str], question: bytes, wanted: Callable[[str], T | None]) -> T:
    """Return an answer; lines that answer something else are passed over."""
    return await talk.ask(question, wanted)
