"""The sockets of an emulated ID900: its own, its service's, and one for each input whose tags are given on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import zmq
import zmq.asyncio

from qnoded.errors import UsageError
from qnoded.testing.emulation.plugging import Emulation, Wire
from qnoded_drivers.idq_id900.emulator import INSTRUMENT, SERVICE, TAGS, EmulatedId900, frames_of, packed

SERVICE_ABOVE: Final = 505
"""The service's port lies so far above the instrument's: 6060 and 5555, as they come from the maker."""
ATTEMPTS: Final = 20


class _Sockets:
    """Carries messages between the sockets and the emulation."""

    def __init__(self, emulation: Emulation, device: EmulatedId900, host: str, port: int) -> None:
        self._emulation, self._device, self._host = emulation, device, host
        self._context = zmq.asyncio.Context()
        self._plugged = False
        self._asked: dict[bytes, zmq.asyncio.Socket] = {}
        self._given_on: dict[int, zmq.asyncio.Socket] = {}
        self.port = self._listen(port)

    def _listen(self, port: int) -> int:
        """Listen on both ports; return the instrument's."""
        for _ in range(ATTEMPTS if port == 0 else 1):
            instrument, service = self._context.socket(zmq.ROUTER), self._context.socket(zmq.ROUTER)
            self._asked = {INSTRUMENT: instrument, SERVICE: service}
            try:
                for one in self._asked.values():
                    one.setsockopt(zmq.LINGER, 0)
                instrument.bind(f"tcp://{self._host}:{port or '*'}")
                own = int(str(instrument.getsockopt_string(zmq.LAST_ENDPOINT)).rstrip("\0").rpartition(":")[2])
                service.bind(f"tcp://{self._host}:{own + SERVICE_ABOVE}")
            except zmq.ZMQError as error:
                why = str(error)
                for one in self._asked.values():
                    one.close()
            else:
                return own
        self._context.term()
        problem = f"cannot listen on port {port or 'any'} of {self._host} and {SERVICE_ABOVE} above it: {why}"
        raise UsageError(problem)

    async def hear(self, where: bytes) -> None:
        """Let the emulation hear the questions that come to one socket, until cancelled."""
        while True:
            frames = await self._asked[where].recv_multipart()
            # A device that is away hears nothing; ZeroMQ keeps that from whoever asks.
            self._plugged = self._plugged or self._emulation.plug(Wire(self.send, self._unplug))
            if self._plugged:
                self._emulation.hear(packed([where, *frames]))
            for port in self._device.ports:
                self._open(port)

    def _unplug(self) -> None:
        self._plugged = False

    def _open(self, port: int) -> None:
        if port not in self._given_on:
            one = self._given_on[port] = self._context.socket(zmq.PAIR)
            one.setsockopt(zmq.LINGER, 0)
            one.bind(f"tcp://{self._host}:{port}")

    def send(self, data: bytes) -> None:
        """Send a message to where its first frame says; one that was spoilt is lost, as a whole."""
        with suppress(ValueError, KeyError, zmq.ZMQError):
            where, *frames = frames_of(data)
            if where == TAGS:
                zmq.Socket.send(self._given_on[int(frames[0])], frames[1], zmq.NOBLOCK)
            else:
                zmq.Socket.send_multipart(self._asked[where], frames, zmq.NOBLOCK)

    def close(self) -> None:
        """Close all sockets."""
        self._context.destroy(linger=0)


@asynccontextmanager
async def on_zmq(emulation: Emulation, device: EmulatedId900, host: str, port: int) -> AsyncIterator[int]:
    """Serve on ZeroMQ sockets; gives the instrument's port.

    Raises
    ------
    UsageError
        If one of the ports is taken.
    """
    sockets = _Sockets(emulation, device, host, port)
    hearing = [asyncio.create_task(sockets.hear(where), name="emulated ID900") for where in (INSTRUMENT, SERVICE)]
    try:
        yield sockets.port
    finally:
        for one in hearing:
            one.cancel()
        await asyncio.wait(hearing)
        sockets.close()
