"""Messages as frames of bytes, and back: every length is checked before anything is read or made.

A message is a header, one frame with its fields in their order, and one frame for each array. The layout follows from
the message's dataclass: integers and floats of 8 bytes, truth as one byte, text and bytes with their length (4 bytes)
before them, records inside of records field after field; all little-endian. Arrays are raw, as long as their frame.
Nothing that is read can name a type, run code or ask for memory; what does not fit raises ``RemoteProtocolError``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import numpy as np

from qnoded.errors import LocalProtocolError, RemoteProtocolError
from qnoded.exchange import agreeing, bootstrapping, committing, syndromes
from qnoded.exchange import live_messages as live
from qnoded.exchange import messages as distilling
from qnoded.exchange.limits import (
    LARGEST_FRAME_BYTES,
    LONGEST_BYTES,
    LONGEST_TEXT,
    MOST_NUMBERS,
    Between,
    Exactly,
    Most,
)
from qnoded.exchange.messages import Message
from qnoded.exchange.terms import PROTOCOL_VERSION
from qnoded.records import I64, U8

Frame = bytes | memoryview

MAGIC: Final = 0x514E4F44
"""``DONQ`` in the order of the bytes: not a message of something else."""
HEADER: Final = struct.Struct("<IHH16sIQ")
SESSION_BYTES: Final = 16
NO_SESSION: Final = bytes(SESSION_BYTES)
"""Of greetings."""
MOST_FRAMES: Final = 16

CONTROL, EPOCHS, DISTILLATION, AGREEMENT = 0, 1, 2, 3
"""The conversations: what was left open of keys is settled in the third, the fourth begins and renews what the ends
share without photons; each block has its own after that."""
FIRST_BLOCK: Final = 4
"""Conversation of block 0; that of block n is n more, modulo what the header holds."""
CONVERSATIONS: Final = 1 << 32

KINDS: Final[dict[int, type[Message]]] = {
    1: live.Greeting,
    2: live.Heartbeat,
    3: live.Goodbye,
    16: live.RevealedEpoch,
    17: live.EpochSkipped,
    18: live.EpochRefused,
    19: live.Coincidences,
    20: live.Confirmation,
    21: live.ResolutionWanted,
    24: live.ServiceRevealed,
    25: live.ServiceCounted,
    26: live.InterludeProposed,
    27: live.InterludeAnswered,
    32: live.BlockProposed,
    33: live.BlockAnswered,
    64: distilling.Sample,
    65: distilling.SampleBits,
    66: distilling.ReconciliationOpening,
    67: distilling.Parities,
    68: syndromes.Syndromes,
    69: syndromes.DecodingReport,
    70: syndromes.DisclosedBits,
    71: distilling.VerificationDigest,
    72: distilling.Verdict,
    73: distilling.AmplificationSeed,
    74: live.BlockGivenUp,
    80: committing.Offer,
    81: committing.Held,
    82: committing.Settled,
    83: committing.OpenBlocks,
    84: committing.Verdicts,
    85: committing.Noted,
    88: agreeing.LedgerShown,
    89: bootstrapping.Hello,
    90: bootstrapping.Reply,
    91: bootstrapping.Finish,
    92: bootstrapping.Done,
    93: bootstrapping.Kept,
    94: bootstrapping.Refused,
    96: live.Seal,
}
"""Number on the wire -> message; a number is never used for anything else again."""
NUMBERS: Final = {message: number for number, message in KINDS.items()}

_INT, _FLOAT, _LENGTH = struct.Struct("<q"), struct.Struct("<d"), struct.Struct("<I")
_DTYPES: Final[dict[Any, np.dtype[Any]]] = {U8: np.dtype("u1"), I64: np.dtype("<i8")}
_INT64: Final = Between(-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before every message."""

    kind: int
    """Number in ``KINDS``."""
    session: bytes
    """16 bytes; ``NO_SESSION`` for greetings."""
    conversation: int
    number: int
    """Counts the sender's messages of the session from 0, all conversations together."""


def encode(message: Message, session: bytes, conversation: int, number: int) -> list[bytes | memoryview]:
    """Return the frames of a message.

    Raises
    ------
    LocalProtocolError
        If the message exceeds a limit or is of no kind that travels.
    """
    kind = NUMBERS.get(type(message))
    if kind is None:
        problem = f"{type(message).__name__} is no message that travels; give it a number in wire.KINDS"
        raise LocalProtocolError(problem)
    out, arrays = bytearray(), list[memoryview]()
    try:
        _write(message, out, arrays)
    except _Unfit as unfit:
        problem = f"{type(message).__name__} cannot be sent: {unfit}"
        raise LocalProtocolError(problem) from None
    header = HEADER.pack(MAGIC, PROTOCOL_VERSION, kind, session, conversation, number)
    return [header, bytes(out), *arrays]


def read_header(frame: Frame) -> Header:
    """Return the header of a message, so that one of another session need not be read.

    Raises
    ------
    RemoteProtocolError
        If it is none, or of another version.
    """
    if len(frame) != HEADER.size:
        problem = f"a header of {len(frame)} bytes arrived, {HEADER.size} are due; something else talks to this port"
        raise RemoteProtocolError(problem)
    magic, version, kind, session, conversation, number = HEADER.unpack(frame)
    if magic != MAGIC:
        problem = f"a message begins with {magic:#010x}, {MAGIC:#010x} is due; something else talks to this port"
        raise RemoteProtocolError(problem)
    if version != PROTOCOL_VERSION:
        problem = f"the peer speaks version {version} of the protocol, here it is {PROTOCOL_VERSION}; update one end"
        raise RemoteProtocolError(problem)
    if kind not in KINDS:
        problem = f"there is no message of kind {kind}; both ends must run one version"
        raise RemoteProtocolError(problem)
    return Header(kind, session, conversation, number)


def decode(frames: Sequence[Frame]) -> tuple[Header, Message]:
    """Return header and message from the frames that arrived; arrays are views of the frames, read-only.

    Raises
    ------
    RemoteProtocolError
        Says what is wrong.
    """
    if not 2 <= len(frames) <= MOST_FRAMES:
        problem = f"a message of {len(frames)} frames arrived, 2 to {MOST_FRAMES} are possible; it is garbled"
        raise RemoteProtocolError(problem)
    header = read_header(frames[0])
    kind = KINDS[header.kind]
    reader = _Reader(memoryview(frames[1]).toreadonly(), [memoryview(frame).toreadonly() for frame in frames[2:]])
    try:
        message = reader.record(kind)
        reader.finish()
    except _Unfit as unfit:
        problem = f"{kind.__name__} is garbled: {unfit}"
        raise RemoteProtocolError(problem) from None
    assert isinstance(message, Message)
    return header, message


class _Unfit(Exception):
    """What does not fit, in words; whose fault it is the caller knows."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: Any
    limit: Any
    """``Most``, ``Exactly`` or ``Between``; None where the kind's own limit holds."""


@cache
def _fields_of(record: Any) -> tuple[_Field, ...]:
    """Return what the fields of a record are; asked once for each."""
    hints = get_type_hints(record, include_extras=True)
    found = []
    for each in fields(record):
        kind, limit = hints[each.name], None
        if get_origin(kind) is Annotated:
            kind, limit = get_args(kind)
        found.append(_Field(each.name, kind, limit))
    return tuple(found)


def _demand(holds: bool, name: str, problem: str) -> None:
    if not holds:
        message = f"{name} {problem}"
        raise _Unfit(message)


def _checked_length(length: int, name: str, limit: Any, usual: int) -> None:
    if isinstance(limit, Exactly):
        _demand(length == limit.size, name, f"has {length} bytes, {limit.size} are due")
    else:
        most = limit.size if isinstance(limit, Most) else usual
        _demand(length <= most, name, f"has {length} entries, at most {most} are allowed")


def _checked_number(value: float, name: str, limit: Any) -> None:
    low, high = (limit.low, limit.high) if isinstance(limit, Between) else (-math.inf, math.inf)
    _demand(low <= value <= high, name, f"is {value!r}, {low} to {high} is allowed")


def _write(record: Any, out: bytearray, arrays: list[memoryview]) -> None:
    kind_of_record: Any = type(record)
    for field in _fields_of(kind_of_record):
        value, kind, name, limit = getattr(record, field.name), field.kind, field.name, field.limit
        if kind in _DTYPES:
            _demand(value.ndim == 1, name, f"has {value.ndim} dimensions, an array of one is due")
            _checked_length(value.size, name, limit, LARGEST_FRAME_BYTES // value.itemsize)
            _demand(value.nbytes <= LARGEST_FRAME_BYTES, name, f"has {value.nbytes} bytes, too many for a frame")
            arrays.append(np.ascontiguousarray(value, _DTYPES[kind]).data.toreadonly().cast("B"))
        elif kind is bool:
            out.append(bool(value))
        elif kind is int:
            _checked_number(value, name, limit or _INT64)
            out += _INT.pack(value)
        elif kind is float:
            _checked_number(value, name, limit)
            out += _FLOAT.pack(value)
        elif kind is str or kind is bytes:
            raw = value.encode() if kind is str else bytes(value)
            _checked_length(len(raw), name, limit, LONGEST_TEXT if kind is str else LONGEST_BYTES)
            out += _LENGTH.pack(len(raw)) + raw
        elif get_origin(kind) is tuple:
            _checked_length(len(value), name, limit, MOST_NUMBERS)
            out += _LENGTH.pack(len(value))
            if get_args(kind)[0] is int:
                out += struct.pack(f"<{len(value)}q", *value)
            else:
                for each in value:
                    _checked_length(len(each), name, None, LONGEST_BYTES)
                    out += _LENGTH.pack(len(each)) + each
        elif isinstance(value, Enum):
            out += _LENGTH.pack(len(value.name)) + value.name.encode()
        else:
            assert is_dataclass(kind)
            _write(value, out, arrays)


class _Reader:
    """Reads one message; nothing is longer than the frames that hold it."""

    def __init__(self, body: memoryview, arrays: list[memoryview]) -> None:
        self._body, self._arrays = body, arrays
        self._at = self._taken = 0

    def record(self, kind: type) -> Any:
        values = [self._value(field) for field in _fields_of(kind)]
        try:
            return kind(*values)
        except RemoteProtocolError as error:
            raise _Unfit(str(error)) from None

    def finish(self) -> None:
        _demand(self._at == len(self._body), "the frame of fields", f"is {len(self._body) - self._at} bytes too long")
        _demand(self._taken == len(self._arrays), "the message", f"has {len(self._arrays)} arrays, not {self._taken}")

    def _value(self, field: _Field) -> Any:
        name, kind, limit = field.name, field.kind, field.limit
        if kind in _DTYPES:
            return self._array(name, _DTYPES[kind], limit)
        if kind is bool:
            byte = self._take(1, name)[0]
            _demand(byte <= 1, name, f"is {byte}, neither true nor false")
            return bool(byte)
        if kind is int:
            (value,) = _INT.unpack(self._take(_INT.size, name))
            _checked_number(value, name, limit)
            return value
        if kind is float:
            (value,) = _FLOAT.unpack(self._take(_FLOAT.size, name))
            _demand(math.isfinite(value), name, f"is {value}, no number")
            _checked_number(value, name, limit)
            return value
        if kind is bytes:
            return bytes(self._counted(name, limit, LONGEST_BYTES))
        if kind is str:
            return self._text(name, limit)
        if get_origin(kind) is tuple:
            return self._several(name, get_args(kind)[0], limit)
        if issubclass(kind, Enum):
            text = self._text(name, limit)
            _demand(text in kind.__members__, name, f"is {text!r}, which this version does not know")
            return kind[text]
        return self.record(kind)

    def _several(self, name: str, kind: Any, limit: Any) -> tuple[Any, ...]:
        (count,) = _LENGTH.unpack(self._take(_LENGTH.size, name))
        _checked_length(count, name, limit, MOST_NUMBERS)
        if kind is int:
            return struct.unpack(f"<{count}q", self._take(_INT.size * count, name))
        return tuple(bytes(self._counted(name, None, LONGEST_BYTES)) for _ in range(count))

    def _take(self, size: int, name: str) -> memoryview:
        _demand(self._at + size <= len(self._body), name, f"is cut short at byte {len(self._body)}")
        taken = self._body[self._at : self._at + size]
        self._at += size
        return taken

    def _counted(self, name: str, limit: Any, usual: int) -> memoryview:
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size, name))
        _checked_length(length, name, limit, usual)
        return self._take(length, name)

    def _text(self, name: str, limit: Any) -> str:
        try:
            return str(self._counted(name, limit, LONGEST_TEXT), "utf-8")
        except UnicodeDecodeError:
            problem = f"{name} is no text in UTF-8"
            raise _Unfit(problem) from None

    def _array(self, name: str, dtype: np.dtype[Any], limit: Any) -> Any:
        _demand(self._taken < len(self._arrays), name, "is missing")
        frame = self._arrays[self._taken]
        self._taken += 1
        _demand(len(frame) % dtype.itemsize == 0, name, f"of {dtype} has {len(frame)} bytes")
        _checked_length(len(frame) // dtype.itemsize, name, limit, LARGEST_FRAME_BYTES // dtype.itemsize)
        return np.frombuffer(frame, dtype)
