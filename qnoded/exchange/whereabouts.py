"""Where the polarization controller of this end stood when: what an epoch may serve hangs on it, not on a plan alone.

All moments are of this node's own clock, which runs on while there is no session and no lock. They come from the epochs
that surround what the controller tells, so they are good to an epoch, and always on the safe side.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from qnoded.exchange.happenings import ControllerStands
from qnoded.units import EPOCH_PS

KEY: Final = "key"
CHSH: Final = "chsh"
LEAST_MARGIN_EPOCHS: Final = 2
"""Epochs that are left out after the controller has come to rest: the one in which it did, and the one that acquisition
may have been late with."""
MOST_STRETCHES: Final = 16
"""Remembered; nobody moves that often while an epoch waits to be matched."""
BEGINNING_PS: Final = -(2**63)


@dataclass(slots=True)
class _Stretch:
    """The controller stood still."""

    setting: str
    from_ps: int | None
    """None until the next epoch says when that was."""
    until_ps: int | None = None
    """None as long as it stands."""


class Whereabouts:
    """Lives as long as the link.

    A node that says nothing of a controller has none, and stands at the key setting for ever.

    Parameters
    ----------
    settling_epochs
        Epochs that are left out after it has come to rest, if more than ``LEAST_MARGIN_EPOCHS``.
    """

    def __init__(self, settling_epochs: int) -> None:
        self._margin_ps = max(settling_epochs, LEAST_MARGIN_EPOCHS) * EPOCH_PS
        self._stretches = deque([_Stretch(KEY, BEGINNING_PS)], MOST_STRETCHES)
        self._told = ControllerStands(KEY, 0)
        self._now_ps = BEGINNING_PS

    def begin(self, *, same_clock: bool) -> None:
        """Begin a session, perhaps with another clock of this node: what stood still before it began still does."""
        if same_clock:
            return
        last = self._stretches[-1]
        self._stretches.clear()
        if last.until_ps is None:
            rested = last.from_ps is not None and last.from_ps <= self._now_ps
            self._stretches.append(_Stretch(last.setting, BEGINNING_PS if rested else None))
        else:
            self._stretches.append(_Stretch(last.setting, BEGINNING_PS, BEGINNING_PS))
        self._now_ps = BEGINNING_PS

    def tell(self, stands: ControllerStands) -> None:
        """Take what the controller tells; the same again changes nothing."""
        if stands == self._told:
            return
        self._told = stands
        if self._stretches[-1].until_ps is None:
            self._stretches[-1].until_ps = self._now_ps
        if stands.setting is not None:
            self._stretches.append(_Stretch(stands.setting, None))

    def advance(self, start_ps: int, stop_ps: int) -> None:
        """Take note that an epoch of this node's clock has ended."""
        last = self._stretches[-1]
        if last.from_ps is None:
            last.from_ps = start_ps + self._margin_ps
        self._now_ps = stop_ps

    def stood(self, setting: str, start_ps: int, stop_ps: int) -> bool:
        """Return whether the controller stood at a setting all the time between two moments."""
        return any(
            one.setting == setting
            and one.from_ps is not None
            and one.from_ps <= start_ps
            and (one.until_ps is None or stop_ps <= one.until_ps)
            for one in self._stretches
        )
