"""One picture of a demo: what the link did over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

NAME: Final = "demo.png"
CLASSICAL_BOUND: Final = 2.0


def write_plots(history: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Draw sifted bits, QBER and S against time into ``folder/demo.png``; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9.0, 8.0), layout="constrained")
    FigureCanvasAgg(figure)
    bits, qber, chsh = figure.subplots(3, 1, sharex=True)
    passed_s = [one["passed_s"] for one in history]
    bits.plot(passed_s, [one["sifted_bits"] for one in history], color="tab:green")
    bits.set_ylabel("sifted bits")
    for basis in sorted({basis for one in history for basis in one["qber"]}):
        known = [(one["passed_s"], one["qber"][basis]) for one in history if basis in one["qber"]]
        when, shares = zip(*known, strict=True)
        (line,) = qber.plot(when, [100.0 * one["value"] for one in shares], label=basis)
        low, high = ([100.0 * one[end] for one in shares] for end in ("low", "high"))
        qber.fill_between(when, low, high, color=line.get_color(), alpha=0.2)
    qber.set_ylabel("QBER, %")
    if qber.lines:
        qber.legend(title="95 % bands")
    measured = [(one["passed_s"], one["chsh"]) for one in history if one["chsh"]]
    if measured:
        chsh.errorbar(
            [passed for passed, _ in measured],
            [one["s"] for _, one in measured],
            yerr=[one["sigma"] for _, one in measured],
            fmt=".",
        )
    chsh.axhline(CLASSICAL_BOUND, color="tab:red", label="reached without entanglement")
    chsh.legend()
    chsh.set_ylabel("CHSH S of the latest interlude")
    chsh.set_xlabel("time since the start, s")
    bits.set_title("grey: the link does not sift", fontsize="small", loc="right")
    _shade(bits, history)
    path = folder / NAME
    figure.savefig(path, dpi=110)
    return path


def _shade(axes: Any, history: Sequence[dict[str, Any]]) -> None:
    """Grey where the link did not sift."""
    for before, after in pairwise(history):
        if before["state"] != "SIFTING":
            axes.axvspan(before["passed_s"], after["passed_s"], color="0.9")
