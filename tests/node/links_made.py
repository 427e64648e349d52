"""Keys and sockets of two ends on the loopback, for the tests of the node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import zmq
from zmq.utils import z85

from qnoded.node.curve import CurveKeys
from qnoded.node.sockets import Endpoint, Gatekeeper, LinkSocket
from qnoded.node.tasks import background
from qnoded.secret import Secret


def fresh_keys() -> CurveKeys:
    public, secret = zmq.curve_keypair()
    return CurveKeys(z85.decode(public), Secret(z85.decode(secret)))


ALICE, BOB, STRANGER = fresh_keys(), fresh_keys(), fresh_keys()
LISTENING = Endpoint("bob", "alice", "bob", "tcp://127.0.0.1:*", None, ALICE, BOB.public)


def connecting(address: str) -> Endpoint:
    return Endpoint("alice", "bob", "alice", None, address, BOB, ALICE.public)


@dataclass
class Network:
    """A context with its gatekeeper, as a daemon has one."""

    context: zmq.Context[zmq.Socket[bytes]]
    gatekeeper: Gatekeeper


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    context = zmq.Context()
    gatekeeper = Gatekeeper(context)
    try:
        async with background(gatekeeper.run()):
            yield Network(context, gatekeeper)
    finally:
        gatekeeper.close()
        context.destroy(linger=0)


@asynccontextmanager
async def opened(net: Network, endpoint: Endpoint) -> AsyncIterator[LinkSocket]:
    socket = LinkSocket(net.context, net.gatekeeper, endpoint)
    try:
        async with background(socket.watch(lambda: None)):
            yield socket
    finally:
        socket.close()


__all__ = ["ALICE", "BOB", "LISTENING", "STRANGER", "Network", "connecting", "network", "opened", "replace"]
