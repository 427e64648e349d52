"""Logs of the daemon: standard error, one line each, with the priority that the journal reads where it listens."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Final, TextIO

_PRIORITY: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""sd-daemon(3): prefixes of lines on standard error."""


class OneLine(logging.Formatter):
    """A record on one line, whatever its text holds; traces of bugs follow with their lines joined by bars."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(name)s: %(message)s" if journal else "%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = " | ".join(line for line in super().format(record).splitlines() if line.strip())
        clean = "".join(letter if letter.isprintable() else "?" for letter in text)
        return f"<{_PRIORITY.get(record.levelno, 6)}>{clean}" if self._journal else clean


def start_logging(environment: Mapping[str, str], stream: TextIO = sys.stderr) -> None:
    """Send all records from INFO on to ``stream``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(journal="JOURNAL_STREAM" in environment))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
