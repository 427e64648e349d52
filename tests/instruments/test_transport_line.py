"""The line to an instrument: whatever is late, doubled or missing, an answer is that to its question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from qnoded.errors import InstrumentFault, InstrumentGarbled, InstrumentUnavailable, UsageError
from qnoded.instruments.protocols import SAFE_S
from qnoded.instruments.transport import STOP_S, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded.instruments.transport.turns import Turns

LIMIT_S = 0.2


class Words:
    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[str]:
        self._waiting += data
        while b"\n" in self._waiting:
            word, _, self._waiting = self._waiting.partition(b"\n")
            if word == b"?!":
                raise InstrumentGarbled("nonsense")
            yield word.decode()


class Counter:
    """An instrument that answers each question with the next number: all its answers look alike."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while question := (await reader.readline()).decode().strip():
            self.asked.append(question)
            numbers = sum(one == "n" for one in self.asked)
            answer = {"n": f"{numbers}\n", "who": "me\n"}.get(question, "")
            spoil, self.spoil = self.spoil, lambda answer: answer
            writer.write(spoil(answer.encode()))
        writer.close()


async def step(talk: Talk[str]) -> None:
    await talk.ask(b"who\n", lambda word: word if word == "me" else None)


async def number(line: Line[str], lane: Lane = Lane.POLL) -> int:
    async with line.turn(lane, LIMIT_S) as talk:
        return await talk.ask(b"n\n", lambda word: int(word) if word.isdigit() else None)


@asynccontextmanager
async def standing() -> AsyncIterator[tuple[Counter, Line[str]]]:
    counter = Counter()
    server = await asyncio.start_server(counter.serve, "127.0.0.1", 0)
    address = read_address(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    line: Line[str] = Line("counter", address, SerialPort(9600), Words, step)
    await line.open()
    try:
        yield counter, line
    finally:
        line.close()
        server.close()
        for writer in counter.writers:
            writer.close()
        await asyncio.sleep(0.01)


def run(scenario: Callable[[Counter, Line[str]], Coroutine[Any, Any, None]]) -> None:
    async def scene() -> None:
        async with standing() as (counter, line):
            await scenario(counter, line)

    asyncio.run(scene())


def test_what_came_before_a_question_is_not_its_answer() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        counter.spoil = lambda answer: answer + b"77\n"
        assert await number(line) == 1
        counter.writers[0].write(b"78\n")
        await asyncio.sleep(0.02)
        assert await number(line) == 2

    run(scenario)


def test_an_answer_that_never_came_shifts_no_later_one() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        counter.spoil = lambda answer: b""
        with pytest.raises(InstrumentUnavailable, match="no answer in time"):
            await number(line)
        assert await number(line) == 2
        assert counter.asked == ["n", "who", "n"]

    run(scenario)


def test_a_late_answer_is_thrown_away_before_the_next_question() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        counter.spoil = lambda answer: b""
        with pytest.raises(InstrumentUnavailable):
            await number(line)
        counter.writers[0].write(b"1\n")
        assert await number(line) == 2

    run(scenario)


def test_a_cancelled_question_takes_its_answer_along() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        question = asyncio.create_task(number(line))
        await asyncio.sleep(0)
        question.cancel()
        await asyncio.wait({question})
        assert await number(line) == len([one for one in counter.asked if one == "n"])

    run(scenario)


def test_nonsense_is_told_and_found_back_from() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        counter.spoil = lambda answer: b"?!\n"
        with pytest.raises(InstrumentGarbled, match="nonsense"):
            await number(line)
        assert await number(line) == 2

    run(scenario)


def test_an_instrument_that_does_not_find_back_is_lost_until_it_is_opened() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        counter.spoil = lambda answer: b""
        with pytest.raises(InstrumentUnavailable, match="no answer in time"):
            await number(line)
        counter.spoil = lambda answer: b""
        with pytest.raises(InstrumentUnavailable, match="connection is lost: it does not answer"):
            await number(line)
        with pytest.raises(InstrumentUnavailable, match="lost: it does not answer; check its power and its cable"):
            await number(line)
        await line.open()
        assert await number(line) == 2
        line.close()
        with pytest.raises(InstrumentUnavailable, match="not connected; connect first"):
            await number(line)

    run(scenario)


@pytest.mark.parametrize("error", [UsageError("no"), InstrumentFault("cannot")])
def test_a_refusal_does_not_put_the_line_out_of_step(error: Exception) -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        with pytest.raises(type(error)):
            async with line.turn(Lane.COMMAND, LIMIT_S):
                raise error
        assert await number(line) == 1
        assert counter.asked == ["n"]

    run(scenario)


def test_a_stop_goes_first_and_does_not_wait_for_silence() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        async def silent() -> None:
            async with line.turn(Lane.POLL, 60.0) as talk:
                await talk.receive(lambda _: None)

        async def stop() -> None:
            async with line.turn(Lane.STOP, STOP_S, b"off\n"):
                done.append("stop")

        done: list[str] = []
        waiting = [asyncio.create_task(silent())]
        await asyncio.sleep(0)
        waiting += [asyncio.create_task(number(line)) for _ in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(SAFE_S):
            await stop()
        assert counter.asked == ["off", "who"]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(outcomes[0], InstrumentUnavailable)
        assert outcomes[1:] == [1, 2, 3]

    run(scenario)


def test_a_lost_connection_is_told_at_once_to_everybody() -> None:
    async def scenario(counter: Counter, line: Line[str]) -> None:
        assert await number(line) == 1
        counter.writers[0].transport.abort()
        outcomes = await asyncio.gather(*(number(line) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in outcomes] == [InstrumentUnavailable] * 3

    run(scenario)


def test_turns_are_given_by_lane_and_never_lost() -> None:
    async def scenario() -> None:
        turns, order = Turns(), []

        async def take(lane: Lane, name: str) -> None:
            async with turns.turn(lane):
                order.append(name)
                await asyncio.sleep(0)

        waiting = [
            asyncio.create_task(take(lane, name))
            for lane, name in ((2, "first"), (2, "poll"), (1, "gone"), (1, "command"), (2, "poll 2"), (0, "stop"))
        ]
        await asyncio.sleep(0)
        waiting[2].cancel()
        await asyncio.wait(waiting)
        assert order == ["first", "stop", "command", "poll", "poll 2"]
        await take(Lane.POLL, "after")

    asyncio.run(scenario())


def test_two_looks_must_agree() -> None:
    looks = iter([1, 1, 1, 2])

    async def look() -> int:
        return next(looks)

    assert asyncio.run(confirmed(look, int.__eq__, "it")) == 1
    with pytest.raises(InstrumentGarbled, match="it was read as 1, then as 2"):
        asyncio.run(confirmed(look, int.__eq__, "it"))


@pytest.mark.parametrize("text", ["", "ttyUSB0", "tcp://", "tcp://host", "tcp://host:99999", "udp://host:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address; write tcp://"):
        read_address(text)


@pytest.mark.parametrize("text", ["tcp://192.0.2.17:1998", "tcp://[::1]:5", "/dev/serial/by-id/usb-x"])
def test_addresses_are_written_as_they_are_read(text: str) -> None:
    assert str(read_address(text)) == text
