"""Files of sifted bits: text of 0 and 1, or packed bits as ``.bin`` and ``.npy``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from qnoded.errors import GarbledRecording, TruncatedRecording, UnreadableRecording, UsageError
from qnoded.exchange.messages import MOST_BITS
from qnoded.records import U8

PACKED_SUFFIXES: Final = (".bin", ".npy")
FACTS: Final = "sifted.json"
"""What ``qnoded analyze --sifted`` writes beside the bits."""
WHITE_SPACE: Final = b" \t\r\n\v\f"


@dataclass(frozen=True, slots=True)
class SiftedFile:
    """One end's sifted bits and what is known of them."""

    bits: U8
    """uint8[n], 0 or 1."""
    simulated: bool
    """True if ``sifted.json`` beside the file says so; stays with the key."""


def read_sifted(path: Path, bits: int | None) -> SiftedFile:
    """Read a file of sifted bits.

    Parameters
    ----------
    path : text of 0 and 1 with any white space; or packed bits, first bit highest, raw bytes in ``.bin`` and a uint8
        array in ``.npy``, with ``bits`` telling how many
    bits : number of bits of packed files; for text a check, if given

    Raises
    ------
    UsageError
        If the number of bits is missing or out of range.
    UnreadableRecording, GarbledRecording, TruncatedRecording
        If the file cannot be read, holds something else, or nothing, or fewer bits.
    """
    packed = path.suffix in PACKED_SUFFIXES
    if packed and bits is None:
        problem = f"{path} holds packed bits, whose number the file does not tell; add --bits N"
        raise UsageError(problem)
    if bits is not None and not 1 <= bits <= MOST_BITS:
        problem = f"--bits {bits} is out of range; use 1 to {MOST_BITS}"
        raise UsageError(problem)
    try:
        if path.stat().st_size > 4 * MOST_BITS:
            problem = f"holds more than a block of {MOST_BITS} bits"
            raise GarbledRecording(path, None, problem, "split it")
        content = _array(path) if path.suffix == ".npy" else np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UnreadableRecording(path, None, error.strerror or str(error), "name a file that can be read") from None
    return SiftedFile(_unpacked(path, content, bits) if packed else _digits(path, content, bits), _simulated(path))


def _array(path: Path) -> U8:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise GarbledRecording(path, 0, "is no npy array", "write one with numpy.save") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 1:
        raise GarbledRecording(path, 0, "is no array uint8[n]", "save packed bits, numpy.packbits(bits)")
    return array


def _unpacked(path: Path, packed: U8, bits: int | None) -> U8:
    assert bits is not None
    if packed.size < -(-bits // 8):
        problem = f"holds {8 * packed.size} bits, fewer than --bits {bits}"
        raise TruncatedRecording(path, int(packed.size), problem, "give the number of bits that was packed")
    spare = packed.size > -(-bits // 8) or (bits % 8 and packed[-1] & (0xFF >> bits % 8))
    if spare:
        problem = f"holds more than --bits {bits}"
        raise GarbledRecording(path, bits // 8, problem, "give the number of bits that was packed")
    unpacked: U8 = np.unpackbits(packed, count=bits)
    return unpacked


def _digits(path: Path, text: U8, bits: int | None) -> U8:
    is_digit = (text == ord("0")) | (text == ord("1"))
    other = ~(is_digit | np.isin(text, np.frombuffer(WHITE_SPACE, np.uint8)))
    if other.any():
        where = int(np.argmax(other))
        problem = f"a character {bytes(text[where : where + 1])!r} is neither 0, 1 nor white space"
        raise GarbledRecording(path, where, problem, "give text of 0 and 1, or packed bits as .bin or .npy")
    digits: U8 = text[is_digit] - np.uint8(ord("0"))
    if not digits.size:
        raise TruncatedRecording(path, 0, "holds no bit", "give text of 0 and 1")
    if bits is not None and digits.size != bits:
        raise TruncatedRecording(path, int(text.size), f"holds {digits.size} bits, not --bits {bits}", "check both")
    return digits


def _simulated(path: Path) -> bool:
    """Tell whether the facts beside the file say that it was simulated."""
    facts = path.parent / FACTS
    if not facts.is_file():
        return False
    try:
        return bool(json.loads(facts.read_text(encoding="utf-8"))["simulated"])
    except (OSError, ValueError, KeyError, TypeError):
        problem = "does not say whether the bits are simulated"
        raise GarbledRecording(
            facts, None, problem, "write it again with qnoded analyze --sifted, or move it"
        ) from None
