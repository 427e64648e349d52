"""One node's detectors, tagger and clock: excitations in, tags out; all state is carried from slot to slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from qnoded.kernels.detecting import DETECTOR_BITS, FAULTS, PENDING, detect, register
from qnoded.records import I64, U8, Gap, TagBlock
from qnoded.sim.chance import Chance, Purpose
from qnoded.sim.clocks import Clock
from qnoded.sim.photons import LARGEST_SIGMAS
from qnoded.sim.settings import NAMES, DetectorSettings, SideSettings

LONG_AGO_PS: Final = -(10**18)
"""Last click of a detector that has never clicked."""
REMEMBERED_PS: Final = 10**10
"""The clock can still be read so long after its tags are complete; longer than any skew or difference of them."""
SPARE_CLICKS: Final = 1024
"""Room for echoes and afterpulses beyond the expected; the detector model is called again when it is not enough."""


class Station:
    """One node in front of which excitations arrive, slot by slot.

    Excitations are given in the time of birth; the fibre's delay is added to the pulses, so that the slots of both
    sides hold the same pairs. A pulse may come earlier than an excitation before it (jitter, skew), so the newest
    stretch of each stage waits for the next slot.
    """

    def __init__(self, settings: SideSettings, earliest_ps: int, chance: Chance, side: int) -> None:
        detectors = tuple(settings.detectors)
        self.arrival_ps: I64 = np.array([one.skew_ps + settings.fibre.delay_ps for one in detectors], np.int64)
        """int64[4], from the birth of a photon to its pulse at the tagger."""
        self.counts: I64 = np.zeros(len(NAMES), np.int64)
        """int64[4], tags handed out."""
        self.complete_ps = LONG_AGO_PS
        """All pulses before this moment of true time are known."""
        self.clock = Clock(settings.clock, settings.tagger, chance, side)
        self._settings, self._chance, self._side = settings, chance, side
        self._earliest_ps = earliest_ps
        self._dead_ps: I64 = np.array([one.dead_time_ps for one in detectors], np.int64)
        self._paralysable: U8 = np.array([one.paralysable for one in detectors], np.uint8)
        self._faults = np.array([_faults(one) for one in detectors])
        self._last_click_ps: I64 = np.full(len(NAMES), LONG_AGO_PS, np.int64)
        self._last_pulse_ps = self._last_click_ps.copy()
        self._pending_ps = np.zeros((len(NAMES), PENDING), np.int64)
        self._pending: I64 = np.zeros(len(NAMES), np.int64)
        self._luck = chance.words(Purpose.DETECTOR, side, len(NAMES))
        self._waiting: I64 = np.empty(0, np.int64)
        self._flying: I64 = np.empty(0, np.int64)
        self._held: list[tuple[I64, U8, I64]] = []
        self.overflowing = False
        """True: the tagger loses its tags and says so."""
        self._losses: list[tuple[int, Gap]] = []
        self._newest_tag_ps = LONG_AGO_PS
        self._powered_ps = 0

    def step_clock(self, true_ps: int, step_ps: int, frequency_step: float = 0.0) -> None:
        """Let the clock jump, or change its rate, about a moment of true time whose tags are not complete yet."""
        self.clock.step(max(true_ps, self.complete_ps), step_ps, frequency_step)

    def restart_tagger(self, true_ps: int) -> None:
        """Take the tagger's power away for a moment: tags that it holds are lost, and its counter begins at 0."""
        self._powered_ps = self.clock.restart(max(true_ps, self.complete_ps))
        self._held, self._losses = [], []
        self._newest_tag_ps = LONG_AGO_PS

    def advance(self, excitations: I64, slot: int, stop_ps: int) -> None:
        """Take the packed excitations of a slot that ends at ``stop_ps`` and finish all pulses that are certain."""
        known_ps = stop_ps - self._earliest_ps
        waiting = np.sort(np.concatenate((self._waiting, excitations)))
        cut = int(np.searchsorted(waiting, known_ps << DETECTOR_BITS))
        self._waiting = waiting[cut:].copy()
        pulses = self._pulses(self._clicks(waiting[:cut], known_ps), slot)

        tagger_lead_ps = int(np.ceil(LARGEST_SIGMAS * self._settings.tagger.jitter_rms_ps)) + 1
        complete_ps = known_ps + int(self.arrival_ps.min()) - tagger_lead_ps
        flying = np.sort(np.concatenate((self._flying, pulses)))
        cut = int(np.searchsorted(flying, complete_ps << DETECTOR_BITS))
        self._flying = flying[cut:].copy()
        channel = np.empty(cut, np.uint8)
        edge_ps = np.empty(cut, np.int64)
        kept = register(flying[:cut], self._settings.tagger.dead_time_ps, self._last_pulse_ps, channel, edge_ps)
        # The world is lit before true time 0, so that detectors are in their steady state when the clock starts.
        first = int(np.searchsorted(edge_ps[:kept], self._powered_ps))
        self.clock.forget(self.complete_ps - REMEMBERED_PS)
        from_ps, self.complete_ps = max(self.complete_ps, 0), complete_ps
        if self.overflowing and complete_ps > from_ps:
            gap = Gap(self.clock.reading_ps(from_ps), self.clock.reading_ps(complete_ps), kept - first, "overflow")
            self._losses.append((complete_ps, gap))
        elif first < kept:
            self._hold(edge_ps[first:kept], channel[first:kept])

    def _hold(self, edge_ps: I64, channel: U8) -> None:
        """Read the clock for new edges and keep their tags until they are asked for."""
        tag_ps = self.clock.tags(edge_ps)
        if tag_ps[0] < self._newest_tag_ps or (tag_ps[1:] < tag_ps[:-1]).any():
            # A counter never runs backwards: what a clock that was set back would tell again is lost.
            newest_ps = np.maximum.accumulate(np.append(self._newest_tag_ps, tag_ps[:-1]))
            told = tag_ps >= newest_ps
            edge_ps, channel, tag_ps = edge_ps[told], channel[told], tag_ps[told]
        if tag_ps.size:
            self._newest_tag_ps = int(tag_ps[-1])
            self._held.append((edge_ps, channel, tag_ps))

    def _clicks(self, excitations: I64, until_ps: int) -> I64:
        """Let the detectors click; packed, in the time of birth."""
        consumed = np.zeros(1, np.int64)
        parts = []
        while True:
            clicks = np.empty(excitations.size - int(consumed[0]) + SPARE_CLICKS, np.int64)
            filled = detect(
                excitations,
                until_ps,
                self._dead_ps,
                self._paralysable,
                self._faults,
                self._last_click_ps,
                self._pending_ps,
                self._pending,
                self._luck,
                consumed,
                clicks,
            )
            parts.append(clicks[:filled])
            if consumed[0] == excitations.size and filled < clicks.size - 1:
                return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _pulses(self, clicks: I64, slot: int) -> I64:
        """Send clicks to the tagger: fibre, skew and the jitter of its input; packed, in true time."""
        rng = self._chance.generator(Purpose.TAGGER, self._side, slot)
        jitter_ps = rng.standard_normal(clicks.size)
        np.clip(jitter_ps, -LARGEST_SIGMAS, LARGEST_SIGMAS, out=jitter_ps)
        jitter_ps *= self._settings.tagger.jitter_rms_ps
        moved = np.rint(jitter_ps, out=jitter_ps).astype(np.int64)
        moved += self.arrival_ps.take(clicks & (len(NAMES) - 1))
        return clicks + (moved << DETECTOR_BITS)

    def hand_over(self, before_ps: int) -> TagBlock:
        """Give away the tags of pulses before a moment of true time that is known to be complete."""
        ready_channel, ready_tag, rest = [], [], []
        for edge_ps, channel, tag_ps in self._held:
            cut = int(np.searchsorted(edge_ps, before_ps))
            ready_channel.append(channel[:cut])
            ready_tag.append(tag_ps[:cut])
            if cut < edge_ps.size:
                rest.append((edge_ps[cut:], channel[cut:], tag_ps[cut:]))
        self._held = rest
        channel = np.concatenate(ready_channel) if ready_channel else np.empty(0, np.uint8)
        tag_ps = np.concatenate(ready_tag) if ready_tag else np.empty(0, np.int64)
        self.counts += np.bincount(channel, minlength=len(NAMES))
        gaps = joined_gaps([gap for stop_ps, gap in self._losses if stop_ps <= before_ps])
        self._losses = [one for one in self._losses if one[0] > before_ps]
        return TagBlock(channel, tag_ps, gaps)


def joined_gaps(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """Return losses in order of time with those that touch each other made one."""
    joined: list[Gap] = []
    for gap in gaps:
        if joined and joined[-1].stop_ps == gap.start_ps and joined[-1].reason == gap.reason:
            lost = (joined[-1].lost_tags or 0) + (gap.lost_tags or 0)
            joined[-1] = Gap(joined[-1].start_ps, gap.stop_ps, lost, gap.reason)
        else:
            joined.append(gap)
    return tuple(joined)


def _faults(one: DetectorSettings) -> tuple[float, ...]:
    """Return a row of ``faults`` in the order that the detector model names."""
    row = (
        one.recovery_ps,
        one.afterpulse_probability,
        one.afterpulse_fast_share,
        one.afterpulse_fast_ps,
        one.afterpulse_slow_ps,
        one.double_firing_probability,
        float(one.double_firing_from_ps),
        float(one.double_firing_to_ps),
    )
    assert len(row) == FAULTS
    return row
