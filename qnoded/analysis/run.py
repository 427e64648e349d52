"""The order of an analysis: open, survey, walk, estimate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from qnoded.analysis.alignment import AlignedEpoch, Walk
from qnoded.analysis.clicks import Tape
from qnoded.analysis.epochs import measure
from qnoded.analysis.estimate import estimate_link
from qnoded.analysis.lone import lone_findings
from qnoded.analysis.options import LATEST_PS, AnalysisOptions
from qnoded.analysis.prologue import Prologue, begin_together
from qnoded.analysis.receivers import choose_receivers
from qnoded.analysis.result import Analysis, Link, Reading
from qnoded.analysis.sifted import SiftedFiles
from qnoded.analysis.survey import Report, Survey, survey_link
from qnoded.analysis.totals import Totals
from qnoded.errors import ConfigError, GarbledRecording, UsageError
from qnoded.formats import Recording, open_recording
from qnoded.kernels.tagging import CHANNELS, count_channels
from qnoded.records import I64, Receiver, TagBlock
from qnoded.stages.coincidence import displacements
from qnoded.stages.tagging import Tagging

BLOCK_TAGS: Final = 2**18
"""Tags of a block: 2 MiB, which stays near the processor from reading to labelling."""
PEAK_WIDTHS: Final = 3.0
"""The window, unless given, in widths (FWHM) of the peak: it holds 99.96 % of the pairs of a Gaussian peak."""
LEAST_TICKS: Final = 2
"""It is no narrower than this in ticks, whatever the peak: a pair may lie one tick to either side of its delay."""
WINDOW_STEP_PS: Final = 10
"""Such a window is rounded up to this."""
MANY_ACCIDENTALS: Final = 1000
"""Of an epoch; two displaced windows then know them to 2 %."""
MORE_WINDOWS: Final = 4
"""Displaced windows to each side where accidentals are fewer."""
MULTI_CLICK_SEED: Final = 0x51D
"""Fixed, so that an analysis repeats; a live node draws a secret one."""


class Watched:
    """A recording's blocks on their way, with progress told and first and last tag noted."""

    def __init__(self, recording: Recording, progress: Report) -> None:
        self._recording, self._progress = recording, progress
        self.span_ps: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[TagBlock]:
        size = max(self._recording.size_bytes, 1)
        for block in self._recording.blocks(BLOCK_TAGS):
            self._progress(self._recording.position_bytes / size, "reading and counting")
            if len(block):
                if block.tag_ps[0] < -LATEST_PS or block.tag_ps[-1] > LATEST_PS:
                    problem = f"a tag lies beyond +-{LATEST_PS} ps (53 days), where differences leave int64"
                    remedy = "check tick and format, or shift the times"
                    raise GarbledRecording(self._recording.path, None, problem, remedy)
                first_ps = self.span_ps[0] if self.span_ps else int(block.tag_ps[0])
                self.span_ps = first_ps, int(block.tag_ps[-1])
            yield block


def _counts_of_sides(taggings: Sequence[Tagging], prologues: Sequence[Prologue], shared: bool) -> tuple[I64, ...]:
    """Return the tags per input; where one recording holds both sides, each side's own inputs only."""
    if not shared:
        return tuple(
            tagging.channel_counts + prologue.skipped_counts
            for tagging, prologue in zip(taggings, prologues, strict=True)
        )
    counts = []
    for tagging in taggings:
        own = np.zeros(CHANNELS, np.int64)
        inputs = [detector.channel for detector in tagging.receiver.detectors]
        own[inputs] = tagging.channel_counts[inputs]
        counts.append(own)
    return tuple(counts)


def _readings(recordings: Sequence[Recording]) -> tuple[Reading, ...]:
    return tuple(Reading(recording.info, recording.report) for recording in recordings)


def _not_exchanged(recordings: Sequence[Recording]) -> None:
    """Refuse two recordings that name the sides they belong to, given in the wrong order."""
    if len(recordings) < 2:
        return
    alice, bob = (recording.info.channels for recording in recordings)
    if ("bob" in alice and "alice" not in alice) or ("alice" in bob and "bob" not in bob):
        message = (
            f"{recordings[0].path} was given as alice's recording and {recordings[1].path} as bob's, but they name "
            "their sides the other way round; exchange them"
        )
        raise UsageError(message)


def _some_input_is_known(receiver: Receiver, prologue: Prologue) -> None:
    """Refuse a map none of whose inputs the recording uses: it belongs to another one."""
    counts = np.zeros(CHANNELS, np.int64)
    mapped = [detector.channel for detector in receiver.detectors]
    for block in prologue.beginning():
        count_channels(block.channel, counts)
        if counts[mapped].any():
            return
    if counts.any():
        used = ", ".join(str(channel) for channel in np.flatnonzero(counts)[:16])
        where, problem = "channel map", f"inputs {', '.join(map(str, mapped))} have no tag; the recording uses {used}"
        raise ConfigError(where, receiver.side, problem, "correct the map, or exchange the recordings")


def _window_ps(survey: Survey, tick_ps: Fraction) -> int:
    widest_ps = max(PEAK_WIDTHS * survey.peak_fwhm_ps, float(LEAST_TICKS * tick_ps))
    return ceil(widest_ps / WINDOW_STEP_PS) * WINDOW_STEP_PS


def _displacements_ps(first: AlignedEpoch, window_ps: int, pulse_period_ps: Fraction | None) -> tuple[int, ...]:
    """Return where accidentals are counted: in more windows where they are rare."""
    span_ps = max(first.alice.stop_ps - first.alice.start_ps, 1)
    expected = len(first.alice) * len(first.bob) * window_ps / span_ps
    return displacements(window_ps, 1 if expected > MANY_ACCIDENTALS else MORE_WINDOWS, pulse_period_ps)


def silent(fraction: float, words: str) -> None:
    """Report progress to nobody."""


def analyze(
    alice_path: Path,
    bob_path: Path | None,
    options: AnalysisOptions,
    *,
    progress: Report = silent,
    threads: int | None = None,
) -> Analysis:
    """Analyze one recording of both sides, or one of each.

    Parameters
    ----------
    alice_path, bob_path : recordings; without bob's, alice's holds both sides, or one alone
    options : what was asked for
    progress : called with a fraction and a few words
    threads : threads that the kernels may use; one for each processor unless told otherwise

    Raises
    ------
    FormatError, ConfigError, UsageError
        Where a file or the request cannot be used; a poor measurement is a result with a reason.
    """
    started_s = perf_counter()
    with ExitStack() as stack:
        recordings = [
            stack.enter_context(
                open_recording(path, format=options.format, tick_ps=options.tick_ps, columns=options.columns)
            )
            for path in (alice_path, bob_path)
            if path is not None
        ]
        pool = stack.enter_context(ThreadPoolExecutor(threads or os.cpu_count(), "qnoded-kernel"))
        watched = [Watched(recording, progress) for recording in recordings]
        _not_exchanged(recordings)
        prologues = [Prologue(blocks) for blocks in watched]
        if len(recordings) == 2:
            begin_together(prologues[0], prologues[1], options.clock)
        receivers = choose_receivers(recordings, prologues, options.channels)
        if receivers is None:
            if options.sifted is not None:
                message = "--sifted needs the detectors of both sides; name them with --channels MAP.toml"
                raise UsageError(message)
            return _analyze_lone(recordings[0], watched[0], prologues[0], options, started_s)
        shared = len(recordings) == 1
        for receiver, prologue in ((receivers.alice, prologues[0]), (receivers.bob, prologues[-1])):
            _some_input_is_known(receiver, prologue)
        survey = survey_link(
            receivers.alice,
            receivers.bob,
            prologues[0].beginning(),
            prologues[-1].beginning(),
            shared_clock=shared,
            measure_delays=receivers.measure_delays,
            tick_ps=max(recording.info.tick_ps for recording in recordings),
            first_ps=prologues[0].first_ps or 0,
            options=options.clock,
            over=pool.map,
            progress=progress,
        )
        window_ps = options.window_ps or _window_ps(survey, max(recording.info.tick_ps for recording in recordings))
        taggings = [Tagging(survey.alice), Tagging(survey.bob)]
        if shared:
            alice_stream, bob_stream = Tape(prologues[0].all_blocks(), taggings).streams
        else:
            (alice_stream,) = Tape(prologues[0].all_blocks(), taggings[:1]).streams
            (bob_stream,) = Tape(prologues[1].all_blocks(), taggings[1:]).streams
        walk = Walk(alice_stream, bob_stream, survey.clock.state, pool.map, window_ps)
        totals = Totals((len(survey.alice), len(survey.bob)))
        displacements_ps: tuple[int, ...] = ()
        sifted = stack.enter_context(SiftedFiles(options.sifted, recordings))
        if survey.clock.locked:
            for aligned in walk:
                displacements_ps = displacements_ps or _displacements_ps(aligned, window_ps, options.pulse_period_ps)
                epoch = measure(
                    aligned,
                    (survey.alice, survey.bob),
                    window_ps,
                    options.multi_click,
                    MULTI_CLICK_SEED,
                    displacements_ps,
                    pool.map,
                    difference_pairs=totals.difference_pairs,
                )
                sifted.take(epoch.sifted)
                totals.add(epoch)
        # What the walk left unread still belongs to the counts of tags.
        for stream in (alice_stream, bob_stream):
            stream.exhaust()
        sifted.finish()
        link = Link(
            receivers=receivers,
            survey=survey,
            window_ps=window_ps,
            window_given=options.window_ps is not None,
            stretches=tuple(totals.stretches),
            epochs=totals.steps,
            tracked=totals.tracked,
            clock_steps=tuple(totals.clock_steps),
            discards=walk.discards,
            relocks=walk.relocks,
            vain_searches=walk.vain_searches,
            estimate=estimate_link(survey, totals, len(displacements_ps), window_ps, sifted.bits, sifted.errors),
        )
        return Analysis(
            readings=_readings(recordings),
            channel_counts=_counts_of_sides(taggings, prologues, shared),
            span_ps=watched[0].span_ps,
            link=link,
            lone=None,
            elapsed_s=perf_counter() - started_s,
        )


def _analyze_lone(
    recording: Recording, watched: Watched, prologue: Prologue, options: AnalysisOptions, started_s: float
) -> Analysis:
    beginning = list(prologue.beginning())
    counts = np.zeros(CHANNELS, np.int64)
    for block in prologue.all_blocks():
        count_channels(block.channel, counts)
    lone = lone_findings(beginning, counts, options.window_ps, recording.info.tick_ps)
    return Analysis(
        readings=_readings([recording]),
        channel_counts=(counts,),
        span_ps=watched.span_ps,
        link=None,
        lone=lone,
        elapsed_s=perf_counter() - started_s,
    )
