"""The control socket: who may open it, what it answers, and that nothing sent to it does harm."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from qnoded.errors import ConfigError, InstrumentUnavailable, LocalProtocolError, UsageError
from qnoded.node import control, snapshot_stream
from qnoded.node.control import ControlServer
from qnoded.node.event_log import EventLog
from qnoded.node.status import Event, LinkStatus, NodeState, NodeStatus
from qnoded.node.tasks import background


class Daemon:
    """A daemon that remembers what it was asked."""

    def __init__(self) -> None:
        self.log = EventLog()
        self.asked: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None

    def snapshot(self) -> NodeStatus:
        if self.refusal is not None:
            raise self.refusal
        node = NodeState("alice", "0.1.0", True, "running", "2026-11-21T09:14:05Z", 12.0, 0.001)
        return NodeStatus(node, {}, {"bob": LinkStatus("alice", "bob", "PAUSED", 1.0)})

    def events(self, since: int) -> tuple[Event, ...]:
        return self.log.since(since)

    async def pause(self, link: str) -> None:
        await self._asked("pause", link)

    async def resume(self, link: str) -> None:
        await self._asked("resume", link)

    async def light(self, *, on: bool) -> None:
        await self._asked("light", on)

    async def interlude(self, link: str) -> None:
        await self._asked("interlude", link)

    async def enrol(self, link: str) -> None:
        await self._asked("enrol", link)

    async def swap(self, role: str, table: dict[str, Any]) -> None:
        await self._asked("swap", role, table)

    async def _asked(self, *what: Any) -> None:
        self.asked.append(what)
        if self.refusal is not None:
            raise self.refusal


Ask = Callable[..., Awaitable[tuple[int, Any]]]


def served(folder: Path, daemon: Daemon, talk: Callable[[Ask], Awaitable[None]]) -> None:
    """Serve a daemon and talk to it."""
    path = folder / "run" / "control.sock"

    async def both() -> None:
        async with (
            ControlServer(path, daemon),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        ):

            async def ask(method: str, address: str, **body: Any) -> tuple[int, Any]:
                async with session.request(method, f"http://qnoded{address}", **body) as answer:
                    return answer.status, await answer.json()

            await talk(ask)
        assert not path.exists()

    asyncio.run(both())


def test_status_and_events_are_served_with_advice(tmp_path: Path) -> None:
    daemon = Daemon()
    daemon.log.add("info", "node", "one")
    daemon.log.add("error", "laser", "two")

    async def talk(ask: Ask) -> None:
        status, document = await ask("GET", "/v1/status")
        assert status == 200
        assert document["node"]["name"] == "alice"
        assert "qnodectl resume bob" in document["links"]["bob"]["advice"]
        assert [event["text"] for event in (await ask("GET", "/v1/events"))[1]["events"]] == ["one", "two"]
        assert [event["text"] for event in (await ask("GET", "/v1/events?since=1"))[1]["events"]] == ["two"]
        assert (await ask("GET", "/v1/events?since=x"))[0] == 400

    served(tmp_path, daemon, talk)


def test_only_owner_and_group_may_open_it_at_any_moment(tmp_path: Path) -> None:
    daemon = Daemon()

    async def talk(_: Ask) -> None:
        path = tmp_path / "run" / "control.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert not stat.S_IMODE(path.parent.stat().st_mode) & 0o007

    before = os.umask(0)
    try:
        served(tmp_path, daemon, talk)
    finally:
        os.umask(before)


def test_acts_reach_the_daemon(tmp_path: Path) -> None:
    daemon = Daemon()

    async def talk(ask: Ask) -> None:
        for action in ("pause", "resume", "interlude"):
            assert await ask("POST", f"/v1/link/bob/{action}") == (200, {"link": "bob", "done": action})
        table = {"driver": "sim-laser", "address": "tcp://127.0.0.1:1"}
        assert (await ask("POST", "/v1/device/swap", json={"role": "laser", "table": table}))[0] == 200
        links = [("pause", "bob"), ("resume", "bob"), ("interlude", "bob")]
        assert daemon.asked == [*links, ("swap", "laser", table)]
        for word in ("on", "off"):
            assert await ask("POST", f"/v1/light/{word}") == (200, {"light": word})
        assert daemon.asked[-2:] == [("light", True), ("light", False)]

    served(tmp_path, daemon, talk)


@pytest.mark.parametrize(
    ("refusal", "status", "exit_code"),
    [
        (UsageError("no link is named carol"), 400, 2),
        (ConfigError("swap", "driver", "unknown", "choose another"), 400, 2),
        (LocalProtocolError("the link has stopped"), 409, 3),
        (InstrumentUnavailable("no answer within 5 s"), 503, 3),
    ],
)
def test_a_refusal_says_why_and_with_which_exit_code(
    tmp_path: Path, refusal: Exception, status: int, exit_code: int
) -> None:
    daemon = Daemon()
    daemon.refusal = refusal

    async def talk(ask: Ask) -> None:
        assert await ask("POST", "/v1/link/carol/pause") == (status, {"error": str(refusal), "exit_code": exit_code})

    served(tmp_path, daemon, talk)


def test_a_mistake_of_our_own_is_logged_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    daemon = Daemon()

    async def talk(ask: Ask) -> None:
        daemon.refusal = ZeroDivisionError("private")
        status, document = await ask("GET", "/v1/status")
        assert (status, document["exit_code"]) == (500, 3)
        assert "private" not in document["error"]
        daemon.refusal = None
        assert (await ask("GET", "/v1/status"))[0] == 200

    served(tmp_path, daemon, talk)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("method", "address", "body", "status"),
    [
        ("GET", "/", {}, 404),
        ("GET", "/v1/link/bob/pause", {}, 405),
        ("POST", "/v1/link/bob/explode", {}, 404),
        ("POST", "/v1/device/swap", {}, 400),
        ("POST", "/v1/device/swap", {"data": b"\xff{"}, 400),
        ("POST", "/v1/device/swap", {"data": b"[" * 10_000}, 400),
        ("POST", "/v1/device/swap", {"json": ["laser"]}, 400),
        ("POST", "/v1/device/swap", {"json": {"role": "laser"}}, 400),
        ("POST", "/v1/device/swap", {"json": {"role": "laser", "table": {"driver": 3}}}, 400),
        ("POST", "/v1/device/swap", {"data": b" " * (control.LARGEST_REQUEST_BYTES + 1)}, 413),
    ],
)
def test_nonsense_gets_a_named_error_and_asks_the_daemon_nothing(
    tmp_path: Path, method: str, address: str, body: dict[str, Any], status: int
) -> None:
    daemon = Daemon()

    async def talk(ask: Ask) -> None:
        got, document = await ask(method, address, **body)
        assert got == status
        assert document["error"]
        assert document["exit_code"] == 2
        assert daemon.asked == []

    served(tmp_path, daemon, talk)


def test_the_stream_brings_snapshots_and_ends_when_the_daemon_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_stream, "INTERVAL_S", 0.01)
    path = tmp_path / "control.sock"

    async def both() -> list[str]:
        lines = []
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            async with ControlServer(path, Daemon()):
                answer = await session.get("http://qnoded/v1/stream")
                lines = [(await answer.content.readline()).decode() for _ in range(4)]
            rest = await answer.content.read()
            assert all(line.startswith("data: ") for line in rest.decode().split("\n\n") if line)
        return lines

    first, empty, second, _ = asyncio.run(both())
    assert json.loads(first.removeprefix("data: "))["node"]["name"] == "alice"
    assert empty == "\n"
    assert second.startswith("data: ")


def test_acts_beyond_the_limit_are_turned_away_and_questions_are_not(tmp_path: Path) -> None:
    daemon, hold = Daemon(), asyncio.Event()

    async def held(_link: str) -> None:
        await hold.wait()

    async def talk(ask: Ask) -> None:
        acts = [asyncio.create_task(ask("POST", "/v1/link/bob/pause")) for _ in range(control.MOST_REQUESTS + 1)]
        done, waiting = await asyncio.wait(acts, return_when=asyncio.FIRST_COMPLETED)
        assert [one.result()[0] for one in done] == [503]
        assert (await ask("GET", "/v1/status"))[0] == 200
        hold.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}

    daemon.pause = held
    served(tmp_path, daemon, talk)


def test_a_request_that_never_arrives_whole_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SLOW_SENDER_S", 0.05)

    async def talk(_: Ask) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "run" / "control.sock")
        writer.write(b"POST /v1/device/swap HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()

    served(tmp_path, Daemon(), talk)


def test_slow_readers_are_cut_off_with_a_reason_and_keep_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As many as may follow the node read nothing: one more is refused, and the status is answered all the time."""
    monkeypatch.setattr(snapshot_stream, "INTERVAL_S", 0.001)
    monkeypatch.setattr(snapshot_stream, "SLOW_READER_S", 0.3)
    address = str(tmp_path / "run" / "control.sock")

    async def talk(ask: Ask) -> None:
        slow = [socket.socket(socket.AF_UNIX) for _ in range(snapshot_stream.MOST_STREAMS)]
        for one in slow:
            one.connect(address)
            one.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await ask("GET", "/v1/stream"))[0] == 503
        while "cut off" not in caplog.text:
            assert (await ask("GET", "/v1/status"))[0] == 200
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(address)) as session:
            for _ in range(50):
                async with session.get("http://qnoded/v1/stream") as answer:
                    if answer.status == 200:
                        assert (await answer.content.readline()).startswith(b"data: ")
                        break
        said = b""
        slow[0].settimeout(1.0)
        while part := await asyncio.to_thread(slow[0].recv, 1 << 16):
            said += part
        assert b'event: end\ndata: {"error": "cut off: a snapshot was not read within 0.3 s' in said
        for one in slow:
            one.close()

    with caplog.at_level(logging.INFO):
        served(tmp_path, Daemon(), talk)


def test_a_socket_left_behind_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def talk(ask: Ask) -> None:
        assert (await ask("GET", "/v1/status"))[0] == 200
        with pytest.raises(ConfigError, match="another daemon answers on this socket; stop it"):
            async with ControlServer(path, Daemon()):
                pass
        assert (await ask("GET", "/v1/status"))[0] == 200

    served(tmp_path, Daemon(), talk)


def test_a_place_where_no_socket_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")

    async def enter() -> None:
        async with ControlServer(tmp_path / "run" / "control.sock", Daemon()):
            pass

    with pytest.raises(ConfigError, match=r"node\.run_dir: no control socket here: .*choose another run_dir"):
        asyncio.run(enter())


def test_a_socket_that_somebody_removed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LOOK_S", 0.01)
    path, told = tmp_path / "run" / "control.sock", asyncio.Queue[tuple[str, str, str]]()

    async def removed() -> None:
        async with (
            ControlServer(path, Daemon()) as server,
            background(server.keep(lambda *event: told.put_nowait(event))),
        ):
            for _ in range(2):
                path.unlink()
                level, source, text = await told.get()
                assert (level, source) == ("warning", "control")
                assert f"{path} was removed by somebody, and is made anew" in text
                async with (
                    aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
                    session.get("http://qnoded/v1/status") as answer,
                ):
                    assert answer.status == 200
        assert not path.exists()

    asyncio.run(removed())


def test_a_socket_at_whose_place_another_daemon_listens_is_told_once_and_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "LOOK_S", 0.01)
    path, told = tmp_path / "run" / "control.sock", asyncio.Queue[tuple[str, str, str]]()

    async def replaced() -> None:
        async with (
            ControlServer(path, Daemon()) as first,
            background(first.keep(lambda *event: told.put_nowait(event))),
        ):
            path.unlink()
            async with ControlServer(path, Daemon()):
                level, _, text = await told.get()
                assert level == "error"
                assert "qnodectl reaches nobody" in text
                assert "another daemon answers on this socket; stop it" in text
        assert told.empty()

    asyncio.run(replaced())


@pytest.mark.parametrize(
    "noise", [b"GET /v1/status HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01 nothing\r\n\r\n"]
)
def test_what_is_no_http_leaves_a_line_and_no_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, noise: bytes
) -> None:
    async def talk(ask: Ask) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "run" / "control.sock")
        writer.write(noise)
        assert (await reader.read()).startswith(b"HTTP/1.0 400")
        writer.close()
        assert (await ask("GET", "/v1/status"))[0] == 200

    served(tmp_path, Daemon(), talk)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
