"""What a visitor sees: two nodes and what is between them, from nothing but the daemons' own status documents."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

WIDTH: Final = 80
AT_THE_END: Final = "the end: fetching keys, stopping the daemons, comparing"
BARS: Final = "▁▂▃▄▅▆▇█"
HISTORY: Final = 40
"""Readings of the sifted rate that are shown, one each half second."""
CLASSICAL_BOUND: Final = 2.0
"""|S| above it is more correlation than any two things without entanglement can have."""

Document = dict[str, Any]

_STATES: Final = {
    "ABSENT": "waiting for the peer",
    "GREETING": "greeting: do both ends agree on all settings?",
    "MISMATCH": "the two ends are configured differently",
    "REFUSED": "the peer's key is not the right one",
    "ACQUIRING": "searching the clock: which of a million clicks belong together?",
    "RELOCKING": "clock lost, searching again",
    "SIFTING": "sifting key",
    "INTERLUDE": "Bell test: all outcomes are revealed for some seconds",
    "PAUSED": "paused",
    "STOPPED": "stopped",
}


@dataclass(slots=True)
class View:
    """Turns two status documents into one picture; remembers only the recent rates."""

    seconds: float
    """How long the demo runs."""
    sifted_hz: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def picture(self, passed_s: float, alice: Document | None, bob: Document | None) -> RenderableType:
        """Return the picture of this moment; a document is None while its daemon does not answer."""
        link = _link(alice) or _link(bob) or {}
        self.sifted_hz.append(float((link.get("rates") or {}).get("sifted_hz") or 0.0))
        heading = Text("Simulated photons; all else is what a laboratory runs.", style="dim")
        nodes = Table.grid(expand=True)
        nodes.add_column(ratio=1)
        nodes.add_column(justify="center", ratio=1)
        nodes.add_column(justify="right", ratio=1)
        nodes.add_row(
            _node("ALICE, at the source", alice, link, "alice_hz"),
            Text(f"\n── photons ──▶\n{_state(link)}", justify="center"),
            _node("BOB, at the far end", bob, link, "bob_hz"),
        )
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="bold", width=8)
        facts.add_column()
        facts.add_row("clock", _clock(link))
        facts.add_row("QBER", _qber(link))
        facts.add_row("CHSH", _chsh(link))
        facts.add_row("sifted", self._sifted(link))
        facts.add_row("keys", _keys(link))
        facts.add_row("channel", _channel(alice, bob))
        return Panel(
            Group(heading, nodes, Text(), facts),
            title="qnoded demo",
            subtitle=f"{passed_s:.0f} of {self.seconds:.0f} s · Ctrl-C ends it early"
            if passed_s < self.seconds
            else AT_THE_END,
            width=WIDTH,
        )

    def _sifted(self, link: Document) -> Text:
        most = max(self.sifted_hz, default=0.0)
        if most <= 0.0:
            return Text("none yet")
        bars = "".join(BARS[round(rate / most * (len(BARS) - 1))] for rate in self.sifted_hz)
        text = Text(bars + "\n", style="green")
        text.append(f"{link['sifted_bits']:,} bits, {self.sifted_hz[-1]:,.0f} a second, from {link['epochs']} epochs")
        discards = {name: count for name, count in link["discards"].items() if count}
        if discards:
            listed = ", ".join(f"{name.lower().replace('_', ' ')} {count}" for name, count in discards.items())
            text.append(f"\nepochs left out: {listed}", style="dim")
        return text


def one_line(passed_s: float, alice: Document | None, bob: Document | None) -> str:
    """Return the state in one line, for a terminal that cannot draw."""
    link = _link(alice) or _link(bob) or {}
    state, bits, epochs = link.get("state", "STARTING"), link.get("sifted_bits", 0), link.get("epochs", 0)
    secret = (link.get("keys") or {}).get("secret_bits", 0)
    return f"{passed_s:5.1f} s  {state:<10} {bits:>10,} sifted bits from {epochs} epochs, {secret:,} secret bits"


def _link(document: Document | None) -> Document | None:
    links: dict[str, Document] = (document or {}).get("links", {})
    return next(iter(links.values()), None)


def _state(link: Document) -> str:
    state = str(link.get("state", ""))
    return _STATES.get(state, state.lower()) or "starting"


def _node(name: str, document: Document | None, link: Document, rate: str) -> Text:
    text = Text(name + "\n", style="bold")
    if document is None:
        text.append("not there\n", style="red")
        return text
    for role, instrument in document["instruments"].items():
        reading = instrument.get("reading") or {}
        says = instrument["state"].lower()
        if role == "laser" and says == "ready":
            says = "emitting" if reading.get("emitting") else "dark"
        text.append(f"{role} {says}\n", style="green" if instrument["state"] == "READY" else "yellow")
    clicks_hz = (link.get("rates") or {}).get(rate)
    text.append(f"{clicks_hz / 1e3:,.1f} k clicks/s" if clicks_hz else "no clicks yet")
    return text


def _clock(link: Document) -> Text:
    clock = link.get("clock") or {}
    if not clock.get("locked"):
        return Text("not locked: each node has its own time", style="yellow")
    offset_s = (clock["offset_ps"] or 0) / 1e12
    text = Text(f"locked: {offset_s:+.12f} s, {1e6 * (clock['frequency_error'] or 0.0):+.4f} ppm apart", style="green")
    if clock.get("sigma_ps") is not None:
        text.append(f"\npairs meet within {clock['sigma_ps']:.0f} ps (sigma)", style="dim")
    return text


def _qber(link: Document) -> Text:
    qber = link.get("qber") or {}
    if not qber:
        return Text("not measured yet")
    text = Text()
    for basis in sorted(qber, key=lambda one: (one == "total", one != "HV")):
        text.append(f"{basis} {100.0 * qber[basis]['value']:.2f} %   ")
    total = qber.get("total")
    if total is not None:
        text.append(
            f"\n95 %: {100.0 * total['low']:.2f} to {100.0 * total['high']:.2f} %; above 11 % no key", style="dim"
        )
    return text


def _chsh(link: Document) -> Text:
    chsh = link.get("chsh")
    if not chsh:
        return Text("not measured yet: bob's analyser turns for it every now and then")
    violated = abs(chsh["s"]) - 3.0 * chsh["sigma"] > CLASSICAL_BOUND
    says = "no two independent things do that" if violated else "no violation of 2"
    return Text(f"S = {chsh['s']:.3f} ± {chsh['sigma']:.3f}   {says}", style="green" if violated else "yellow")


def _keys(link: Document) -> Text:
    keys = link.get("keys") or {}
    if not keys.get("blocks_distilled"):
        return Text("none yet: a block of sifted bits has to be full")
    text = Text(f"{keys['secret_bits']:,} secret bits from {keys['blocks_distilled']} blocks", style="green")
    stock = f"\n{keys['available'] + keys['waiting']:,} keys of {keys['key_bits']} bits in both key stores"
    return text.append(stock, style="dim")


def _channel(*documents: Document | None) -> Text:
    cost = [one["bits_per_detection"] for one in map(_link, documents) if one and one.get("bits_per_detection")]
    says = f"{cost[0]:.2f} bits per revealed detection (time and basis)" if cost else "nothing revealed yet"
    return Text(says)
