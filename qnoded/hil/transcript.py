"""A session with an instrument, byte for byte: JSON lines, the first says what it is.

::

    {"transcript": 1, "address": "tcp://192.0.2.17:1998", "utc": "..."}
    {"at_s": 0.0132, "from": "host", "hex": "2870617261..."}
    {"at_s": 0.0171, "from": "instrument", "hex": "..."}

``connect`` marks each new connection of the host. An instrument that is asked for secrets has no place here: what was
said is in the file in clear.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from qnoded.errors import FormatError, GarbledRecording, UnreadableRecording

EDITION: Final = 1
LARGEST_FILE_BYTES: Final = 1 << 28
Speaker = Literal["host", "instrument", "connect"]
REMEDY: Final = "record it again with qnoded hil record"


@dataclass(frozen=True, slots=True)
class Utterance:
    """Bytes that were said in one piece."""

    at_s: float
    """Since the recording began."""
    speaker: Speaker
    data: bytes
    """Empty for ``connect``."""

    def line(self) -> str:
        """Return it as a line of the file."""
        return json.dumps({"at_s": round(self.at_s, 4), "from": self.speaker, "hex": self.data.hex()})


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the host said, and what the instrument said until the host spoke again."""

    question: bytes
    """Empty: said without having been asked."""
    answers: tuple[bytes, ...]


def head(address: str, utc: str) -> str:
    """Return the first line of a file."""
    return json.dumps({"transcript": EDITION, "address": address, "utc": utc})


def read_transcript(file: Path) -> tuple[Utterance, ...]:
    """Read a transcript.

    Raises
    ------
    UnreadableRecording
        If it is not there.
    GarbledRecording
        If it is none; names the line.
    """
    try:
        if file.stat().st_size > LARGEST_FILE_BYTES or not file.is_file():
            raise FormatError(file, None, "is no file of a sensible size", REMEDY)
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UnreadableRecording(file, None, error.strerror or str(error), REMEDY) from None
    try:
        if json.loads(lines[0])["transcript"] != EDITION:
            raise GarbledRecording(file, 0, f"is no transcript of edition {EDITION}", REMEDY)
    except (IndexError, KeyError, TypeError, ValueError):
        raise GarbledRecording(file, 0, "is no transcript", REMEDY) from None
    return tuple(_utterance(file, number, line) for number, line in enumerate(lines[1:], 2))


def _utterance(file: Path, number: int, line: str) -> Utterance:
    try:
        document: dict[str, Any] = json.loads(line)
        speaker = document["from"]
        if speaker not in get_args(Speaker):
            raise ValueError(speaker)
        return Utterance(float(document["at_s"]), speaker, bytes.fromhex(document["hex"]))
    except (KeyError, TypeError, ValueError):
        raise GarbledRecording(file, None, f"line {number} is none of a transcript", REMEDY) from None


def exchanges(transcript: Sequence[Utterance]) -> tuple[tuple[Exchange, ...], ...]:
    """Return the exchanges of each connection; what the host said in pieces is one question."""
    connections: list[list[Exchange]] = []
    for one in transcript:
        if one.speaker == "connect" or not connections:
            connections.append([Exchange(b"", ())])
        latest = connections[-1]
        if one.speaker == "host":
            if latest[-1].question and not latest[-1].answers:
                # Whatever has no answer is one message with what follows, as far as anybody can tell.
                latest[-1] = Exchange(latest[-1].question + one.data, ())
            else:
                latest.append(Exchange(one.data, ()))
        elif one.speaker == "instrument":
            latest[-1] = Exchange(latest[-1].question, (*latest[-1].answers, one.data))
    return tuple(tuple(one) for one in connections)
