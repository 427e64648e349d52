"""Which format a file is in, told by its content. The name decides only where the content cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qnoded.errors import TruncatedRecording, UnknownFormat
from qnoded.formats.source import GZIP_MAGIC

HEAD_BYTES: Final = 2**16
"""What is looked at: thousands of records of every binary format."""
FEWEST_RECORDS: Final = 2
"""One record of a header-less format looks like anything."""
TOO_SHORT_BYTES: Final = 64
"""A shorter file without a known beginning is taken for a torn one."""
DISORDER_SHARE: Final = 0.05
"""Steps backwards among neighbours that a real recording may have. Words in the wrong order have about a half."""

PTU_MAGIC: Final = b"PQTTTR"
ZIP_MAGIC: Final = b"PK\x03\x04"
EMPTY_ZIP_MAGIC: Final = b"PK\x05\x06"
PARQUET_MAGIC: Final = b"PAR1"
TTBIN_SUFFIX: Final = ".ttbin"
STRANGERS: Final = {
    b"\x93NUMPY": "a bare numpy array; save tag_ps and channel together with numpy.savez",
    b"\x89HDF": "an HDF5 file; export tag_ps and channel with numpy.savez",
    b"PQHISTO": "a PicoQuant histogram without time tags; save the TTTR file",
    b"BZh": "packed with bzip2; unpack it first",
    b"\xfd7zXZ": "packed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it first",
    b"\x80\x04\x95": "a Python pickle, which is never loaded; save with numpy.savez",
}
"""Beginnings of files that people try, and what to do about them."""
REMEDY: Final = "name it with --format if it is one of the known formats"

_TEXT: Final = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")


def detect(path: Path, head: bytes) -> str:
    """Return the name of the format.

    Parameters
    ----------
    path
        Only for messages and, in the end, for its suffix.
    head
        First ``HEAD_BYTES`` bytes of the file, fewer if it is shorter.

    Raises
    ------
    TruncatedRecording
        If the file is empty or too short to tell.
    UnknownFormat
        If nothing fits.
    """
    if not head:
        raise TruncatedRecording(path, 0, "the file is empty", "record or copy it again")
    if path.suffix.lower() == TTBIN_SUFFIX:
        return "swabian-ttbin"
    for magic, name in (
        (PTU_MAGIC, "ptu"),
        (ZIP_MAGIC, "npz"),
        (EMPTY_ZIP_MAGIC, "npz"),
        (PARQUET_MAGIC, "parquet"),
        (GZIP_MAGIC, "text"),
    ):
        if head.startswith(magic):
            return name
    for magic, what in STRANGERS.items():
        if head.startswith(magic):
            raise UnknownFormat(path, 0, f"is {what.partition(';')[0]}", what.partition("; ")[2])
    if _TEXT.fullmatch(head):
        return _kind_of_text(head)
    found = [name for name, fits in BINARY.items() if fits(head)]
    if found:
        return found[0]
    if path.suffix.lower() == ".spc" and _spc_header(head):
        return "bh-spc"
    if len(head) < TOO_SHORT_BYTES:
        problem = f"only {len(head)} bytes, too few to tell the format"
        raise TruncatedRecording(path, len(head), problem, f"copy the recording again, or {REMEDY}")
    raise UnknownFormat(path, 0, "the content is of no known format", REMEDY)


def _kind_of_text(head: bytes) -> str:
    """Tell hex events from rows: hex has one number per line, of 16 or of 8 digits."""
    lines = [line.strip() for line in head.splitlines()[:1000]]
    # The last line may be cut by the end of the head or of the file.
    lines = [line for line in (lines[:-1] if len(lines) > 1 else lines) if line]
    for digits, name in ((16, "s15-a2"), (8, "s15-a0")):
        number = re.compile(rb"[0-9a-fA-F]{%d}" % digits)
        if lines and all(number.fullmatch(line) for line in lines):
            return name
    return "text"


def _records(head: bytes, record: str | list[tuple[str, str]], start: int = 0) -> NDArray[Any]:
    dtype = np.dtype(record)
    count = max(0, len(head) - start) // dtype.itemsize
    return np.frombuffer(head, dtype, count, min(start, len(head)))


def _ordered(time: NDArray[Any], share: float = DISORDER_SHARE) -> bool:
    """Tell whether times mostly grow; one step back is allowed anyhow, it may be a roll-over."""
    if time.min() == time.max():
        return False
    back = int(np.count_nonzero(time[1:] < time[:-1]))
    return back <= max(1 if time.size > 4 * FEWEST_RECORDS else 0, share * time.size)


def _is_swabian_raw(head: bytes) -> bool:
    words = _records(
        head, [("type", "u1"), ("reserved", "u1"), ("missed", "<u2"), ("channel", "<i4"), ("tag_ps", "<i8")]
    )
    if words.size < FEWEST_RECORDS:
        return False
    tags = words[words["type"] == 0]
    return bool(
        words["type"].max() <= 4
        and not words["reserved"].any()
        and not tags["missed"].any()
        and np.abs(words["channel"].astype(np.int64)).max() <= 127
        and words["tag_ps"].min() >= 0
        and (tags["channel"] != 0).all()
        and _ordered(words["tag_ps"])
    )


def _is_qutag(head: bytes) -> bool:
    words = _records(head, [("tag_ps", "<i8"), ("channel", "<u2")], 40)
    if words.size < FEWEST_RECORDS:
        return False
    return bool(words["channel"].max() <= 255 and words["tag_ps"].min() >= 0 and _ordered(words["tag_ps"]))


def _events(head: bytes, *, high_first: bool) -> NDArray[np.uint64]:
    words = _records(head, "<u8").astype(np.uint64)
    return (words << np.uint64(32)) | (words >> np.uint64(32)) if high_first else words


def _is_s15(head: bytes, *, high_first: bool) -> bool:
    event = _events(head, high_first=high_first)
    if event.size < FEWEST_RECORDS:
        return False
    named = (event & np.uint64(31)) != 0
    return bool(named.all() and _ordered(event >> np.uint64(10)))


def _is_s15_old(head: bytes) -> bool:
    event = _events(head, high_first=True)
    if event.size < FEWEST_RECORDS:
        return False
    low = event & np.uint64(0x7FFF)
    return bool((low != 0).all() and (low < 32).all() and _ordered(event >> np.uint64(15)))


def _spc_header(head: bytes) -> bool:
    """Tell whether the first word is that of an SPC file: raw data, and a macro clock of 0.1 ns to 1.6 ms."""
    word = int.from_bytes(head[:4], "little")
    return len(head) >= 4 and bool(word & 0x80000000) and bool(word & 0xFFFFFF) and not word & 0x07000000


def _is_spc(head: bytes) -> bool:
    words = _records(head, "<u4", 4)
    if not _spc_header(head) or words.size < FEWEST_RECORDS:
        return False
    flags = words >> 28
    # Marks and gaps are rare, and a pure overflow has neither and stands for at least one.
    odd = np.count_nonzero(flags & 3) + np.count_nonzero((flags == 12) & (words & 0xFFFFFFF == 0))
    return bool(odd <= 0.02 * words.size)


BINARY: Final[dict[str, Callable[[bytes], bool]]] = {
    "swabian-raw": _is_swabian_raw,
    "s15-125ps": _is_s15_old,
    "s15-a1": lambda head: _is_s15(head, high_first=False),
    "s15-a1x": lambda head: _is_s15(head, high_first=True),
    "qutag": _is_qutag,
    "bh-spc": _is_spc,
}
"""Formats without a magic number, the one with the strictest structure first."""
