"""A quick reading of the coincidence matrix: what a human sees at a glance, with the numbers and a remedy.

Most faults of a link leave their own figure in the matrix. A wrong peak makes all of it flat; a wrong Bell state or
label turns a diagonal round; a phase spoils one basis; a rotation moves correlations into the blocks of unequal
bases; two exchanged cables scatter a row; accidentals lay a floor under everything. A verdict needs three standard
errors, and none is given while another fault could look the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from qnoded.records import F64, I64, Receiver
from qnoded.stages.estimation.errors_per_basis import Qber
from qnoded.stages.estimation.figure import CHANCE_SIGMAS, Figure, exchanges
from qnoded.stages.estimation.outcomes import SAME_OUTCOME, BellState, checked, turned_on_purpose

PatternKind = Literal[
    "wrong-peak", "bit-flip", "basis-rotated", "swapped-channels", "high-accidentals", "weak-detector"
]

RAISED_QBER: Final = 0.08
"""Errors certainly above 8 % are worth a remark: from about 10 % on there is no key with real reconciliation."""
FLIPPED_QBER: Final = 0.75
"""Errors certainly above 75 % are agreement read the wrong way round; what is rotated is nearer to half."""
UNCORRELATED: Final = 0.25
"""A block is called flat when its correlation is certainly below this."""
IN_ORDER: Final = 0.15
"""Errors that are certainly below this in every basis confirm that a change puts a link right."""
MOSTLY: Final = 0.5
"""Accidentals are to blame when less than half of the errors is left without them."""
UNEQUAL: Final = 1.5
"""Errors of one basis that are certainly this many times another's are not those of a common floor."""
WEAK_SHARE: Final = 0.2
"""A detector with less than a fifth of the coincidences of the other outcome of its basis is weak."""
CHANCE_LIKE: Final = 0.2
"""Coincidences of which less than this share is above the accidentals are chance alone."""
LEAST_COINCIDENCES: Final = 100
"""Fewer make no figure: on average six a cell, of which a bad basis shows a handful."""
EXCLUSION_SIGMAS: Final = 4.0
"""A link is not called correlated by the largest of many blocks for less: one in 4,000 flat ones reaches it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One reading of the matrix."""

    kind: PatternKind
    numbers: Mapping[str, float]
    """What it was read from; the unit is the end of each name, shares have none."""
    sentence: str
    """What it is and what to do, for the operator."""


def read_pattern(
    matrix: I64 | F64,
    alice: Receiver,
    bob: Receiver,
    *,
    state: BellState = "Phi+",
    accidentals: F64 | None = None,
    accidental_windows: int = 1,
) -> tuple[Pattern, ...]:
    """Read the faults that the figure of a coincidence matrix shows.

    Parameters
    ----------
    matrix : int64 or float64 [n, m]
        Coincidences per pair of detectors, rows alice's, columns bob's.
    alice, bob : Receiver
    state : BellState
        What the source should give.
    accidentals : float64[n, m], optional
        Expected accidentals; they tell a floor of chance from a turned polarization.
    accidental_windows : int
        Number of displaced windows that ``accidentals`` averages.

    Returns
    -------
    tuple of Pattern
        Empty where nothing is wrong, the counts are too few to say, or the analysers of the two sides stand at
        different angles on purpose, as for CHSH. A finding that explains all the others
        comes alone: wrong peak, swapped channels.

    Raises
    ------
    UsageError
        If shapes do not fit or there is no common basis.
    """
    counts = checked(matrix, alice, bob)
    floor = None if accidentals is None else checked(accidentals, alice, bob)
    figure = Figure(counts, floor, accidental_windows, alice, bob, state)
    errors = figure.errors()
    if counts.sum() < LEAST_COINCIDENCES or turned_on_purpose(alice, bob):
        return ()
    whole = _wrong_peak(figure) or _swapped(figure, errors)
    if whole:
        return (whole,)
    found = _weak(figure)
    flipped = {basis for basis, own in errors.bases.items() if own.qber.low > FLIPPED_QBER}
    if flipped:
        found.append(_bit_flip(flipped, errors, state))
    raised = {basis for basis, own in errors.bases.items() if own.qber.low > RAISED_QBER and basis not in flipped}
    if _perhaps_flat(figure) or _perhaps_swapped(figure):
        return tuple(found)
    if raised and all(errors.bases[basis].qber.high < FLIPPED_QBER for basis in raised):
        found += _raised(raised, errors, figure)
    elif not raised and not flipped and figure.turned():
        # A turn shows before its errors are many: they grow as its square, the correlation of unequal bases as itself.
        found.append(_turned(errors, figure))
    return tuple(found)


def _perhaps_flat(figure: Figure) -> bool:
    return all(abs(value) <= EXCLUSION_SIGMAS * error for value, error in figure.blocks().values())


def _wrong_peak(figure: Figure) -> Pattern | None:
    blocks = figure.blocks().values()
    if any(abs(value) + CHANCE_SIGMAS * error > UNCORRELATED for value, error in blocks):
        return None
    total = float(figure.counts.sum())
    numbers = {"coincidences": total, "largest_correlation": max(abs(value) for value, _ in blocks)}
    if figure.floor is not None:
        chance = float(figure.floor.sum())
        numbers["accidentals"] = chance
        if total - chance > CHANCE_LIKE * total:
            text = (
                f"{total:.0f} coincidences, only {chance:.0f} of them by chance, but no correlation in any pair of "
                "bases: a side peak of a pulsed source, or outcomes mixed up in time; search the offset again"
            )
            return Pattern("wrong-peak", numbers, text)
    text = (
        "errors are 50 % in all bases and the matrix is flat: the clock offset or the delays stand on a wrong "
        "peak; search the offset again over a wider range"
    )
    return Pattern("wrong-peak", numbers, text)


def _perhaps_swapped(figure: Figure) -> bool:
    """Return whether any exchange could leave a link in order, as far as the counts tell."""
    for exchange in exchanges(figure):
        after = exchange.put_right(figure)
        if not after.turned() and all(own.qber.low < RAISED_QBER for own in after.errors().bases.values()):
            return True
    return False


def _swapped(figure: Figure, errors: Qber) -> Pattern | None:
    if max(own.qber.low for own in errors.bases.values()) < RAISED_QBER:
        return None
    best, found = IN_ORDER, None
    for exchange in exchanges(figure):
        after = exchange.put_right(figure)
        left = max(own.qber.high for own in after.errors().bases.values())
        if left < best and not after.turned():
            best, found = left, exchange
    if found is None:
        return None
    now = errors.total.qber.value
    if len(found.pairs) == 1:
        text = f"two channels are exchanged: exchange {found.named()}"
    else:
        text = f"the bases are exchanged on one side: exchange {found.named()}, or the same of the other side,"
    text += f" in the channel map or at the tagger; errors fall from {100 * now:.0f} % to less than {100 * best:.0f} %"
    return Pattern("swapped-channels", {"qber_now": now, "qber_after_at_most": best}, text)


def _bit_flip(flipped: set[str], errors: Qber, state: BellState) -> Pattern:
    seen = {basis: SAME_OUTCOME[state].get(basis, True) ^ (basis in flipped) for basis in errors.bases}
    states = [
        name
        for name, signs in SAME_OUTCOME.items()
        if all(signs.get(basis, True) == same for basis, same in seen.items())
    ]
    where = " and ".join(basis for basis in errors.bases if basis in flipped)
    share = min(errors.bases[basis].qber.value for basis in flipped)
    instead = f"the source gives {states[0]} instead of {state}, or " if states else ""
    text = (
        f"outcomes in {where} are the wrong way round ({100 * share:.1f} % errors): {instead}the two channels of a "
        "basis are exchanged on one side; set the state or the channel map"
    )
    return Pattern("bit-flip", _numbers(errors), text)


def _numbers(errors: Qber) -> dict[str, float]:
    return {f"qber_{basis}": own.qber.value for basis, own in errors.bases.items()}


def _raised(raised: set[str], errors: Qber, figure: Figure) -> list[Pattern]:
    """Tell chance from turned polarization among bases with too many errors."""
    numbers = _numbers(errors)
    mean = errors.total.qber.value
    if figure.floor is not None:
        corrected = [errors.bases[basis].qber_without_accidentals for basis in raised]
        in_order = all(one and one.value + CHANCE_SIGMAS * one.error < IN_ORDER for one in corrected)
        left = max((one.value for one in corrected if one), default=1.0)
        if in_order and left < MOSTLY * max(errors.bases[basis].qber.value for basis in raised):
            share = float(figure.floor.sum() / figure.counts.sum())
            text = (
                f"{100 * share:.0f} % of the coincidences are accidental and make most of the errors: "
                "narrow the window, lower the pump power or look for stray light"
            )
            return [Pattern("high-accidentals", {**numbers, "accidental_share": share}, text)]
        unexplained = any(one and one.value - CHANCE_SIGMAS * one.error > RAISED_QBER for one in corrected)
        if not unexplained and not figure.turned():
            # Neither is certain: accidentals may or may not explain the errors.
            return []
    if figure.turned():
        return [_turned(errors, figure)]
    fine = [basis for basis, own in errors.bases.items() if own.qber.high < RAISED_QBER]
    if fine:
        basis = min(raised)
        share = errors.bases[basis].qber.value
        angle = float(np.degrees(np.arccos(np.clip(1.0 - 2.0 * share, -1.0, 1.0))))
        text = (
            f"{' and '.join(sorted(raised))} has {100 * share:.1f} % errors while {' and '.join(fine)} is fine: a "
            f"phase of about {angle:.0f} degrees about the axis of {fine[0]}; adjust the phase of the source or one "
            "retarder of the compensator"
        )
        return [Pattern("basis-rotated", {**numbers, "angle_deg": angle}, text)]
    if figure.floor is not None:
        text = (
            f"errors are {100 * mean:.1f} %, more than accidentals explain: the polarization is turned out of the "
            "plane of the analysers, or the source is depolarized; align the compensator, then look at the source"
        )
        return [Pattern("basis-rotated", numbers, text)]
    low = max(own.qber.low for own in errors.bases.values())
    high = min(own.qber.high for own in errors.bases.values())
    if low > UNEQUAL * high:
        text = (
            f"errors are raised and unequal (above {100 * low:.1f} % against below {100 * high:.1f} %): the "
            "polarization is turned out of the plane of the analysers; align the compensator"
        )
        return [Pattern("basis-rotated", numbers, text)]
    if len(raised) < len(errors.bases):
        return []
    text = (
        f"errors are {100 * mean:.1f} % in all bases with a flat floor: accidentals, a window that is too wide or "
        "delays that are off; narrow the window, lower the pump power and calibrate the delays"
    )
    return [Pattern("high-accidentals", numbers, text)]


def _turned(errors: Qber, figure: Figure) -> Pattern:
    """Name a turn of the polarization that both bases share, with its angle."""
    turned = figure.turned()
    where = " and ".join(f"{name} ({value:+.2f})" for name, value in turned.items())
    largest = max(turned.values(), key=abs)
    # The correlation is the sine of twice the angle, the agreement in equal bases its cosine.
    angle = 0.5 * float(np.degrees(np.arctan2(abs(largest), 1.0 - 2.0 * errors.total.qber.value)))
    text = (
        f"outcomes correlate between unequal bases, {where}: the polarization turned by some {angle:.0f} degrees "
        "between the sides; align the compensator, or give angle_deg of analysers that are turned on purpose"
    )
    return Pattern("basis-rotated", {**_numbers(errors), "cross_correlation": largest, "angle_deg": angle}, text)


def _weak(figure: Figure) -> list[Pattern]:
    found = []
    for receiver, axis in ((figure.alice, 1), (figure.bob, 0)):
        clicks = figure.counts.sum(axis=axis)
        for k, detector in enumerate(receiver.detectors):
            partners = [
                float(clicks[n])
                for n, other in enumerate(receiver.detectors)
                if other.basis == detector.basis and n != k
            ]
            usual = max(partners, default=0.0)
            limit = WEAK_SHARE * usual
            if clicks[k] >= limit - CHANCE_SIGMAS * float(np.sqrt(max(limit, 1.0))):
                continue
            text = (
                f"{receiver.side} {detector.name} (channel {detector.channel}) has {clicks[k]:.0f} coincidences "
                f"where the other outcome of {detector.basis} has {usual:.0f}: the bits are biased; check its "
                "coupling, its bias and its delay"
            )
            numbers = {"coincidences": float(clicks[k]), "sibling_coincidences": usual}
            found.append(Pattern("weak-detector", numbers, text))
    return found
