"""What a service manager hears, on a fake of its socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from qnoded.node.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_alive_status_and_stopping_arrive(tmp_path: Path, abstract: bool) -> None:
    address = f"@qnoded-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        with Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}) as notifier:
            notifier.ready("two\nlines")
            notifier.alive()
            notifier.status("sifting")
            notifier.stopping()
            assert notifier.watchdog_s == 30.0
        heard = [manager.recv(1024) for _ in range(4)]
    assert heard == [b"READY=1\nSTATUS=two lines", b"WATCHDOG=1", b"STATUS=sifting", b"STOPPING=1"]


def test_no_manager_a_dead_one_and_a_full_one_are_no_trouble(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "full"))
        for address in ("", str(tmp_path / "gone"), str(tmp_path / "full"), "vsock:1"):
            with Notifier({"NOTIFY_SOCKET": address}) as notifier:
                for _ in range(2000):
                    notifier.alive()
                assert notifier.watchdog_s is None


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog_s is None
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 1.0
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_s is None
