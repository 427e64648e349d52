"""CHSH interludes: epochs, named in advance by both ends, in which a controller turns and all outcomes are revealed.

Alice proposes, bob answers, and from the first settling epoch to the first key epoch neither end takes a bit as key:
each end judges by its own plan, so an answer that comes late costs epochs and never mixes modes. The end whose
controller turns looks besides at where it stood: an epoch is key, or is counted, only if it stood at that setting from
the epoch's beginning to its end. When a session or the lock is lost, the controller turns back at once, and the rest of
the interlude is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from qnoded.exchange.live_messages import InterludeAnswered, InterludeProposed
from qnoded.exchange.reports import ControllerDue, InterludePlanned
from qnoded.exchange.terms import LinkTerms
from qnoded.exchange.whereabouts import CHSH, KEY, Whereabouts

LEAD_EPOCHS: Final = 4
"""Epochs between the newest one that alice knows and the first of an interlude: two seconds for a question and its
answer, and for bob's data, which may be that much ahead. As many more each time that bob refuses."""
MOST_LEAD_EPOCHS: Final = 64
"""Half a minute: a peer that is further behind is not asked for longer ones."""
LEAST_LEAD_EPOCHS: Final = 2
"""Bob refuses an interlude that is nearer."""


class Phase(Enum):
    """What an epoch is for."""

    KEY = "key"
    SETTLING = "the controller moves"
    SERVICE = "all outcomes are revealed"


@dataclass(slots=True)
class Interludes:
    """One end's view; lives as long as the link, so that a plan outlives the session in which it was made."""

    terms: LinkTerms
    side: str
    whereabouts: Whereabouts
    """Of this end's controller."""
    planned: InterludePlanned | None = None
    wanted: bool = False
    """True once somebody has asked for an interlude that is not planned yet; alice only."""
    _proposed: InterludeProposed | None = None
    _next: int | None = None
    """Epoch from which the schedule asks for the next one."""
    _lead_epochs: int = LEAD_EPOCHS
    _setting: str = KEY
    """Where the controller of this end is told to be."""
    _running: int = 0
    """The last epoch of which that was asked."""
    _given_up: bool = False
    """True once the controller has turned back before the planned time."""

    @classmethod
    def of(cls, terms: LinkTerms, side: str) -> Interludes:
        """Return those of a link that begins."""
        return cls(terms, side, Whereabouts(terms.settling_epochs))

    def begin(self, *, same_clock: bool, same_own_clock: bool) -> None:
        """Begin a session; epochs of another clock have other numbers, and an old question is not answered."""
        self._proposed = None
        self.whereabouts.begin(same_clock=same_own_clock)
        if not same_clock:
            self.planned, self._next = None, None

    def planned_phase(self, epoch: int) -> Phase:
        """Return what an epoch is for, by the plan."""
        plan = self.planned
        if plan is None or not plan.settle_epoch <= epoch < plan.key_epoch:
            return Phase.KEY
        return Phase.SERVICE if plan.service_epoch <= epoch < plan.return_epoch else Phase.SETTLING

    def stood(self, phase: Phase, start_ps: int, stop_ps: int) -> bool:
        """Return whether this end's controller, if it has one, stood all the time where a phase wants it.

        Parameters
        ----------
        phase : key or service
        start_ps, stop_ps : ps, of this node's clock
        """
        setting = CHSH if phase is Phase.SERVICE and self.side == self.terms.chsh_side else KEY
        return self.whereabouts.stood(setting, start_ps, stop_ps)

    def phase(self, epoch: int, start_ps: int, stop_ps: int) -> Phase:
        """Return what an epoch is for, by the plan and by where this end's controller stood.

        Parameters
        ----------
        epoch : revealer's number
        start_ps, stop_ps : ps, the epoch in this node's clock
        """
        phase = self.planned_phase(epoch)
        return phase if phase is Phase.SETTLING or self.stood(phase, start_ps, stop_ps) else Phase.SETTLING

    def proposal(self, sifted_epoch: int, newest_epoch: int) -> InterludeProposed | None:
        """Return what alice proposes now, if anything.

        Parameters
        ----------
        sifted_epoch : the epoch that has just been sifted
        newest_epoch : newest epoch that was revealed
        """
        terms = self.terms
        if terms.chsh_side == "none" or self._proposed or self._pending(sifted_epoch):
            return None
        if terms.chsh_every_epochs:
            self._next = sifted_epoch + terms.chsh_every_epochs if self._next is None else self._next
            self.wanted |= sifted_epoch >= self._next
        if not self.wanted:
            return None
        settle = newest_epoch + self._lead_epochs
        service = settle + terms.settling_epochs
        back = service + terms.chsh_epochs
        self._proposed = InterludeProposed(settle, service, back, back + terms.settling_epochs)
        return self._proposed

    def answer(self, proposed: InterludeProposed, newest_epoch: int) -> InterludeAnswered:
        """Return bob's answer, and plan the interlude if he takes part.

        Parameters
        ----------
        proposed : what alice proposes
        newest_epoch : newest epoch that bob has revealed or was revealed to him
        """
        terms = self.terms
        due = (terms.settling_epochs, terms.chsh_epochs, terms.settling_epochs)
        lengths = (
            proposed.service_epoch - proposed.settle_epoch,
            proposed.return_epoch - proposed.service_epoch,
            proposed.key_epoch - proposed.return_epoch,
        )
        accepted = (
            lengths == due
            and proposed.settle_epoch >= newest_epoch + LEAST_LEAD_EPOCHS
            and not self._pending(newest_epoch)
        )
        if accepted:
            self._plan(proposed)
        return InterludeAnswered(proposed.settle_epoch, accepted)

    def answered(self, answer: InterludeAnswered) -> InterludePlanned | None:
        """Return the plan that bob's answer makes; None where he refused, and alice asks again."""
        proposed, self._proposed = self._proposed, None
        if proposed is None or answer.settle_epoch != proposed.settle_epoch:
            return None
        if not answer.accepted:
            self._lead_epochs = min(self._lead_epochs + LEAD_EPOCHS, MOST_LEAD_EPOCHS)
            return None
        self.wanted, self._lead_epochs = False, LEAD_EPOCHS
        if self.terms.chsh_every_epochs:
            self._next = proposed.settle_epoch + self.terms.chsh_every_epochs
        return self._plan(proposed)

    def controller_due(self, running_epoch: int) -> ControllerDue | None:
        """Return where this end's controller has to go, once for each change.

        Parameters
        ----------
        running_epoch : the epoch, revealer's number, that runs now
        """
        if self.side != self.terms.chsh_side:
            return None
        plan = self.planned
        turned = plan is not None and plan.settle_epoch <= running_epoch < plan.return_epoch and not self._given_up
        self._running = running_epoch
        return self._due(CHSH if turned else KEY)

    def give_up(self) -> ControllerDue | None:
        """Return where the controller has to go now that the lock or the session is lost: back, if it has turned."""
        self._given_up |= self._setting == CHSH
        return self._due(KEY)

    def _due(self, setting: str) -> ControllerDue | None:
        if setting == self._setting:
            return None
        self._setting = setting
        return ControllerDue(setting, self._running)

    def _pending(self, newest_epoch: int) -> bool:
        return self.planned is not None and newest_epoch < self.planned.key_epoch

    def _plan(self, proposed: InterludeProposed) -> InterludePlanned:
        self.planned = InterludePlanned(
            proposed.settle_epoch, proposed.service_epoch, proposed.return_epoch, proposed.key_epoch
        )
        self._given_up = False
        return self.planned
