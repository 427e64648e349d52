"""The page that ``status`` prints and ``watch`` keeps up to date: plain lines of text, made to fit 80 columns.

Nothing here depends on colour; ``watch`` only adds some. Every number is the snapshot's own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from qnoded.node.advice import instrument_advice, is_well
from qnoded.node.status import (
    ChshStatus,
    ClockStatus,
    Event,
    InstrumentStatus,
    KeysStatus,
    LinkStatus,
    NodeStatus,
    Rates,
    Share,
)

COLUMNS: Final = 80
LABEL: Final = 11
"""Columns of the labels at the left."""
LATEST: Final = 5
"""Events at the foot of the page."""
LOCAL_LIMIT: Final = 2.0
"""CHSH: no local model has a larger S."""
UNKNOWN: Final = "-"
LATE_S: Final = 2.0
"""An epoch is sifted each half second; what is older is worth a word."""
TIE: Final = "\N{NO-BREAK SPACE}"
LEAST_COLUMNS: Final = 40
"""Narrower terminals get lines of this width."""


def page(status: NodeStatus, columns: int = COLUMNS, events: int = LATEST) -> list[str]:
    """Return the whole page."""
    lines = [*head(status, columns), *links(status, columns), "", *devices(status, columns)]
    if events and status.events:
        lines += ["", *event_lines(status.events[-events:], columns)]
    return lines


def head(status: NodeStatus, columns: int = COLUMNS) -> list[str]:
    """Return the line that says who this is and whether all is well, and what is wrong with the machine."""
    node = status.node
    well = "well" if is_well(status) else "NOT WELL" if node.state == "running" else node.state
    parts = [f"{node.name}: {well}", f"{node.state} for {duration(node.uptime_s)}"]
    if node.simulation:
        parts.append("SIMULATION, no real key")
    parts.append(f"loop lag {1000.0 * node.loop_lag_s:.0f} ms")
    troubles = [line for trouble in node.troubles for line in _wrapped("TROUBLE", trouble, columns)]
    whole = (part.replace(" ", TIE) for part in parts)
    return [*_wrapped("", " | ".join(whole), columns), *troubles, "-" * columns]


def links(status: NodeStatus, columns: int = COLUMNS) -> list[str]:
    """Return a paragraph for each link."""
    if not status.links:
        return ["no links"]
    paragraphs = [list(_link(name, link, columns)) for name, link in status.links.items()]
    return [line for number, lines in enumerate(paragraphs) for line in ([""] if number else []) + lines]


def keys(links: Mapping[str, LinkStatus], columns: int = COLUMNS) -> list[str]:
    """Return a line or more for the keys of each link."""
    width = max([LABEL, *(1 + len(f"link {name}") for name in links)])
    lines = [
        line
        for name, link in links.items()
        for line in _wrapped(f"link {name}", _keys(link.keys) or "makes no keys", columns, width)
    ]
    return lines or ["no links"]


def devices(status: NodeStatus, columns: int = COLUMNS) -> list[str]:
    """Return a line or more for each instrument."""
    if not status.instruments:
        return ["no instruments"]
    width = max(LABEL, 1 + max(map(len, status.instruments)))
    return [line for role, one in status.instruments.items() for line in _instrument(role, one, columns, width)]


def event_lines(events: Iterable[Event], columns: int = COLUMNS) -> list[str]:
    """Return the events, oldest first; times are UTC."""
    lines: list[str] = []
    for event in events:
        mark = "" if event.level == "info" else f"{event.level.upper()} "
        lines += _wrapped(f"{event.utc[11:19]}Z", f"{mark}{event.source}: {event.text}", columns)
    return lines


def _link(name: str, link: LinkStatus, columns: int) -> Iterator[str]:
    session = f", session {link.session}" if link.session else ""
    yield from _wrapped(f"link {name}", f"{link.state} for {duration(link.since_s)} as {link.role}{session}", columns)
    rows = {
        "because": link.reason,
        "to do": link.advice,
        "clock": _clock(link.clock),
        "rates": _rates(link.rates),
        "QBER %": _qber(link.qber),
        "CHSH": _chsh(link.chsh),
        "sifted": _sifted(link),
        "keys": _keys(link.keys),
        "discards": ", ".join(f"{reason} {count:,}" for reason, count in link.discards.items() if count),
        "unused": _unused(link),
        "peer": f"{link.peer}, "
        + ("never heard" if link.peer_age_s is None else f"heard {duration(link.peer_age_s)} ago")
        + (f", {link.refused_keys} connections with a wrong key refused" if link.refused_keys else ""),
    }
    for label, words in rows.items():
        if words:
            yield from _wrapped(f"  {label}", words, columns)


def _clock(clock: ClockStatus) -> str:
    words = ["locked" if clock.locked else "not locked"]
    if clock.offset_ps is not None:
        words.append(f"offset {clock.offset_ps:+,} ps".replace(",", " "))
    if clock.frequency_error is not None:
        words.append(f"{clock.frequency_error * 1e6:+.4f} ppm")
    if clock.sigma_ps is not None:
        words.append(f"peak {clock.sigma_ps:.0f} ps rms")
    if clock.age_s is not None:
        words.append(f"{duration(clock.age_s)} old")
    return _kept_together(words)


def _rates(rates: Rates) -> str:
    known = {
        "alice": rate(rates.alice_hz, "cps"),
        "bob": rate(rates.bob_hz, "cps"),
        "pairs": rate(rates.coincidences_hz, "cps"),
        "sifted": rate(rates.sifted_hz, "bit/s"),
    }
    return _kept_together(f"{words} {value}" for words, value in known.items() if value != UNKNOWN)


def _qber(shares: Mapping[str, Share]) -> str:
    """Return the QBER of each basis, the total last."""
    return _kept_together(
        f"{basis} {100 * share.value:.2f} ({100 * share.low:.2f}..{100 * share.high:.2f})"
        for basis, share in sorted(shares.items(), key=lambda item: item[0] == "total")
    )


def _chsh(chsh: ChshStatus | None) -> str:
    if chsh is None:
        return ""
    words = f"S = {chsh.s:.3f} +- {chsh.sigma:.3f}, epoch {chsh.epoch}"
    above = (chsh.s - LOCAL_LIMIT) / chsh.sigma if chsh.sigma > 0.0 else 0.0
    return f"{words}, {above:.0f} sigma above 2" if above >= 1.0 else words


def _sifted(link: LinkStatus) -> str:
    if not (link.epochs or link.sifted_bits):
        return ""
    words = f"{link.sifted_bits:,} bits, {link.epochs:,} epochs, {link.blocks:,} blocks"
    if link.sifted_age_s is not None and link.sifted_age_s >= LATE_S:
        words += f", the last {duration(link.sifted_age_s)} ago"
    if link.bits_per_detection is None:
        return words
    return f"{words}, {link.bits_per_detection:.2f} bit sent per click"


def _unused(link: LinkStatus) -> str:
    listed = ", ".join(f"{reason} {count:,}" for reason, count in link.withdrawn.items() if count)
    return f"{link.withdrawn_bits:,} sifted bits of epochs that went into no block: {listed}" if listed else ""


def _keys(keys: KeysStatus | None) -> str:
    if keys is None:
        return ""
    words = [
        f"{keys.available:,} keys of {keys.key_bits} bits" + (" (few)" if keys.low else ""),
        f"{keys.waiting:,} for the peer's",
        f"{keys.secret_bits:,} secret bits from {keys.blocks_distilled:,} blocks",
    ]
    words += [f"{reason} {count:,}" for reason, count in keys.discarded.items() if count]
    if keys.authentication_bytes is not None:
        left = "/".join(f"{count:,}" for count in keys.authentication_bytes)
        words.append(f"authentication {left} bytes" + (" (low)" if keys.authentication_low else ""))
    return _kept_together(words)


def _instrument(role: str, one: InstrumentStatus, columns: int, width: int) -> Iterator[str]:
    simulated = " (simulated)" if one.simulated else ""
    words = [f"{one.state}  {one.driver}{simulated}"]
    if one.reading:
        age = "" if one.reading_age_s is None else f", {duration(one.reading_age_s)} ago"
        words.append(f"{_reading(one.reading)}{age}")
    if one.problem:
        words.append(one.problem)
    if one.retry_in_s is not None:
        words.append(f"next attempt in {duration(one.retry_in_s)}")
    yield from _wrapped(role, "; ".join(words), columns, width)
    if advice := instrument_advice(one):
        yield from _wrapped("  to do", advice, columns, width)


def _reading(reading: Mapping[str, Any]) -> str:
    """Return a reading in words: units stand in the names of its fields."""
    return ", ".join(f"{key} {_quantity(value)}" for key, value in reading.items() if value is not None)


def _quantity(value: Any) -> str:
    if isinstance(value, Mapping):
        return _setting(value) if "read_back" in value else f"({_reading(value)})"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_quantity, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else UNKNOWN if value is None else str(value)


def _setting(setting: Mapping[str, Any]) -> str:
    """Return what an adjustable quantity shows; what was asked for, where it differs."""
    shown, asked = setting.get("read_back"), setting.get("requested")
    if asked is None or shown == asked:
        return UNKNOWN if shown is None else f"{shown:g}"
    return f"{UNKNOWN if shown is None else format(shown, 'g')} (asked {asked:g})"


def duration(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 10.0:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def rate(value: float | None, unit: str) -> str:
    """Return a rate with a prefix of the SI."""
    if value is None:
        return UNKNOWN
    for factor, prefix in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.2f} {prefix}{unit}"
    return f"{value:.1f} {unit}"


def _kept_together(items: Iterable[str]) -> str:
    """Join items so that a line ends between them, never within one."""
    return "  ".join(item.replace(" ", TIE) for item in items)


def _wrapped(label: str, words: str, columns: int, width: int = LABEL) -> list[str]:
    """Return words behind a label, further lines indented like the first."""
    indent = " " * width if label else ""
    first = f"{label:<{width - 1}} " if label else ""
    lines = textwrap.wrap(
        words,
        max(columns, LEAST_COLUMNS),
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return [line.replace(TIE, " ") for line in lines]
