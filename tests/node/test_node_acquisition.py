"""From a tagger that comes, goes, hangs or lies to epochs and time axes, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from qnoded.errors import DriverStuck, InstrumentGarbled, InstrumentUnavailable, QnodedError
from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.node.acquisition import Acquisition
from qnoded.node.pool import Pool
from qnoded.node.tasks import background
from qnoded.node.watchdog import Progress
from qnoded.records import Detector, Receiver, TagBlock
from qnoded.testing import virtual_time
from qnoded.units import EPOCH_PS

RECEIVER = Receiver("alice", (Detector("H", 0, "HV", 0), Detector("V", 1, "HV", 1)))
FIRST = 10 * EPOCH_PS + 5


def block(start_ps: int, stop_ps: int, count: int = 50) -> TagBlock:
    return TagBlock(np.zeros(count, np.uint8), np.linspace(start_ps, stop_ps, count).astype(np.int64))


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
