"""The first look at recordings: faulty detectors, bob's clock, delays; from a bounded stretch of data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Final

import numpy as np

from qnoded.analysis.alignment import AlignedEpoch, Walk
from qnoded.analysis.clicks import Tape
from qnoded.analysis.options import ClockOptions
from qnoded.mapping import Mapper
from qnoded.records import I64, ClockModel, DetectionEpoch, Receiver, TagBlock, joined
from qnoded.stages.artefacts import Artefact, click_artefacts
from qnoded.stages.calibration import DelayCalibration, calibrate_delays
from qnoded.stages.synchronization.acquisition import Acquisition, SearchRange, acquire
from qnoded.stages.synchronization.clock_map import ClockMap
from qnoded.stages.synchronization.clock_state import ClockState, start
from qnoded.stages.tagging import Tagging
from qnoded.units import FWHM_PER_SIGMA, PS_PER_MS, PS_PER_S

ARTEFACT_CLICKS: Final = 2**16
"""Clicks per side in which faults are sought: a share of 2 % of one of four detectors then shows 300 times."""
CALIBRATION_PAIRS: Final = 4000
"""Pairs for the first look at delays: 250 per pair of detectors, so 10 ps for a peak of 150 ps."""
CALIBRATION_LADDER: Final = (
    (100_000, 2**15),
    (100_000, 2**16),
    (100_000, 2**18),
    (100_000, 2**20),
    (1_000_000, 2**17),
    (10_000_000, 2**14),
)
"""How far delays are sought, in how many clicks a side; the next where a detector has no peak or no good one. Detectors
side by side from bright to dim, cables of 200 m, spools of 2 km."""
GOOD_DELAY: Final = 0.1
"""A delay known to a tenth of the peak's width (standard deviation) costs no coincidence; more clicks are not asked."""
CALIBRATION_CLICKS: Final = 2**20
LONGEST_FIBRE_PS: Final = 2 * PS_PER_MS
"""Where one tagger serves both sides and no peak is near, one is sought this far: 400 km of fibre."""
TRACKED_ROUNDS: Final = 3
"""Times that delays are measured on the tracked clock: again while one of them moved by more than the peak's width."""
CALIBRATION_EPOCHS: Final = 8
"""Epochs for the second look: 4 s, or fewer where there are enough clicks."""
SURVEY_WINDOW: Final = 10.0
"""Width that counts as the window there, in standard deviations of the peak."""
SHORTEST_CALIBRATION_PS: Final = PS_PER_S // 10
LONGEST_CALIBRATION_PS: Final = PS_PER_S // 5
"""While the clock is known as a line only, a quartz (5e-9) moves a nanosecond in this."""
UNKNOWN_PAIR_RATE_HZ: Final = 1000.0
"""Pair rate assumed with a given clock until the first epoch has measured it."""
UNKNOWN_SIGMA_PS: Final = 500.0
"""Peak width assumed where no pair of detectors shows a peak."""

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class ClockFinding:
    """What is known of bob's clock, and how it came to be known."""

    source: str
    """``"shared"``, ``"given"`` or ``"searched"``."""
    state: ClockState | None
    """Where tracking begins; None with a shared clock, or without a lock."""
    acquisition: Acquisition | None
    """The search, where there was one."""

    @property
    def locked(self) -> bool:
        """True where link time is known."""
        return self.source == "shared" or self.state is not None


@dataclass(frozen=True, slots=True)
class Survey:
    """All that the walk through the epochs needs to know beforehand."""

    alice: Receiver
    bob: Receiver
    clock: ClockFinding
    calibration: DelayCalibration | None
    artefacts: tuple[Artefact, ...]
    peak_sigma_ps: float

    @property
    def peak_fwhm_ps(self) -> float:
        """Full width at half maximum of the coincidence peak."""
        return self.peak_sigma_ps * FWHM_PER_SIGMA


def survey_clicks(receiver: Receiver, blocks: Iterable[TagBlock]) -> tuple[Receiver, tuple[Artefact, ...]]:
    """Find the faults of one side's detectors, and impose dead times against echoes.

    Returns
    -------
    (Receiver, tuple of Artefact)
        The receiver with a dead time for each detector that fires twice and had none, and all findings.
    """
    sample = Tape(blocks, [Tagging(_plain(receiver))]).streams[0].first(ARTEFACT_CLICKS)
    artefacts = click_artefacts(receiver, sample.detector, sample.tag_ps)
    echoes = {
        finding.channel: int(finding.numbers["dead_time_ps"])
        for finding in artefacts
        if finding.kind == "double-firing"
    }
    detectors = tuple(
        detector
        if detector.dead_time_ps is not None
        else replace(detector, dead_time_ps=echoes.get(detector.channel, 0))
        for detector in receiver.detectors
    )
    return replace(receiver, detectors=detectors), artefacts


def _plain(receiver: Receiver) -> Receiver:
    return replace(receiver, detectors=tuple(replace(one, delay_ps=0, dead_time_ps=0) for one in receiver.detectors))


def survey_link(
    alice: Receiver,
    bob: Receiver,
    alice_blocks: Iterable[TagBlock],
    bob_blocks: Iterable[TagBlock],
    *,
    shared_clock: bool,
    measure_delays: bool,
    tick_ps: Fraction,
    first_ps: int,
    options: ClockOptions,
    over: Mapper,
    progress: Report,
) -> Survey:
    """Find faults, clock and delays from the beginning of both sides.

    Parameters
    ----------
    alice, bob : receivers as far as the channel map knows them
    alice_blocks, bob_blocks : the beginning of each side's recording, gone through several times; the same where one
        tagger serves both
    shared_clock : one tagger serves both sides
    measure_delays : False where the map gives all delays
    tick_ps : the coarser tick of the two recordings
    first_ps : alice's first tag, the moment for which the offset is given
    options : what is known of the clock
    """
    progress(0.0, "looking at the detectors")
    alice, artefacts_alice = survey_clicks(alice, alice_blocks)
    bob, artefacts_bob = survey_clicks(bob, bob_blocks)
    artefacts = artefacts_alice + artefacts_bob

    if shared_clock:
        clock = ClockFinding("shared", None, None)
    elif options.known:
        model = ClockModel(first_ps, options.offset_ps, options.frequency_error)
        clock = ClockFinding("given", start(model, UNKNOWN_SIGMA_PS, UNKNOWN_PAIR_RATE_HZ), None)
    else:
        alice_ps, bob_ps = _merged(alice, alice_blocks), _merged(bob, bob_blocks)
        clock = _searched_clock(alice_ps, bob_ps, first_ps, options, over, progress)
    if not clock.locked:
        return Survey(alice, bob, clock, None, artefacts, UNKNOWN_SIGMA_PS)

    progress(0.9, "measuring the detectors' delays")
    calibration = _first_delays(alice, bob, alice_blocks, bob_blocks, clock, tick_ps)
    if shared_clock and measure_delays and not any(pair.reason is None for pair in calibration.pairs):
        bob = _behind_a_fibre(alice, bob, alice_blocks, bob_blocks, over)
        calibration = _first_delays(alice, bob, alice_blocks, bob_blocks, clock, tick_ps)
    if measure_delays:
        alice, bob = calibration.applied(alice, bob)
    if clock.state is not None:
        # Delays blurred the peak whose phase the search gave: tracking finds it anew, then they are measured better.
        clock = replace(clock, state=_unblurred(clock.state, calibration, measure_delays))
        for _ in range(TRACKED_ROUNDS):
            assert clock.state is not None
            calibration = _tracked_delays(alice, bob, alice_blocks, bob_blocks, clock, tick_ps, over)
            clock = replace(clock, state=_unblurred(clock.state, calibration, measure_delays))
            if not measure_delays:
                break
            alice, bob = calibration.applied(alice, bob)
            moved_ps = max((abs(delay or 0) for delay in calibration.alice_ps + calibration.bob_ps), default=0)
            if moved_ps <= _width_ps(calibration):
                break
    return Survey(alice, bob, clock, calibration, artefacts, max(_width_ps(calibration), 1.0))


def _behind_a_fibre(
    alice: Receiver, bob: Receiver, alice_blocks: Iterable[TagBlock], bob_blocks: Iterable[TagBlock], over: Mapper
) -> Receiver:
    """Return bob with the delay that his light has against alice's, where one tagger serves both and it is long."""
    search = SearchRange(offset_range_ps=LONGEST_FIBRE_PS, frequency_range=0.0)
    found = acquire(_merged(alice, alice_blocks), _merged(bob, bob_blocks), search, over=over)
    if found.clock is None or not found.locked:
        return bob
    detectors = tuple(replace(one, delay_ps=one.delay_ps + found.clock.offset_ps) for one in bob.detectors)
    return replace(bob, detectors=detectors)


def _width_ps(calibration: DelayCalibration) -> float:
    return calibration.width_ps if np.isfinite(calibration.width_ps) else UNKNOWN_SIGMA_PS


def _unblurred(state: ClockState, calibration: DelayCalibration, delays_measured: bool) -> ClockState:
    sigma_ps = _width_ps(calibration)
    return replace(
        state,
        offset_ps=state.offset_ps + (calibration.common_ps if delays_measured else 0),
        peak_sigma_ps=sigma_ps,
        phase_variance_ps2=max(state.phase_variance_ps2, sigma_ps**2),
    )


def _merged(receiver: Receiver, blocks: Iterable[TagBlock]) -> I64:
    """Return all clicks of a side, echoes removed, int64[n] ps."""
    return Tape(blocks, [Tagging(receiver)]).streams[0].everything().tag_ps


def _searched_clock(
    alice_ps: I64, bob_ps: I64, first_ps: int, options: ClockOptions, over: Mapper, progress: Report
) -> ClockFinding:
    # Where a head was skipped the clock has run on since the moment for which the offset is given.
    since_ps = max(int(alice_ps[0]) - first_ps, 0) if alice_ps.size else 0
    search = SearchRange(
        offset_ps=options.offset_ps + round(options.frequency_error * since_ps),
        offset_range_ps=options.offset_range_ps + ceil(options.frequency_range * since_ps),
        frequency_error=options.frequency_error,
        frequency_range=options.frequency_range,
    )
    found = acquire(alice_ps, bob_ps, search, pair_fraction=options.pair_fraction, over=over, progress=progress)
    if not found.locked or found.clock is None:
        return ClockFinding("searched", None, found)
    return ClockFinding("searched", start(found.clock, found.peak_sigma_ps, found.pair_rate_hz), found)


def _first_delays(
    alice: Receiver,
    bob: Receiver,
    alice_blocks: Iterable[TagBlock],
    bob_blocks: Iterable[TagBlock],
    clock: ClockFinding,
    tick_ps: Fraction,
) -> DelayCalibration:
    """Calibrate on a stretch so short that the clock is a line in it."""
    alice_stream = Tape(alice_blocks, [Tagging(alice)]).streams[0]
    bob_stream = Tape(bob_blocks, [Tagging(bob)]).streams[0]
    if clock.state is None:
        clicks, bob_link = alice_stream.first(CALIBRATION_CLICKS), bob_stream.first(CALIBRATION_CLICKS)
    else:
        state = clock.state
        wanted_ps = round(CALIBRATION_PAIRS / max(state.pair_rate_hz, 1.0) * PS_PER_S)
        # Of bright light a short stretch holds clicks enough.
        sample = alice_stream.first(CALIBRATION_LADDER[2][1])
        enough_ps = 2 * (sample.stop_ps - sample.start_ps)
        longest_ps = min(max(enough_ps, SHORTEST_CALIBRATION_PS), LONGEST_CALIBRATION_PS)
        stretch_ps = min(max(wanted_ps, SHORTEST_CALIBRATION_PS), longest_ps)
        first_ps = alice_stream.next_ps() or 0
        start_ps = max(first_ps, state.reference_ps - stretch_ps // 2)
        line = ClockMap.straight(state.clock, start_ps, start_ps + stretch_ps)
        clicks = alice_stream.between(start_ps, start_ps + stretch_ps)
        bob_clicks = bob_stream.between(state.clock.bob_at(start_ps), state.clock.bob_at(start_ps + stretch_ps))
        bob_link = replace(bob_clicks, tag_ps=line.to_link(bob_clicks.tag_ps))
    shared = clock.state is None
    return _calibrated(alice, bob, clicks, bob_link, tick_ps, roughly=not shared, shared_clock=shared)


def _calibrated(
    alice: Receiver,
    bob: Receiver,
    clicks: DetectionEpoch,
    bob_link: DetectionEpoch,
    tick_ps: Fraction,
    *,
    roughly: bool = False,
    shared_clock: bool = False,
) -> DelayCalibration:
    """Calibrate near zero delay, and further away as long as a detector has no peak; return the best that was found."""
    best: DelayCalibration | None = None
    for search_range_ps, most_clicks in CALIBRATION_LADDER if roughly else CALIBRATION_LADDER[1:]:
        found = calibrate_delays(
            alice,
            clicks.detector,
            clicks.tag_ps,
            bob,
            bob_link.detector,
            bob_link.tag_ps,
            shared_clock=shared_clock,
            search_range_ps=search_range_ps,
            tick_ps=tick_ps,
            most_clicks=most_clicks,
            echoes_removed=True,
        )
        merit = _merit(found)
        if best is None or merit > _merit(best):
            best = found
        _, least = merit
        precise = roughly or -least <= GOOD_DELAY * found.width_ps or most_clicks == CALIBRATION_CLICKS
        if found.complete and precise:
            break
    assert best is not None
    return best


def _merit(found: DelayCalibration) -> tuple[int, float]:
    """Return what makes one calibration better than another: more detectors known, then smaller errors."""
    known = [error for error in found.alice_error_ps + found.bob_error_ps if error is not None]
    return len(known), -max(known, default=float("inf"))


def _tracked_delays(
    alice: Receiver,
    bob: Receiver,
    alice_blocks: Iterable[TagBlock],
    bob_blocks: Iterable[TagBlock],
    clock: ClockFinding,
    tick_ps: Fraction,
    over: Mapper,
) -> DelayCalibration:
    """Calibrate on epochs whose clock is tracked: what is left of the delays, from many more pairs."""
    assert clock.state is not None
    walk = Walk(
        Tape(alice_blocks, [Tagging(alice)]).streams[0],
        Tape(bob_blocks, [Tagging(bob)]).streams[0],
        clock.state,
        over,
        SURVEY_WINDOW * clock.state.peak_sigma_ps,
    )
    epochs: list[AlignedEpoch] = []
    for epoch in walk:
        epochs.append(epoch)
        if sum(len(one.alice) for one in epochs) >= CALIBRATION_CLICKS or len(epochs) >= CALIBRATION_EPOCHS:
            break
    return _calibrated(alice, bob, joined([one.alice for one in epochs]), joined([one.bob for one in epochs]), tick_ps)
