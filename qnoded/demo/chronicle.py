"""What a script did to the world, and what the two daemons made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from textwrap import shorten
from typing import Any, Final

AFTERWARDS_S: Final = 6.0
"""What the daemons say so long after an event ended still counts as their answer to it: finding the clock anew takes
some seconds."""
LONGEST_WORDS: Final = 120
"""Characters of an entry that are shown."""
AT_ONCE_S: Final = 0.2
"""What is announced as over so soon after it began has no length of its own."""
MOST_WORDS: Final = 6
"""Entries of the daemons that are shown of one event; a flapping link says many."""


@dataclass(slots=True)
class Happened:
    """One event of the script."""

    what: str
    """Its label in the truth record."""
    settings: dict[str, Any]
    began_s: float
    """Since the demo's start, as are all times here."""
    ended_s: float | None = None
    """None: it lasts until the end, or happens at once."""
    answers: list[str] = field(default_factory=list)
    """What the daemons noted, in order of time."""

    @property
    def headline(self) -> str:
        """In words."""
        values = ", ".join(f"{key} {value}" for key, value in self.settings.items() if value is not None)
        lasted = self.ended_s is not None and self.ended_s - self.began_s > AT_ONCE_S
        until = f" to {self.ended_s:.1f}" if lasted else ""
        return f"{self.began_s:.1f}{until} s  {self.what}" + (f" ({values})" if values else "")


@dataclass(slots=True)
class Chronicle:
    """Gathers what the world announces."""

    began_utc: datetime = field(default_factory=lambda: datetime.now(UTC))
    happened: list[Happened] = field(default_factory=list)

    def hear(self, announced: Mapping[str, Any]) -> None:
        """Take one announcement of the world, now."""
        now_s = self._since_start(datetime.now(UTC))
        if announced["state"] == "began":
            self.happened.append(Happened(announced["label"], announced["settings"], now_s))
            return
        for one in reversed(self.happened):
            if one.what == announced["label"] and one.ended_s is None:
                one.ended_s = now_s
                break

    def take_answers(self, events: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Put what the daemons noted to the events that it may be an answer to.

        Parameters
        ----------
        events
            Side -> entries of its daemon's event log: ``utc``, ``source``, ``text``.
        """
        said = sorted(_said(self._since_start, events))
        for place, one in enumerate(self.happened):
            later = [other.began_s for other in self.happened[place + 1 :] if other.began_s > one.began_s]
            last_s = one.began_s if one.ended_s is None else one.ended_s
            stop_s = min([last_s + AFTERWARDS_S, *later])
            answers = [words for at_s, words in said if one.began_s <= at_s < stop_s]
            more = len(answers) - MOST_WORDS
            one.answers = answers[:MOST_WORDS] + ([f"... and {more} more"] if more > 0 else [])

    def _since_start(self, moment: datetime) -> float:
        return (moment - self.began_utc).total_seconds()


def _said(
    since_start: Callable[[datetime], float], events: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterable[tuple[float, str]]:
    for side, entries in events.items():
        for entry in entries:
            at_s = since_start(datetime.fromisoformat(entry["utc"]))
            text = shorten(entry["text"], LONGEST_WORDS, placeholder=" ...")
            yield at_s, f"{at_s:.1f} s  {side}, {entry['source']}: {text}"
