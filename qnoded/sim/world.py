"""The world: it holds true time and all optics, and each node sees only its own tags in its own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from qnoded.errors import UsageError
from qnoded.records import F64, I64, TagBlock
from qnoded.sim.chance import Chance, Purpose
from qnoded.sim.knobs import UNTOUCHED, Knobs, arms_at, settings_at
from qnoded.sim.lighting import lit, shifted
from qnoded.sim.optics import drifted, fibre_rotation, rotation
from qnoded.sim.photons import (
    PairBirths,
    draw_pairs,
    lonely_excitations,
    pair_excitations,
    timing,
)
from qnoded.sim.settings import NAMES, WorldSettings
from qnoded.sim.station import Station
from qnoded.sim.truth import describe, describe_clock, expect
from qnoded.units import PS_PER_S

SLOT_PS: Final = 10**10
"""10 ms: rates and rotations hold still within it; the unit in which chance is drawn."""
LONGEST_TRACE: Final = 10_000
"""Entries of the truth about the clocks: one per slot, every second one is dropped whenever there are more."""
BLOCK_SLOTS: Final = 50
"""Slots of a block at most, half a second, so that a slow world still hands over now and then."""
BLOCK_TAGS: Final = 2_000_000
"""Tags of a block about, some ten megabytes a side."""


class World:
    """A running world; ask for tags in order of true time.

    The same settings and seed, and the same turns in the same slots, give the same tags however the time is divided
    between the calls. All that changes while it runs is called from ``before_slot``.

    Parameters
    ----------
    before_slot
        Called with the number of each slot (start in units of ``SLOT_PS``, below 0 while the world is lit before true
        time 0) before its photons are drawn; whatever it turns holds from this slot on.
    """

    def __init__(
        self, settings: WorldSettings, seed: int, before_slot: Callable[[int], None] | None = None
    ) -> None:  # fmt: skip
        self.settings, self.seed = settings, seed
        self.knobs = UNTOUCHED
        self.now_ps = 0
        """True time up to which tags were handed over."""
        self.pairs_absorbed: I64 = np.zeros((len(NAMES), len(NAMES)), np.int64)
        """int64[4, 4]: pairs born so far of which both photons would be absorbed by live detectors."""
        self._chance = Chance(seed)
        self._before_slot = before_slot
        self._turned = [fibre_rotation(settings.alice.fibre), fibre_rotation(settings.bob.fibre)]
        self._rates = lit(settings, self.knobs, self._fibres, 0)
        self._timing = (timing(settings.source, settings.alice, 1.0), timing(settings.source, settings.bob, -1.0))
        self._stations = tuple(
            Station(side, self._timing[k].earliest_ps, self._chance, k)
            for k, side in enumerate((settings.alice, settings.bob))
        )
        longest_ps = max(int(station.arrival_ps.max()) for station in self._stations)
        self._slot = -2 - longest_ps // SLOT_PS
        self._uncounted: list[PairBirths] = []
        self._trace: list[tuple[int, int]] = []
        self._trace_slots = 1

    def run_until(self, true_ps: int) -> tuple[TagBlock, TagBlock]:
        """Return alice's and bob's tags of all pulses since the last call and before a moment of true time.

        Parameters
        ----------
        true_ps : int
            Picoseconds since the world's beginning, not before ``now_ps``.

        Raises
        ------
        UsageError
            If the moment has passed already.
        """
        if true_ps < self.now_ps:
            problem = f"the world is at {self.now_ps} ps of true time and cannot go back to {true_ps} ps"
            raise UsageError(problem)
        while min(station.complete_ps for station in self._stations) < true_ps:
            self._next_slot()
        self.now_ps = true_ps
        self._count_pairs(true_ps)
        alice, bob = self._stations
        return alice.hand_over(true_ps), bob.hand_over(true_ps)

    def blocks(self, seconds: float) -> Iterator[tuple[TagBlock, TagBlock]]:
        """Yield alice's and bob's tags of the next ``seconds`` of true time, in blocks of bounded size."""
        stop_ps = self.now_ps + round(seconds * PS_PER_S)
        streams = self._rates
        clicks_hz = 2.0 * streams.pairs_hz.sum() + streams.alice_hz.sum() + streams.bob_hz.sum()
        slots = int(BLOCK_TAGS / max(clicks_hz * SLOT_PS / PS_PER_S, 1.0))
        block_ps = SLOT_PS * min(max(slots, 1), BLOCK_SLOTS)
        while self.now_ps < stop_ps:
            yield self.run_until(min(self.now_ps + block_ps, stop_ps))

    def turn(self, knobs: Knobs) -> None:
        """Put all knobs into another position."""
        bob = timing(self.settings.source, self.settings.bob, -1.0)
        self._timing = (self._timing[0], shifted(bob, knobs) if knobs.time_shift_ps else bob)
        for side, station in enumerate(self._stations):
            station.overflowing = knobs.arm(side).overflowing
        self.knobs = knobs
        self._relight()

    def kick(self, side: int, axis: tuple[float, float, float], angle_rad: float) -> None:
        """Turn the polarization of a fibre, alice's (0) or bob's (1), about a Stokes axis; it stays turned."""
        self._turned[side] = rotation(np.asarray(axis), angle_rad) @ self._turned[side]
        self._relight()

    def step_clock(self, side: int, step_ps: int, frequency_step: float = 0.0) -> None:
        """Let the clock of a node jump by some time and change its rate by a share."""
        self._stations[side].step_clock(self._slot * SLOT_PS, step_ps, frequency_step)

    def restart_tagger(self, side: int) -> None:
        """Let the tagger of a node begin anew at 0; tags that were not handed over are lost."""
        self._stations[side].restart_tagger(self._slot * SLOT_PS)

    def clocks_ps(self, true_ps: int) -> tuple[int, int]:
        """Return what alice's and bob's clocks show at a moment of true time, not far in the past."""
        alice, bob = (station.clock.reading_ps(true_ps) for station in self._stations)
        return alice, bob

    @property
    def expected(self) -> dict[str, Any]:
        """What the tags should show by theory in the present position of the knobs; ready for JSON."""
        now_ps = self._slot * SLOT_PS
        present = settings_at(self.settings, self.knobs)
        arms = arms_at(self.settings, self.knobs, self._fibres, now_ps)
        return expect(present, arms=arms, streams=self._rates)

    @property
    def readings(self) -> list[tuple[int, int, int]]:
        """(true time, alice's reading, bob's reading), ps, of pairs at equal distances of true time so far."""
        return [(k * self._trace_slots * SLOT_PS, alice, bob) for k, (alice, bob) in enumerate(self._known_trace())]

    @property
    def channels(self) -> dict[str, int]:
        """Inputs of either tagger, detector name -> number."""
        return {name: number for number, name in enumerate(NAMES)}

    @property
    def truth(self) -> dict[str, Any]:
        """What an analysis of the tags handed over so far should find; ready for JSON."""
        alice, bob = self._stations
        known = self._known_trace() or [self._readings(0)]
        clock = describe_clock(self.settings, known, self._readings(self.now_ps))
        return describe(
            self.settings,
            self.seed,
            self.now_ps,
            clock,
            (alice.arrival_ps, bob.arrival_ps),
            (alice.counts, bob.counts),
            self.pairs_absorbed,
        )

    def _known_trace(self) -> list[tuple[int, int]]:
        # Slots run ahead of the tags that were handed over, and so does the trace.
        return self._trace[: self.now_ps // (SLOT_PS * self._trace_slots) + 1]

    @property
    def _fibres(self) -> tuple[F64, F64]:
        return self._turned[0], self._turned[1]

    def _relight(self) -> None:
        self._rates = lit(self.settings, self.knobs, self._fibres, self._slot * SLOT_PS)

    def _readings(self, birth_ps: int) -> tuple[int, int]:
        """Return what both clocks show when the photons of a pair reach the taggers through the detectors H."""
        alice, bob = (station.clock.reading_ps(birth_ps + int(station.arrival_ps[0])) for station in self._stations)
        return alice, bob

    def _next_slot(self) -> None:
        if self._before_slot is not None:
            self._before_slot(self._slot)
        slot = self._slot
        start_ps = slot * SLOT_PS
        if slot > 0:
            self._drift(slot)
        if not all(self.knobs.arm(side).move.resting(start_ps - SLOT_PS) for side in range(2)):
            self._relight()
        self._slot += 1
        rng = self._chance.generator(Purpose.PHOTONS, 0, slot)
        pairs = draw_pairs(rng, self._rates.pairs_hz, start_ps, SLOT_PS)
        if slot >= 0:
            self._uncounted.append(pairs)
        excitations = pair_excitations(rng, pairs, *self._timing)
        for side, lonely_hz in enumerate((self._rates.alice_hz, self._rates.bob_hz)):
            lonely = lonely_excitations(rng, lonely_hz, start_ps, SLOT_PS)
            self._stations[side].advance(np.concatenate((excitations[side], lonely)), slot, start_ps + SLOT_PS)
        if slot >= 0 and slot % self._trace_slots == 0:
            self._trace.append(self._readings(start_ps))
            if len(self._trace) > LONGEST_TRACE:
                self._trace = self._trace[::2]
                self._trace_slots *= 2

    def _drift(self, slot: int) -> None:
        """Turn the fibres by one step of their random walk."""
        diffusion = [self._diffusion(side) for side in range(2)]
        if not any(diffusion):
            return
        for side, rad2_per_s in enumerate(diffusion):
            normals = self._chance.generator(Purpose.FIBRE, side, slot).standard_normal(3)
            self._turned[side] = drifted(self._turned[side], rad2_per_s, SLOT_PS / PS_PER_S, normals)
        self._relight()

    def _diffusion(self, side: int) -> float:
        own = self.knobs.arm(side).drift_rad2_per_s
        fibre = (self.settings.alice, self.settings.bob)[side].fibre
        return fibre.polarization_drift_rad2_per_s if own is None else own

    def _count_pairs(self, before_ps: int) -> None:
        later = []
        for pairs in self._uncounted:
            born = pairs.birth_ps < before_ps
            counts = np.bincount(pairs.stream[born], minlength=len(NAMES) ** 2)
            self.pairs_absorbed += counts.reshape(self.pairs_absorbed.shape)
            if not born.all():
                later.append(PairBirths(pairs.birth_ps[~born], pairs.stream[~born]))
        self._uncounted = later
