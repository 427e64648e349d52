"""Recordings that the tests make for themselves, one maker per format, each with the tags it stands for."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ptufile.ptufile import encode_tag

from qnoded.formats import write_recording
from qnoded.formats.swabian import RECORD
from qnoded.records import TagBlock

TAGS = 300


def times(seed: int = 1, count: int = TAGS, mean_ps: int = 400_000) -> NDArray[np.int64]:
    """Poisson-like times on a grid of 1 ns, so that every tick can hold them."""
    return np.cumsum(np.random.default_rng(seed).integers(1, 2 * mean_ps // 1000, count)).astype(np.int64) * 1000


def channels(seed: int = 2, count: int = TAGS, first: int = 1) -> NDArray[np.uint8]:
    return (np.random.default_rng(seed).integers(0, 4, count) + first).astype(np.uint8)


def events(tag_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """S-Fifteen events, 1/256 ns."""
    ticks = (tag_ps * 256 // 1000).astype(np.uint64)
    return (ticks << np.uint64(10)) | np.uint64(0x300) | (np.uint64(1) << (channel - 1).astype(np.uint64))


def swapped(event: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (event << np.uint64(32)) | (event >> np.uint64(32))


def ptu(words: NDArray[np.uint32], record_type: int, sync_s: float = 1e-12, delay_s: float = 1e-12) -> bytes:
    """A .ptu file with the fewest header fields that describe its words."""
    fields = {
        "Measurement_Mode": 3 if record_type & 0x100 else 2,
        "TTResultFormat_TTTRRecType": record_type,
        "TTResultFormat_BitsPerRecord": 32,
        "MeasDesc_GlobalResolution": sync_s,
        "MeasDesc_Resolution": delay_s,
        "TTResult_NumberOfRecords": words.size,
        "Header_End": None,
    }
    header = b"PQTTTR\0\0" + b"1.0.00\0\0" + b"".join(encode_tag(name, value) for name, value in fields.items())
    return header + words.astype("<u4").tobytes()


def t2_words(tag_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """HydraHarp V2 T2 words, 1 ps, with the overflows that they need."""
    words, turn = [], 0
    for time, number in zip(tag_ps.tolist(), channel.tolist(), strict=True):
        if time >> 25 > turn:
            words.append(0xFE000000 | ((time >> 25) - turn))
            turn = time >> 25
        words.append(number << 25 | time & 0x1FFFFFF)
    return np.array(words, np.uint32)


def spc(macro: NDArray[np.int64], channel: NDArray[np.uint8], clock: int = 100) -> bytes:
    """An SPC file; micro time 7."""
    words, turn = [0x80000000 | clock], 0
    for time, number in zip(macro.tolist(), channel.tolist(), strict=True):
        if time >> 12 > turn:
            words.append(0xC0000000 | ((time >> 12) - turn))
            turn = time >> 12
        words.append((4095 - 7) << 16 | number << 12 | time & 0xFFF)
    return np.array(words, "<u4").tobytes()


def rows(tag_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> bytes:
    return "".join(f"{c} {t}\n" for c, t in zip(channel, tag_ps, strict=True)).encode()


def make(name: str, folder: Path) -> tuple[Path, NDArray[np.int64], NDArray[np.uint8]]:
    """Write a recording of the named format; return it and its tags."""
    tag_ps, channel = times(), channels()
    path = folder / f"tags.{name}"
    event = events(tag_ps, channel)
    old = ((tag_ps // 125).astype(np.uint64) << np.uint64(15)) | (np.uint64(1) << (channel - 1).astype(np.uint64))
    raw = np.zeros(tag_ps.size, RECORD)
    raw["tag_ps"], raw["channel"] = tag_ps, channel
    qutag = np.zeros(tag_ps.size, [("t", "<i8"), ("c", "<u2")])
    qutag["t"], qutag["c"] = tag_ps, channel
    packed = io.BytesIO()
    np.savez_compressed(packed, tag_ps=tag_ps, channel=channel)
    content = {
        "text": rows(tag_ps, channel),
        "text.gz": gzip.compress(rows(tag_ps, channel), mtime=0),
        "npz-deflated": packed.getvalue(),
        "s15-a0": "".join(f"{e & 0xFFFFFFFF:08x}\n{e >> 32:08x}\n" for e in event.tolist()).encode(),
        "s15-a1": event.astype("<u8").tobytes(),
        "s15-a1x": swapped(event).astype("<u8").tobytes(),
        "s15-a2": "".join(f"{e:016x}\n" for e in event.tolist()).encode(),
        "s15-125ps": swapped(old).astype("<u8").tobytes(),
        "ptu": ptu(t2_words(tag_ps, channel), 0x01010204),
        "qutag": struct.pack("<40s", b"\x87\xb3\x91\xfa") + qutag.tobytes(),
        "bh-spc": spc(tag_ps // 10_000, channel),
        "swabian-raw": raw.tobytes(),
    }
    if name in content:
        path.write_bytes(content[name])
    else:
        write_recording(path, [TagBlock(channel, tag_ps)], format=name)
    if name == "bh-spc":
        tag_ps = tag_ps // 10_000 * 10_000
    return path, tag_ps, channel


NAMES = (
    "npz",
    "npz-deflated",
    "parquet",
    "text",
    "text.gz",
    "s15-a0",
    "s15-a1",
    "s15-a1x",
    "s15-a2",
    "s15-125ps",
    "ptu",
    "qutag",
    "bh-spc",
    "swabian-raw",
)


def format_of(name: str) -> str:
    """Return the name in FORMATS of a recording that ``make`` makes."""
    return {"npz-deflated": "npz", "text.gz": "text"}.get(name, name)
