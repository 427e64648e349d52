"""APT messages byte for byte, and a decoder that takes whatever comes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.thorlabs_apt import codec
from qnoded_drivers.thorlabs_apt.codec import HOST, UNIT, Id, Message, MessageDecoder, encode
from qnoded_drivers.thorlabs_k10cr1.codec import COUNTS_PER_DEG as K10CR1_COUNTS_PER_DEG
from qnoded_drivers.thorlabs_mpc320.codec import COUNTS_PER_DEG, paddle_settings

from qnoded.errors import InstrumentGarbled

GOLDEN = [
    (Message(Id.REQ_INFO), "05 00 00 00 50 01"),
    (codec.enabled(1 | 2), "10 02 03 01 50 01"),
    (codec.home(1), "43 04 01 00 50 01"),
    (Message(Id.REQ_USER_STATUS, 1), "90 04 01 00 50 01"),
    (codec.stop(1), "65 04 01 01 50 01"),
    (codec.move(1, round(90 * COUNTS_PER_DEG)), "53 04 06 00 D0 01 01 00 D5 02 00 00"),
    (paddle_settings(20), "30 05 0C 00 D0 01 00 00 14 00 00 00 0A 00 0A 00 0A 00"),
    (codec.move(1, round(90 * K10CR1_COUNTS_PER_DEG)), "53 04 06 00 D0 01 01 00 00 80 BB 00"),
]
MESSAGES = st.one_of(
    st.builds(Message, st.sampled_from(Id), st.integers(0, 255), st.integers(0, 255)),
    st.builds(Message, st.sampled_from(Id), data=st.binary(min_size=1, max_size=255)),
)


@pytest.mark.parametrize(("message", "frame"), GOLDEN, ids=[frame for _, frame in GOLDEN])
def test_golden_frames(message: Message, frame: str) -> None:
    assert encode(message) == bytes.fromhex(frame)
    assert list(MessageDecoder(UNIT).feed(bytes.fromhex(frame))) == [message]


@given(st.lists(MESSAGES, max_size=5), st.integers(1, 7), st.booleans())
def test_however_the_bytes_are_cut_the_messages_are_the_same(said: list[Message], piece: int, stray: bool) -> None:
    data = b"".join((b"\x00" if stray else b"") + encode(message, HOST, UNIT) for message in said)
    decoder = MessageDecoder()
    heard = [one for place in range(0, len(data), piece) for one in decoder.feed(data[place : place + piece])]
    assert heard == said


@given(st.binary(max_size=300))
def test_any_bytes_give_messages_or_are_called_garbled(data: bytes) -> None:
    with suppress(InstrumentGarbled):
        for message in MessageDecoder().feed(data):
            codec.info_of(message)
            codec.status_of(message, 1)


def test_status_of_both_layouts() -> None:
    user = Message(Id.GET_USER_STATUS, data=codec.USER_STATUS.pack(2, -5, 0, 0, codec.Bits.HOMED))
    plain = Message(Id.GET_STATUS, data=codec.STATUS.pack(2, -5, 0, codec.Bits.HOMED))
    for message in (user, plain):
        status = codec.status_of(message, 2)
        assert status == codec.AxisStatus(2, -5, codec.Bits.HOMED)
        assert status.homed
        assert not status.moving
        assert codec.status_of(message, 1) is None
