"""The SCPI of Polatis' matrix switches: orders are silent, and what became of them is asked.

Sources: two public drivers of the switches agree in what is used here. Ports count from 1: inputs first, then outputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from qnoded.errors import InstrumentGarbled

ASK_NAME: Final = b"*IDN?\n"
ASK_SIZE: Final = b":oxc:swit:size?\n"
ASK_CONNECTIONS: Final = b":oxc:swit:conn:stat?\n"
ASK_ERRORS: Final = b":syst:err:all?\n"
SIZE: Final = re.compile(r"(\d{1,4}),(\d{1,4})")
PORTS: Final = r"\(@((?:\d{1,4}(?:,\d{1,4})*)?)\)"
CONNECTIONS: Final = re.compile(f"{PORTS},{PORTS}")
NAME_PARTS: Final = 4
LONGEST_NAME: Final = 200
NO_ERROR: Final = re.compile(r'[+-]?0(?:,\s*"?no error"?)?', re.IGNORECASE)


def connect(source: int, target: int) -> bytes:
    """Return the order to lead an input to an output."""
    return f":oxc:swit:conn:add (@{source}),(@{target})\n".encode()


def disconnect(connections: Mapping[int, int]) -> bytes:
    """Return the order to end connections, input -> output."""
    sources, targets = ",".join(map(str, connections)), ",".join(map(str, connections.values()))
    return f":oxc:swit:conn:sub (@{sources}),(@{targets})\n".encode()


def name_of(line: str) -> tuple[str, str, str, str] | None:
    """Return maker, model, serial number and firmware; None if the line is no name."""
    parts = tuple(part.strip() for part in line.split(","))
    if len(parts) != NAME_PARTS or not all(parts[:3]) or "(" in line or '"' in line or len(line) > LONGEST_NAME:
        return None
    return parts[0], parts[1], parts[2], parts[3]


def size_of(line: str) -> tuple[int, int] | None:
    """Return the numbers of inputs and outputs; None if the line tells none."""
    found = SIZE.fullmatch(line)
    return None if found is None else (int(found[1]), int(found[2]))


def connections_of(line: str) -> dict[int, int] | None:
    """Return input -> output; None if the line tells no connections.

    Raises
    ------
    InstrumentGarbled
        If there are more of the ones than of the others, or a port stands there twice.
    """
    found = CONNECTIONS.fullmatch(line)
    if found is None:
        return None
    sources, targets = ([int(port) for port in ports.split(",") if port] for ports in found.groups())
    if len(sources) == len(targets) == len(set(sources)) == len(set(targets)):
        return dict(zip(sources, targets, strict=True))
    problem = f"connections were told as {line[:80]!r}, which are no pairs"
    raise InstrumentGarbled(problem)


def errors_of(line: str) -> str | None:
    """Return what the queue of errors holds, empty if nothing; None if the line is the answer to something else."""
    if NO_ERROR.fullmatch(line):
        return ""
    return line if '"' in line else None
