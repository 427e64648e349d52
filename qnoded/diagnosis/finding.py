"""What one look at the machine brings: a level, numbers, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much it matters."""

    OK = "ok"
    WARN = "warn"
    """The run is possible, and worse for it."""
    ACTION = "ACTION"
    """Somebody has to do something first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``qnoded doctor``."""

    level: Level
    subject: str
    """What was looked at."""
    said: str
    """What was found, with numbers and units."""
    remedy: str = ""
    """What to do; empty where all is well."""
    absent: bool = False
    """True: an instrument or a peer is not there, and nothing is wrong with this machine."""


def ok(subject: str, said: str) -> Finding:
    """Return that all is well."""
    return Finding(Level.OK, subject, said)


def warn(subject: str, said: str, remedy: str) -> Finding:
    """Return what could be better."""
    return Finding(Level.WARN, subject, said, remedy)


def action(subject: str, said: str, remedy: str, *, absent: bool = False) -> Finding:
    """Return what has to be done first."""
    return Finding(Level.ACTION, subject, said, remedy, absent)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 if nobody has to act, 1 if somebody has to on this machine, 3 if only what is connected is missing."""
    pressing = [one for one in findings if one.level is Level.ACTION]
    if not pressing:
        return 0
    return 3 if all(one.absent for one in pressing) else 1
