"""Is the clock locked, and if not, whose fault is it: the instrument's, the light's or the clock's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from qnoded.stages.significance import significance

if TYPE_CHECKING:
    from qnoded.stages.synchronization.clock_state import ClockState

SIGNIFICANT: Final = 5.0
"""Standard deviations by which a peak must exceed its accidentals: one false peak in a million epochs, a week."""
RATIO_LEAST: Final = 2.5
"""Coincidences over accidentals below which a peak must be as strong as it was ..."""
USUAL_SHARE: Final = 0.5
"""... in pairs per second: at least this share of it ..."""
RATIO_NONE: Final = 1.2
"""... and no less than this: rates that flicker together make as much."""
PEAKLESS_EPOCHS: Final = 3
"""Epochs in a row without a peak, clicks on both sides as before, after which the lock is declared lost."""
DARK: Final = 0.5
"""Singles of a side below this share of what they were: the light is gone, not the clock."""
WIDEST_PS: Final = 2_000_000
"""Half width in which tracking still looks for the peak, ps; beyond it, an acquisition is quicker."""


class LockLoss(Enum):
    """Why an epoch gave no phase."""

    NO_TAGS_ALICE = "no tags from alice"
    NO_TAGS_BOB = "no tags from bob"
    NO_LIGHT = "the light is gone"
    PEAK_LOST = "clicks as before, but no coincidence peak where the clock predicts it"
    TOO_UNCERTAIN = "the clock ran free for too long"


ADVICE: Final = {
    LockLoss.NO_TAGS_ALICE: "look at alice's tagger and its cables",
    LockLoss.NO_TAGS_BOB: "look at bob's tagger and at the connection to bob",
    LockLoss.NO_LIGHT: "look at source, fibre and shutters; the clock is held meanwhile",
    LockLoss.PEAK_LOST: "acquire the clock again",
    LockLoss.TOO_UNCERTAIN: "acquire the clock again within the uncertainty given",
}
"""What a person or the daemon does about each."""


@dataclass(frozen=True, slots=True)
class TrackingReport:
    """What tracking found in one epoch; a poor epoch is a reason with numbers, not an exception."""

    locked: bool
    """False once the clock must be acquired anew; loss of light or tags alone does not end a lock."""
    reason: LockLoss | None
    """Why this epoch gave no phase, None if it did."""
    pairs: int
    """Coincidences within two peak sigmas of the smoothed clock, among the clicks looked at."""
    accidentals: float
    """How many of them are accidental: what the singles or the sides of the peak say, whichever is more."""
    ratio: float
    """Coincidences over accidentals; accidentals count as 1 at least."""
    significance: float
    """Coincidences beyond the accidentals, in standard deviations."""
    pair_rate_hz: float
    """True pairs per second of this epoch."""
    slots: int
    """Slots whose phase was measured."""
    refused: int
    """Slots whose phase the innovation gate refused."""
    innovation_rms_ps: float
    """Measured minus predicted phase, root mean square over the slots; NaN without slots."""
    innovation_chi2: float
    """Mean squared innovation in units of its predicted variance; near 1 if the error bars are honest."""
    residual_rms_ps: float
    """Measured minus smoothed phase, root mean square over the slots used; NaN without slots."""
    phase_sigma_ps: float
    """Standard deviation of the smoothed clock, rms over the epoch: the error left in link time."""
    frequency_sigma: float
    """Standard deviation of the frequency error at the end of the epoch."""
    peak_sigma_ps: float
    """Standard deviation of the coincidence peak."""
    window_ps: int
    """Full width within which pairs were looked for."""
    white_fm: float
    """White FM assumed for the next epoch, Allan deviation at 1 s."""
    random_walk_fm: float
    """Random-walk FM assumed for the next epoch, Allan deviation at 1 s."""

    @property
    def sentence(self) -> str:
        """One line for a person: what is, with numbers, and what to do where something is wrong."""
        if self.reason is None:
            return (
                f"locked: {self.pair_rate_hz:.0f} pairs/s, {self.ratio:.1f} times the accidentals, "
                f"clock known to {self.phase_sigma_ps:.1f} ps, peak of {self.peak_sigma_ps:.0f} ps sigma"
            )
        return (
            f"{'holding' if self.locked else 'lock lost'}: {self.reason.value} ({self.pairs} coincidences, "
            f"{self.accidentals:.1f} expected by accident in {self.window_ps} ps, clock known to "
            f"{self.phase_sigma_ps:.0f} ps); {ADVICE[self.reason]}"
        )


def judge(
    state: ClockState,
    counts: tuple[int, int],
    epoch_s: float,
    pairs: int,
    accidentals: float,
    rate_hz: float,
    wanted_half_ps: float,
) -> tuple[LockLoss | None, int, bool]:
    """Tell why an epoch has no peak, how many such epochs there were in a row, and whether the lock holds.

    Parameters
    ----------
    state : state before the epoch
    counts : clicks of alice and of bob
    epoch_s : s, length of the epoch
    pairs, accidentals : coincidences in the peak and how many are accidental
    rate_hz : true pairs per second
    wanted_half_ps : ps, half width that the uncertainty of the prediction asks for

    Returns
    -------
    tuple
        Reason or None, epochs in a row without a peak, locked.

    Notes
    -----
    A low rate is no loss of lock as long as the ratio to accidentals is good. Without a peak, singles that
    fell speak for the light, singles as before for the clock.
    """
    ratio = pairs / max(accidentals, 1.0)
    strong = rate_hz >= USUAL_SHARE * state.pair_rate_hz
    enough = ratio >= RATIO_LEAST or (ratio >= RATIO_NONE and strong)
    if enough and significance(pairs, accidentals) >= SIGNIFICANT:
        return None, 0, True
    findable = wanted_half_ps <= WIDEST_PS
    held = state.peakless_epochs < PEAKLESS_EPOCHS and findable
    for count, reason in zip(counts, (LockLoss.NO_TAGS_ALICE, LockLoss.NO_TAGS_BOB), strict=True):
        if count == 0:
            return reason, state.peakless_epochs, held
    if any(count < DARK * usual * epoch_s for count, usual in zip(counts, state.singles_hz, strict=True)):
        return LockLoss.NO_LIGHT, state.peakless_epochs, held
    if not findable:
        return LockLoss.TOO_UNCERTAIN, state.peakless_epochs, False
    peakless = state.peakless_epochs + 1
    return LockLoss.PEAK_LOST, peakless, peakless < PEAKLESS_EPOCHS
