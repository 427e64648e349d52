"""An emulated ID900 and the maker's service beside it: commands, slices, and photons by chance on its inputs.

Its wire is not a stream of bytes but messages of frames; ``packed`` makes one piece of bytes of a message, so that the
fault script spoils whole messages. ``serving`` puts them on ZeroMQ sockets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnoded.records import I64, TagBlock
from qnoded.testing.emulation.device import Device
from qnoded.testing.emulation.personality import NotNegative
from qnoded.testing.emulation.plugging import Emulation
from qnoded.units import PS_PER_S
from qnoded_drivers.idq_id900.codec import INPUTS

RATES_HZ: Final = (2000.0, 1500.0, 1200.0, 1000.0)
INSTRUMENT, SERVICE, TAGS = b"instrument", b"service", b"tags"
"""First frame of a message: where it goes, or comes from."""
LENGTH_BYTES: Final = 4
DATA_PORT: Final = 5555
NUMBERS: Final = {str(number) for number in INPUTS}

LEAVES: Final = {
    "STARt": ("ENABle", "THREshold", "EDGE", "COUPling", "SELEct", "RESYnc", "MODE"),
    "INPUt#": ("ENABle", "THREshold", "EDGE", "COUPling", "SELEct", "RESYnc", "MODE", "HIRES:ERROR"),
    "RAW#": ("REF:LINK", "STOP:LINK", "SEND", "ERRORS"),
    "REC": ("TRIG:ARM:MODE", "ENABle", "NUMber", "DURation", "PWID", "PPER"),
    "DEVIce": ("RESolution",),
}
"""Block -> what can be set and asked in it; capitals must be written, the rest may be."""
FIRST_VALUES: Final = {"RES": "LOWRES", "ERRORS": "0", "HIRES:ERROR": "0", "SEND": "OFF", "ENAB": "OFF"}
UNKNOWN: Final = "Error: undefined header"


def packed(frames: Sequence[bytes]) -> bytes:
    """Return one piece of bytes for a message."""
    return b"".join(len(frame).to_bytes(LENGTH_BYTES, "big") + frame for frame in frames)


def frames_of(data: bytes) -> list[bytes]:
    """Return the frames of a message; ``ValueError`` if it is none."""
    frames = []
    while data:
        length = int.from_bytes(data[:LENGTH_BYTES], "big")
        frame, data = data[LENGTH_BYTES : LENGTH_BYTES + length], data[LENGTH_BYTES + length :]
        if len(frame) < length:
            problem = f"a frame of {length} bytes has {len(frame)}"
            raise ValueError(problem)
        frames.append(frame)
    return frames


@dataclass
class Acquisition:
    """What the service receives of one input."""

    number: int
    port: int
    """On which it gives the tags on."""
    slices: int = 0
    tags: int = 0


class EmulatedId900(Device):
    """Four inputs with light on them; ``sent`` is what it has sent of the present recording."""

    def __init__(
        self,
        serial: str = "ID900-0042",
        rates_hz: tuple[NotNegative, NotNegative, NotNegative, NotNegative] = RATES_HZ,
        seed: int = 1,
    ) -> None:
        """Make one that sees light by chance, ``rates_hz`` on its inputs, unless it stands in a world."""
        self.serial = serial
        self._rates_hz = rates_hz
        self._chance = np.random.default_rng(seed)
        self._values: dict[str, str] = {}
        self._acquisitions: dict[str, Acquisition] = {}
        self._began_ps: int | None = None
        """When the recording began; None: it does not record."""
        self._shown_ps: int | None = None
        """What the clock of a world has shown; None: it stands in none."""
        self._seen: list[TagBlock] = []
        """The world's photons since the last slice that has ended."""
        self._slice = 0
        """The one that is being recorded."""
        self.sent: list[tuple[int, I64]] = []
        """Input and times since the recording began, ps, slice by slice."""

    @property
    def records(self) -> bool:
        """Whether a recording is under way."""
        return self._began_ps is not None

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports on which the service gives tags on."""
        return tuple(one.port for one in self._acquisitions.values())

    def served(self, emulation: Emulation, host: str, port: int) -> AbstractAsyncContextManager[int]:
        """Serve on ZeroMQ sockets; see ``serving.on_zmq``."""
        from qnoded_drivers.idq_id900.serving import on_zmq

        return on_zmq(emulation, self, host, port)

    def switch_on(self, now_s: float) -> None:
        """Forget settings and recording; the service, on its own computer, forgets nothing."""
        del now_s
        self._values, self._began_ps = {}, None

    def trouble(self, leaf: str, value: int) -> None:
        """Let an error show, such as ``trouble("RAW1:ERRORS", 3)``."""
        self._values[leaf] = str(value)

    def overflow(self) -> None:
        """Let the first input show that its buffer was too small."""
        self.trouble("RAW1:ERRORS", 1)

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer a message, whatever it is: who asks waits for ever otherwise."""
        where, *envelope, text = frames_of(data)
        question = text.decode("utf-8", "replace")
        said: list[bytes] = []
        if where == INSTRUMENT:
            if self.busy:
                self.busy, answer = False, "Error: busy"
            else:
                answer = "\n".join(self._obeyed(question, now_s))
        else:
            answer, said = self._served(question)
        return [packed([where, *envelope, answer.encode()]), *said]

    def _obeyed(self, line: str, now_s: float) -> list[str]:
        """Return an answer for each command; one without a colon in front goes on in the block before."""
        answers, block = [], ""
        for text in line.split(";"):
            command, _, value = text.strip().partition(" ")
            header = command.removeprefix(":") if command.startswith(":") or not block else f"{block}:{command}"
            block = header.partition(":")[0]
            answers.append(self._one(header, value.strip(), now_s))
        return answers

    def _one(self, header: str, value: str, now_s: float) -> str:
        if header.upper() == "*IDN?":
            return f"IDQuantique,ID900,{self.serial},1.0"
        match _canonical(header.rstrip("?")):
            case "REC:STAG":
                return "PLAYING" if self.records else "STOPPED"
            case "REC:PLAY":
                self._began_ps, self._slice, self.sent, self._seen = self._now_ps(now_s), 0, [], []
                return "Value set to PLAY"
            case "REC:STOP":
                self._began_ps = None
                return "Value set to STOP"
            case None:
                return UNKNOWN
            case leaf if leaf.endswith(":CLEAR"):
                self._values[leaf.removesuffix(":CLEAR")] = "0"
                return "Counter value set to 0"
            case leaf if header.endswith("?"):
                first = FIRST_VALUES.get(leaf.partition(":")[2], "0")
                shown = self._values.get(leaf, first)
                return f"{shown}TB" if leaf in {"REC:PWID", "REC:PPER"} else shown
            case leaf:
                self._values[leaf] = value.upper()
                return f"Value set to {value}"

    def _served(self, line: str) -> tuple[str, list[bytes]]:
        """Return the service's answer, and what else it sends."""
        verb, *words = line.split() or [""]
        options = dict(zip(words[::2], words[1::2], strict=False))
        name, port = options.get("--id", ""), options.get("--stream-port", "")
        match verb:
            case "list":
                return json.dumps(list(self._acquisitions)), []
            case "start-stream" if {"--address", "--channel"} <= set(options) and port.isdecimal():
                if options["--channel"] not in NUMBERS:
                    return json.dumps({"error": {"description": f"there is no channel {options['--channel']}"}}), []
                number = int(options["--channel"])
                name = f"{options['--address']}:{DATA_PORT + number}"
                if name in self._acquisitions:
                    return json.dumps({"error": {"description": f"{name} is being acquired already"}}), []
                self._acquisitions[name] = Acquisition(number, int(port))
                return json.dumps({"id": name}), []
            case "status" if name in self._acquisitions:
                return json.dumps(self._status(name)), []
            case "stop" if name in self._acquisitions:
                status, former = self._status(name), self._acquisitions.pop(name)
                return json.dumps({"status": status}), [packed([TAGS, str(former.port).encode(), b""])]
            case _:
                return json.dumps({"error": {"description": f"cannot do {line[:80]!r}"}}), []

    def _status(self, name: str) -> dict[str, object]:
        one = self._acquisitions[name]
        return {"acquisitions_count": one.slices, "timestamps_count": one.tags, "inactivity": 0, "errors": []}

    def tick(self, now_s: float) -> list[bytes]:
        """Send the slices that have ended."""
        said = []
        while self._began_ps is not None:
            period_ps, slice_ps = int(self._values["REC:PPER"]), int(self._values["REC:PWID"])
            if self._now_ps(now_s) < self._began_ps + (self._slice + 1) * period_ps:
                break
            start_ps = self._slice * period_ps
            for number, rate_hz in zip(INPUTS, self._rates_hz, strict=True):
                if self._shown_ps is None:
                    count = int(self._chance.poisson(rate_hz * slice_ps / PS_PER_S))
                    times_ps = np.sort(self._chance.integers(0, slice_ps, count))
                else:
                    times_ps = self._seen_by(number, self._began_ps + start_ps, slice_ps)
                said += self._given_on(number, times_ps, start_ps)
            self._slice += 1
            end_ps = self._began_ps + start_ps + period_ps
            self._seen = [block for block in self._seen if block.tag_ps[-1] >= end_ps]
        return said

    def _now_ps(self, now_s: float) -> int:
        return int(now_s * PS_PER_S) if self._shown_ps is None else self._shown_ps

    def detect(self, block: TagBlock, until_ps: int) -> None:
        """Take what a world's photons gave, which is lost while it does not record."""
        self._shown_ps = until_ps
        if self.records and len(block):
            self._seen.append(block)

    def _seen_by(self, number: int, start_ps: int, slice_ps: int) -> I64:
        """Return what an input has seen within a slice, from its beginning."""
        own = [block.tag_ps[block.channel == number - 1] for block in self._seen]
        times_ps = np.concatenate([np.empty(0, np.int64), *own]) - start_ps
        return times_ps[(times_ps >= 0) & (times_ps < slice_ps)]

    def _given_on(self, number: int, times_ps: I64, began_ps: int) -> list[bytes]:
        said = []
        for one in self._acquisitions.values():
            if one.number == number and self._values.get(f"RAW{number}:SEND") == "ON":
                one.slices += 1
                one.tags += times_ps.size
                self.sent.append((number, times_ps + began_ps))
                # A slice without tags is registered, and not sent.
                if times_ps.size:
                    said.append(packed([TAGS, str(one.port).encode(), times_ps.astype("<u8").tobytes()]))
        return said


def _canonical(header: str) -> str | None:
    """Return a header in its short form, None if it is unknown."""
    for block, leaves in LEAVES.items():
        head, _, rest = header.partition(":")
        number = head[-1:] if block.endswith("#") else ""
        if not _means(head.removesuffix(number), block.rstrip("#")) or (block.endswith("#") and not number.isdecimal()):
            continue
        extra = ("PLAY", "STOP", "STAGe") if block == "REC" else ()
        cleared = tuple(f"{leaf}:CLEAR" for leaf in leaves if leaf.endswith(("ERROR", "ERRORS")))
        for leaf in (*leaves, *extra, *cleared):
            wanted, found = leaf.split(":"), rest.split(":")
            if len(wanted) == len(found) and all(map(_means, found, wanted)):
                return f"{_short(block.rstrip('#'))}{number}:{':'.join(map(_short, wanted))}"
    return None


def _short(word: str) -> str:
    return "".join(letter for letter in word if not letter.islower())


def _means(found: str, word: str) -> bool:
    return found.upper() in (_short(word), word.upper())
