"""The Time Tagger through the maker's library: events to tags and gaps, and every call of it as the library has it."""

from __future__ import annotations

import asyncio
import inspect
import struct
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.swabian_timetagger import driver as driver_module
from qnoded_drivers.swabian_timetagger.codec import BUFFER_FULL, EventDecoder, Events
from qnoded_drivers.swabian_timetagger.driver import SwabianSettings, SwabianTimeTagger, fetched
from qnoded_drivers.swabian_timetagger.emulator import (
    EmulatedBuffer,
    EmulatedSdk,
    EmulatedStream,
    EmulatedTimeTagger,
)
from qnoded_drivers.swabian_timetagger.sdk import CALLS, MODULES

from qnoded.errors import InstrumentFault, InstrumentGarbled, InstrumentUnavailable
from qnoded.formats import open_recording
from qnoded.instruments.protocols import SAFE_S
from qnoded.records import Gap, TagBlock
from qnoded.testing import contract, virtual_time

TAG, ERROR, BEGIN, END, MISSED = range(5)
GOLDEN = bytes.fromhex("00 00 0000 03000000 40420F0000000000")
"""A tag of input 3 at 1 us."""


def records(*events: tuple[int, int, int, int]) -> bytes:
    """Return records from kind, missed events, input and time, ps."""
    return b"".join(struct.pack("<BBHiq", kind, 0, missed, number, time_ps) for kind, missed, number, time_ps in events)


def decoded(*chunks: bytes) -> list[TagBlock]:
    decoder = EventDecoder()
    return [decoder.feed(Events.of_records(chunk)) for chunk in chunks]


def test_settings_are_read_as_they_stand_in_a_file() -> None:
    assert SwabianSettings.model_validate(tomllib.loads("[trigger_v]\n1 = 0.3\n-2 = -0.3\n")).trigger_v == {
        1: 0.3,
        -2: -0.3,
    }
    with pytest.raises(ValueError, match="inputs are counted from 1"):
        SwabianSettings(trigger_v={0: 0.3})


def test_golden_record() -> None:
    (block,) = decoded(GOLDEN)
    assert (block.channel.tolist(), block.tag_ps.tolist()) == ([3], [1_000_000])


def test_falling_edges_are_channels_from_128() -> None:
    (block,) = decoded(records((TAG, 0, -3, 5), (TAG, 0, 127, 6), (TAG, 0, -127, 7)))
    assert block.channel.tolist() == [131, 127, 255]


LOSSES = {
    "overflow": ([(BEGIN, 0, 0, 20), (MISSED, 7, 1, 25), (END, 0, 0, 30)], Gap(20, 30, 7, "overflow")),
    "missed tags": ([(MISSED, 9, 1, 25)], Gap(10, 25, 9, "missed tags")),
    "error": ([(ERROR, 0, 0, 25)], Gap(10, 25, None, "time tagger error")),
}


@pytest.mark.parametrize("what", LOSSES)
@pytest.mark.parametrize("border", [1, 2, 3])
def test_losses_are_gaps_wherever_the_buffers_end(what: str, border: int) -> None:
    specials, gap = LOSSES[what]
    events = [(TAG, 0, 1, 10), *specials, (TAG, 0, 2, 40)]
    blocks = decoded(records(*events[:border]), records(*events[border:]))
    assert [t for block in blocks for t in block.tag_ps.tolist()] == [10, 40]
    assert [one for block in blocks for one in block.gaps] == [gap]


@pytest.mark.parametrize("wrong", [(TAG, 0, 1, 9), (TAG, 0, 128, 11), (TAG, 0, -128, 11), (5, 0, 1, 11)], ids=str)
def test_what_cannot_be_is_garbled(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(InstrumentGarbled, match="runs back in time, or has an unknown kind"):
        decoded(records((TAG, 0, 1, 10)), records(wrong))


def test_a_full_buffer_is_a_gap_until_the_next_event() -> None:
    decoder = EventDecoder()
    assert decoder.feed(Events.of_records(records((TAG, 0, 1, 10))), full=True).gaps == ()
    assert decoder.feed(Events.of_records(b"")).gaps == ()
    assert decoder.feed(Events.of_records(records((TAG, 0, 1, 90)))).gaps == (Gap(10, 90, None, BUFFER_FULL),)


steps = st.tuples(st.sampled_from([TAG] * 9 + [ERROR, BEGIN, END, MISSED]), st.integers(1, 8), st.integers(0, 999))


@given(st.lists(steps, min_size=1, max_size=80), st.integers(0, 80))
def test_the_live_stream_reads_as_the_dump_of_it_does(
    tmp_path_factory: pytest.TempPathFactory, walk: list[tuple[int, int, int]], border: int
) -> None:
    now_ps, events = 0, []
    for kind, number, step_ps in walk:
        now_ps += step_ps
        events.append((kind, number if kind == MISSED else 0, number, now_ps))
    # The end of an overflow that the dump does not see is told by the file's end alone.
    events.append((END, 0, 0, now_ps))
    blocks = decoded(records(*events[:border]), records(*events[border:]))
    path = tmp_path_factory.getbasetemp() / "swabian.raw"
    path.write_bytes(records(*events))
    with open_recording(path, format="swabian-raw") as recording:
        wanted = list(recording.blocks())
        gaps = recording.report.gaps
    path.unlink()
    assert [t for b in blocks for t in b.tag_ps.tolist()] == [t for b in wanted for t in b.tag_ps.tolist()]
    assert [c for b in blocks for c in b.channel.tolist()] == [c for b in wanted for c in b.channel.tolist()]
    assert [one for b in blocks for one in b.gaps] == gaps


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> EmulatedSdk:
    emulated = EmulatedSdk()
    monkeypatch.setattr(driver_module, "find_sdk", lambda: emulated)
    return emulated


LEVELS = {1: 0.3, 2: 0.3, -3: -0.3}


@pytest.mark.parametrize("check", contract.checks(SwabianTimeTagger), ids=contract.name)
def test_contract(check: contract.Check, sdk: EmulatedSdk) -> None:
    async def cut() -> None:
        sdk.present = False

    async def restore() -> None:
        sdk.present = True

    @asynccontextmanager
    async def bench() -> AsyncIterator[contract.Bench]:
        sdk.clock = asyncio.get_running_loop().time
        yield contract.Bench(SwabianSettings(trigger_v=LEVELS), cut, restore)
        assert sdk.open == []

    contract.verify(check, SwabianTimeTagger, bench, run=virtual_time.run)


def in_virtual_time(sdk: EmulatedSdk, scenario: Callable[[SwabianTimeTagger], Any], **settings: Any) -> None:
    async def run() -> None:
        sdk.clock = asyncio.get_running_loop().time
        tagger = SwabianTimeTagger(SwabianSettings.model_validate({"trigger_v": LEVELS} | settings))
        try:
            await tagger.connect()
            await tagger.configure()
            await scenario(tagger)
        finally:
            await tagger.close()

    virtual_time.run(run())


async def taken(tagger: SwabianTimeTagger, count: int) -> list[TagBlock]:
    stream = tagger.stream()
    blocks = [await anext(stream) for _ in range(count)]
    await stream.aclose()
    return blocks


def test_tags_are_those_of_the_instrument_and_its_losses_are_told(sdk: EmulatedSdk) -> None:
    async def scenario(tagger: SwabianTimeTagger) -> None:
        sdk.losses = [70_000 % 2**16]
        blocks = await taken(tagger, 20)
        heard = {(c, t) for b in blocks for c, t in zip(b.channel.tolist(), b.tag_ps.tolist(), strict=True)}
        assert len(heard) > 1000
        assert heard <= {(131 if number == -3 else number, time_ps) for number, time_ps in sdk.sent}
        (gap,) = [gap for block in blocks for gap in block.gaps]
        assert (gap.reason, gap.lost_tags) == ("overflow", 70_000 % 2**16)
        assert (await tagger.read()).overflows == 1

    in_virtual_time(sdk, scenario)


def test_a_level_that_the_instrument_clips_is_a_fault(sdk: EmulatedSdk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmulatedTimeTagger, "getTriggerLevel", lambda self, channel: 1.0)
    with pytest.raises(InstrumentFault, match=r"input 1 triggers at 1\.000 V after 0\.300 V was set"):
        in_virtual_time(sdk, lambda _: None)


def test_an_input_that_is_not_there_is_a_fault(sdk: EmulatedSdk) -> None:
    with pytest.raises(InstrumentFault, match="there is no input 9; it has -8"):
        in_virtual_time(sdk, lambda _: None, trigger_v={9: 0.3})


def test_without_the_library_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*MODULES, "Swabian"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InstrumentUnavailable, match=r"not installed; install it: pip install \"qnoded\[swabian\]\""):
        virtual_time.run(SwabianTimeTagger(SwabianSettings(trigger_v=LEVELS)).connect())


def test_an_opening_that_is_given_up_leaves_the_instrument_free(
    sdk: EmulatedSdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = sdk.createTimeTagger

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        tagger = SwabianTimeTagger(SwabianSettings(trigger_v=LEVELS))
        connecting = asyncio.create_task(tagger.connect())

        def slowly(serial: str) -> EmulatedTimeTagger:
            asyncio.run_coroutine_threadsafe(give_up(), loop).result()
            return create(serial)

        async def give_up() -> None:
            connecting.cancel()
            await asyncio.wait({connecting})

        monkeypatch.setattr(sdk, "createTimeTagger", slowly)
        await asyncio.wait({connecting})

    asyncio.run(scenario())
    assert sdk.open == []


async def everything(tagger: SwabianTimeTagger) -> None:
    await tagger.connect()
    await tagger.configure()
    stream = tagger.stream()
    try:
        for _ in range(3):
            await anext(stream)
            await tagger.read()
    finally:
        await stream.aclose()


OWNERS = {"": EmulatedSdk, "TimeTagger": EmulatedTimeTagger, "TimeTagStream": EmulatedStream}
LETTING_GO = {"freeTimeTagger", "stop"}
FAILING = [
    (owner, call)
    for owner in OWNERS
    for call in CALLS[owner]
    if call not in LETTING_GO | {"createTimeTaggerNetwork", "setSoftwareClock"}
]


@pytest.mark.parametrize(("owner", "call"), FAILING, ids=[call for _, call in FAILING])
def test_an_error_of_any_call_is_told_and_over_with_a_new_connection(
    owner: str, call: str, sdk: EmulatedSdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        problem = "USB error"
        raise RuntimeError(problem)

    async def scenario() -> None:
        sdk.clock = asyncio.get_running_loop().time
        tagger = SwabianTimeTagger(SwabianSettings(trigger_v=LEVELS))
        try:
            with monkeypatch.context() as broken:
                broken.setattr(OWNERS[owner], call, fails)
                with pytest.raises(InstrumentUnavailable, match="the library says: USB error; connect again"):
                    await everything(tagger)
            with pytest.raises(InstrumentUnavailable, match="connect first"):
                await tagger.read()
            await everything(tagger)
        finally:
            await tagger.close()

    virtual_time.run(scenario())
    assert sdk.open == []


def test_errors_while_letting_go_are_nobodys(sdk: EmulatedSdk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        problem = "USB error"
        raise RuntimeError(problem)

    async def scenario(tagger: SwabianTimeTagger) -> None:
        await taken(tagger, 2)
        monkeypatch.setattr(EmulatedStream, "stop", fails)
        monkeypatch.setattr(EmulatedSdk, "freeTimeTagger", fails)
        await taken(tagger, 2)
        await tagger.close()

    in_virtual_time(sdk, scenario)


def test_a_call_that_does_not_come_back_is_told_in_time(sdk: EmulatedSdk, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    async def scenario() -> None:
        tagger = SwabianTimeTagger(SwabianSettings(trigger_v=LEVELS))
        await tagger.connect()
        monkeypatch.setattr(EmulatedTimeTagger, "getOverflows", lambda self: goes_on.wait())
        with pytest.raises(InstrumentUnavailable, match=r"the library has not come back within 1\.5 s"):
            await tagger.read()
        closing = asyncio.create_task(tagger.close())
        await asyncio.wait({closing}, timeout=SAFE_S)
        assert closing.done()
        goes_on.set()

    asyncio.run(scenario())


STAND_INS = {
    "": EmulatedSdk,
    "TimeTagger": EmulatedTimeTagger,
    "TimeTagStream": EmulatedStream,
    "TimeTagStreamBuffer": EmulatedBuffer,
}


def lacks(owner: Any, call: str, parameters: tuple[str, ...]) -> str | None:
    """Return what is wrong with a call, if it is."""
    found = getattr(owner, call, None)
    if found is None:
        return f"{call} is missing"
    has = [name for name in inspect.signature(found).parameters if name not in ("self", "args", "kwargs")]
    # Overloaded calls of the library say *args: they tell no names.
    return None if not has or has[: len(parameters)] == list(parameters) else f"{call} takes {has}, not {parameters}"


@pytest.mark.parametrize("owner", CALLS)
def test_the_stand_in_has_every_call_that_is_used(owner: str) -> None:
    wrong = [lacks(STAND_INS[owner], call, parameters) for call, parameters in CALLS[owner].items()]
    assert [problem for problem in wrong if problem] == []


@pytest.fixture
def library() -> Any:
    for name in MODULES:
        try:
            return import_module(name)
        except ImportError:
            continue
    return pytest.skip("the maker's library is not installed")


@pytest.mark.parametrize("owner", CALLS)
@pytest.mark.parametrize("kind", ["TimeTagger", "TimeTaggerNetwork"])
def test_the_library_has_every_call_that_is_used(owner: str, kind: str, library: Any) -> None:
    holder = library if owner == "" else getattr(library, kind if owner == "TimeTagger" else owner)
    wrong = [lacks(holder, call, parameters) for call, parameters in CALLS[owner].items()]
    assert [problem for problem in wrong if problem] == []


def test_the_library_without_an_instrument_is_unavailable(library: Any) -> None:
    if library.scanTimeTagger():
        pytest.skip("an instrument is plugged in")
    tagger = SwabianTimeTagger(SwabianSettings(trigger_v=LEVELS))
    with pytest.raises(InstrumentUnavailable, match="the library says"):
        virtual_time.run(tagger.connect())


def test_the_virtual_tagger_of_the_library_gives_columns_that_are_read(library: Any) -> None:
    try:
        virtual = library.createTimeTaggerVirtual()
    except RuntimeError as error:
        pytest.skip(f"the library has no licence for it: {error}")
    try:
        stream = library.TimeTagStream(virtual, 1000, [1, 2])
        assert fetched(stream, EventDecoder()).tag_ps.dtype == np.int64
    finally:
        library.freeTimeTagger(virtual)


def test_columns_of_the_library_are_read_as_records_are() -> None:
    data = records((TAG, 0, 1, 10), (MISSED, 3, 1, 15), (TAG, 0, -1, 20))
    strided = Events.of_records(data)
    columns = Events(
        *(np.ascontiguousarray(x) for x in (strided.kind, strided.missed, strided.inputs, strided.time_ps))
    )
    first, second = EventDecoder().feed(strided), EventDecoder().feed(columns)
    assert first.tag_ps.tolist() == second.tag_ps.tolist()
    assert first.gaps == second.gaps
