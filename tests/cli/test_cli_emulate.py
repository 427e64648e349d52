"""``qnoded emulate``: says where it listens, speaks, ends on a signal, and names every mistake."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qnoded.cli import main

REQ_INFO = bytes.fromhex("05 00 00 00 50 01")
INFO_BYTES = 90


def test_it_speaks_on_tcp_until_a_signal_comes() -> None:
    command = [sys.executable, "-m", "qnoded", "emulate", "thorlabs-mpc320", "--tcp", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready, _, address = process.stdout.readline().strip().partition(" ")
        assert ready == "ready"
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10.0) as connection:
            connection.sendall(REQ_INFO)
            answer = b""
            while len(answer) < INFO_BYTES:
                answer += connection.recv(INFO_BYTES)
        assert answer[:2] == b"\x06\x00"
        assert b"MPC320" in answer
        process.send_signal(signal.SIGTERM)
        assert process.wait(10.0) == 0


def test_it_makes_a_serial_port(tmp_path: Path) -> None:
    port = tmp_path / "mpc"
    command = [sys.executable, "-m", "qnoded", "emulate", "elliptec-ell14", "--pty", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready {port}\n"
        assert port.is_char_device()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10.0) == 0
    assert not port.is_symlink()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["acme", "--tcp", "127.0.0.1:0"], "there is no emulator for 'acme'"),
        (["elliptec-ell15", "--tcp", "127.0.0.1:0"], "did you mean elliptec-ell14?"),
        (["elliptec-ell14", "--tcp", "127.0.0.1"], "is no address"),
        (["elliptec-ell14", "--tcp", "192.0.2.1:5"], "cannot listen there"),
        (["elliptec-ell14", "--pty", "/nowhere/pty"], "qnoded emulate: /nowhere/pty: No such file or directory; check"),
        (["elliptec-ell14", "--tcp", "127.0.0.1:0", "--fault", "quux@1"], "fault 'quux@1' is unknown; write KIND@"),
        (["elliptec-ell14", "--tcp", "127.0.0.1:0", "--pace", "0"], "--pace 0 is not possible"),
        (["elliptec-ell14", "--tcp", "127.0.0.1:0", "--node", "bob"], "takes both --world and --node"),
        (["elliptec-ell14", "--tcp", "127.0.0.1:0", "--role", "polarization"], "takes both --world and --node"),
        (
            ["elliptec-ell14", "--tcp", "127.0.0.1:0", "--world", "unix:///w", "--node", "bob", "--role", "laser"],
            "elliptec-ell14 can be the polarization of a node, not its laser",
        ),
        (["elliptec-ell14", "--tcp", "127.0.0.1:0", "--world", "here", "--node", "bob"], "'here' is no address"),
        (["elliptec-ell14", "--tcp", "127.0.0.1:0", "--personality", "/nowhere.toml"], "/nowhere.toml: file:"),
    ],
)
def test_mistakes_are_named(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_world_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["elliptec-ell14", "--tcp", "127.0.0.1:0", "--world", "unix:///nowhere/w", "--node", "bob"]
    assert main(["emulate", *words]) == 3
    assert "polarization of bob at unix:///nowhere/w: nobody answers" in capsys.readouterr().err
