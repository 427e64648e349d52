"""The heavy work on one epoch, at either end: functions that a script hands to whoever computes for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from qnoded.errors import LocalProtocolError, RemoteProtocolError
from qnoded.exchange.live_messages import (
    Coincidences,
    Confirmation,
    EpochRefused,
    RevealedEpoch,
    ServiceCounted,
    ServiceRevealed,
)
from qnoded.exchange.messages import PackedBits
from qnoded.exchange.own_epochs import between
from qnoded.exchange.reports import EpochSifted, Reason, ServiceMeasured, Tests
from qnoded.exchange.terms import LinkTerms
from qnoded.mapping import Mapper
from qnoded.records import I64, SIDES, U8, DetectionEpoch, Receiver
from qnoded.secret import Secret
from qnoded.stages import hiding, matching, revealing
from qnoded.stages.coincidence import all_pairs, displaced_pairs, displacements
from qnoded.stages.hiding import CommonDeadTime
from qnoded.stages.matching import Alphabet, Coincident
from qnoded.stages.synchronization.clock_state import ClockState
from qnoded.stages.synchronization.lock import LockLoss
from qnoded.stages.synchronization.tracking import Tracked, bob_span, track
from qnoded.stages.tagging import CHOICE_KEY_BYTES, MultiClick, resolve_multi_clicks
from qnoded.units import EPOCH_PS

Randomness = Callable[[int], bytes]
"""Gives as many random bytes as asked for, such as ``os.urandom``."""

DETECTORS: Final = np.arange(256, dtype=np.uint8)
"""Labels of an epoch in service mode: the detectors themselves."""
UNTRACKED: Final = {
    LockLoss.NO_TAGS_ALICE: Reason.NO_CLICKS,
    LockLoss.NO_TAGS_BOB: Reason.NO_CLICKS,
    LockLoss.NO_LIGHT: Reason.NO_CLICKS,
    LockLoss.PEAK_LOST: Reason.LOCK_LOST,
    LockLoss.TOO_UNCERTAIN: Reason.LOCK_LOST,
}
"""Why an epoch without a peak gives nothing."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all work on the epochs of one session at one end has in common."""

    terms: LinkTerms
    side: str
    alphabet: Alphabet
    """Of this end."""
    label_bits: int
    """Of a basis."""
    service_bits: int
    """Of one of the revealer's detectors."""
    detectors: tuple[int, int]
    """Number of the revealer's and of the matcher's."""
    dead_time: CommonDeadTime
    """Of this end's clicks; goes on from epoch to epoch if it reveals."""
    choice_key: Secret
    """Decides between this end's clicks at once."""
    tick_ps: Fraction
    """Length of a tick of this end's tagger."""

    @classmethod
    def of(
        cls,
        terms: LinkTerms,
        side: str,
        receiver: Receiver,
        revealer: str,
        randomness: Randomness,
        tick_ps: Fraction = Fraction(1),
    ) -> Setup:
        """Put it together, with a key of its own; the tick matters to the revealer alone.

        Raises
        ------
        LocalProtocolError
            If the receiver is not the one that the terms name.
        """
        alice, bob = (terms.receiver(each) for each in SIDES)
        named = alice if side == alice.side else bob
        if receiver.names != named.names:
            problem = f"the terms name {side}'s detectors {named.names}, the receiver has {receiver.names}; correct one"
            raise LocalProtocolError(problem)
        alphabet = Alphabet.of(side, alice, bob, terms.state)
        counts = (len(alice), len(bob)) if revealer == alice.side else (len(bob), len(alice))
        return cls(
            terms,
            side,
            alphabet,
            revealing.label_bits(len(alphabet.names)),
            revealing.label_bits(counts[0]),
            counts,
            CommonDeadTime(receiver, alphabet.basis_of, len(alphabet.names)),
            Secret(randomness(CHOICE_KEY_BYTES)),
            tick_ps,
        )

    def one_each(self, epoch: DetectionEpoch) -> DetectionEpoch:
        """Return the clicks with those at once resolved, by a secret choice."""
        policy = MultiClick(self.terms.multi_click)
        return resolve_multi_clicks(epoch, self.terms.window_ps, policy, self.choice_key)[0]

    def hidden(self, epoch: DetectionEpoch, randomness: Randomness) -> DetectionEpoch:
        """Return the clicks that may be revealed, in an order and at times that hang on no detector."""
        apart = self.dead_time.push(self.one_each(epoch))
        return hiding.dithered(apart, self.tick_ps, randomness)

    def measured(self, counted: ServiceCounted) -> ServiceMeasured:
        """Return the counts as matrices; the message does not say their shape, the terms do.

        Raises
        ------
        RemoteProtocolError
            If it does not fit.
        """
        shape = len(self.terms.alice_detectors), len(self.terms.bob_detectors)
        matrix, chance = counted.matrix, counted.accidentals
        if not matrix.size == chance.size == math.prod(shape):
            problem = f"{matrix.size} counts of epoch {counted.epoch} arrived, {shape[0]} x {shape[1]} are due"
            raise RemoteProtocolError(problem)
        return ServiceMeasured(counted.epoch, matrix.reshape(shape), chance.reshape(shape), counted.displaced_windows)

    def tests(self, coincident: Coincident, tests: I64, theirs: U8) -> tuple[Tests, ...]:
        """Return the test bits of each basis and how many of them differ."""
        errors, bits = matching.errors_per_basis(coincident, tests, theirs, len(self.alphabet.names))
        return tuple(
            Tests(basis, int(wrong), int(count))
            for basis, wrong, count in zip(self.alphabet.names, errors, bits, strict=True)
            if count
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """An epoch that is ready to be revealed."""

    epoch: DetectionEpoch
    """Its clicks in the order of the code."""
    message: RevealedEpoch | ServiceRevealed


def prepare(
    epoch: DetectionEpoch, setup: Setup, resolution_ps: int, randomness: Randomness, *, settling: bool, service: bool
) -> Prepared:
    """Choose the clicks that may be revealed and code them; the revealer's work.

    Parameters
    ----------
    epoch : clicks of the revealer
    setup : of the session
    resolution_ps : ps, of the revealed times
    randomness : places clicks within the tagger's ticks
    settling : True while a controller moves
    service : True in an interlude: all clicks are revealed, with their detectors
    """
    number, duration_ps = epoch.start_ps // EPOCH_PS, epoch.stop_ps - epoch.start_ps
    if service:
        setup.dead_time.push(epoch)
        coded = revealing.encode(epoch, DETECTORS, setup.service_bits, resolution_ps)
        return Prepared(epoch, ServiceRevealed(number, epoch.start_ps, duration_ps, resolution_ps, coded))
    hidden = setup.hidden(epoch, randomness)
    coded = revealing.encode(hidden, setup.alphabet.basis_of, setup.label_bits, resolution_ps)
    return Prepared(hidden, RevealedEpoch(number, epoch.start_ps, duration_ps, resolution_ps, settling, coded))


def sift(epoch: DetectionEpoch, told: Coincidences, setup: Setup) -> tuple[EpochSifted, Confirmation]:
    """Take the coincidences that the matcher told of; the revealer's work.

    Raises
    ------
    RemoteProtocolError
        If what was told does not fit the epoch.
    """
    indices = revealing.decode_indices(told.matched, len(epoch))
    tests = revealing.decode_indices(told.tests, indices.size)
    theirs = _due(told.bits, tests, told.epoch)
    coincident = matching.told(epoch, indices, setup.alphabet)
    if matching.public_digest(told.epoch, coincident, tests, theirs) != told.digest:
        problem = f"the two ends do not hold the same list of coincidences of epoch {told.epoch}"
        raise RemoteProtocolError(problem)
    own = coincident.bits[tests]
    digest = matching.public_digest(told.epoch, coincident, tests, theirs, own)
    clicks = (len(epoch), told.clicks) if setup.side == SIDES[0] else (told.clicks, len(epoch))
    sifted = _sifted(told, coincident, tests, theirs, clicks, setup, digest)
    return sifted, Confirmation(told.epoch, PackedBits.of(own), digest)


@dataclass(frozen=True, slots=True)
class Told:
    """What the matcher remembers of an epoch until it is confirmed."""

    message: Coincidences
    coincident: Coincident
    tests: I64
    revealed_clicks: int


def confirm(told: Told, confirmation: Confirmation, setup: Setup) -> EpochSifted:
    """Take the revealer's test bits; the matcher's work.

    Raises
    ------
    RemoteProtocolError
        If they do not fit the epoch.
    """
    message, coincident, tests = told.message, told.coincident, told.tests
    theirs = _due(confirmation.bits, tests, confirmation.epoch)
    own = coincident.bits[tests]
    if matching.public_digest(confirmation.epoch, coincident, tests, own, theirs) != confirmation.digest:
        problem = f"the two ends do not hold the same test bits of epoch {confirmation.epoch}"
        raise RemoteProtocolError(problem)
    counts = message.clicks, told.revealed_clicks
    clicks = counts if setup.side == SIDES[0] else counts[::-1]
    return _sifted(message, coincident, tests, theirs, clicks, setup, confirmation.digest)


def _due(bits: PackedBits, tests: I64, epoch: int) -> U8:
    if bits.count != tests.size:
        problem = f"{bits.count} test bits of epoch {epoch} arrived, {tests.size} are due"
        raise RemoteProtocolError(problem)
    return bits.unpacked()


def _sifted(
    told: Coincidences,
    coincident: Coincident,
    tests: I64,
    theirs: U8,
    clicks: tuple[int, int],
    setup: Setup,
    digest: bytes,
) -> EpochSifted:
    return EpochSifted(
        told.epoch,
        matching.without_tests(coincident, tests, setup.side),
        setup.tests(coincident, tests, theirs),
        clicks,
        coincident.bits.size,
        told.accidentals,
        digest,
    )


@dataclass(frozen=True, slots=True)
class Identified:
    """What the matcher made of one revealed epoch."""

    answer: Coincidences | EpochRefused | ServiceCounted
    tracked: Tracked | None = None
    """None where the times could not be read."""
    told: Told | None = None


def identify(
    revealed: RevealedEpoch | ServiceRevealed,
    own: Sequence[DetectionEpoch],
    state: ClockState,
    setup: Setup,
    randomness: Randomness,
    over: Mapper,
    *,
    settling: bool,
) -> Identified:
    """Track the clock through a revealed epoch and find its coincidences; the matcher's work.

    Parameters
    ----------
    revealed : as it arrived
    own : the matcher's epochs that reach into it
    state : of the clock, alice being the revealer
    setup : of the session
    randomness : chooses the test bits
    over : gives the work more than one core
    settling : True where the epoch serves the clock alone
    """
    number, service = revealed.epoch, isinstance(revealed, ServiceRevealed)
    start_ps, stop_ps = revealed.start_ps, revealed.start_ps + revealed.duration_ps
    bits = setup.service_bits if service else setup.label_bits
    try:
        theirs = revealing.decode(revealed.clicks, start_ps, stop_ps, bits, revealed.resolution_ps)
        _check_labels(theirs, setup.detectors[0] if service else len(setup.alphabet.names), number)
    except RemoteProtocolError:
        return Identified(EpochRefused(number, Reason.GARBLED))
    if start_ps < state.reference_ps and state.last_seen_ps is None:
        # The search found the clock in the middle of what was gathered.
        state = state.moved_to(start_ps)
    mine = between(own, *bob_span(state, start_ps, stop_ps))
    tracked = track(theirs.tag_ps, mine.tag_ps, state, start_ps, stop_ps)
    if tracked.report.reason is not None:
        return Identified(EpochRefused(number, UNTRACKED[tracked.report.reason]), tracked)
    if settling:
        return Identified(EpochRefused(number, Reason.SETTLING), tracked)
    if service:
        return Identified(_count(number, theirs, _in_link_time(mine, tracked, start_ps, stop_ps), setup, over), tracked)
    single = setup.dead_time.alone(_in_link_time(setup.one_each(mine), tracked, start_ps, stop_ps))
    coincident, accidentals = matching.match(theirs, single, setup.alphabet, setup.terms.window_ps, over)
    tests = matching.choose_tests(coincident.bits.size, setup.terms.test_share, randomness)
    test_bits = coincident.bits[tests]
    answer = Coincidences(
        number,
        len(single),
        accidentals,
        revealing.encode_indices(coincident.revealed),
        revealing.encode_indices(tests),
        PackedBits.of(test_bits),
        matching.public_digest(number, coincident, tests, test_bits),
    )
    return Identified(answer, tracked, Told(answer, coincident, tests, len(theirs)))


def _check_labels(epoch: DetectionEpoch, labels: int, number: int) -> None:
    if len(epoch) and int(epoch.detector.max()) >= labels:
        problem = f"a click of epoch {number} has label {int(epoch.detector.max())}, there are {labels}"
        raise RemoteProtocolError(problem)


def _in_link_time(own: DetectionEpoch, tracked: Tracked, start_ps: int, stop_ps: int) -> DetectionEpoch:
    link_ps = tracked.clock_map.to_link(own.tag_ps)
    first, last = np.searchsorted(link_ps, (start_ps, stop_ps))
    return DetectionEpoch(own.detector[first:last], link_ps[first:last], start_ps, stop_ps)


def _count(number: int, theirs: DetectionEpoch, own: DetectionEpoch, setup: Setup, over: Mapper) -> ServiceCounted:
    """Count all pairs of detectors, rows alice's whoever matches."""
    window_ps = setup.terms.window_ps
    places = displacements(window_ps)
    matrix = all_pairs(theirs, own, window_ps, setup.detectors, over=over)
    chance = displaced_pairs(theirs, own, window_ps, setup.detectors, places, over=over)
    if setup.side == SIDES[0]:
        matrix, chance = matrix.T, chance.T
    return ServiceCounted(number, matrix.flatten(), chance.flatten(), len(places))
