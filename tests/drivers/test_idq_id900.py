"""The ID900: slices to tags, silent inputs, errors, and an emulator that always answers."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from driver_benches import CASES, Stand, standing
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.idq_id900 import codec
from qnoded_drivers.idq_id900.codec import MOST_AHEAD, PERIOD_PS, SLICE_PS, Slices
from qnoded_drivers.idq_id900.driver import Id900, Id900Settings
from qnoded_drivers.idq_id900.emulator import INSTRUMENT, SERVICE, EmulatedId900, frames_of, packed

from qnoded.errors import InstrumentFault, InstrumentGarbled, InstrumentUnavailable
from qnoded.records import Gap, TagBlock
from qnoded.units import PS_PER_S

GOLDEN = bytes.fromhex("40420F0000000000 00E8764817000000")
"""Two tags, 1 us and 100 ms after the beginning of their slice."""


def message(*times_ps: int) -> bytes:
    return np.array(times_ps, "<u8").tobytes()


def tags(block: TagBlock | None) -> list[tuple[int, int]]:
    assert block is not None
    return list(zip(block.channel.tolist(), block.tag_ps.tolist(), strict=True))


def test_settings_are_read_as_they_stand_in_a_file() -> None:
    file = 'address = "tcp://192.0.2.17:5555"\n[threshold_v]\n1 = 0.5\n4 = -0.25\n'
    assert Id900Settings.model_validate(tomllib.loads(file)).threshold_v == {1: 0.5, 4: -0.25}


def test_golden_slice() -> None:
    slices = Slices((3,))
    slices.take(3, GOLDEN)
    assert tags(slices.next()) == [(3, 1_000_000), (3, 100_000_000_000)]
    assert slices.next() is None


def test_each_slice_begins_a_period_after_the_one_before() -> None:
    slices = Slices((1, 2))
    for _ in range(3):
        slices.take(1, message(7))
        slices.take(2, message(5))
    assert [tags(slices.next()) for _ in range(3)] == [
        [(2, n * PERIOD_PS + 5), (1, n * PERIOD_PS + 7)] for n in range(3)
    ]


times = st.lists(st.lists(st.integers(0, SLICE_PS), max_size=30).map(sorted), min_size=4, max_size=4)


@given(st.lists(times, max_size=4))
def test_inputs_are_merged_in_order_of_time(rounds: list[list[list[int]]]) -> None:
    slices = Slices((1, 2, 3, 4))
    for number, told in enumerate(rounds):
        for channel, times_ps in enumerate(told, 1):
            slices.take(channel, message(*times_ps))
        found = tags(slices.next())
        wanted = [(t + number * PERIOD_PS, c) for c, times_ps in enumerate(told, 1) for t in times_ps]
        assert sorted((t, c) for c, t in found) == sorted(wanted)
        assert [t for _, t in found] == sorted(t for t, _ in wanted)


def test_an_input_in_the_dark_holds_nobody_up_once_the_service_has_counted_its_slice() -> None:
    slices = Slices((1, 2))
    slices.take(1, message(5))
    assert slices.next() is None
    # Only one that lacks the same slice twice is asked about: its message may be on its way.
    assert slices.overdue() == ()
    assert slices.overdue() == (2,)
    slices.registered(2, 0)
    assert slices.next() is None
    slices.registered(2, 1)
    assert tags(slices.next()) == [(1, 5)]
    slices.take(2, message(6))
    slices.registered(1, 2)
    assert tags(slices.next()) == [(2, PERIOD_PS + 6)]


def test_a_message_that_came_after_the_count_is_not_taken_for_another_slice() -> None:
    slices = Slices((1, 2))
    slices.take(1, message(5))
    slices.take(2, message(6))
    slices.registered(2, 1)
    assert tags(slices.next()) == [(1, 5), (2, 6)]
    assert slices.next() is None


@pytest.mark.parametrize("wrong", [message(9, 8), message(SLICE_PS + 1), message(2**63), message(2**64 - 1)], ids=len)
def test_times_that_cannot_be_are_garbled(wrong: bytes) -> None:
    slices = Slices((1,))
    slices.take(1, wrong)
    with pytest.raises(InstrumentGarbled, match=r"input 1, slice 0: times run back, or lie outside"):
        slices.next()


def test_a_message_of_odd_length_is_garbled() -> None:
    with pytest.raises(InstrumentGarbled, match="input 1: 15 bytes are no array of 64-bit times"):
        Slices((1,)).take(1, bytes(15))


def test_an_input_that_stays_far_behind_is_garbled() -> None:
    slices = Slices((1, 2))
    for _ in range(MOST_AHEAD):
        slices.take(1, message(5))
    with pytest.raises(InstrumentGarbled, match="input 2 is more than 25 slices behind input 1"):
        slices.take(1, message(5))


def test_an_error_makes_a_gap_of_the_slice_told_last_and_of_the_one_that_runs() -> None:
    slices = Slices((1,))
    slices.take(1, message(5))
    slices.trouble("input 1: 3 errors")
    slices.take(1, message(5))
    slices.take(1, message(5))
    blocks = [slices.next() for _ in range(3)]
    gaps = [gap for block in blocks if block is not None for gap in block.gaps]
    assert gaps == [
        Gap(0, PERIOD_PS, None, "input 1: 3 errors"),
        Gap(PERIOD_PS, 2 * PERIOD_PS, None, "input 1: 3 errors"),
    ]


@pytest.mark.parametrize(("text", "number"), [("17", 17), (" 200000000000TB\n", 200_000_000_000), ("-3", -3)])
def test_numbers_may_carry_the_unit_of_the_time_base(text: str, number: int) -> None:
    assert codec.number_of(text) == number


@given(st.text(max_size=40))
def test_any_answer_is_read_or_called_by_its_name(text: str) -> None:
    for read in (
        codec.number_of,
        lambda one: codec.lines_of(one, 2),
        lambda one: codec.accepted("REC:NUM INF", one),
        lambda one: codec.told_by_service("list", one),
    ):
        try:
            read(text)
        except (InstrumentGarbled, InstrumentFault):
            continue


def test_an_error_of_the_service_is_a_fault_in_its_words() -> None:
    with pytest.raises(InstrumentFault, match="an error: no such channel"):
        codec.told_by_service("start-stream", json.dumps({"error": {"description": "no such channel"}}))


def answered(device: EmulatedId900, text: str, where: bytes = INSTRUMENT) -> str:
    (said, *_) = device.hear(packed([where, b"who", b"", text.encode()]), 0.0)
    assert frames_of(said)[:3] == [where, b"who", b""]
    return frames_of(said)[3].decode()


@pytest.fixture
def device() -> EmulatedId900:
    device = EmulatedId900()
    device.switch_on(0.0)
    return device


def test_commands_in_long_and_short_form_and_in_one_line(device: EmulatedId900) -> None:
    assert answered(device, "INPUT2:THRESHOLD 0.25") == "Value set to 0.25"
    assert answered(device, "inpu2:thre?") == "0.25"
    assert answered(device, "REC:PWID 200;PPER 240") == "Value set to 200\nValue set to 240"
    assert answered(device, "REC:PWID?;PPER?;:RAW1:ERRORS?") == "200TB\n240TB\n0"


def test_in_a_world_it_sends_the_photons_of_the_world(device: EmulatedId900) -> None:
    # Its clock shows 3 s when the recording begins; a photon before it and one in the blind time are lost.
    device.detect(TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64)), 3 * PS_PER_S)
    orders = f"REC:PWID {SLICE_PS};PPER {PERIOD_PS};PLAY;:RAW1:SEND ON;:RAW3:SEND ON"
    assert "Error" not in answered(device, orders)
    for number in (1, 3):
        answered(device, f"start-stream --address 192.0.2.9 --channel {number} --stream-port {number}", SERVICE)
    since_ps = np.array([-5, 7, SLICE_PS + 1, PERIOD_PS + 9])
    photons = TagBlock(np.array([0, 2, 0, 0], np.uint8), since_ps + 3 * PS_PER_S)
    device.detect(photons, 3 * PS_PER_S + 2 * PERIOD_PS)
    said = [frames_of(message) for message in device.tick(0.0)]
    assert [(port, np.frombuffer(data, "<u8").tolist()) for _, port, data in said] == [(b"3", [7]), (b"1", [9])]


@given(st.text(max_size=60), st.sampled_from([INSTRUMENT, SERVICE]))
def test_whatever_it_is_asked_the_emulator_answers_once(text: str, where: bytes) -> None:
    device = EmulatedId900()
    device.switch_on(0.0)
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    answered(device, text, where)


def live(scenario: Callable[[Stand, EmulatedId900, Id900], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with standing(CASES["idq-id900"]) as stand:
            (emulation,) = stand.emulations
            driver = Id900(stand.settings.model_copy(update=settings))
            try:
                await driver.connect()
                await scenario(stand, emulation.device, driver)
            finally:
                await driver.close()

    asyncio.run(run())


async def filled(driver: Id900, count: int) -> list[TagBlock]:
    """Return blocks that are not only signs of life."""
    blocks = []
    stream = driver.stream()
    try:
        async with asyncio.timeout(4.0):
            async for block in stream:
                blocks += [block] if len(block) or block.gaps else []
                if len(blocks) == count:
                    break
    finally:
        await stream.aclose()
    return blocks


def test_an_input_in_the_dark_holds_nobody_up() -> None:
    async def scenario(_: Stand, device: EmulatedId900, driver: Id900) -> None:
        device._rates_hz = (2000.0, 0.0, 0.0, 1000.0)
        await driver.configure()
        blocks = await filled(driver, 3)
        assert {channel for block in blocks for channel in block.channel.tolist()} == {1, 4}

    live(scenario)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [("RAW2:ERRORS", "input 2: 3 errors"), ("INPU4:HIRES:ERROR", "input 4: high-resolution error 3, unknown")],
)
def test_errors_that_it_shows_are_gaps(leaf: str, reason: str) -> None:
    async def scenario(_: Stand, device: EmulatedId900, driver: Id900) -> None:
        device.trouble("DEVI:RES", 0)
        device._values["DEVI:RES"] = "HIRES"
        await driver.configure()
        asyncio.get_running_loop().call_later(0.15, device.trouble, leaf, 3)
        blocks = await filled(driver, 6)
        gaps = [gap for block in blocks for gap in block.gaps]
        assert gaps
        assert {gap.reason for gap in gaps} == {reason}
        assert len(gaps) <= 3
        assert device._values[leaf] == "0"

    live(scenario)


def test_a_reboot_in_the_middle_of_a_slice_ends_the_stream() -> None:
    async def scenario(stand: Stand, _: EmulatedId900, driver: Id900) -> None:
        await driver.configure()
        asyncio.get_running_loop().call_later(0.5, stand.emulations[0].power_cycle)
        with pytest.raises(InstrumentUnavailable, match="it has stopped recording"):
            await filled(driver, 20)

    live(scenario)


def test_a_stream_that_the_service_ends_is_told() -> None:
    async def scenario(_: Stand, device: EmulatedId900, driver: Id900) -> None:
        await driver.configure()

        async def end() -> None:
            await asyncio.sleep(0.5)
            (name, *_) = device._acquisitions
            await driver._service.ask(f"stop --id {name}")

        ending = asyncio.create_task(end())
        with pytest.raises(InstrumentUnavailable, match="the service has ended the stream of input 1"):
            await filled(driver, 20)
        await ending

    live(scenario)


def test_a_stream_that_a_former_owner_left_is_given_up() -> None:
    async def scenario(_: Stand, device: EmulatedId900, driver: Id900) -> None:
        answered(device, "start-stream --address 127.0.0.1 --channel 2 --stream-port 1", SERVICE)
        answered(device, "start-stream --address 192.0.2.9 --channel 2 --stream-port 2", SERVICE)
        await driver.configure()
        assert list(device._acquisitions) == ["192.0.2.9:5557"]

    live(scenario)


def test_without_the_service_it_is_unavailable() -> None:
    async def scenario(_: Stand, __: EmulatedId900, driver: Id900) -> None:
        with pytest.raises(InstrumentUnavailable, match=r"DataLinkTargetService at .* cannot be reached"):
            await driver.configure()

    live(scenario, service="tcp://127.0.0.1:1")
