"""What systemd is told: ready, alive, stopping, and one line of status (sd_notify, standard library only)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Final

USEC_PER_S: Final = 1_000_000
LONGEST_STATUS: Final = 256
"""Characters; a status line of ``systemctl status`` is no log."""


class Notifier:
    """Sends to the service manager's socket, never waits for it, and does nothing where there is none.

    Parameters
    ----------
    environment
        Usually ``os.environ``; NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read, as in sd_notify(3) and
        sd_watchdog_enabled(3).
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if self._address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self.watchdog_s = _watchdog_s(environment)
        """The manager ends the daemon when ``alive`` was not called for so long; None: it does not watch."""

    def ready(self, status: str) -> None:
        """Tell that the start has finished."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Tell in one line what is going on."""
        self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Release the socket; may be called again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Notifier:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        # A leading @ stands for the zero byte of an abstract address.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            self._socket.sendto(text.encode(), address)
        except OSError:
            # A manager that is busy or gone must not hold the node; the next message tells it anyway.
            return


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    interval_us, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if process and process != str(os.getpid()):
        return None
    return int(interval_us) / USEC_PER_S if interval_us.isascii() and interval_us.isdecimal() else None


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_STATUS]
