"""Where ``watch`` shows its page: a terminal that redraws, or plain lines where there is none."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from qnoded.cli.ctl.following import Seen
from qnoded.cli.ctl.page import duration, event_lines, page, rate
from qnoded.node.advice import instrument_ready, is_well
from qnoded.node.status import NodeStatus

WIDEST_COLUMNS: Final = 120
"""Longer lines are hard to read."""

_GOOD: Final = ("well", "READY", "SIFTING", "INTERLUDE", "locked")
_BAD: Final = (
    "NOT WELL",
    "ERROR",
    "ABSENT",
    "MISMATCH",
    "REFUSED",
    "RELOCKING",
    "STOPPED",
    "FAULTED",
    "QUARANTINED",
    "DEGRADED",
    "not locked",
)


@contextmanager
def screen(console: Console | None = None) -> Iterator[Callable[[Seen], None]]:
    """Give a function that shows what was seen, for as long as the screen lasts."""
    console = console or Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda seen: print(line(seen), flush=True)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda seen: live.update(drawn(seen, console.width, console.height), refresh=True)


def drawn(seen: Seen, columns: int, rows: int) -> Text:
    """Return the page, with the banner above it if it is old; colour only repeats what words say.

    Events fill what the rest of the page leaves of the screen, the latest at its foot.
    """
    columns = min(columns, WIDEST_COLUMNS)
    banner = []
    if seen.problem:
        words = f"NO ANSWER for {duration(seen.age_s)}: the numbers below are old. {seen.problem}"
        banner = [*textwrap.wrap(words, columns), ""]
    lines = page(seen.status, columns, events=0)
    room = rows - len(banner) - len(lines) - 1
    events = event_lines(seen.status.events, columns)
    if events and room > 0:
        lines += ["", *events[-room:]]
    text = Text("\n".join(lines))
    text.highlight_words(_GOOD, "green")
    text.highlight_words(_BAD, "bold red")
    return Text("\n".join([*banner, ""]), style="reverse").append_text(text) if banner else text


def line(seen: Seen) -> str:
    """Return the whole in one line."""
    status = seen.status
    name = status.node.name
    if seen.problem:
        return f"{name}: NO ANSWER for {duration(seen.age_s)}; {seen.problem}"
    well = "well" if is_well(status) else "NOT WELL"
    return " | ".join([f"{name}: {well}", *_links(status), *_troubles(status)])


def _links(status: NodeStatus) -> Iterator[str]:
    for name, link in status.links.items():
        total = link.qber.get("total")
        qber = "" if total is None else f" QBER {100 * total.value:.2f} %"
        sifted = rate(link.rates.sifted_hz, "bit/s")
        yield f"{name} {link.state} {sifted}{qber} {link.sifted_bits:,} bits"
        if link.advice:
            yield link.advice


def _troubles(status: NodeStatus) -> Iterator[str]:
    yield from status.node.troubles
    for role, one in status.instruments.items():
        if not instrument_ready(one):
            yield f"{role} {one.state}{f' ({one.problem})' if one.problem else ''}"
