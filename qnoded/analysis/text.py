"""The report that a person reads: what was found, what it means, what to do."""

from __future__ import annotations

import sys

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qnoded.analysis.result import Analysis, Link, reading_artefacts
from qnoded.records import Receiver
from qnoded.stages.estimation import Proportion
from qnoded.units import PS_PER_NS, PS_PER_S


def print_report(analysis: Analysis) -> None:
    """Print an analysis on stdout, in colours where it is a terminal."""
    out = Console(highlight=False, soft_wrap=True)
    # Through our own stdout: whoever reads may go away, and the command line knows what to do then.
    with out.capture() as report:
        _print(out, analysis)
    sys.stdout.write(report.get())


def _print(out: Console, analysis: Analysis) -> None:
    for reading in analysis.readings:
        report = reading.report
        extra = "".join(f"; {note}" for note in reading.info.notes)
        out.print(Text(f"{reading.info.path}: {reading.info.format}, {report.tags:,} tags{extra}"))
    if any(reading.info.simulated for reading in analysis.readings):
        out.print(Text("Simulated photons: nothing of this can become a key.", "bold yellow"))
    if analysis.link is not None:
        _link(out, analysis, analysis.link)
    else:
        _lone(out, analysis)
    for reading in analysis.readings:
        for _, _, sentence in reading_artefacts(reading):
            _warn(out, f"{reading.info.path}: {sentence}")
    out.print(Text(f"{analysis.elapsed_s:.2f} s", "dim"))


def _link(out: Console, analysis: Analysis, link: Link) -> None:
    estimate = link.estimate
    _clock(out, link)
    for artefact in link.artefacts:
        _warn(out, artefact.sentence)
    out.print(_detectors(analysis, link))
    for note in link.survey.calibration.notes if link.survey.calibration is not None else ():
        _warn(out, note)
    if not estimate.matrix.sum():
        out.print(Text("No coincidences.", "bold red"))
        _discards(out, link)
        return
    origin = "as asked" if link.window_given else "3 peak widths"
    out.print(
        f"\n[bold]Coincidences[/] in {link.window_ps / PS_PER_NS:.3f} ns ({origin}; the peak is "
        f"{link.survey.peak_fwhm_ps:.0f} ps wide), {estimate.duration_s:.3f} s:"
    )
    out.print(_matrix(link))
    car = estimate.car
    ratio = f">= {car.at_least:.0f}" if car.true_to_accidental is None else f"{car.true_to_accidental:.1f}"
    out.print(f"Accidentals expected among them: {estimate.accidentals.sum():.1f}; CAR {ratio}")
    if estimate.heralding is not None:
        found = estimate.heralding
        out.print(
            f"Heralding efficiency: alice {100 * found.alice_efficiency.value:.2f} %, "
            f"bob {100 * found.bob_efficiency.value:.2f} %; pairs at the source {found.pair_rate_hz.value:.3g} /s"
        )
    if estimate.qber is not None:
        parts = [f"{basis} {_percent(one.qber)}" for basis, one in estimate.qber.bases.items()]
        out.print(f"[bold]QBER[/] {', '.join(parts)}, all {_percent(estimate.qber.total.qber)}")
    chsh = estimate.bell.chsh
    if chsh is not None:
        out.print(f"[bold]CHSH[/] S = {chsh.s.value:.4f} +- {chsh.s.error:.4f}")
    else:
        out.print(f"[bold]CHSH[/] not measured: {estimate.bell.reason}")
    many = sum(one.clusters for one in estimate.multi_clicks)
    out.print(
        f"[bold]Sifted[/] {estimate.sifted_bits:,} bits (sifted, not secret), QBER {_percent(estimate.sifted_qber)}; "
        f"{many:,} multi-clicks resolved"
    )
    if estimate.key_rate is not None:
        out.print(
            f"Asymptotic key rate (no finite-key bound, f = {estimate.key_rate.efficiency}): "
            f"{estimate.key_rate.secret_hz:,.0f} bit/s"
        )
    if estimate.window is not None:
        out.print(Text(f"Window: {estimate.window.sentence}"))
    for bias in estimate.biases:
        if bias.notable:
            what = f"{bias.side} {bias.basis}: share of {'bit 0' if bias.of == 'bit' else 'this basis'}"
            _warn(out, f"{what} is {100 * bias.share.value:.1f} % instead of {100 * bias.expected:.0f} %")
    for pattern in estimate.patterns:
        _warn(out, pattern.sentence)
    _discards(out, link)
    _node_tables(out, link)


def _node_tables(out: Console, link: Link) -> None:
    """Print what was measured of the detectors as it stands in the nodes' files."""
    calibration = link.survey.calibration
    if calibration is None:
        return
    sides = (
        (link.survey.alice, calibration.alice_ps, calibration.alice_error_ps),
        (link.survey.bob, calibration.bob_ps, calibration.bob_error_ps),
    )
    for receiver, measured, errors in sides:
        out.print(Text(f"\n[receiver.delays_ps]  # of {receiver.side}, to paste into that node's file"))
        for detector, delay_ps, error_ps in zip(receiver.detectors, measured, errors, strict=True):
            origin = "not found, kept as it was" if delay_ps is None or error_ps is None else f"+- {error_ps:.0f} ps"
            out.print(Text(f"{detector.name} = {detector.delay_ps}  # {origin}"))


def _clock(out: Console, link: Link) -> None:
    finding, clock = link.survey.clock, link.clock
    if finding.source == "shared":
        out.print("[bold]Clock[/] one tagger serves both sides")
        return
    if finding.acquisition is not None:
        if not finding.locked:
            out.print(Text(f"No clock lock: {finding.acquisition.sentence}", "bold red"))
            out.print(
                "Centre and range of the search: --offset-ps, --offset-range-s, --frequency-error, --frequency-range."
            )
            return
        out.print(Text(f"Clock search: {finding.acquisition.feasibility.sentence()}", "dim"))
    assert clock is not None
    sigma_ps = (
        float(np.median(sigmas)) if (sigmas := [one.phase_sigma_ps for one in link.stretches if one.tracked]) else 0.0
    )
    followed = f"followed to {sigma_ps:.0f} ps through {link.tracked} epochs" if sigmas else "but no epoch was followed"
    out.print(
        f"[bold]Clock[/] bob is {clock.offset_ps / PS_PER_S:+.12f} s off, runs {clock.frequency_error * 1e9:+.3f} ppb; "
        f"{followed}"
    )


def _detectors(analysis: Analysis, link: Link) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    for column in ("detector", "input", "clicks", "delay ps", "+- ps", "dead time ps"):
        table.add_column(column, justify="left" if column == "detector" else "right")
    calibration = link.survey.calibration
    errors = ((), ()) if calibration is None else (calibration.alice_error_ps, calibration.bob_error_ps)
    clicks = (link.estimate.alice_clicks, link.estimate.bob_clicks)
    if not link.stretches:
        # Nothing was measured together: what each side counted by itself still says something.
        of_alice, of_bob = analysis.channel_counts
        clicks = (
            of_alice[[one.channel for one in link.survey.alice.detectors]],
            of_bob[[one.channel for one in link.survey.bob.detectors]],
        )
    for receiver, counts, error in zip((link.survey.alice, link.survey.bob), clicks, errors, strict=True):
        for k, detector in enumerate(receiver.detectors):
            sigma = error[k] if k < len(error) else None
            table.add_row(
                f"{receiver.side} {detector.name}",
                str(detector.channel),
                f"{counts[k]:,}",
                f"{detector.delay_ps:,}",
                "" if sigma is None else f"{sigma:.0f}",
                f"{detector.dead_time_ps:,}" if detector.dead_time_ps else "",
            )
    return table


def _matrix(link: Link) -> Table:
    alice, bob = link.survey.alice, link.survey.bob
    table = Table(box=None, pad_edge=False)
    table.add_column("alice \\ bob")
    for name in bob.names:
        table.add_column(name, justify="right")
    for k, name in enumerate(alice.names):
        cells = (_cell(link, alice, bob, k, m) for m in range(len(bob)))
        table.add_row(name, *cells)
    return table


def _cell(link: Link, alice: Receiver, bob: Receiver, k: int, m: int) -> Text:
    one, other = alice.detectors[k], bob.detectors[m]
    style = "dim" if one.basis != other.basis else ("green" if one.bit == other.bit else "red")
    return Text(f"{link.estimate.matrix[k, m]:,}", style)


def _discards(out: Console, link: Link) -> None:
    if link.discards:
        listed = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in link.discards.most_common())
        _warn(out, f"epochs left out: {listed}")
    if link.relocks:
        _warn(out, f"the clock lock was lost and found again {link.relocks} times")
    if link.vain_searches:
        _warn(out, f"{link.vain_searches} searches for a lost clock lock found nothing; the waits between them grew")
    for at_ps, step_ps in link.clock_steps:
        _warn(out, f"bob's clock jumped by {step_ps / PS_PER_NS:+,.3f} ns before {at_ps / PS_PER_S:.3f} s of alice's")


def _lone(out: Console, analysis: Analysis) -> None:
    assert analysis.lone is not None
    counts = analysis.channel_counts[0]
    out.print(f"One recording without a channel map, {analysis.duration_s:.9g} s:")
    table = Table(box=None, pad_edge=False)
    for column in ("input", "tags", "rate /s"):
        table.add_column(column, justify="right")
    for channel in np.flatnonzero(counts):
        rate = f"{counts[channel] / analysis.duration_s:,.0f}" if analysis.duration_s else ""
        table.add_row(str(channel), f"{counts[channel]:,}", rate)
    out.print(table)
    for one in analysis.lone.correlations:
        if one.sentence is not None:
            out.print(one.sentence)
    for artefact in analysis.lone.artefacts:
        _warn(out, artefact.sentence)
    out.print("Name the detectors with --channels MAP.toml for clock, coincidences and QBER.")


def _percent(share: Proportion) -> str:
    if not share.total:
        return "not measured"
    return f"{100 * share.value:.2f} % ({100 * share.low:.2f} - {100 * share.high:.2f})"


def _warn(out: Console, *sentences: str) -> None:
    for sentence in sentences:
        out.print(Text(f"! {sentence}", "yellow"))
