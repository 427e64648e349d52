"""The operator's side of the control socket: plain HTTP over a Unix socket, with the standard library."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final

from qnoded.errors import DaemonUnavailable, UsageError
from qnoded.places import CONTROL_SOCKET, RUN_ROOT, control_socket

SOCKET_VARIABLE: Final = "QNODED_SOCKET"
ANSWER_S: Final = 5.0
"""The daemon answers at once or not at all."""
SWAP_S: Final = 60.0
"""A swap closes one instrument and connects another, each within its own deadlines."""
SILENCE_S: Final = 3.0
"""A stream brings a snapshot each second; three are missing."""
LARGEST_ANSWER_BYTES: Final = 1 << 22
"""A thousand events of the longest kind are below 1 MiB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how the daemon is found."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--socket", metavar="PATH", type=Path, help=f"control socket of the daemon (default: ${SOCKET_VARIABLE})"
    )
    where.add_argument("--config", metavar="FILE", type=Path, help="file of the node, which says where its socket is")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def daemon_of(args: argparse.Namespace) -> Daemon:
    """Return the daemon that the arguments mean.

    Raises
    ------
    UsageError
        If they name none and not exactly one runs as a service on this machine.
    """
    if args.socket is not None:
        return Daemon(args.socket)
    if args.config is not None:
        return Daemon(control_socket(args.config))
    if named := os.environ.get(SOCKET_VARIABLE):
        return Daemon(Path(named))
    try:
        found = sorted(RUN_ROOT.glob(f"*/{CONTROL_SOCKET}"))
    except OSError:
        found = []
    if len(found) != 1:
        nodes = ", ".join(path.parent.name for path in found)
        problem = f"{len(found)} nodes run here ({nodes})" if found else f"no node runs as a service in {RUN_ROOT}"
        problem = f"{problem}; say which one with --config FILE or --socket PATH, or set {SOCKET_VARIABLE}"
        raise UsageError(problem)
    return Daemon(found[0])


class Daemon:
    """The daemon behind a control socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, address: str) -> dict[str, Any]:
        """Ask for a document."""
        return self._document("GET", address, None, ANSWER_S)

    def post(self, address: str, body: dict[str, Any] | None = None, deadline_s: float = ANSWER_S) -> dict[str, Any]:
        """Ask for something to be done."""
        return self._document("POST", address, body, deadline_s)

    def stream(self) -> Iterator[dict[str, Any]]:
        """Yield a snapshot each second.

        Raises
        ------
        DaemonUnavailable
            Once the daemon has been silent for three seconds, has gone, or has said why it ends the stream.
        """
        connection, response = self._request("GET", "/v1/stream", None, SILENCE_S)
        try:
            ends = False
            while line := response.readline(LARGEST_ANSWER_BYTES):
                if line.startswith(b"data: "):
                    document = _parsed(line.removeprefix(b"data: "), self.path)
                    if ends:
                        problem = str(document.get("error"))
                        raise DaemonUnavailable(problem)
                    yield document
                ends = line.startswith(b"event: end")
        except (OSError, HTTPException) as error:
            raise DaemonUnavailable(self._not_there(error)) from None
        finally:
            response.close()
            connection.close()
        problem = f"the daemon at {self.path} ended the stream"
        raise DaemonUnavailable(problem)

    def _document(self, method: str, address: str, body: dict[str, Any] | None, deadline_s: float) -> dict[str, Any]:
        connection, response = self._request(method, address, body, deadline_s)
        try:
            return _parsed(response.read(LARGEST_ANSWER_BYTES), self.path)
        except (OSError, HTTPException) as error:
            raise DaemonUnavailable(self._not_there(error)) from None
        finally:
            connection.close()

    def _request(
        self, method: str, address: str, body: dict[str, Any] | None, deadline_s: float
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """Send a request and return the answer, whose body is still to be read; a refusal becomes an exception."""
        connection = _UnixConnection(self.path, deadline_s)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, address, content, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            if response.status == 200:
                return connection, response
            refusal = _parsed(response.read(LARGEST_ANSWER_BYTES), self.path)
        except (OSError, HTTPException) as error:
            connection.close()
            raise DaemonUnavailable(self._not_there(error)) from None
        connection.close()
        text = str(refusal.get("error", f"the daemon answered {response.status}"))
        raise UsageError(text) if refusal.get("exit_code") == UsageError.exit_code else DaemonUnavailable(text)

    def _not_there(self, error: OSError | HTTPException) -> str:
        if isinstance(error, FileNotFoundError):
            return f"no daemon: {self.path} does not exist; start one: qnoded run --config FILE, or as qnoded@NAME"
        if isinstance(error, ConnectionRefusedError):
            return f"no daemon: nobody listens on {self.path}; it ended without closing it: see its log, start it"
        if isinstance(error, PermissionError):
            return f"{self.path} is not open to you; join the group qnoded, or become the daemon's user"
        if isinstance(error, TimeoutError):
            return f"the daemon at {self.path} does not answer; see its log, and restart it if it hangs"
        return f"the daemon at {self.path} broke off: {error}; see its log"


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        problem = f"what answers on {path} is no qnoded daemon; check --socket"
        raise DaemonUnavailable(problem)
    return document
