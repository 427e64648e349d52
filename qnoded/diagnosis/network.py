"""Addresses on which the node listens are free; those of peers resolve, and somebody answers there."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from qnoded.diagnosis.finding import Finding, action, ok, warn
from qnoded.node_settings import NodeSettings

ANSWER_S: Final = 1.0
"""For a connection; a peer on another continent takes a third of it."""
PATIENCE_S: Final = 1.5
"""For all peers together, their names included."""


def listening(settings: NodeSettings) -> Iterator[Finding]:
    """Yield whether each address can be listened on; nobody is let in meanwhile."""
    runs = _answers(settings.node.control_socket)
    addresses = {f"links.{name}.listen": link.listen for name, link in settings.links.items() if link.listen}
    if settings.delivery is not None:
        addresses["delivery.listen"] = settings.delivery.listen
    for key, text in addresses.items():
        yield _free(key, text, runs=runs)


def peers(settings: NodeSettings) -> Iterator[Finding]:
    """Yield whether a TCP connection to each peer that listens can be made; all are tried at once."""
    addresses = {f"links.{name}.connect": link.connect for name, link in settings.links.items() if link.connect}
    answers: SimpleQueue[Finding] = SimpleQueue()
    for key, address in addresses.items():
        # A name that does not resolve can hold its thread for half a minute: nobody waits for it.
        Thread(target=lambda *words: answers.put(_reached(*words)), args=(key, address), daemon=True).start()
    deadline = time.monotonic() + PATIENCE_S
    while addresses:
        try:
            finding = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        del addresses[finding.subject]
        yield finding
    for key, address in addresses.items():
        yield action(key, f"{address}: no answer within {PATIENCE_S} s", "look at DNS and network", absent=True)


def _free(key: str, text: str, *, runs: bool) -> Finding:
    host, port = _host_and_port(text)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As those do who will listen: connections that have just ended are not in the way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and runs:
            return ok(key, f"{text}, in use by the daemon, which runs")
        remedy = {
            errno.EADDRINUSE: f"see who has it: ss -ltnp 'sport = :{port}'",
            errno.EACCES: "choose a port from 1024 on",
            errno.EADDRNOTAVAIL: "give an address of this machine, or * for all",
        }.get(error.errno or 0, "give an address of this machine")
        return action(key, f"{text}: {error.strerror or error}", remedy)
    return ok(key, f"{text} is free")


def _reached(key: str, text: str) -> Finding:
    host, port = _host_and_port(text)
    start = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=ANSWER_S).close()
    except socket.gaierror as error:
        problem = f"{text}: {error.strerror}"
        return action(key, problem, "correct the name, or give the address in digits", absent=True)
    except (ConnectionRefusedError, ConnectionResetError):
        remedy = "start the peer's daemon; if it runs, look at its port and firewall"
        return warn(key, f"{text}: the machine answers, and nobody listens there", remedy)
    except TimeoutError:
        return warn(key, f"{text}: no answer within {ANSWER_S} s", "is the peer's machine on; is a firewall between?")
    except OSError as error:
        return action(key, f"{text}: {error.strerror or error}", "look at cable and routes", absent=True)
    return ok(key, f"{text} answers after {1e3 * (time.monotonic() - start):.0f} ms")


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    return host.strip("[]*"), int(port)


def _answers(control: Path) -> bool:
    """Tell whether a daemon of this node runs."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_S)
        try:
            probe.connect(str(control))
        except OSError:
            return False
    return True
