"""The connection of a simulated instrument's driver to the world."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from qnoded.errors import InstrumentFault, InstrumentGarbled, InstrumentUnavailable, RemoteProtocolError, UsageError
from qnoded.instruments.capability import Identity
from qnoded.instruments.protocols import SAFE_S
from qnoded.sim.wire import encode, read_address, read_frame

VERSION: Final = 1
"""Of the conversation; the server refuses another."""
ANSWER_S: Final = 0.75 * SAFE_S
"""A world answers at once, unless it is gone."""


class CableSettings(BaseModel):
    """Where the world is and which node this is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    """Of the world's server, ``tcp://HOST:PORT`` or ``unix:///PATH``."""
    node: Literal["alice", "bob"]
    """Whose instrument it is."""

    @field_validator("address")
    @classmethod
    def _can_be_read(cls, address: str) -> str:
        try:
            read_address(address)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return address


class Cable:
    """One instrument's connection: one question at a time, each with a deadline; broken once, it stays broken.

    Parameters
    ----------
    device : str
        The instrument by the world's name.
    """

    def __init__(self, settings: CableSettings, device: str) -> None:
        self._settings, self._device = settings, device
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()
        self._why = ""
        """Why there is no connection any more; empty before the first, and while there is one."""

    @property
    def connected(self) -> bool:
        """Whether nothing has gone wrong since it was opened."""
        return self._streams is not None

    async def open(self) -> dict[str, Any]:
        """Connect and say who this is; return what the world answers.

        Raises
        ------
        InstrumentUnavailable, InstrumentGarbled
            If nobody answers, or nonsense.
        """
        self.close()
        address = read_address(self._settings.address)
        try:
            async with asyncio.timeout(ANSWER_S):
                self._streams, self._why = await address.connect(), ""
        except (OSError, TimeoutError) as error:
            problem = f"{self}: nobody answers: {error or 'no answer in time'}; is the world running (qnoded world)?"
            raise InstrumentUnavailable(problem) from None
        try:
            answer, _ = await self.ask({"world": VERSION, "node": self._settings.node, "device": self._device})
        except (InstrumentFault, UsageError):
            # The world has answered, and has no such instrument: there is nothing to be connected to.
            self.close()
            raise
        return answer

    async def ask(self, question: dict[str, Any], largest_body: int = 0) -> tuple[dict[str, Any], bytes]:
        """Return header and body of the answer.

        Raises
        ------
        InstrumentUnavailable
            If there is no connection, it breaks or no answer comes in time; it has to be opened anew.
        InstrumentGarbled
            If nonsense arrives; it has to be opened anew.
        InstrumentFault
            If the world answers that it cannot.
        UsageError
            If it refuses the value.
        """
        try:
            async with asyncio.timeout(ANSWER_S), self._turn:
                answer, body = await self._exchange(question, largest_body)
        except TimeoutError:
            why = f"no answer within {ANSWER_S:g} s"
            raise self._lost(why) from None
        if "error" in answer:
            if answer.get("fault") == "usage":
                raise UsageError(str(answer["error"]))
            problem = f"{self}: {answer['error']}"
            raise InstrumentFault(problem)
        return answer, body

    async def _exchange(self, question: dict[str, Any], largest_body: int) -> tuple[dict[str, Any], bytes]:
        if self._streams is None:
            # Whoever asks next is told why as well: it may be the only one that is heard.
            raise InstrumentUnavailable(self._why or f"{self}: not connected; connect first")
        reader, writer = self._streams
        answered = False
        try:
            writer.write(encode(question))
            await writer.drain()
            answer = await read_frame(reader, largest_body)
            answered = True
        except (OSError, EOFError):
            why = "the world has gone"
            raise self._lost(why) from None
        except RemoteProtocolError as error:
            self._why = problem = f"{self}: {error}"
            raise InstrumentGarbled(problem) from None
        finally:
            if not answered:
                # An answer that is still to come would be taken for that of the next question.
                self.close()
        return answer

    def _lost(self, why: str) -> InstrumentUnavailable:
        self.close()
        self._why = f"{self}: the connection is lost: {why}; is the world running (qnoded world)?"
        return InstrumentUnavailable(self._why)

    def close(self) -> None:
        """Hang up; may be called at any time."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def __str__(self) -> str:
        return f"{self._device} of {self._settings.node} at {self._settings.address}"


def identity_of(answer: dict[str, Any]) -> Identity:
    """Return who answered.

    Raises
    ------
    InstrumentGarbled
        If the greeting does not tell.
    """
    try:
        told = answer["identity"]
        return Identity(str(told["maker"]), str(told["model"]), str(told["serial"]))
    except (KeyError, TypeError) as error:
        problem = f"the world's greeting does not say who answers: {error!r}"
        raise InstrumentGarbled(problem) from None
