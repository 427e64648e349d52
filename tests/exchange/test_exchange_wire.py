"""Messages on the wire: what is sent arrives, and whatever else arrives is refused with its name and what is wrong."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnoded.errors import LocalProtocolError, RemoteProtocolError
from qnoded.exchange import live_messages as live
from qnoded.exchange import wire
from qnoded.exchange.limits import LARGEST_FRAME_BYTES, Between, Exactly
from qnoded.exchange.messages import Message, PackedBits
from qnoded.exchange.numbering import Numbering
from qnoded.exchange.reports import Reason
from qnoded.records import I64, U8

SESSION = bytes(range(16))


def of_kind(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type within its limits."""
    limit = None
    if get_origin(kind) is Annotated:
        kind, limit = get_args(kind)
    if kind is bool:
        return st.booleans()
    if kind is int:
        low, high = (int(limit.low), int(limit.high)) if isinstance(limit, Between) else (-(2**63), 2**63 - 1)
        return st.integers(low, high)
    if kind is float:
        low, high = (limit.low, limit.high) if isinstance(limit, Between) else (-1e300, 1e300)
        return st.floats(low, high, allow_nan=False)
    if kind is str:
        return st.text(max_size=2)
    if kind is bytes:
        size = limit.size if isinstance(limit, Exactly) else 16
        return st.binary(min_size=size, max_size=size)
    if kind in (U8, I64):
        dtype = np.uint8 if kind == U8 else np.int64
        return st.lists(st.integers(0, 255), max_size=40).map(lambda values: np.array(values, dtype))
    if kind is PackedBits:
        return st.lists(st.integers(0, 1), max_size=40).map(lambda bits: PackedBits.of(np.array(bits, np.uint8)))
    if get_origin(kind) is tuple:
        each = st.integers(-5, 5) if get_args(kind)[0] is int else st.binary(min_size=16, max_size=16)
        return st.lists(each, max_size=5).map(tuple)
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    return built(kind)


def built(record: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(record, include_extras=True)
    values = st.tuples(*(of_kind(hints[field.name]) for field in fields(record)))

    def made(arguments: tuple[Any, ...]) -> Any:
        try:
            return record(*arguments)
        except RemoteProtocolError:
            return None

    return values.map(made).filter(lambda one: one is not None)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, each.name), getattr(right, each.name)) for each in fields(left)
        )
    return bool(left == right)


LIVE = [kind for number, kind in wire.KINDS.items() if number < 64]


@settings(max_examples=30)
@given(st.data())
@pytest.mark.parametrize("kind", LIVE, ids=lambda kind: kind.__name__)
def test_every_message_arrives_as_it_was_sent(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(built(kind))
    number = data.draw(st.integers(0, 2**64 - 1))
    frames = wire.encode(message, SESSION, wire.EPOCHS, number)
    header, arrived = wire.decode([bytes(frame) for frame in frames])
    assert (header.session, header.conversation, header.number) == (SESSION, wire.EPOCHS, number)
    assert wire.KINDS[header.kind] is kind
    assert same(message, arrived)


def test_every_message_has_a_number() -> None:
    """Whatever the modules that speak on a link define as a message travels."""
    # By name, since a dataclass with slots is a second class beside the one that was written.
    rooms = ("live_messages", "messages", "syndromes", "committing", "agreeing", "bootstrapping")
    speaking = {f"qnoded.exchange.{name}" for name in rooms}
    defined = {kind.__qualname__ for kind in Message.__subclasses__() if kind.__module__ in speaking}
    assert defined == {kind.__qualname__ for kind in wire.NUMBERS}


@given(frames=st.lists(st.binary(max_size=200), max_size=20))
def test_garbage_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.decode(frames)


@given(kind=st.sampled_from(sorted(wire.KINDS)), body=st.binary(max_size=300), arrays=st.lists(st.binary(max_size=40)))
def test_garbage_behind_a_good_header_is_refused_or_is_a_message(kind: int, body: bytes, arrays: list[bytes]) -> None:
    header = wire.HEADER.pack(wire.MAGIC, wire.PROTOCOL_VERSION, kind, SESSION, 1, 0)
    try:
        _, message = wire.decode([header, body, *arrays])
    except RemoteProtocolError:
        return
    assert isinstance(message, wire.KINDS[kind])


@given(st.data())
def test_a_changed_byte_is_refused_or_is_another_message(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(LIVE))
    frames = [bytearray(frame) for frame in wire.encode(data.draw(built(kind)), SESSION, wire.EPOCHS, 5)]
    place = data.draw(st.integers(0, len(frames) - 1))
    if frames[place]:
        frames[place][data.draw(st.integers(0, len(frames[place]) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(RemoteProtocolError):
        wire.decode([bytes(frame) for frame in frames])


GOODBYE = [bytes(frame) for frame in wire.encode(live.Goodbye("done"), SESSION, wire.CONTROL, 0)]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "0 frames"),
        ([GOODBYE[0]], "1 frames"),
        ([GOODBYE[0]] + [b""] * 16, "17 frames"),
        ([GOODBYE[0][:-1], GOODBYE[1]], "header of 35 bytes"),
        ([b"GET / HTTP/1.1\r\nHost: example.org\r\nA: "[:36], GOODBYE[1]], "something else talks"),
        ([GOODBYE[0][:4] + b"\x63\x00" + GOODBYE[0][6:], GOODBYE[1]], "version 99"),
        ([GOODBYE[0][:6] + b"\xff\xff" + GOODBYE[0][8:], GOODBYE[1]], "kind 65535"),
        ([GOODBYE[0], GOODBYE[1] + b"x"], "1 bytes too long"),
        ([GOODBYE[0], GOODBYE[1][:-1]], "reason is cut short"),
        ([GOODBYE[0], struct.pack("<I", 2**31)], "reason has 2147483648 entries, at most 200"),
        ([GOODBYE[0], struct.pack("<I", 2) + b"\xff\xfe"], "reason is no text"),
        ([*GOODBYE, b""], "1 arrays, not 0"),
    ],
)
def test_what_is_wrong_is_said(frames: list[bytes], words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        wire.decode(frames)


def test_numbers_out_of_range_and_unknown_names_are_refused() -> None:
    frames = wire.encode(live.Heartbeat(1, 2, 3), SESSION, wire.CONTROL, 0)
    with pytest.raises(RemoteProtocolError, match="backlog is -1"):
        wire.decode([bytes(frames[0]), struct.pack("<3q", 1, 2, -1)])
    frames = wire.encode(live.EpochSkipped(7, Reason.GAP), SESSION, wire.EPOCHS, 0)
    with pytest.raises(RemoteProtocolError, match="reason is 'XAP'"):
        wire.decode([bytes(frames[0]), bytes(frames[1]).replace(b"GAP", b"XAP")])
    frames = wire.encode(live.InterludeAnswered(7, True), SESSION, wire.EPOCHS, 0)
    with pytest.raises(RemoteProtocolError, match="accepted is 2"):
        wire.decode([bytes(frames[0]), bytes(frames[1])[:-1] + b"\x02"])


@pytest.mark.parametrize("size", [1, 15, 17])
def test_arrays_of_half_numbers_and_too_many_entries_are_refused(size: int) -> None:
    none = np.empty(0, np.int64)
    frames = wire.encode(live.BlockAnswered(0, none), SESSION, wire.EPOCHS, 0)
    with pytest.raises(RemoteProtocolError, match=f"{size} bytes"):
        wire.decode([*map(bytes, frames[:2]), bytes(size)])
    with pytest.raises(RemoteProtocolError, match="at most 65536"):
        wire.decode([*map(bytes, frames[:2]), bytes(8 * 65537)])
    with pytest.raises(RemoteProtocolError, match="missing is missing"):
        wire.decode([bytes(frame) for frame in frames[:2]])


def test_what_exceeds_a_limit_is_not_sent() -> None:
    class Unknown(Message):
        pass

    for message, words in [
        (live.Goodbye("x" * 201), "reason has 201 entries"),
        (live.Heartbeat(2**40, 0, 0), "detected is 1099511627776"),
        (live.BlockProposed(0, "s", np.zeros((2, 2), np.int64), bytes(32)), "2 dimensions"),
        (live.BlockProposed(0, "s", np.zeros(2, np.int64), bytes(31)), "31 bytes, 32 are due"),
        (Unknown(), "no message that travels"),
    ]:
        with pytest.raises(LocalProtocolError, match=words):
            wire.encode(message, SESSION, wire.CONTROL, 0)
    del Unknown


def test_arrays_are_views_of_the_frames_and_read_only() -> None:
    frames = wire.encode(live.BlockAnswered(0, np.arange(5)), SESSION, wire.EPOCHS, 0)
    raw = bytearray(frames[2])
    _, message = wire.decode([bytes(frames[0]), bytes(frames[1]), memoryview(raw)])
    assert isinstance(message, live.BlockAnswered)
    raw[0] = 9
    assert message.missing[0] == 9
    assert not message.missing.flags.writeable
    assert LARGEST_FRAME_BYTES == 2**25


def test_only_the_next_number_of_the_session_is_taken() -> None:
    numbering = Numbering(SESSION)
    assert [numbering.next_number() for _ in range(3)] == [0, 1, 2]
    assert numbering.accepts(wire.Header(2, SESSION, 1, 0))
    assert not numbering.accepts(wire.Header(2, bytes(16), 1, 77))
    assert numbering.strays == 1
    assert numbering.accepts(wire.Header(2, SESSION, 0, 1))
    for number, words in [(1, "repeated"), (4, "lost")]:
        with pytest.raises(RemoteProtocolError, match=words):
            numbering.accepts(wire.Header(2, SESSION, 1, number))
