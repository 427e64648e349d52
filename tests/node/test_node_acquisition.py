"""From a tagger that comes, goes, hangs or lies to epochs and time axes, in virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest

from qnoded.errors import DriverBroken, DriverStuck, InstrumentGarbled, InstrumentUnavailable, QnodedError
from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.exchange.limits import LATEST_PS, LONGEST_TEXT
from qnoded.instruments.capability import TimeTaggerCapability
from qnoded.node.acquisition import TURN_PS, Acquisition
from qnoded.node.pool import Pool
from qnoded.node.tasks import background
from qnoded.node.watchdog import Progress
from qnoded.records import Detector, Receiver, TagBlock
from qnoded.testing import virtual_time
from qnoded.units import EPOCH_PS

RECEIVER = Receiver("alice", (Detector("H", 0, "HV", 0), Detector("V", 1, "HV", 1)))
CAPABILITY = TimeTaggerCapability((0, 1), Fraction(1), 1e6)
FIRST = 10 * EPOCH_PS + 5


def block(start_ps: int, stop_ps: int, count: int = 50) -> TagBlock:
    return TagBlock(np.zeros(count, np.uint8), start_ps + np.linspace(0, stop_ps - start_ps, count).astype(np.int64))


def run_of(epochs: int, first_ps: int = FIRST) -> list[TagBlock]:
    half = EPOCH_PS // 2
    return [block(first_ps + n * half, first_ps + (n + 1) * half - 1) for n in range(2 * epochs)]


async def forever() -> None:
    await asyncio.Event().wait()


async def deaf() -> None:
    """Go on waiting after a cancellation, longer than anybody waits for it."""
    with suppress(asyncio.CancelledError):
        await forever()
    await asyncio.sleep(30)


@dataclass
class Tagger:
    stream_id: str
    blocks: list[TagBlock]
    then: Callable[[], object] | None = None
    """What the stream waits for after its blocks; None: it ends."""
    capability: TimeTaggerCapability = CAPABILITY

    async def stream(self) -> AsyncIterator[TagBlock]:
        for one in self.blocks:
            yield one
        if self.then is not None:
            await self.then()  # type: ignore[misc]  # an awaitable in every test


@dataclass
class Rack:
    """The part of the node's instruments that acquisition asks."""

    taggers: list[Tagger]
    reports: list[QnodedError] = field(default_factory=list)

    async def appearances(self, role: str) -> AsyncIterator[Tagger]:
        assert role == "tagger"
        for tagger in self.taggers:
            yield tagger
        await forever()

    def report(self, role: str, instrument: Tagger, error: QnodedError) -> None:
        self.reports.append(error)


@dataclass
class Watcher:
    """Notes what it is told."""

    heard: list[object] = field(default_factory=list)

    def axis_began(self) -> None:
        self.heard.append("axis")

    def detected(self, epoch: Detected | DetectionLost) -> None:
        self.heard.append(epoch)

    @property
    def story(self) -> list[str]:
        """Each epoch's number, with a mark where it was lost or has a gap."""
        told = []
        for one in self.heard:
            if isinstance(one, Detected):
                told.append(f"{one.epoch.start_ps // EPOCH_PS}{'g' if one.epoch.gaps else ''}")
            elif isinstance(one, DetectionLost):
                told.append(f"{one.start_ps // EPOCH_PS}!")
            else:
                told.append(str(one))
        return told


def acquired(*taggers: Tagger) -> tuple[Watcher, Rack, Acquisition, Progress]:
    """Acquire from taggers that appear one after the other, for a virtual minute."""

    async def a_minute() -> tuple[Watcher, Rack, Acquisition, Progress]:
        watcher, rack, pool, progress = Watcher(), Rack(list(taggers)), Pool(1), Progress("acquisition")
        acquisition = Acquisition(RECEIVER, rack, pool, progress)  # type: ignore[arg-type]  # a rack will do
        acquisition.followers.append(watcher)
        async with background(acquisition.run()):
            await asyncio.sleep(60)
        pool.close()
        return watcher, rack, acquisition, progress

    return virtual_time.run(a_minute())


def test_epochs_come_in_order_with_rate_axis_and_the_hosts_clock() -> None:
    watcher, rack, acquisition, progress = acquired(Tagger("t/1", run_of(4), forever))
    assert watcher.story == ["axis", "10!", "11", "12", "13"]
    assert acquisition.axis == "t/1"
    assert 100 < acquisition.detections_hz < 200
    assert acquisition.utc_minus_tag_ns is not None
    assert progress.begun == progress.finished == 8
    assert len(rack.reports) == 1


def test_the_same_stream_goes_on_with_a_gap() -> None:
    later = FIRST + 5 * EPOCH_PS
    watcher, rack, _, _ = acquired(Tagger("t/1", run_of(2)), Tagger("t/1", run_of(3, later), forever))
    assert watcher.story == ["axis", "10!", "11", "12g", "13!", "14!", "15g", "16", "17"]
    assert isinstance(rack.reports[0], InstrumentUnavailable)


def test_another_stream_is_another_time_axis() -> None:
    watcher, _, acquisition, _ = acquired(Tagger("t/1", run_of(2)), Tagger("t/2", run_of(2, 5), forever))
    assert watcher.story == ["axis", "10!", "11", "axis", "0!", "1"]
    assert acquisition.axis == "t/2"


def test_a_long_darkness_begins_anew_under_the_same_name() -> None:
    late = FIRST + 500 * EPOCH_PS
    watcher, rack, acquisition, _ = acquired(Tagger("t/1", [*run_of(2), *run_of(2, late)], forever))
    assert watcher.story == ["axis", "10!", "11", "axis", "510!", "511"]
    assert acquisition.axis == "t/1"
    assert len(rack.reports) == 1


def test_a_tagger_that_turns_its_time_back_is_reported_and_gets_another_axis() -> None:
    back = run_of(2, 5)
    watcher, rack, acquisition, _ = acquired(Tagger("t/1", [*run_of(2), *back]), Tagger("t/1", back, forever))
    assert isinstance(rack.reports[0], InstrumentGarbled)
    assert "the tags run back" in str(rack.reports[0])
    assert watcher.story == ["axis", "10!", "11", "axis", "0!", "1"]
    assert acquisition.axis == "t/1#1"


def test_a_block_of_impossible_length_is_reported_before_anything_is_made_of_it() -> None:
    for wrong in (block(5, 2**61), block(FIRST, 5)):
        watcher, rack, _, _ = acquired(Tagger("t/1", [wrong]))
        assert isinstance(rack.reports[0], InstrumentGarbled)
        assert watcher.heard == []


def test_a_silent_and_a_stuck_driver_are_given_up_and_the_next_one_is_heard() -> None:
    watcher, rack, _, _ = acquired(
        Tagger("t/1", run_of(2), forever), Tagger("t/2", run_of(2), deaf), Tagger("t/3", run_of(2), forever)
    )
    assert [type(error) for error in rack.reports] == [InstrumentUnavailable, DriverStuck, InstrumentUnavailable]
    assert watcher.story == ["axis", "10!", "11"] * 3


def vendor_says_no(_: Tagger) -> str:
    problem = "vendor says no"
    raise OSError(problem)


class NamelessTagger(Tagger):
    stream_id = property(vendor_says_no, lambda *_: None)  # type: ignore[assignment]  # breaks the protocol


class RaisingTagger(Tagger):
    def stream(self) -> AsyncIterator[TagBlock]:
        problem = "usb gone"
        raise OSError(problem)


class PlainTagger(Tagger):
    def stream(self) -> AsyncIterator[TagBlock]:
        return iter(self.blocks)  # type: ignore[return-value]  # breaks the protocol


def shuffled() -> TagBlock:
    tag_ps = block(FIRST, FIRST + 1000).tag_ps.copy()
    tag_ps[[10, 30]] = tag_ps[[30, 10]]
    return TagBlock(np.zeros(tag_ps.size, np.uint8), tag_ps)


@pytest.mark.parametrize(
    ("tagger", "kind", "words"),
    [
        (NamelessTagger("", run_of(1)), DriverBroken, "stream_id: mistake in the driver: OSError: vendor says no"),
        (Tagger(7, run_of(1)), DriverBroken, "stream_id is 7 and must be a str"),  # type: ignore[arg-type]
        (RaisingTagger("t/1", []), DriverBroken, "stream: mistake in the driver: OSError: usb gone"),
        (PlainTagger("t/1", []), DriverBroken, "stream: mistake in the driver: TypeError"),
        (Tagger("t/1", [(1, 2)]), DriverBroken, "gave a tuple where a TagBlock"),  # type: ignore[list-item]
        (Tagger("t/1", [shuffled()]), InstrumentGarbled, "the tags run back from"),
    ],
)
def test_no_mistake_of_a_driver_is_more_than_a_report(tagger: Tagger, kind: type, words: str) -> None:
    watcher, rack, _, _ = acquired(tagger, Tagger("t/2", run_of(2), forever))
    assert isinstance(rack.reports[0], kind)
    assert words in str(rack.reports[0])
    assert watcher.story[-3:] == ["axis", "10!", "11"]


def test_a_clock_of_months_stays_within_what_messages_carry() -> None:
    months = 3 * TURN_PS - 2 * EPOCH_PS + 5
    watcher, rack, acquisition, _ = acquired(Tagger("t/1", run_of(5, months), forever))
    epochs = TURN_PS // EPOCH_PS
    assert watcher.story == ["axis", f"{epochs - 2}!", f"{epochs - 1}", "axis", "0!", "1", "2"]
    assert (TURN_PS + EPOCH_PS) < LATEST_PS
    assert acquisition.axis == "t/1~3"
    again = acquired(Tagger("t/1", run_of(3, months + 3 * EPOCH_PS), forever))[2]
    assert again.axis == acquisition.axis
    assert acquisition.utc_minus_tag_ns is not None
    # The new axis began some tags ago.
    assert abs(acquisition.utc_minus_tag_ns - time.time_ns()) < 3600e9
    assert len(rack.reports) == 1


def test_a_clock_that_begins_below_zero_or_ends_an_int64_is_taken() -> None:
    for first_ps in (-5 * EPOCH_PS + 5, 2**63 - 9 * EPOCH_PS + 5):
        watcher, rack, _, _ = acquired(Tagger("t/1", run_of(3, first_ps), forever))
        assert len(watcher.story) == 4
        assert all(0 <= one.epoch.start_ps < LATEST_PS for one in watcher.heard if isinstance(one, Detected))
        assert len(rack.reports) == 1


def test_every_name_fits_into_a_greeting_and_stays_another_one() -> None:
    names = ["\u00e9" * 40, "\u00e9" * 41, "x" * 64, "x" * 65, "x" * 66, "\udc80"]
    axes = [acquired(Tagger(name, run_of(1), forever))[2].axis for name in names]
    assert len(set(axes)) == len(names)
    assert all(axis is not None and len(axis.encode()) <= LONGEST_TEXT for axis in axes)
    assert axes[2] == names[2]


def test_the_tick_is_that_of_the_tagger_which_streams() -> None:
    coarse = TimeTaggerCapability((0, 1), Fraction(625, 4), 1e6)
    rack = Rack([Tagger("a", run_of(2), forever, coarse)])

    async def look() -> Fraction:
        pool = Pool(1)
        acquisition = Acquisition(RECEIVER, rack, pool, Progress("acquisition"))
        try:
            async with background(acquisition.run()):
                await asyncio.sleep(1)
        finally:
            pool.close()
        return acquisition.tick_ps

    assert virtual_time.run(look()) == Fraction(625, 4)
