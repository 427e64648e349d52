"""Acquisition: pulls the tagger's blocks, has them cut into epochs by the pool, and hands every epoch to the links.

It follows whatever instrument plays the role ``tagger``. The same stream after an absence goes on with a gap; another
stream, or a leap of its time, is a new time axis: the links are told and begin a new session.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Final, Protocol, cast

from qnoded.errors import InstrumentError, InstrumentGarbled, InstrumentUnavailable
from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.instruments.protocols import DEADLINE_S, TimeTagger
from qnoded.node.cutting import LONGEST_SILENCE_PS, Cutter
from qnoded.node.devices import Devices
from qnoded.node.driver_call import bounded
from qnoded.node.pool import Pool
from qnoded.node.watchdog import Progress
from qnoded.records import Gap, Receiver, TagBlock
from qnoded.units import EPOCH_PS, PS_PER_NS, seconds

TAGGER: Final = "tagger"
LONGEST_SILENCE_S: Final = 5.0
"""A tagger that streams hands over blocks five times a second at least; one that is silent for longer is given up."""
BLOCKS_OF_UTC: Final = 256
"""Blocks over which the host's clock is compared: the quickest of them was held up least."""
EPOCHS_OF_RATE: Final = 8
FEWEST_EPOCHS: Final = 2
"""Whole epochs before a rate is told: the first may lie before the light came on."""
LONGEST_NAME: Final = 64
"""Characters of a time axis' name that a greeting carries."""
LONGEST_STREAM_ID: Final = 56
"""What is left of it beside a count."""

log = logging.getLogger(__name__)


class Follower(Protocol):
    """Who is told of epochs; must return at once."""

    def axis_began(self) -> None:
        """Take note that what follows is of another time axis than what was before."""
        ...

    def detected(self, epoch: Detected | DetectionLost) -> None:
        """Take an epoch that has ended."""
        ...


class Acquisition:
    """The node's one stream of detections."""

    def __init__(self, receiver: Receiver, devices: Devices, pool: Pool, progress: Progress) -> None:
        self.followers: list[Follower] = []
        self.axis: str | None = None
        """Name of the epochs' time axis, the same as long as the tagger counts on; None before the first block."""
        self._receiver, self._devices, self._pool, self._progress = receiver, devices, pool, progress
        self._cutter = Cutter(receiver)
        self._utc_ns: deque[int] = deque(maxlen=BLOCKS_OF_UTC)
        self._clicks: deque[int] = deque(maxlen=EPOCHS_OF_RATE)
        self._away = False
        self._stream_id: str | None = None
        self._returns = 0

    @property
    def utc_minus_tag_ns(self) -> int | None:
        """Host's UTC minus the tagger's reading, ns, smallest of the last blocks; None before the first block."""
        return min(self._utc_ns, default=None)

    @property
    def detections_hz(self) -> float:
        """Clicks per second in the brightest of the last epochs; 0 as long as there are too few.

        The brightest, since a laser that has just come on, or goes out while a peer restarts, must not make this end
        look like the one with fewer detections: the ends would change places for nothing.
        """
        return max(self._clicks) / seconds(EPOCH_PS) if len(self._clicks) >= FEWEST_EPOCHS else 0.0

    async def run(self) -> None:
        """Acquire until cancelled."""
        async for instrument in self._devices.appearances(TAGGER):
            tagger = cast(TimeTagger, instrument)
            try:
                await self._follow(tagger)
            except InstrumentError as error:
                self._devices.report(TAGGER, instrument, error)
            self._away = True

    async def _follow(self, tagger: TimeTagger) -> None:
        blocks = aiter(tagger.stream())
        try:
            while True:
                block = await bounded(_next(blocks), f"{TAGGER}: next block", LONGEST_SILENCE_S)
                if block is None:
                    problem = f"{TAGGER}: it has stopped its stream"
                    raise InstrumentUnavailable(problem)
                await self._take(block, tagger.stream_id)
        finally:
            if isinstance(blocks, AsyncGenerator):
                with suppress(InstrumentError):
                    await bounded(blocks.aclose(), f"{TAGGER}: end of stream", DEADLINE_S)

    async def _take(self, block: TagBlock, stream_id: str) -> None:
        arrived_ns = time.time_ns()
        block = self._placed(block, stream_id)
        self._progress.begin()
        try:
            epochs = await self._pool.compute(self._cutter.push, block)
        finally:
            self._progress.finish()
        if len(block):
            self._utc_ns.append(arrived_ns - int(block.tag_ps[-1]) // PS_PER_NS)
        for epoch in epochs:
            if isinstance(epoch, Detected):
                self._clicks.append(len(epoch.epoch))
            for follower in self.followers:
                follower.detected(epoch)

    def _placed(self, block: TagBlock, stream_id: str) -> TagBlock:
        """Put a block on its time axis, which it may begin; mark what was missed while the tagger was away."""
        away, self._away = self._away, False
        last_ps = self._cutter.last_tag_ps
        span_ps = int(block.tag_ps[-1] - block.tag_ps[0]) if len(block) else 0
        if not 0 <= span_ps <= LONGEST_SILENCE_PS:
            problem = f"{TAGGER}: one block spans {span_ps} ps, from 0 to {LONGEST_SILENCE_PS} ps are possible"
            raise InstrumentGarbled(problem)
        if stream_id != self._stream_id:
            self._begin(stream_id)
        elif last_ps is not None and not self._cutter.continues(block):
            if block.tag_ps[0] < last_ps:
                self._returns += 1
                self._begin(stream_id)
                problem = f"{TAGGER}: the tags run back from {last_ps} to {block.tag_ps[0]} ps without a new stream"
                raise InstrumentGarbled(problem)
            log.info("no tags for %.0f s: a new session begins", seconds(int(block.tag_ps[0]) - last_ps))
            self._begin(stream_id)
        elif away and last_ps is not None and len(block):
            gap = Gap(last_ps, int(block.tag_ps[0]), None, "the tagger was away")
            return TagBlock(block.channel, block.tag_ps, (gap, *block.gaps))
        return block

    def _begin(self, stream_id: str) -> None:
        self._stream_id, self._cutter = stream_id, Cutter(self._receiver)
        # An instrument that turned its time back under the same name must not be taken for the old one.
        self.axis = f"{stream_id[:LONGEST_STREAM_ID]}#{self._returns}" if self._returns else stream_id[:LONGEST_NAME]
        self._utc_ns.clear()
        self._clicks.clear()
        for follower in self.followers:
            follower.axis_began()


async def _next(blocks: AsyncIterator[TagBlock]) -> TagBlock | None:
    return await anext(blocks, None)
