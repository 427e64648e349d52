"""Pictures of an analysis: the delay peaks, the matrix, the QBER in time, the clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from qnoded.analysis.result import Analysis, Link
from qnoded.errors import UsageError
from qnoded.stages.estimation import qber
from qnoded.units import PS_PER_NS, PS_PER_S

BINS: Final = 121
"""Bins of a delay histogram: odd, so that one of them is centred on zero."""
MOST_POINTS: Final = 200
"""Points of a curve in time; epochs are put together beyond that."""
DPI: Final = 110
ALICE_WRONG, RIGHT, WRONG = "#8c8c8c", "#1a7f5a", "#c0392b"
BASIS_COLOURS: Final = {"HV": "#1f5fa8", "DA": "#d07a00", "RL": "#6a3d9a"}

_STYLE: Final[Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "figure.constrained_layout.use": True,
}


def write_plots(analysis: Analysis, folder: Path) -> tuple[Path, ...]:
    """Write PNGs into a folder, made where it is missing; return their paths.

    Raises
    ------
    UsageError
        If there is nothing to draw, or the folder cannot be written.
    """
    link = analysis.link
    if link is None or not link.stretches:
        message = "--plot has nothing to draw: no coincidences of two sides were measured"
        raise UsageError(message)
    drawings = {"delays": _delays, "matrix": _matrix, "qber": _qber}
    if any(one.tracked for one in link.stretches):
        drawings["clock"] = _clock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, draw in drawings.items():
            with mpl.rc_context(_STYLE):
                figure = draw(link)
                figure.savefig(folder / f"{name}.png", dpi=DPI)
            written.append(folder / f"{name}.png")
    except OSError as error:
        message = f"--plot {folder}: {error.strerror}; name a folder that can be written"
        raise UsageError(message) from None
    return tuple(written)


def _delays(link: Link) -> Figure:
    """Draw the coincidence peak of each pair of detectors, clock and delays removed."""
    alice, bob = link.survey.alice, link.survey.bob
    seen = link.estimate.differences
    figure = Figure(figsize=(2.4 * len(bob) + 0.6, 1.9 * len(alice) + 0.8))
    axes = figure.subplots(len(alice), len(bob), sharex=True, sharey=True, squeeze=False)
    reach_ns = max(float(np.abs(seen.delay_ps).max()) if len(seen) else 1.0, 1.0) / PS_PER_NS
    edges = np.linspace(-reach_ns, reach_ns, BINS + 1)
    for k, one in enumerate(alice.detectors):
        for m, other in enumerate(bob.detectors):
            own = seen.delay_ps[(seen.alice == k) & (seen.bob == m)] / PS_PER_NS
            colour = ALICE_WRONG if one.basis != other.basis else (RIGHT if one.bit == other.bit else WRONG)
            axis = axes[k, m]
            axis.hist(own, edges, histtype="stepfilled", color=colour, alpha=0.8)
            axis.axvspan(-link.window_ps / 2e3, link.window_ps / 2e3, color="#1f5fa8", alpha=0.10, linewidth=0)
            axis.set_title(f"{one.name} - {other.name}")
    figure.supxlabel("bob minus alice, ns (clock and channel delays removed; shaded: coincidence window)", fontsize=9)
    figure.supylabel("pairs (sample)", fontsize=9)
    return figure


def _matrix(link: Link) -> Figure:
    """Draw the coincidence matrix with its numbers."""
    alice, bob, matrix = link.survey.alice, link.survey.bob, link.estimate.matrix
    figure = Figure(figsize=(1.1 * len(bob) + 1.6, 1.0 * len(alice) + 1.3))
    axis = figure.subplots()
    axis.imshow(matrix, cmap="Blues", vmin=0)
    for (k, m), count in np.ndenumerate(matrix):
        colour = "white" if count > 0.6 * matrix.max() else "black"
        axis.text(m, k, f"{count:,}\n({link.estimate.accidentals[k, m]:.1f})", ha="center", va="center", color=colour,
                  fontsize=8)  # fmt: skip
    axis.set_xticks(range(len(bob)), [f"bob {name}" for name in bob.names])
    axis.set_yticks(range(len(alice)), [f"alice {name}" for name in alice.names])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(f"coincidences in {link.window_ps / PS_PER_NS:.3f} ns (accidentals expected)")
    return figure


def _qber(link: Link) -> Figure:
    """Draw the QBER of each basis in time, with 95 % intervals."""
    alice, bob = link.survey.alice, link.survey.bob
    groups = np.array_split(np.arange(len(link.stretches)), min(MOST_POINTS, len(link.stretches)))
    begin_ps = link.stretches[0].start_ps
    figure = Figure(figsize=(8.0, 3.6))
    axis = figure.subplots()
    found = [qber(np.sum([link.stretches[n].pairs for n in group], axis=0), alice, bob) for group in groups]
    middle_s = [
        (link.stretches[group[0]].start_ps + link.stretches[group[-1]].stop_ps - 2 * begin_ps) / 2 / PS_PER_S
        for group in groups
    ]
    for basis, colour in BASIS_COLOURS.items():
        shares = [
            (time_s, one.bases[basis].qber) for time_s, one in zip(middle_s, found, strict=True) if basis in one.bases
        ]
        counted = [(time_s, share) for time_s, share in shares if share.total]
        if not counted:
            continue
        value = 100 * np.array([share.value for _, share in counted])
        below = value - 100 * np.array([share.low for _, share in counted])
        above = 100 * np.array([share.high for _, share in counted]) - value
        axis.errorbar(
            [time_s for time_s, _ in counted], value, [below, above], marker="o", markersize=3, linewidth=1.0,
            elinewidth=0.8, color=colour, label=f"{basis} basis",
        )  # fmt: skip
    axis.set_ylim(bottom=0)
    axis.set_xlabel("time, s")
    axis.set_ylabel("QBER, % (95 % intervals)")
    axis.legend(frameon=False, fontsize=8)
    return figure


def _clock(link: Link) -> Figure:
    """Draw what the clock does beyond a straight line, and how well it is followed."""
    tracked = [one for one in link.stretches if one.tracked]
    time_ps = np.array([one.start_ps for one in tracked])
    offset_ps = np.array([one.clock.offset_ps for one in tracked])
    time_s = (time_ps - time_ps[0]) / PS_PER_S
    moved_ps = (offset_ps - offset_ps[0]).astype(np.float64)
    line = np.polyfit(time_s, moved_ps, 1) if time_s.size > 2 else np.array([0.0, 0.0])
    figure = Figure(figsize=(8.0, 5.0))
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(time_s, (moved_ps - np.polyval(line, time_s)) / PS_PER_NS, marker="o", markersize=3, color="#1f5fa8")
    above.set_ylabel("offset beyond a line, ns")
    error_ppb = 1e9 * np.array([one.clock.frequency_error for one in tracked]).mean()
    above.set_title(f"bob's clock against alice's: {error_ppb:+.3f} ppb on average")
    below.plot(time_s, [one.residual_rms_ps for one in tracked], marker="o", markersize=3, color="#d07a00",
               label="scatter of the slots about the tracked clock, rms")  # fmt: skip
    below.plot(time_s, [one.phase_sigma_ps for one in tracked], marker="o", markersize=3, color="#1a7f5a",
               label="uncertainty of the tracked clock")  # fmt: skip
    below.set_ylim(bottom=0)
    below.set_ylabel("ps")
    below.set_xlabel("time, s")
    below.legend(frameon=False, fontsize=8)
    return figure
