"""One line per record, whatever it holds, with the journal's priorities where the journal listens."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from qnoded.node.logs import start_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(environment: dict[str, str]) -> list[str]:
    stream = io.StringIO()
    start_logging(environment, stream)
    log = logging.getLogger("qnoded.node")
    log.debug("never")
    log.info("two\nlines \x1b[31mred")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("a bug")
    return stream.getvalue().splitlines()


def test_the_journal_gets_priorities() -> None:
    first, second = lines_of({"JOURNAL_STREAM": "8:1234"})
    assert first == "<6>qnoded.node: two | lines ?[31mred"
    assert second.startswith("<3>qnoded.node: a bug | Traceback")
    assert second.endswith("ZeroDivisionError: division by zero")


def test_a_terminal_gets_times() -> None:
    first, _ = lines_of({})
    assert " INFO    qnoded.node: two | lines" in first
