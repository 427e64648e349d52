"""One motor's way to where it was asked to be: to its zero first if it has none, each order sent once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from qnoded.errors import InstrumentFault

BEGINNING_S: Final = 0.2
"""So soon after an order a motor that rests may not have begun yet."""


class Order(Enum):
    """What a motor is sent."""

    HOME = auto()
    """Look for the zero."""
    MOVE = auto()
    """Go to the target."""


@dataclass(slots=True)
class Journey:
    """Where a motor is asked to be, and how far that has come; the driver tells what it sees and sends what is due."""

    requested_deg: float | None = None
    target: int | None = None
    """Counts; None: nothing is left to do."""
    has_zero: bool = False
    """Whether the motor has been seen to know its zero since the line was opened."""
    sent: Order | None = None
    since_s: float = 0.0
    """When that was sent, event loop's clock."""

    def restart(self) -> None:
        """Know nothing of a motor that has just been connected."""
        self.stay()
        self.requested_deg, self.has_zero = None, False

    def begin(self, requested_deg: float, target: int) -> None:
        """Ask for a position."""
        self.requested_deg, self.target, self.sent = requested_deg, target, None

    def stay(self) -> None:
        """Ask for nothing any more."""
        self.target = self.sent = None

    def due(self, now_s: float, *, moving: bool, here: bool, limit_s: float) -> Order | None:
        """Return what has to be sent now, if anything.

        Parameters
        ----------
        now_s
            Event loop's clock.
        moving
            Whether the motor says that it moves.
        here
            Whether it is where it should be.
        limit_s
            Longest time that one order takes.

        Raises
        ------
        InstrumentFault
            If it did not find its zero.
        """
        if self.target is None:
            return None
        passed_s = now_s - self.since_s
        if self.sent is Order.HOME and not self.has_zero:
            if passed_s <= limit_s:
                return None
            self.stay()
            problem = f"it did not find its zero within {limit_s:.1f} s; is it blocked?"
            raise InstrumentFault(problem)
        if self.sent is Order.MOVE:
            # Where it has come to is read back, whether that is its target or not.
            if not moving and passed_s > (BEGINNING_S if here else limit_s):
                self.stay()
            return None
        if self.sent is Order.HOME and moving:
            return None
        self.sent, self.since_s = Order.MOVE if self.has_zero else Order.HOME, now_s
        return self.sent
