"""The result of an analysis, and the JSON document that programs read it from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qnoded.analysis.estimate import LinkEstimate
from qnoded.analysis.lone import LoneFindings
from qnoded.analysis.receivers import Receivers
from qnoded.analysis.survey import Survey
from qnoded.analysis.totals import Stretch
from qnoded.records import I64, SIDES, ClockModel, ReadingReport, RecordingInfo
from qnoded.stages.artefacts import Artefact
from qnoded.stages.estimation import Measured, Proportion
from qnoded.stages.synchronization.outcome import ADVICE
from qnoded.units import PS_PER_S


@dataclass(frozen=True, slots=True)
class Reading:
    """One recording as it was read."""

    info: RecordingInfo
    report: ReadingReport


@dataclass(frozen=True, slots=True)
class Link:
    """What two sides have in common."""

    receivers: Receivers
    survey: Survey
    window_ps: int
    window_given: bool
    """False where the window follows from the measured peak."""
    stretches: tuple[Stretch, ...]
    """What was measured in time order, neighbouring epochs put together where there are many."""
    epochs: int
    """Epochs that were measured; of dim links several are measured at once and count as one."""
    tracked: int
    """Of them with a tracked clock."""
    clock_steps: tuple[tuple[int, int], ...]
    """Moments of alice's clock and steps of bob's, ps, where he was found elsewhere than he can have wandered."""
    discards: Counter[str]
    """Epochs left out, by reason."""
    relocks: int
    vain_searches: int
    """Searches for a lost lock that found nothing."""
    estimate: LinkEstimate

    @property
    def clock(self) -> ClockModel | None:
        """Bob's clock: its offset at the first measured epoch, its mean frequency error in all; None without a lock.

        A step of the clock between two epochs is not taken for frequency.
        """
        if not self.stretches:
            state = self.survey.clock.state
            return None if state is None else state.clock
        first = self.stretches[0].clock
        spans_ps = [one.stop_ps - one.start_ps for one in self.stretches]
        errors = [one.clock.frequency_error for one in self.stretches]
        return ClockModel(first.reference_ps, first.offset_ps, float(np.average(errors, weights=spans_ps)))

    def rms_ps(self, values: Iterable[float]) -> float | None:
        """Return the root mean square over time of one number of each stretch; None where none is known."""
        known = [
            (value**2, one.stop_ps - one.start_ps)
            for value, one in zip(values, self.stretches, strict=True)
            if math.isfinite(value)
        ]
        total = sum(span_ps for _, span_ps in known)
        return math.sqrt(sum(square * span_ps for square, span_ps in known) / total) if total else None

    @property
    def artefacts(self) -> tuple[Artefact, ...]:
        """Faults of detectors, from clicks and from coincidences."""
        return self.survey.artefacts + self.estimate.artefacts


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that an analysis found; with ``link`` for two sides, with ``lone`` for one recording without a map."""

    readings: tuple[Reading, ...]
    channel_counts: tuple[I64, ...]
    """int64[256] of each side, tags per input, echoes included."""
    span_ps: tuple[int, int] | None
    """First and last tag of alice's recording, ps; None without tags."""
    link: Link | None
    lone: LoneFindings | None
    elapsed_s: float

    @property
    def stands(self) -> bool:
        """True if there is a measurement: coincidences in a locked clock, or simply tags of a lone recording."""
        if self.link is None:
            return self.span_ps is not None
        return self.link.survey.clock.locked and bool(self.link.estimate.matrix.sum())

    @property
    def duration_s(self) -> float:
        """Time that was measured: of all epochs of a link, or from the first to the last tag."""
        if self.link is not None and self.link.stretches:
            return self.link.estimate.duration_s
        return (self.span_ps[1] - self.span_ps[0]) / PS_PER_S if self.span_ps else 0.0


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Return the JSON document of ``qnoded analyze --json``; numbers that do not exist are null."""
    link = analysis.link
    document: dict[str, Any] = {
        "tags": {
            side: {str(channel): int(counts[channel]) for channel in np.flatnonzero(counts)}
            for side, counts in zip(SIDES, analysis.channel_counts, strict=False)
        },
        "recordings": [_reading(reading) for reading in analysis.readings],
        "duration_s": analysis.duration_s,
        "simulated": any(reading.info.simulated for reading in analysis.readings),
        "delays_ps": None,
        "delay_errors_ps": None,
        "clock": None,
        "window_ps": None,
        "matrix": None,
        "accidentals": None,
        "car": None,
        "qber": None,
        "chsh": None,
        "sifted_bits": None,
    }
    if link is not None:
        document |= _link(link)
    if analysis.lone is not None:
        document["correlations"] = [
            {
                "first": one.first,
                "second": one.second,
                "peak_ps": one.peak_ps,
                "peak_sigma_ps": one.peak_sigma_ps,
                "window_ps": one.window_ps,
                "pairs_after": one.pairs_after,
                "pairs_before": one.pairs_before,
                "pairs_together": one.pairs_together,
            }
            for one in analysis.lone.correlations
        ]
    found = link.artefacts if link is not None else (analysis.lone.artefacts if analysis.lone else ())
    document["artefacts"] = _artefacts(found, analysis.readings)
    document["elapsed_s"] = analysis.elapsed_s
    finite: dict[str, Any] = _finite(document)
    return finite


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "path": reading.info.path,
        "format": reading.info.format,
        "tick_ps": str(reading.info.tick_ps),
        "records": reading.report.records,
        "tags": reading.report.tags,
        "rollovers": reading.report.rollovers,
        "disordered": reading.report.disordered,
        "disorder_ps": reading.report.disorder_ps,
        "gaps": len(reading.report.gaps),
        "notes": list(reading.info.notes),
    }


def _link(link: Link) -> dict[str, Any]:
    estimate = link.estimate
    receivers = {"alice": link.survey.alice, "bob": link.survey.bob}
    calibration = link.survey.calibration
    return {
        "detectors": {
            side: [
                {"name": one.name, "channel": one.channel, "dead_time_ps": one.dead_time_ps}
                for one in receiver.detectors
            ]
            for side, receiver in receivers.items()
        },
        "delays_ps": {side: [one.delay_ps for one in receiver.detectors] for side, receiver in receivers.items()},
        "delay_errors_ps": None
        if calibration is None
        else {"alice": list(calibration.alice_error_ps), "bob": list(calibration.bob_error_ps)},
        "delay_notes": [] if calibration is None else list(calibration.notes),
        "clock": _clock(link),
        "window_ps": link.window_ps,
        "peak_fwhm_ps": link.survey.peak_fwhm_ps,
        "matrix": estimate.matrix.tolist(),
        "accidentals": estimate.accidentals.tolist(),
        "car": estimate.car.true_to_accidental,
        "car_at_least": estimate.car.at_least,
        "qber": _qber(estimate),
        "visibility": None
        if estimate.qber is None
        else {basis: _proportion(one.visibility) for basis, one in estimate.qber.bases.items()},
        "chsh": _chsh(estimate),
        "sifted_bits": estimate.sifted_bits,
        "sifted_qber": _proportion(estimate.sifted_qber),
        "multi_clicks": {
            side: {"clusters": many.clusters, "dropped": many.dropped}
            for side, many in zip(SIDES, estimate.multi_clicks, strict=True)
        },
        "heralding": None
        if estimate.heralding is None
        else {
            "alice": _measured(estimate.heralding.alice_efficiency),
            "bob": _measured(estimate.heralding.bob_efficiency),
            "pair_rate_hz": _measured(estimate.heralding.pair_rate_hz),
        },
        "biases": [
            {
                "side": one.side,
                "of": one.of,
                "basis": one.basis,
                "share": _proportion(one.share),
                "expected": one.expected,
                "p_value": one.p_value,
                "notable": one.notable,
            }
            for one in estimate.biases
        ],
        "asymptotic_key_rate": None
        if estimate.key_rate is None
        else {
            "secret_share": estimate.key_rate.secret_share,
            "secret_hz": estimate.key_rate.secret_hz,
            "sifted_hz": estimate.key_rate.sifted_hz,
            "reconciliation_efficiency": estimate.key_rate.efficiency,
        },
        "recommended_window": None
        if estimate.window is None
        else {"window_ps": estimate.window.window_ps, "sentence": estimate.window.sentence},
        "patterns": [{"kind": one.kind, **one.numbers, "sentence": one.sentence} for one in estimate.patterns],
        "epochs": link.epochs,
        "discards": dict(link.discards),
    }


def _clock(link: Link) -> dict[str, Any]:
    finding, clock = link.survey.clock, link.clock
    found = finding.acquisition
    return {
        "source": finding.source,
        "locked": finding.locked,
        "offset_ps": None if clock is None else clock.offset_ps,
        # The moment of alice's clock at which the offset holds.
        "reference_ps": None if clock is None else clock.reference_ps,
        "frequency_error": None if clock is None else clock.frequency_error,
        "significance": None if found is None else found.significance,
        "feasibility": None if found is None else found.feasibility.sentence(),
        "reason": None if found is None or found.reason is None else found.reason.name.lower(),
        "sentence": None if found is None else found.sentence,
        "advice": None if found is None or found.reason is None else ADVICE[found.reason],
        "residual_rms_ps": link.rms_ps(one.residual_rms_ps for one in link.stretches),
        "phase_sigma_ps": link.rms_ps(one.phase_sigma_ps for one in link.stretches),
        "relocks": link.relocks,
        "vain_searches": link.vain_searches,
        "steps": [{"at_ps": at_ps, "step_ps": step_ps} for at_ps, step_ps in link.clock_steps],
    }


def _qber(estimate: LinkEstimate) -> dict[str, Any] | None:
    if estimate.qber is None:
        return None
    found = {basis: one.qber for basis, one in estimate.qber.bases.items()} | {"total": estimate.qber.total.qber}
    return {basis: _proportion(one) for basis, one in found.items()}


def _chsh(estimate: LinkEstimate) -> dict[str, Any]:
    chsh = estimate.bell.chsh
    if chsh is None:
        return {"value": None, "error": None, "reason": estimate.bell.reason}
    return {
        "value": chsh.s.value,
        "error": chsh.s.error,
        "reason": None,
        "settings": list(chsh.settings),
        "correlations": [_measured(one) for one in chsh.correlations],
    }


def _proportion(one: Proportion) -> dict[str, float]:
    return {"value": one.value, "low": one.low, "high": one.high}


def _measured(one: Measured) -> dict[str, float]:
    return {"value": one.value, "error": one.error}


def _artefacts(found: Iterable[Artefact], readings: tuple[Reading, ...]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = [
        {
            "side": one.side,
            "channel": one.channel,
            "detector": one.detector,
            "kind": one.kind,
            **one.numbers,
            "sentence": one.sentence,
        }
        for one in found
    ]
    for side, reading in zip(SIDES, readings, strict=False):
        for kind, numbers, sentence in reading_artefacts(reading):
            listed.append({"side": side, "channel": None, "kind": kind, **numbers, "sentence": sentence})
    return listed


def reading_artefacts(reading: Reading) -> list[tuple[str, dict[str, int], str]]:
    """Return kind, numbers and sentence of what was wrong with the order and completeness of a recording."""
    report = reading.report
    listed: list[tuple[str, dict[str, int], str]] = []
    if report.disordered:
        sentence = (
            f"{report.disordered:,} tags stood up to {report.disorder_ps / 1000:.3g} ns before an earlier one "
            "and were put in order"
        )
        numbers = {"tags": report.disordered, "disorder_ps": report.disorder_ps}
        listed.append(("not-monotonic", numbers, sentence))
    if report.gaps:
        lost_ps = sum(gap.stop_ps - gap.start_ps for gap in report.gaps)
        sentence = f"{len(report.gaps):,} stretches of {lost_ps / PS_PER_S:.3g} s in all lost tags"
        listed.append(("gaps", {"gaps": len(report.gaps), "lost_ps": lost_ps}, sentence))
    return listed


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot hold by null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
