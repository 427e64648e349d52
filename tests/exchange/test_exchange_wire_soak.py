"""Frames of every message with bytes changed, cut, doubled and exchanged: refused by name, or another message."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_exchange_wire import SESSION, built

from qnoded.errors import RemoteProtocolError
from qnoded.exchange import wire

ROUNDS = 2_000_000


def mutated(frames: list[bytes], chance: random.Random) -> list[bytes]:
    """Do one to four nasty things to the bytes of a message."""
    frames = list(frames)
    for _ in range(chance.randint(1, 4)):
        if not frames:
            return frames
        which = chance.randrange(len(frames))
        frame = bytearray(frames[which])
        place = chance.randrange(len(frame) + 1)
        what = chance.randrange(7)
        if what == 0 and frame:
            frame[place % len(frame)] ^= 1 << chance.randrange(8)
        elif what == 1:
            frame[place:] = b""
        elif what == 2:
            frame[place:place] = chance.randbytes(chance.randint(1, 64))
        elif what == 3:
            frame[place : place + 8] = chance.choice((b"\xff" * 8, b"\x00" * 8, b"\xff" * 7 + b"\x7f"))
        elif what == 4:
            frames.append(bytes(frame))
        elif what == 5:
            del frames[which]
            continue
        else:
            other = chance.randrange(len(frames))
            frames[which], frames[other] = frames[other], frames[which]
            continue
        frames[which] = bytes(frame)
    return frames


@pytest.mark.soak
@settings(max_examples=len(wire.KINDS) * 4, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_change_of_bytes_gives_anything_but_a_refusal_or_a_message(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(wire.KINDS)))
    message = data.draw(built(wire.KINDS[kind]))
    frames = [bytes(frame) for frame in wire.encode(message, SESSION, wire.EPOCHS, 7)]
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(ROUNDS // (len(wire.KINDS) * 4)):
        try:
            _, other = wire.decode(mutated(frames, chance))
        except RemoteProtocolError:
            continue
        # What is no garbage is a message that can be sent.
        wire.encode(other, SESSION, wire.EPOCHS, 7)
