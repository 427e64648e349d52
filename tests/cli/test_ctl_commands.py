"""``qnodectl`` against a real control socket: what it prints, and its exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from statuses_made import troubled, well

from qnoded.cli import ctl
from qnoded.cli.ctl import client
from qnoded.cli.ctl.device import table_of
from qnoded.errors import DaemonUnavailable, InstrumentUnavailable, UsageError
from qnoded.node.control import ControlServer
from qnoded.node.status import Event, NodeStatus

HEAVY = ("numpy", "numba", "zmq", "aiohttp", "asyncio", "pydantic", "rich", "qnoded.node_settings")


@dataclass
class Served:
    """A daemon that remembers what it was asked."""

    status: NodeStatus = field(default_factory=well)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def snapshot(self) -> NodeStatus:
        return self.status

    def events(self, since: int) -> tuple[Event, ...]:
        return tuple(event for event in self.status.events if event.number > since)

    async def pause(self, link: str) -> None:
        if link != "bob":
            problem = f"there is no link {link!r}; the links are bob"
            raise UsageError(problem)
        self.asked.append(("pause", link))

    async def resume(self, link: str) -> None:
        self.asked.append(("resume", link))

    async def light(self, *, on: bool) -> None:
        self.asked.append(("light", on))

    async def interlude(self, link: str) -> None:
        self.asked.append(("interlude", link))

    async def enrol(self, link: str) -> None:
        self.asked.append(("enrol", link))

    async def swap(self, role: str, table: dict[str, Any]) -> None:
        if role == "broken":
            problem = "no answer within 5 s"
            raise InstrumentUnavailable(problem)
        self.asked.append(("swap", role, table))


@contextmanager
def serving(path: Path, daemon: Served) -> Iterator[None]:
    """Serve a daemon from another thread: qnodectl blocks, as a person waits."""
    loop = asyncio.new_event_loop()
    server = ControlServer(path, daemon)
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    served = Served()
    monkeypatch.setenv(client.SOCKET_VARIABLE, str(tmp_path / "control.sock"))
    with serving(tmp_path / "control.sock", served):
        yield served


def output(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = ctl.main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_status_tells_well_by_its_exit_code(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = output(capsys, "status")
    assert code == 0
    assert out.startswith("alice: well | ")
    daemon.status = troubled()
    code, out, _ = output(capsys, "status")
    assert code == 1
    assert "to do    make the named field equal" in out


def test_json_is_one_document_with_the_same_numbers(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    documents = {
        command: json.loads(output(capsys, command, "--json")[1]) for command in ("status", "links", "devices")
    }
    assert documents["status"]["links"]["bob"]["sifted_bits"] == 1_498_225
    assert documents["links"]["links"] == documents["status"]["links"]
    assert documents["devices"]["instruments"] == documents["status"]["instruments"]
    code, out, _ = output(capsys, "events", "--since", "17", "--json")
    assert code == 0
    assert [event["number"] for event in json.loads(out)["events"]] == [18]


def test_links_and_devices_say_no_by_their_exit_code(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert [output(capsys, command)[0] for command in ("links", "devices")] == [0, 0]
    daemon.status = troubled()
    assert [output(capsys, command)[0] for command in ("links", "devices")] == [1, 1]


def test_keys_are_shown_and_say_when_they_run_low(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = output(capsys, "keys")
    assert code == 0
    assert out.startswith("link bob   412 keys of 256 bits")
    assert json.loads(output(capsys, "keys", "--json")[1])["keys"]["bob"]["discarded"] == {"QBER_LIMIT": 1}
    bob = daemon.status.links["bob"]
    assert bob.keys is not None
    for keys in (replace(bob.keys, low=True), replace(bob.keys, authentication_low=True), None):
        daemon.status = replace(daemon.status, links={"bob": replace(bob, keys=keys)})
        assert output(capsys, "keys")[0] == 1


def test_watch_follows_the_stream(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "watch", "--count", "1")[1].startswith("alice: well | bob SIFTING")
    document = json.loads(output(capsys, "watch", "--count", "1", "--json")[1])
    assert document["node"]["name"] == "alice"


def test_acts_on_the_only_link_need_no_name(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "pause")[1] == "link bob: paused; go on with qnodectl resume\n"
    assert output(capsys, "resume", "bob")[0] == 0
    assert json.loads(output(capsys, "interlude", "--json")[1]) == {"link": "bob", "done": "interlude"}
    assert daemon.asked == [("pause", "bob"), ("resume", "bob"), ("interlude", "bob")]


def test_light_is_a_word_of_its_own(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "light", "on")[0] == 0
    assert json.loads(output(capsys, "light", "off", "--json")[1]) == {"light": "off"}
    assert daemon.asked == [("light", True), ("light", False)]


def test_a_refusal_is_its_message_and_its_exit_code(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = output(capsys, "pause", "a/../b")
    assert (code, error) == (2, "qnodectl pause: there is no link 'a/../b'; the links are bob\n")
    code, _, error = output(capsys, "device", "swap", "broken", "--driver", "x")
    assert (code, error) == (3, "qnodectl device: no answer within 5 s\n")
    daemon.status = NodeStatus(daemon.status.node, {}, {})
    code, _, error = output(capsys, "resume")
    assert (code, error) == (2, "qnodectl resume: the node has 0 links (); name one of them\n")


def test_a_swap_sends_the_new_table(daemon: Served, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--set", "address=tcp://h:1", "--set", "channels=[0, 1]", "--set", "limits.power_dbm=3")
    assert output(capsys, "device", "swap", "laser", "--driver", "sim-laser", *words)[0] == 0
    table = {"driver": "sim-laser", "address": "tcp://h:1", "channels": [0, 1], "limits": {"power_dbm": 3}}
    assert daemon.asked == [("swap", "laser", table)]


@pytest.mark.parametrize("change", ["address", "=3", "a..b=3", ".=1"])
def test_a_change_without_a_key_is_wrong_use(change: str) -> None:
    with pytest.raises(UsageError, match="is no key=value"):
        table_of([change])


def test_changes_that_contradict_each_other_are_wrong_use() -> None:
    with pytest.raises(UsageError, match="leave one of them out"):
        table_of(["a=1", "a.b=2"])


def test_no_daemon_is_exit_code_3_and_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "watch", "links", "devices", "events", "pause", "resume", "interlude"):
        code, out, error = output(capsys, command, "--socket", str(tmp_path / "none.sock"))
        assert (code, out) == (3, "")
        assert "does not exist; start one: qnoded run --config FILE" in error


def test_what_answers_but_is_no_daemon_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.sock"
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        writer.close()

    server = loop.run_until_complete(asyncio.start_unix_server(answer, str(path)))
    thread = Thread(target=loop.run_forever)
    thread.start()
    code, _, error = output(capsys, "status", "--socket", str(path))
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert code == 3
    assert "is no qnoded daemon; check --socket" in error


def test_the_config_of_the_node_says_where_its_socket_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[node]\nname = "alice"\nrun_dir = "run"\n')
    with serving(tmp_path / "run" / "control.sock", Served()):
        assert output(capsys, "status", "--config", str(file))[0] == 0
    file.write_text("")
    assert output(capsys, "status", "--config", str(file))[0] == 2


def test_without_a_word_the_only_service_of_the_machine_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(client.SOCKET_VARIABLE, raising=False)
    monkeypatch.setattr(client, "RUN_ROOT", tmp_path)
    code, _, error = output(capsys, "status")
    assert code == 2
    assert "say which one with --config FILE or --socket PATH, or set QNODED_SOCKET" in error
    with serving(tmp_path / "alice" / "control.sock", Served()):
        assert output(capsys, "status")[0] == 0
        with serving(tmp_path / "bob" / "control.sock", Served()):
            assert "2 nodes run here (alice, bob)" in output(capsys, "status")[2]


def test_keys_are_made_and_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = output(capsys, "keygen", str(tmp_path / "keys"), "alice")
    assert code == 0
    assert "alice.key  give it to the peer" in out
    secret = tmp_path / "keys" / "alice.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    content = secret.read_text()
    assert output(capsys, "keygen", str(tmp_path / "keys"), "alice", "--json")[0] == 2
    assert secret.read_text() == content
    assert output(capsys, "keygen", str(tmp_path / "keys"), "../alice")[0] == 2
    assert json.loads(output(capsys, "keygen", str(tmp_path / "keys"), "bob", "--json")[1])["public"].endswith(
        "bob.key"
    )


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from qnoded.cli.ctl import build_parser; build_parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not set(HEAVY) & set(loaded)


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with serving(tmp_path / "control.sock", Served()):
        words = [sys.executable, "-c", "import sys; from qnoded.cli.ctl import main; sys.exit(main(['watch']))"]
        environment = os.environ | {client.SOCKET_VARIABLE: str(tmp_path / "control.sock")}
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline().startswith(b"alice: well")
            watching.stdout.close()
            assert watching.wait() == 0
            assert watching.stderr is not None
            assert watching.stderr.read() == b""


def test_a_stream_that_is_cut_off_says_why(tmp_path: Path) -> None:
    snapshot, reason = b'data: {"node": {}}\n\n', b'event: end\ndata: {"error": "cut off: too slow"}\n\n'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + snapshot + reason

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        thread = Thread(target=serve, args=(listener,))
        thread.start()
        stream = client.Daemon(tmp_path / "control.sock").stream()
        assert next(stream) == {"node": {}}
        with pytest.raises(DaemonUnavailable, match="cut off: too slow"):
            next(stream)
        thread.join()
