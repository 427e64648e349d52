"""What the node's HTTP servers log: what is no HTTP is its sender's mistake, told in a line without a trace."""

from __future__ import annotations

import logging

from aiohttp.http import HttpProcessingError


def http_log(name: str) -> logging.Logger:
    """Return the log of a server, for ``web.AppRunner(logger=...)``."""
    log = logging.getLogger(f"{name}.http")
    log.addFilter(_in_a_line)
    return log


def _in_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        # Only the kind: what was sent is long, a stranger's, and may be anything.
        record.msg, record.args, record.exc_info = "refused what is no HTTP: %s", (type(error).__name__,), None
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True
