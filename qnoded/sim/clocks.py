"""A node's clock: how far its reading leads true time, with the noise of a real oscillator.

``lead(t) = offset + y0 t + D t**2 / 2 + white FM + random-walk FM + white PM``. Per step of ``dt`` seconds white FM
adds N(0, sigma_y(1 s)**2 dt) s**2 to the phase, random-walk FM adds N(0, q dt) to the frequency with
``sigma_y(tau) = sqrt(q tau / 3)``; Riley, Handbook of Frequency Stability Analysis, NIST Special Publication 1065.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np

from qnoded.kernels.detecting import read_clock
from qnoded.records import F64, I64
from qnoded.sim.chance import Chance, Purpose
from qnoded.sim.settings import ClockSettings, TaggerSettings
from qnoded.units import PS_PER_MS, PS_PER_S

STEP_PS: Final = PS_PER_MS
"""The lead is drawn once per millisecond and is a straight line between: a quartz wanders 30 ps in that time."""
STEPS: Final = 100
"""Steps that are drawn together."""
STRETCH_PS: Final = STEPS * STEP_PS


class Clock:
    """A clock that is read in order of true time, from 0 on; it forgets what is older than the last ``forget``."""

    def __init__(self, settings: ClockSettings, tagger: TaggerSettings, chance: Chance, side: int) -> None:
        self._settings, self._tagger, self._chance, self._side = settings, tagger, chance, side
        self._stretches = 0
        self._grid_start_ps = 0
        self._phase_ps = 0.0
        self._wander = 0.0
        first = chance.generator(Purpose.CLOCK, side, -1).standard_normal() * settings.phase_noise_ps
        self._lead_ps: F64 = np.array([first])
        self._detuned = 0.0
        self._detuned_ps = 0.0
        self._steps: list[tuple[int, int]] = [(0, settings.offset_ps)]

    def _grow(self) -> None:
        """Draw the next stretch of the lead."""
        settings = self._settings
        rng = self._chance.generator(Purpose.CLOCK, self._side, self._stretches)
        white, walk, flutter = rng.standard_normal((3, STEPS))
        step_s = STEP_PS / PS_PER_S
        pulls = math.exp(-step_s / settings.steering_s) if settings.steering_s > 0.0 else 1.0
        white_ps = white * settings.sigma_y_1s * math.sqrt(step_s) * PS_PER_S
        wander = self._wander + np.cumsum(walk * settings.random_walk_sigma_y_1s * math.sqrt(3.0 * step_s))
        lead_ps = white_ps + wander * STEP_PS
        lead_ps[0] += self._phase_ps * pulls
        if pulls == 1.0:
            np.cumsum(lead_ps, out=lead_ps)
        else:
            for k in range(1, STEPS):
                lead_ps[k] += lead_ps[k - 1] * pulls
        self._wander, self._phase_ps = float(wander[-1]), float(lead_ps[-1])
        elapsed_ps = (np.arange(1, STEPS + 1) + self._stretches * STEPS) * float(STEP_PS)
        lead_ps += elapsed_ps * settings.frequency_error
        lead_ps += 0.5 * settings.drift_per_s / PS_PER_S * elapsed_ps**2
        lead_ps += flutter * settings.phase_noise_ps
        if self._detuned or self._detuned_ps:
            lead_ps += self._detuned_ps + self._detuned * np.arange(1, STEPS + 1) * float(STEP_PS)
            self._detuned_ps += self._detuned * STRETCH_PS
        self._lead_ps = np.concatenate((self._lead_ps, lead_ps))
        self._stretches += 1

    def _cover(self, until_ps: int) -> None:
        while self._stretches * STRETCH_PS <= until_ps:
            self._grow()

    def step(self, true_ps: int, step_ps: int, frequency_step: float = 0.0) -> None:
        """Let the reading jump, and run at another rate, from the next whole millisecond of true time on.

        Parameters
        ----------
        true_ps : int
            Not before any edge that was read or any earlier step.
        """
        border = -(-true_ps // STEP_PS)
        border_ps = border * STEP_PS
        self._cover(border_ps)
        self._steps.append((border_ps, self._steps[-1][1] + step_ps))
        if frequency_step:
            # What is drawn already follows the new rate as well.
            ahead = self._stretches * STEPS - border
            run_ps = frequency_step * np.arange(ahead + 1) * float(STEP_PS)
            self._lead_ps[self._lead_ps.size - ahead - 1 :] += run_ps
            self._detuned_ps += float(run_ps[-1])
            self._detuned += frequency_step

    def restart(self, true_ps: int) -> int:
        """Let the reading begin anew at 0 at the next whole millisecond of true time; return that."""
        border_ps = -(-true_ps // STEP_PS) * STEP_PS
        self.step(border_ps, -self.reading_ps(border_ps))
        return border_ps

    def tags(self, edge_ps: I64) -> I64:
        """Return what the tagger writes down for edges in true time (int64[n], ascending, not negative)."""
        tag_ps = np.empty(edge_ps.size, dtype=np.int64)
        if edge_ps.size:
            self._cover(int(edge_ps[-1]))
            cuts = np.searchsorted(edge_ps, [border_ps for border_ps, _ in self._steps])
            stops = [*cuts[1:].tolist(), edge_ps.size]
            for start, stop, (_, offset_ps) in zip(cuts.tolist(), stops, self._steps, strict=True):
                if start < stop:
                    self._read(edge_ps[start:stop], offset_ps, self._tagger.bin_ps, tag_ps[start:stop])
        return tag_ps

    def reading_ps(self, true_ps: int) -> int:
        """Return the reading at a moment of true time, without the tagger's bins."""
        if true_ps < 0:
            # Only a reference a few nanoseconds before the beginning, by the skew of a detector, is asked for.
            return self.reading_ps(0) + round(true_ps * (1.0 + self._settings.frequency_error))
        self._cover(true_ps)
        tag_ps = np.empty(1, dtype=np.int64)
        offset_ps = [offset_ps for border_ps, offset_ps in self._steps if border_ps <= max(true_ps, self._steps[0][0])]
        self._read(np.array([true_ps]), offset_ps[-1], Fraction(1), tag_ps)
        return int(tag_ps[0])

    def _read(self, edge_ps: I64, offset_ps: int, bin_ps: Fraction, tag_ps: I64) -> None:
        read_clock(
            edge_ps,
            self._grid_start_ps,
            STEP_PS,
            self._lead_ps,
            offset_ps,
            bin_ps.numerator,
            bin_ps.denominator,
            tag_ps,
        )

    def forget(self, before_ps: int) -> None:
        """Drop what is older than a moment of true time; bounds the memory."""
        steps = (before_ps - self._grid_start_ps) // STEP_PS
        if steps > 0:
            steps = min(steps, self._lead_ps.size - 1)
            self._lead_ps = self._lead_ps[steps:].copy()
            self._grid_start_ps += steps * STEP_PS
            while len(self._steps) > 1 and self._steps[1][0] <= self._grid_start_ps:
                del self._steps[0]
